//! Tokens that were damaged: refused, or saying what they said before. (What is wrong in other ways is in
//! `vectors/timestamp`.)

use std::path::Path;

use serde_json::Value;
use tabellion_evidence::timestamp::{Expected, Roots, Timestamp, TimestampError, Token};

struct Sample {
    token: Vec<u8>,
    message: Vec<u8>,
    roots: Roots,
    nonce: u64,
}

fn sample(name: &str) -> Sample {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../vectors/timestamp/{name}.json"));
    let case: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let text = |member: &str| case[member].as_str().unwrap().to_owned();
    Sample {
        token: hex::decode(text("token")).unwrap(),
        message: hex::decode(text("message")).unwrap(),
        roots: Roots::parse(text("roots").as_bytes()).unwrap(),
        nonce: text("nonce").parse().unwrap(),
    }
}

impl Sample {
    fn verify(&self, token: &[u8]) -> Result<Timestamp, TimestampError> {
        let expected = Expected { nonce: Some(self.nonce), policy: None };
        Ok(Token::parse(token)?.verify(&self.message, &self.roots, &expected)?.into_inner())
    }
}

#[test]
fn a_damaged_token_is_refused_or_says_the_same() {
    for name in ["ec", "rsa", "intermediate"] {
        let sample = sample(name);
        let said = sample.verify(&sample.token).unwrap();
        let mut refused = 0;
        for byte in 0..sample.token.len() {
            let mut changed = sample.token.clone();
            changed[byte] ^= 1 << (byte % 8);
            match sample.verify(&changed) {
                Ok(still) => assert_eq!(still, said, "{name}, byte {byte}"),
                Err(_) => refused += 1,
            }
            assert!(sample.verify(&sample.token[..byte]).is_err(), "{name}, cut at {byte}");
        }
        // Little of a token is not signed: the status before it, for one.
        assert!(refused > sample.token.len() * 9 / 10, "{name}: only {refused} of {}", sample.token.len());
    }
}

#[test]
fn roots_are_certificates() {
    let pem = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stranger.pem")).unwrap();
    assert!(Roots::parse(&pem).is_ok());
    assert!(
        Roots::parse(&[b"a note\n", &pem[..], b"another\n", &pem].concat()).is_ok(),
        "text between them is no harm"
    );
    for bytes in [&b""[..], b"no certificate", &pem[..pem.len() / 2], b"0\x03\x02\x01\0"] {
        assert!(Roots::parse(bytes).is_err());
    }
    let key = String::from_utf8(pem).unwrap().replace("CERTIFICATE", "PUBLIC KEY");
    assert!(Roots::parse(key.as_bytes()).is_err());
}
