//! `tabellion approve`

use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use tabellion_evidence::custody::{Statement, digest, key_id, public_hash};
use zeroize::Zeroizing;

use super::{Log, key, search};
use crate::cli::ApproveArgs;
use crate::custody::{self, Act, What};
use crate::failure::Failure;
use crate::{Ended, chains, ui};

/// Approves what somebody asked for.
///
/// 1. The statement is made from the request as the log has it, and shown to whoever signs.
/// 2. It is signed: here, with a key that is read for this alone; or elsewhere, over a file that is written here.
/// 3. It is recorded, if its signature and all that it says hold.
pub(crate) fn run(args: &ApproveArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let (statement, signature) = match (&args.key, &args.statement, &args.signature) {
        (Some(file), ..) => {
            let signing = read_signing(file)?;
            let id = key_id(&public_hash(&signing.verifying_key().to_bytes()));
            let statement = statement(args, &log, &id)?;
            let signature = signing.sign(statement.as_bytes()).to_bytes();
            (statement, signature.to_vec())
        }
        (None, Some(statement), Some(signature)) => {
            let statement = String::from_utf8(read(statement)?)
                .map_err(|_| Failure::usage("the statement is not the one that was written"))?;
            (statement, read(signature)?)
        }
        _ => {
            let (Some(id), Some(file)) = (&args.key_id, &args.write) else {
                return Err(Failure::usage("say with which key: --key F, or --key-id ID --write F"));
            };
            let statement = statement(args, &log, id)?;
            std::fs::write(file, statement)
                .map_err(|error| Failure::environment(format!("cannot write {}", file.display())).because(error))?;
            let (request, file) = (args.request, file.display());
            ui::note(format!("sign it:   openssl pkeyutl -sign -rawin -inkey KEY.pem -in {file} -out {file}.sig"));
            ui::note(format!("then:      tabellion approve {request} --statement {file} --signature {file}.sig"));
            return Ok(ExitCode::SUCCESS);
        }
    };
    if Statement::parse(&statement).is_none_or(|statement| statement.request != args.request) {
        return Err(Failure::usage("the statement is not one about this request"));
    }
    let what = What::Approve { statement, signature: STANDARD.encode(signature) };
    let act = Act { actor: custody::operator(), why: None, approval: None, what };
    let entry = custody::record(&log.config, &log.reader, act)?.entry;
    ui::note(format!("approved; whoever asked names it with: --approval {entry}"));
    ui::result(entry)?;
    Ok(ExitCode::SUCCESS)
}

fn statement(args: &ApproveArgs, log: &Log, id: &str) -> Result<String, Failure> {
    let state = chains::state(log, &log.catalog()?)?;
    let no = |why: &str| Failure::evidence(why.to_owned());
    let request = state.requests().get(&args.request).ok_or_else(|| no("this entry does not ask for an approval"))?;
    if request.used.is_some() {
        return Err(no("what was asked for has been approved and done"));
    }
    if state.keys().get(id).is_none_or(|key| key.public.is_none()) {
        return Err(
            no("the log has issued no such key that signs").hint("tabellion key issue --role officer --public-key F")
        );
    }
    let reason = args.reason.as_deref().ok_or_else(|| Failure::usage("say why with --reason"))?;
    let details = digest(&request.kind, &request.details)
        .ok_or_else(|| no("what is asked for cannot be put into a statement"))?;
    let statement = Statement {
        log: state.origin().to_owned(),
        request: args.request,
        nonce: request.id.clone(),
        act: request.kind.clone(),
        details,
        expires: key::until("--expires", &args.expires)?,
        key: id.to_owned(),
        reason: ui::plain(&search::redacted(log, reason)?),
    };
    for (name, value) in &request.details {
        ui::note(ui::plain(&format!("{}: {name} {value}", request.kind)));
    }
    let statement = statement.to_string();
    ui::note(statement.trim_end());
    Ok(statement)
}

/// An Ed25519 private key in PEM (PKCS #8), as `openssl genpkey` writes it.
fn read_signing(file: &Path) -> Result<SigningKey, Failure> {
    let text = Zeroizing::new(read(file)?);
    std::str::from_utf8(&text).ok().and_then(|text| SigningKey::from_pkcs8_pem(text).ok()).ok_or_else(|| {
        Failure::usage(format!("{} is not an Ed25519 private key in PEM", file.display()))
            .hint("openssl genpkey -algorithm ed25519 -out key.pem")
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::environment(format!("cannot read {}", file.display())).because(error))
}
