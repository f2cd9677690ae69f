//! Keyed pseudonyms: the same value has the same token in every record of an installation, and nobody without the key
//! can test a guess.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::normal::Normalized;
use crate::validate::phone;

/// Makes tokens. It holds the token key and shows it to nobody.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; 32],
}

impl Pseudonyms {
    /// With this token key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The first eight characters of the lower-case base32 (RFC 4648) of
    /// `HMAC-SHA-256(key, entity || 0x00 || normalized value)`: 40 bits.
    pub fn token(&self, entity: &str, value: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(entity.as_bytes());
        mac.update(&[0]);
        mac.update(normalize(entity, value).as_bytes());
        base32(mac.finalize().into_bytes().first_chunk().expect("SHA-256 has 32 bytes"))
    }

    /// A key for another purpose. It says nothing about tokens: no token is made for an entity without a name.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(&[0]);
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn base32(bytes: &[u8; 5]) -> String {
    let bits = bytes.iter().fold(0u64, |bits, &b| bits << 8 | u64::from(b));
    (0..8).rev().map(|i| b"abcdefghijklmnopqrstuvwxyz234567"[(bits >> (5 * i) & 31) as usize] as char).collect()
}

/// One spelling for all spellings of a value. What cannot be read as its entity says is taken as it stands, trimmed.
pub(crate) fn normalize(entity: &str, value: &str) -> String {
    let folded = Normalized::new(value);
    let value = folded.as_ref().map_or(value, |n| n.text.as_str()).trim();
    let alphanumeric =
        || value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect::<String>();
    match entity {
        "EMAIL_ADDRESS" => value.to_lowercase(),
        "PHONE_NUMBER" => phone::e164(value),
        "IP_ADDRESS" => ip(value),
        "CREDIT_CARD" | "IBAN_CODE" | "ICCID" | "IMEI" | "IMSI" | "MAC_ADDRESS" | "SWIFT_BIC" | "VIN" => alphanumeric(),
        // What a country gives: `US_SSN`, `UK_NHS`, `DE_TAX_ID`.
        _ if entity.as_bytes().get(2) == Some(&b'_') => alphanumeric(),
        _ => value.to_owned(),
    }
}

fn ip(value: &str) -> String {
    let (address, network) = value.split_once('/').map_or((value, None), |(a, n)| (a, Some(n)));
    let (address, _zone) = address.split_once('%').unwrap_or((address, ""));
    match address.parse::<std::net::IpAddr>() {
        Err(_) => value.to_lowercase(),
        Ok(address) => {
            let address = address.to_canonical();
            network.map_or_else(|| address.to_string(), |n| format!("{address}/{n}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_python() {
        // base64.b32encode(hmac.new(bytes(range(32)), b"EMAIL_ADDRESS\0a@example.com", "sha256").digest()).lower()[:8]
        let key = std::array::from_fn(|i| i as u8);
        assert_eq!(Pseudonyms::new(key).token("EMAIL_ADDRESS", "A@Example.com "), "5i7vyiyx");
    }

    #[test]
    fn spellings_of_one_value_have_one_token() {
        let pseudonyms = Pseudonyms::new([7; 32]);
        for (entity, spellings) in [
            ("EMAIL_ADDRESS", &["Jo@Example.com", "jo@example.com", "jo\u{200b}@example.com"][..]),
            ("PHONE_NUMBER", &["+1 415 555 0132", "(415) 555-0132", "415.555.0132", "001 415 555 0132", "4155550132"]),
            ("CREDIT_CARD", &["4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"]),
            ("US_SSN", &["536-90-4399", "536904399", "536 90 4399"]),
            ("UK_NHS", &["943 476 5919", "943-476-5919", "9434765919"]),
            ("MAC_ADDRESS", &["00:1A:2b:3c:4d:5e", "00-1a-2b-3c-4d-5e"]),
            ("IBAN_CODE", &["DE89 3704 0044 0532 0130 00", "de89370400440532013000"]),
            ("IP_ADDRESS", &["2001:DB8::1", "2001:db8:0:0::1", "2001:db8::1%eth0"]),
            ("IP_ADDRESS", &["10.0.0.1", "::ffff:10.0.0.1"]),
        ] {
            let tokens: Vec<_> = spellings.iter().map(|s| pseudonyms.token(entity, s)).collect();
            assert!(tokens.windows(2).all(|w| w[0] == w[1]), "{entity} {spellings:?} {tokens:?}");
        }
        assert_ne!(pseudonyms.token("A", "x"), pseudonyms.token("B", "x"));
        assert_ne!(Pseudonyms::new([8; 32]).token("A", "x"), pseudonyms.token("A", "x"));
    }
}
