//! The policy under which a command or the server redacts.

use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tabellion_detect::{Depth, Engine, Pseudonyms, Redactor, Set};

use crate::failure::Failure;
use crate::secrets::Secrets;

/// The engine under a policy: the name of one that is built in, or a file. As deep as the policy says, or as is said here.
pub(crate) fn engine(policy: &str, depth: Option<Depth>) -> Result<Engine, Failure> {
    let unusable = |error| Failure::usage("the policy cannot be used").because(error);
    if Engine::presets().any(|name| name == policy) {
        return match depth {
            Some(depth) => {
                Engine::with_policy_at(policy, &format!("extends = \"{policy}\"\n"), depth).map_err(unusable)
            }
            None => Ok(Engine::preset(policy).expect("it is one of them")),
        };
    }
    let path = Path::new(policy);
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("there is no policy {policy}: neither a file, nor one of {}", names())).because(error)
    })?;
    let name = path.file_name().map_or_else(|| "policy".into(), |name| name.to_string_lossy());
    match depth {
        Some(depth) => Engine::with_policy_at(&name, &text, depth),
        None => Engine::with_policy(&name, &text),
    }
    .map_err(unusable)
}

/// The embedded recognizers under the default policy, or as deep as is said here.
pub(crate) fn embedded(set: Set, depth: Option<Depth>) -> Engine {
    let Some(depth) = depth else { return Engine::embedded(set) };
    let text = match set {
        Set::Default => "recognizers = \"default\"\n",
        Set::All => "recognizers = \"all\"\n",
    };
    Engine::with_policy_at("recognizers", text, depth).expect("tests load the embedded rules at every depth")
}

/// The names of the built-in policies.
pub(crate) fn names() -> String {
    Engine::presets().collect::<Vec<_>>().join(", ")
}

/// Redacts under a policy with a log's keys. The key for `encrypt` is derived from the token key: whoever has that can
/// undo tokens by guessing, and what is encrypted by reading.
pub(crate) fn redactor(policy: &str, depth: Option<Depth>, secrets: &Secrets) -> Result<Redactor, Failure> {
    Ok(with_key(engine(policy, depth)?, &secrets.token))
}

/// The same for an engine and a token key.
pub(crate) fn with_key(engine: Engine, token: &[u8; 32]) -> Redactor {
    let mut mac = Hmac::<Sha256>::new_from_slice(token).expect("HMAC takes a key of any length");
    mac.update(b"tabellion operator encryption");
    Redactor::new(Arc::new(engine), Pseudonyms::new(*token)).encrypting(mac.finalize().into_bytes().into())
}
