//! Sealing and opening single pieces.

use std::io::{Read as _, Write as _};
use std::path::Path;

use age::{Callbacks, Decryptor, Encryptor, IdentityFile, Recipient};
use tabellion_evidence::tree::{Hash, sha256};
use zeroize::Zeroizing;

use crate::VaultError;

/// Sealing has to keep up with what passes.
const COMPRESSION: i32 = 3;
/// What begins the last line of an age header (<https://c2sp.org/age>, "Header").
const MAC_LINE: &[u8] = b"\n--- ";

/// To whom originals are sealed.
///
/// age's own kinds only: X25519, and the tagged ones that hardware keys have
/// (P-256, and ML-KEM-768 with P-256). Those of other plugins would need a
/// process of their own for every piece.
pub struct Recipients {
    recipients: Vec<Box<dyn Recipient + Send + Sync>>,
}

/// A sealed piece: an age file in two.
pub struct Sealed {
    /// Goes into the log.
    pub payload: Vec<u8>,
    /// Goes into the keyring.
    pub header: Vec<u8>,
}

impl Sealed {
    /// The SHA-256 of the payload, by which the entry names it.
    pub fn name(&self) -> Hash {
        sha256(&self.payload)
    }
}

impl Recipients {
    /// Reads them as age writes them. There must be at least one.
    pub fn parse(texts: &[impl AsRef<str>]) -> Result<Self, VaultError> {
        let recipients = (1..).zip(texts).map(|(number, text)| {
            let text = text.as_ref();
            if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
                Ok(Box::new(recipient) as Box<dyn Recipient + Send + Sync>)
            } else if let Ok(recipient) = text.parse::<age::tag::Recipient>() {
                Ok(Box::new(recipient) as _)
            } else if let Ok(recipient) = text.parse::<age::tagpq::Recipient>() {
                Ok(Box::new(recipient) as _)
            } else {
                Err(VaultError::Recipient { number })
            }
        });
        let recipients = Self { recipients: recipients.collect::<Result<_, _>>()? };
        // Whether they go together shows when something is sealed.
        recipients.seal(b"")?;
        Ok(recipients)
    }

    /// Compresses and seals.
    pub fn seal(&self, bytes: &[u8]) -> Result<Sealed, VaultError> {
        let compressed = zstd::bulk::compress(bytes, COMPRESSION).map_err(VaultError::Disk)?;
        let compressed = Zeroizing::new(compressed);
        self.encrypt(&compressed)
    }

    /// A whole age file of bytes as they are.
    pub fn file(&self, bytes: &[u8]) -> Result<Vec<u8>, VaultError> {
        let Sealed { payload, mut header } = self.encrypt(bytes)?;
        header.extend_from_slice(&payload);
        Ok(header)
    }

    fn encrypt(&self, bytes: &[u8]) -> Result<Sealed, VaultError> {
        let all = self.recipients.iter().map(|recipient| &**recipient as &dyn Recipient);
        let encryptor = Encryptor::with_recipients(all).map_err(|_| VaultError::Mixed)?;
        // Writing to memory does not fail.
        let mut file = Vec::with_capacity(bytes.len() + 1024);
        let mut writer = encryptor.wrap_output(&mut file).map_err(VaultError::Disk)?;
        writer.write_all(bytes).map_err(VaultError::Disk)?;
        writer.finish().map_err(VaultError::Disk)?;
        let mac = file.windows(MAC_LINE.len()).position(|window| window == MAC_LINE).expect("every header has its MAC");
        let line = mac + MAC_LINE.len();
        let end = file[line..].iter().position(|&byte| byte == b'\n').expect("every header ends in a line feed");
        let payload = file.split_off(line + end + 1);
        Ok(Sealed { payload, header: file })
    }
}

/// Private keys, or the plugins that have them.
pub struct Identities(Vec<Box<dyn age::Identity + Send + Sync>>);

impl Identities {
    /// Reads an identity file, as `age-keygen` and age's plugins write it.
    pub fn read(path: &Path, callbacks: impl Callbacks) -> Result<Self, VaultError> {
        let file = IdentityFile::from_file(path.display().to_string());
        let file = file.map_err(|error| VaultError::Identity(error.into()))?.with_callbacks(callbacks);
        let identities = file.into_identities().map_err(|error| VaultError::Identity(error.into()))?;
        Ok(Self(identities))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| &**identity as _)
    }
}

/// Opens a piece that holds at most `limit` bytes. Nothing of it touches a
/// disk; that they are the right bytes only the entry's commitment says.
pub fn open(
    header: &[u8],
    payload: &[u8],
    identities: &Identities,
    limit: u64,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let decryptor = Decryptor::new(header.chain(payload)).map_err(|_| VaultError::Damaged)?;
    let reader = decryptor.decrypt(identities.all()).map_err(|error| match error {
        age::DecryptError::NoMatchingKeys => VaultError::NoIdentity,
        age::DecryptError::KeyDecryptionFailed | age::DecryptError::PluginResolve(_) | age::DecryptError::Plugin(_) => {
            VaultError::Identity(error.into())
        }
        _ => VaultError::Damaged,
    })?;
    let decoder = zstd::stream::read::Decoder::new(reader).map_err(|_| VaultError::Damaged)?;
    let mut bytes = Zeroizing::new(Vec::new());
    decoder.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|_| VaultError::Damaged)?;
    if bytes.len() as u64 > limit {
        return Err(VaultError::TooLarge);
    }
    Ok(bytes)
}
