//! Keys that Tabellion issues: `tbl_`, 43 characters of base62 drawn by lot (256 bits), and the CRC-32 of these as six
//! more, by which scanners for secrets know one. The log has only the SHA-256 of the whole: nobody can guess what was
//! drawn, so there is nothing to salt or to stretch.

use http::HeaderMap;
use tabellion_evidence::tree::{Hash, sha256};
use tabellion_gateway::{CREDENTIALS, KEY_PREFIX, credential_of};
use zeroize::Zeroizing;

use crate::failure::Failure;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is a little more than 2^256.
const DRAWN: usize = 43;
const CHECKSUM: usize = 6;

/// Draws a key.
pub(crate) fn draw() -> Result<Zeroizing<String>, Failure> {
    let mut key = Zeroizing::new(String::with_capacity(KEY_PREFIX.len() + DRAWN + CHECKSUM));
    key.push_str(KEY_PREFIX);
    while key.len() < KEY_PREFIX.len() + DRAWN {
        let mut byte = Zeroizing::new([0]);
        getrandom::fill(&mut *byte).map_err(|_| Failure::environment("no random bytes"))?;
        // 248 is the largest multiple of 62 that a byte can be below: each character is as likely as any other.
        if byte[0] < 248 {
            key.push(char::from(BASE62[usize::from(byte[0] % 62)]));
        }
    }
    let checksum = checksum(&key.as_bytes()[KEY_PREFIX.len()..]);
    key.extend(checksum.map(char::from));
    Ok(key)
}

fn checksum(drawn: &[u8]) -> [u8; CHECKSUM] {
    let mut crc = flate2::Crc::new();
    crc.update(drawn);
    let mut rest = crc.sum() as usize;
    let mut digits = [0; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % 62];
        rest /= 62;
    }
    digits
}

/// The hash that the log has of a key; `None` of what cannot be one.
pub(crate) fn hash(key: &[u8]) -> Option<Hash> {
    let body = key.strip_prefix(KEY_PREFIX.as_bytes())?;
    let (drawn, sum) = body.split_at_checked(DRAWN)?;
    (drawn.iter().all(u8::is_ascii_alphanumeric) && sum == checksum(drawn)).then(|| sha256(key))
}

/// The key that a request brings, in whichever header: `x-tabellion-key`, or where a client sends its provider's.
pub(crate) fn of(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-tabellion-key") {
        return Some(key.as_bytes());
    }
    let credentials = CREDENTIALS.into_iter().filter_map(|name| headers.get(name)).map(credential_of);
    credentials.into_iter().find(|credential| credential.starts_with(KEY_PREFIX.as_bytes()))
}

/// Whether a key of ours stands in a URL, where others' logs would keep it.
pub(crate) fn is_in_url(url: &str) -> bool {
    if !url.contains(['_', '%']) {
        return false;
    }
    let url: Vec<u8> = percent_encoding::percent_decode_str(url).collect();
    let length = KEY_PREFIX.len() + DRAWN + CHECKSUM;
    url.windows(length).any(|candidate| hash(candidate).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_url_is_seen_however_it_is_written() {
        let key = draw().unwrap();
        for url in [format!("/v1/models?key={}", *key), format!("/{}/x", key.replace('_', "%5f")), (*key).clone()] {
            assert!(is_in_url(&url), "{url}");
            assert!(!is_in_url(&url.replace("tbl", "tbI")), "{url}");
        }
        assert!(!is_in_url("/v1/models?key=tbl_") && !is_in_url("/v1/chat/completions"));
    }

    #[test]
    fn a_key_is_known_by_its_checksum() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 53);
        assert_eq!(hash(one.as_bytes()), Some(sha256(one.as_bytes())));
        // Made by Python's binascii.crc32.
        assert!(hash(b"tbl_Ky9Pf34qY6Nb3wWD25RQ4F5ZR3qa7yEeeby3abP3E2Z3z10fu").is_some());
        for position in 0..one.len() {
            let mut wrong = one.as_bytes().to_vec();
            wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
            assert_eq!(hash(&wrong), None, "position {position}");
        }
        for cut in 0..one.len() {
            assert_eq!(hash(&one.as_bytes()[..cut]), None);
        }
    }

    #[test]
    fn a_key_is_found_wherever_clients_send_theirs() {
        let with =
            |name: &'static str, value: &str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        for (name, value) in [
            ("x-tabellion-key", "tbl_x"),
            ("authorization", "Bearer tbl_x"),
            ("authorization", "bearer tbl_x"),
            ("x-api-key", "tbl_x"),
            ("api-key", "tbl_x"),
            ("x-goog-api-key", "tbl_x"),
        ] {
            assert_eq!(of(&with(name, value)), Some(&b"tbl_x"[..]), "{name}");
        }
        assert_eq!(of(&with("authorization", "Bearer sk-x")), None);
        assert_eq!(of(&with("x-tabellion-key", "anything")), Some(&b"anything"[..]), "to be refused");
        assert_eq!(of(&HeaderMap::new()), None);
    }
}
