//! Timestamps of authorities: that bytes existed at a time, signed by somebody
//! whose certificate leads to a root that the verifier trusts. (RFC 3161, with
//! RFC 5816; the signature around it is CMS, RFC 5652.)
//!
//! [`Request::to_der`] is what an authority is asked, [`Token::parse`] reads
//! what it answers and believes nothing, and [`Token::verify`] is what makes
//! its time worth something. The bytes of an answer are kept as they were
//! received; nothing here writes one.
//!
//! Parsing bears what authorities do: certificates and attributes in any
//! order, times with fractions, an answer with its status around the token or
//! a token alone. It does not bear indefinite lengths.
//!
//! Not checked: whether a certificate was revoked. And a token says what its
//! authority's clock said: one that is back-dated verifies. Whoever asks for
//! one bounds its time by their own clock; whoever reads one, by what else
//! they know (`docs/format.md`, section *Anchors*).

use std::fmt;
use std::time::Duration;

use cms::content_info::ContentInfo;
use cms::signed_data::{EncapsulatedContentInfo, SignerIdentifier, SignerInfo};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
    alg_id,
};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::Verified;
use crate::time::Time;
use crate::tree::{Hash, sha256};

/// The longest answer that is read. Tokens with their certificates take 2 to
/// 10 kB.
pub const TOKEN_BYTES_MAX: usize = 128 << 10;

/// The most certificates that a token may carry.
const CERTIFICATES_MAX: usize = 16;

/// The most roots that are read from a file; browsers know some 150.
pub const ROOTS_MAX: usize = 1_000;

/// The longest file of roots that is read.
pub const ROOTS_BYTES_MAX: usize = 4 << 20;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// The same without tag and length, as `webpki` wants it.
const TIME_STAMPING_VALUE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// Longer than [`TOKEN_BYTES_MAX`], or too many certificates.
    #[error("the token is too large")]
    TooLarge,
    /// The bytes are not a timestamp.
    #[error("the token is malformed")]
    Malformed,
    /// The authority refused to give one, and says why, perhaps.
    #[error("the authority refused: status {status}{}", Failing(*.failure))]
    Rejected {
        /// `PKIStatus`.
        status: u8,
        /// The first bit that is set in `PKIFailureInfo`.
        failure: Option<u8>,
    },
    /// The token is about other bytes.
    #[error("the token is about other bytes")]
    Imprint,
    /// The token answers another request.
    #[error("the token does not have the request's nonce")]
    Nonce,
    /// The token was given under another policy than the one that is demanded.
    #[error("the token was given under another policy")]
    Policy,
    /// The token has a critical extension that is not known here.
    #[error("the token has a critical extension that is not known")]
    Extension,
    /// An algorithm that is not supported, or not any more.
    #[error("the token is signed with an algorithm that is not supported")]
    Algorithm,
    /// The certificate that the signature names is not in the token.
    #[error("the token lacks its signer's certificate")]
    Certificate,
    /// The signed attributes name another certificate than the one that fits,
    /// or none.
    #[error("the token's signature does not commit to its signer's certificate")]
    CertificateId,
    /// The signature, or the hash of what is signed, is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// The certificate is not one for timestamps and nothing else.
    #[error("the signer's certificate is not for timestamps alone")]
    Usage,
    /// The certificate leads to none of the roots, or was not valid at the
    /// token's time.
    #[error("the signer's certificate leads to none of the roots: {0}")]
    Chain(ChainError),
}

/// Why a certificate leads to no root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Nobody of the roots, or those who lead to them, issued it.
    #[error("its issuer is not known")]
    Issuer,
    /// A certificate was not valid yet, or not any more, at the token's time.
    #[error("a certificate was not valid at the token's time")]
    Validity,
    /// A certificate's signature is wrong.
    #[error("a certificate's signature is wrong")]
    Signature,
    /// A certificate forbids it, or cannot be read.
    #[error("a certificate forbids it or cannot be read")]
    Other,
}

/// What a failure bit means (RFC 3161, section 2.4.2).
struct Failing(Option<u8>);

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bit) = self.0 else { return Ok(()) };
        let word = match bit {
            0 => "badAlg",
            2 => "badRequest",
            5 => "badDataFormat",
            14 => "timeNotAvailable",
            15 => "unacceptedPolicy",
            16 => "unacceptedExtension",
            17 => "addInfoNotAvailable",
            25 => "systemFailure",
            _ => return write!(f, ", failure {bit}"),
        };
        write!(f, ", {word}")
    }
}

impl From<der::Error> for TimestampError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

/// A policy's object identifier, such as `1.3.6.1.4.1.32473.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy(ObjectIdentifier);

impl Policy {
    /// Reads numbers with dots between them.
    pub fn parse(text: &str) -> Option<Self> {
        ObjectIdentifier::new(text).ok().map(Self)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an authority is asked: the time, for the SHA-256 of a message, with
/// its certificates.
#[derive(Clone, Debug)]
pub struct Request {
    imprint: Hash,
    nonce: u64,
    policy: Option<Policy>,
}

impl Request {
    /// A request about a message. The nonce must be random: it is what shows
    /// that the answer is not an older one.
    pub fn new(message: &[u8], nonce: u64, policy: Option<Policy>) -> Self {
        Self { imprint: sha256(message), nonce, policy }
    }

    /// The body of the request, `application/timestamp-query`.
    pub fn to_der(&self) -> Vec<u8> {
        let encode = || -> der::Result<Vec<u8>> {
            let algorithm = tlv(0x30, &[&SHA_256.to_der()?, &[5, 0]]);
            let imprint = tlv(0x30, &[&algorithm, &OctetStringRef::new(&self.imprint.0)?.to_der()?]);
            let policy = self.policy.map_or(Ok(Vec::new()), |policy| policy.0.to_der())?;
            Ok(tlv(0x30, &[&1_u8.to_der()?, &imprint, &policy, &self.nonce.to_der()?, &true.to_der()?]))
        };
        encode().expect("a request is short")
    }
}

/// Tag, length and value, of a value shorter than 128 bytes.
fn tlv(tag: u8, values: &[&[u8]]) -> Vec<u8> {
    let length: usize = values.iter().map(|value| value.len()).sum();
    let mut bytes = vec![tag, u8::try_from(length).ok().filter(|&length| length < 128).expect("a request is short")];
    values.iter().for_each(|value| bytes.extend_from_slice(value));
    bytes
}

/// Certificates that a verifier trusts to say who is an authority.
#[derive(Clone)]
pub struct Roots(Vec<Root>);

#[derive(Clone)]
struct Root {
    anchor: TrustAnchor<'static>,
    name: String,
    from: Time,
    until: Time,
}

/// A file of roots cannot be read as certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("roots must be certificates, in PEM or one in DER")]
pub struct RootsError;

impl Roots {
    /// Reads certificates: one or more in PEM, or one in DER. They are taken
    /// as roots, whoever signed them.
    pub fn parse(bytes: &[u8]) -> Result<Self, RootsError> {
        if bytes.len() > ROOTS_BYTES_MAX {
            return Err(RootsError);
        }
        let ders = if bytes.first() == Some(&0x30) { vec![bytes.to_vec()] } else { pem(bytes)? };
        if ders.is_empty() || ders.len() > ROOTS_MAX {
            return Err(RootsError);
        }
        ders.iter().map(|der| Root::parse(der).ok_or(RootsError)).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|root| &root.name)).finish()
    }
}

/// The certificates of a PEM file, whatever stands between them.
fn pem(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RootsError> {
    let text = std::str::from_utf8(bytes).map_err(|_| RootsError)?;
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let mut ders = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(begin) {
        let length = rest[start..].find(end).ok_or(RootsError)? + end.len();
        let (label, der) = der::pem::decode_vec(&rest.as_bytes()[start..start + length]).map_err(|_| RootsError)?;
        if label != "CERTIFICATE" {
            return Err(RootsError);
        }
        ders.push(der);
        rest = &rest[start + length..];
    }
    Ok(ders)
}

impl Root {
    fn parse(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let validity = certificate.tbs_certificate().validity();
        let der = CertificateDer::from(der);
        Some(Self {
            anchor: webpki::anchor_from_trusted_cert(&der).ok()?.to_owned(),
            name: certificate.tbs_certificate().subject().to_string(),
            from: Time::from_unix(validity.not_before.to_unix_duration()),
            until: Time::from_unix(validity.not_after.to_unix_duration()),
        })
    }
}

/// What a token must say beside the bytes that it is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// The nonce of the request; `None` for a token that was kept.
    pub nonce: Option<u64>,
    /// The policy, where one is demanded.
    pub policy: Option<Policy>,
}

/// An authority's word on when something existed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// When, by the authority's clock.
    pub time: Time,
    /// How far from it the truth may be, by the authority's own word.
    pub accuracy: Duration,
    /// The policy under which it says so.
    pub policy: Policy,
    /// The token's serial number, hexadecimal.
    pub serial: String,
    /// Who says so: the subject of the certificate that signed.
    pub authority: String,
    /// The root that its certificate leads to.
    pub root: String,
}

impl Timestamp {
    /// The latest time at which the bytes came to exist.
    pub fn no_later_than(&self) -> Time {
        self.time.plus(self.accuracy)
    }
}

/// A token that was read, not checked.
#[derive(Clone, Debug)]
pub struct Token {
    /// What is signed, in DER.
    content: Vec<u8>,
    info: Info,
    signer: SignerInfo,
    certificates: Vec<CertificateDer<'static>>,
}

/// `TSTInfo`.
#[derive(Clone, Debug)]
struct Info {
    policy: Policy,
    imprint: Vec<u8>,
    algorithm: ObjectIdentifier,
    serial: Vec<u8>,
    time: Time,
    accuracy: Duration,
    nonce: Option<Vec<u8>>,
    critical: bool,
}

/// What is inside something constructed with this tag, and nothing behind it.
fn inside(bytes: &[u8], tag: Tag) -> der::Result<SliceReader<'_>> {
    let any = AnyRef::from_der(bytes)?;
    any.tag().assert_eq(tag)?;
    SliceReader::new(any.value())
}

fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific { constructed, number: TagNumber(number) }
}

/// The bytes of what comes next, if it has this tag.
fn next<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<Option<&'a [u8]>> {
    if reader.is_finished() || Tag::peek(reader)? != tag {
        return Ok(None);
    }
    reader.tlv_bytes().map(Some)
}

impl Token {
    /// Reads an authority's answer, or a token without the status around it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TimestampError> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TimestampError::TooLarge);
        }
        let mut answer = inside(bytes, Tag::Sequence)?;
        if Tag::peek(&answer)? == Tag::ObjectIdentifier {
            return Self::parse_bare(bytes);
        }
        let mut status = inside(answer.tlv_bytes()?, Tag::Sequence)?;
        let code = u8::decode(&mut status)?;
        if code > 1 {
            next(&mut status, Tag::Sequence)?;
            let failure = match next(&mut status, Tag::BitString)? {
                Some(bits) => {
                    BitStringRef::from_der(bits)?.bits().position(|bit| bit).and_then(|bit| bit.try_into().ok())
                }
                None => None,
            };
            return Err(TimestampError::Rejected { status: code, failure });
        }
        let token = answer.tlv_bytes()?;
        answer.finish()?;
        Self::parse_bare(token)
    }

    /// `ContentInfo` of `SignedData` of `TSTInfo`.
    fn parse_bare(bytes: &[u8]) -> Result<Self, TimestampError> {
        let outer = ContentInfo::from_der(bytes)?;
        if outer.content_type != SIGNED_DATA {
            return Err(TimestampError::Malformed);
        }
        let signed = outer.content.to_der()?;
        let mut signed = inside(&signed, Tag::Sequence)?;
        u8::decode(&mut signed)?;
        inside(signed.tlv_bytes()?, Tag::Set)?;
        let encapsulated = EncapsulatedContentInfo::decode(&mut signed)?;
        if encapsulated.econtent_type != TST_INFO {
            return Err(TimestampError::Malformed);
        }
        let content = encapsulated.econtent.ok_or(TimestampError::Malformed)?;
        let content = content.decode_as::<&OctetStringRef>()?.as_bytes().to_vec();
        let certificates = match next(&mut signed, context(0, true))? {
            Some(set) => parse_certificates(set)?,
            None => Vec::new(),
        };
        // Revocation lists are not looked at.
        next(&mut signed, context(1, true))?;
        let mut signers = inside(signed.tlv_bytes()?, Tag::Set)?;
        signed.finish()?;
        let signer = SignerInfo::decode(&mut signers)?;
        // RFC 3161, section 2.4.2: no signature but the authority's.
        signers.finish()?;
        Ok(Self { info: Info::parse(&content)?, content, signer, certificates })
    }

    /// Checks that an authority with a certificate under one of these roots
    /// said that the message existed.
    pub fn verify(
        &self,
        message: &[u8],
        roots: &Roots,
        expected: &Expected,
    ) -> Result<Verified<Timestamp>, TimestampError> {
        let info = &self.info;
        if info.algorithm != SHA_256 {
            return Err(TimestampError::Algorithm);
        }
        if info.imprint != sha256(message).0 {
            return Err(TimestampError::Imprint);
        }
        if expected.nonce.is_some_and(|nonce| info.nonce.as_deref() != Some(trimmed(&nonce.to_be_bytes()))) {
            return Err(TimestampError::Nonce);
        }
        if expected.policy.is_some_and(|policy| policy != info.policy) {
            return Err(TimestampError::Policy);
        }
        if info.critical {
            return Err(TimestampError::Extension);
        }
        let (der, certificate) = self.certificate()?;
        self.check_attributes(der, &certificate)?;
        self.check_signature(&certificate)?;
        check_usage(&certificate)?;
        let root = self.check_chain(der, roots)?;
        Ok(Verified::new(Timestamp {
            time: info.time,
            accuracy: info.accuracy,
            policy: info.policy,
            serial: hex::encode(&info.serial),
            authority: certificate.tbs_certificate().subject().to_string(),
            root,
        }))
    }

    /// The time that the token speaks of, which nobody may have signed.
    pub fn claimed_time(&self) -> Time {
        self.info.time
    }

    /// Whether the token claims to be about this message. A cheap look before
    /// [`Token::verify`], where there are no roots to verify with.
    pub fn is_about(&self, message: &[u8]) -> bool {
        self.info.algorithm == SHA_256 && self.info.imprint == sha256(message).0
    }

    /// The signer's certificate.
    fn certificate(&self) -> Result<(&CertificateDer<'static>, Certificate), TimestampError> {
        let is_signer = |certificate: &Certificate| {
            let tbs = certificate.tbs_certificate();
            match &self.signer.sid {
                SignerIdentifier::IssuerAndSerialNumber(id) => {
                    id.issuer == *tbs.issuer() && id.serial_number == *tbs.serial_number()
                }
                SignerIdentifier::SubjectKeyIdentifier(id) => {
                    matches!(tbs.get_extension::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *id)
                }
            }
        };
        self.certificates
            .iter()
            .find_map(|der| Certificate::from_der(der).ok().filter(is_signer).map(|certificate| (der, certificate)))
            .ok_or(TimestampError::Certificate)
    }

    /// The value of a signed attribute, which must be there once and have one.
    fn attribute(&self, oid: ObjectIdentifier) -> Result<Option<&der::Any>, TimestampError> {
        let mut found = self.signer.signed_attrs.iter().flat_map(|all| all.iter()).filter(|one| one.oid == oid);
        let Some(attribute) = found.next() else { return Ok(None) };
        match (found.next(), attribute.values.as_slice()) {
            (None, [value]) => Ok(Some(value)),
            _ => Err(TimestampError::Malformed),
        }
    }

    /// RFC 5652, section 11, and RFC 5035: the attributes name what is signed,
    /// and which certificate it is signed with.
    fn check_attributes(&self, der: &[u8], certificate: &Certificate) -> Result<(), TimestampError> {
        let content_type = self.attribute(CONTENT_TYPE)?.ok_or(TimestampError::Signature)?;
        if content_type.decode_as::<ObjectIdentifier>()? != TST_INFO {
            return Err(TimestampError::Signature);
        }
        let digest = self.attribute(MESSAGE_DIGEST)?.ok_or(TimestampError::Signature)?;
        let algorithm = Hashing::of(&self.signer.digest_alg.oid).ok_or(TimestampError::Algorithm)?;
        if digest.decode_as::<&OctetStringRef>()?.as_bytes() != algorithm.hash(&self.content) {
            return Err(TimestampError::Signature);
        }
        let first = self.attribute(SIGNING_CERTIFICATE)?;
        let second = self.attribute(SIGNING_CERTIFICATE_V2)?;
        if first.is_none() && second.is_none() {
            return Err(TimestampError::CertificateId);
        }
        for (value, version) in [(first, 1), (second, 2)] {
            let Some(value) = value else { continue };
            if !commits(&value.to_der()?, version, der, certificate)? {
                return Err(TimestampError::CertificateId);
            }
        }
        Ok(())
    }

    fn check_signature(&self, certificate: &Certificate) -> Result<(), TimestampError> {
        let signer = &self.signer;
        let key = certificate.tbs_certificate().subject_public_key_info();
        let scheme = Scheme::of(&signer.signature_algorithm, &signer.digest_alg, &key.algorithm)?;
        // A SET OF in DER, whatever order it came in: RFC 5652, section 5.4.
        let attributes = signer.signed_attrs.as_ref().ok_or(TimestampError::Signature)?.to_der()?;
        scheme
            .verify_signature(key.subject_public_key.raw_bytes(), &attributes, signer.signature.as_bytes())
            .map_err(|_| TimestampError::Signature)
    }

    /// The name of the root that the certificate leads to, at the token's
    /// time.
    fn check_chain(&self, der: &CertificateDer<'_>, roots: &Roots) -> Result<String, TimestampError> {
        let time = self.info.time;
        let roots: Vec<&Root> = roots.0.iter().filter(|root| root.from <= time && time <= root.until).collect();
        let anchors: Vec<TrustAnchor<'_>> = roots.iter().map(|root| root.anchor.clone()).collect();
        let others: Vec<CertificateDer<'_>> = self
            .certificates
            .iter()
            .filter(|other| *other != der)
            .map(|other| CertificateDer::from(other.as_ref()))
            .collect();
        let certificate = webpki::EndEntityCert::try_from(der).map_err(chain)?;
        let path = certificate
            .verify_for_usage(
                &SCHEMES,
                &anchors,
                &others,
                UnixTime::since_unix_epoch(time.unix()),
                // Of the authorities between; the signer's own has been checked.
                webpki::KeyUsage::required_if_present(TIME_STAMPING_VALUE),
                None,
                None,
            )
            .map_err(chain)?;
        let root = roots.iter().find(|root| root.anchor == *path.anchor());
        Ok(root.expect("the path ends in one of the roots").name.clone())
    }
}

fn chain(error: webpki::Error) -> TimestampError {
    use webpki::Error;
    TimestampError::Chain(match error {
        Error::UnknownIssuer => ChainError::Issuer,
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => ChainError::Validity,
        Error::InvalidSignatureForPublicKey => ChainError::Signature,
        _ => ChainError::Other,
    })
}

/// RFC 3161, section 2.3: one key purpose, in a critical extension; and the
/// key may sign.
fn check_usage(certificate: &Certificate) -> Result<(), TimestampError> {
    let tbs = certificate.tbs_certificate();
    let purpose = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| TimestampError::Usage)?;
    if !matches!(purpose, Some((true, ExtendedKeyUsage(purposes))) if purposes == [TIME_STAMPING]) {
        return Err(TimestampError::Usage);
    }
    match tbs.get_extension::<KeyUsage>().map_err(|_| TimestampError::Usage)? {
        Some((_, usage)) if !usage.digital_signature() && !usage.non_repudiation() => Err(TimestampError::Usage),
        _ => Ok(()),
    }
}

/// The certificates of a SET, as they are. Other kinds of certificates are
/// passed over.
fn parse_certificates(set: &[u8]) -> Result<Vec<CertificateDer<'static>>, TimestampError> {
    let mut set = inside(set, context(0, true))?;
    let mut certificates = Vec::new();
    while !set.is_finished() {
        let tag = Tag::peek(&set)?;
        let bytes = set.tlv_bytes()?;
        if tag != Tag::Sequence {
            continue;
        }
        if certificates.len() == CERTIFICATES_MAX {
            return Err(TimestampError::TooLarge);
        }
        certificates.push(CertificateDer::from(bytes.to_vec()));
    }
    Ok(certificates)
}

/// Whether a `SigningCertificate` (RFC 2634, SHA-1) or `SigningCertificateV2`
/// (RFC 5035) names this certificate first.
fn commits(value: &[u8], version: u8, der: &[u8], certificate: &Certificate) -> Result<bool, TimestampError> {
    let mut attribute = inside(value, Tag::Sequence)?;
    let mut list = inside(attribute.tlv_bytes()?, Tag::Sequence)?;
    let mut id = inside(list.tlv_bytes()?, Tag::Sequence)?;
    let hash = match (version, next(&mut id, Tag::Sequence)?) {
        (1, None) => sha1::Sha1::digest(der).to_vec(),
        (2, None) => Sha256::digest(der).to_vec(),
        (2, Some(algorithm)) => {
            let algorithm = AlgorithmIdentifierOwned::from_der(algorithm)?;
            Hashing::of(&algorithm.oid).ok_or(TimestampError::Algorithm)?.hash(der)
        }
        _ => return Err(TimestampError::Malformed),
    };
    if <&OctetStringRef>::decode(&mut id)?.as_bytes() != hash {
        return Ok(false);
    }
    // IssuerSerial, where it is: the hash has said which certificate it is, and this must not say otherwise.
    let Some(issuer_serial) = next(&mut id, Tag::Sequence)? else { return Ok(true) };
    let mut issuer_serial = inside(issuer_serial, Tag::Sequence)?;
    issuer_serial.tlv_bytes()?;
    let serial = inside(issuer_serial.tlv_bytes()?, Tag::Integer)?;
    Ok(serial.remaining_bytes() == certificate.tbs_certificate().serial_number().as_bytes())
}

/// What is left of a reader's bytes.
trait RemainingBytes<'a> {
    fn remaining_bytes(self) -> &'a [u8];
}

impl<'a> RemainingBytes<'a> for SliceReader<'a> {
    fn remaining_bytes(mut self) -> &'a [u8] {
        let length = self.remaining_len();
        self.read_slice(length).unwrap_or_default()
    }
}

/// A number's bytes without zeros in front.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    &bytes[zeros.min(bytes.len() - 1)..]
}

impl Info {
    fn parse(bytes: &[u8]) -> Result<Self, TimestampError> {
        let mut info = inside(bytes, Tag::Sequence)?;
        if u8::decode(&mut info)? != 1 {
            return Err(TimestampError::Malformed);
        }
        let policy = Policy(ObjectIdentifier::decode(&mut info)?);
        let mut imprint = inside(info.tlv_bytes()?, Tag::Sequence)?;
        let algorithm = AlgorithmIdentifierOwned::decode(&mut imprint)?.oid;
        let hash = <&OctetStringRef>::decode(&mut imprint)?.as_bytes().to_vec();
        let serial = UintRef::decode(&mut info)?.as_bytes().to_vec();
        let time = AnyRef::decode(&mut info)?;
        time.tag().assert_eq(Tag::GeneralizedTime)?;
        let time = Time::parse_generalized(time.value()).ok_or(TimestampError::Malformed)?;
        let accuracy = match next(&mut info, Tag::Sequence)? {
            Some(accuracy) => parse_accuracy(accuracy)?,
            None => Duration::ZERO,
        };
        next(&mut info, Tag::Boolean)?;
        let nonce = match next(&mut info, Tag::Integer)? {
            Some(nonce) => Some(UintRef::from_der(nonce)?.as_bytes().to_vec()),
            None => None,
        };
        next(&mut info, context(0, true))?;
        let critical = match next(&mut info, context(1, true))? {
            Some(extensions) => has_critical(extensions)?,
            None => false,
        };
        info.finish()?;
        Ok(Self { policy, imprint: hash, algorithm, serial, time, accuracy, nonce, critical })
    }
}

/// Seconds, thousandths and millionths, each where there are any.
fn parse_accuracy(bytes: &[u8]) -> Result<Duration, TimestampError> {
    let mut accuracy = inside(bytes, Tag::Sequence)?;
    let seconds = match next(&mut accuracy, Tag::Integer)? {
        Some(seconds) => u32::from_der(seconds)?,
        None => 0,
    };
    let mut part = |number: u32| -> Result<u64, TimestampError> {
        let Some(bytes) = next(&mut accuracy, context(number, false))? else { return Ok(0) };
        match inside(bytes, context(number, false))?.remaining_bytes() {
            [low] => Ok(u64::from(*low)),
            [high, low] => Ok(u64::from(u16::from_be_bytes([*high, *low]))),
            _ => Err(TimestampError::Malformed),
        }
    };
    let (millis, micros) = (part(0)?, part(1)?);
    if millis > 999 || micros > 999 {
        return Err(TimestampError::Malformed);
    }
    accuracy.finish()?;
    Ok(Duration::from_secs(seconds.into()) + Duration::from_millis(millis) + Duration::from_micros(micros))
}

fn has_critical(extensions: &[u8]) -> Result<bool, TimestampError> {
    let mut extensions = inside(extensions, context(1, true))?;
    while !extensions.is_finished() {
        let mut extension = inside(extensions.tlv_bytes()?, Tag::Sequence)?;
        extension.tlv_bytes()?;
        if let Some(critical) = next(&mut extension, Tag::Boolean)?
            && bool::from_der(critical)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A hash function that is still good for signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hashing {
    Sha256,
    Sha384,
    Sha512,
}

impl Hashing {
    fn of(oid: &ObjectIdentifier) -> Option<Self> {
        match *oid {
            SHA_256 => Some(Self::Sha256),
            SHA_384 => Some(Self::Sha384),
            SHA_512 => Some(Self::Sha512),
            _ => None,
        }
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// A way to sign, of certificates and of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    RsaPkcs1(Hashing),
    /// With a salt as long as the hash, and the same hash in the mask.
    RsaPss(Hashing),
    Ecdsa(Curve, Hashing),
    Ed25519,
}

/// All of them, as `webpki` wants them.
const SCHEMES: [&dyn SignatureVerificationAlgorithm; 16] = {
    use Curve::{P256, P384, P521};
    use Hashing::{Sha256, Sha384, Sha512};
    [
        &Scheme::RsaPkcs1(Sha256),
        &Scheme::RsaPkcs1(Sha384),
        &Scheme::RsaPkcs1(Sha512),
        &Scheme::RsaPss(Sha256),
        &Scheme::RsaPss(Sha384),
        &Scheme::RsaPss(Sha512),
        &Scheme::Ecdsa(P256, Sha256),
        &Scheme::Ecdsa(P256, Sha384),
        &Scheme::Ecdsa(P256, Sha512),
        &Scheme::Ecdsa(P384, Sha256),
        &Scheme::Ecdsa(P384, Sha384),
        &Scheme::Ecdsa(P384, Sha512),
        &Scheme::Ecdsa(P521, Sha256),
        &Scheme::Ecdsa(P521, Sha384),
        &Scheme::Ecdsa(P521, Sha512),
        &Scheme::Ed25519,
    ]
};

impl Scheme {
    /// The scheme of a CMS signature, which may name the key's algorithm and
    /// the hash apart, or both at once; then they must agree.
    fn of(
        signature: &AlgorithmIdentifierOwned,
        digest: &AlgorithmIdentifierOwned,
        key: &AlgorithmIdentifierOwned,
    ) -> Result<Self, TimestampError> {
        const WRONG: TimestampError = TimestampError::Algorithm;
        let hashing = Hashing::of(&digest.oid).ok_or(WRONG)?;
        let key_id = body(key)?;
        let curves = [Curve::P256, Curve::P384, Curve::P521];
        let curve =
            || curves.into_iter().find(|&curve| Self::Ecdsa(curve, hashing).public_key_alg_id().as_ref() == key_id);
        let scheme = if signature.oid == RSA && key.oid == RSA {
            Self::RsaPkcs1(hashing)
        } else if signature.oid == EC {
            Self::Ecdsa(curve().ok_or(WRONG)?, hashing)
        } else {
            let candidates = [Self::RsaPkcs1(hashing), Self::RsaPss(hashing), Self::Ed25519];
            let candidates = candidates.into_iter().chain(curve().map(|curve| Self::Ecdsa(curve, hashing)));
            let id = body(signature)?;
            let fits = |scheme: &Self| {
                scheme.signature_alg_id().as_ref() == id && scheme.public_key_alg_id().as_ref() == key_id
            };
            candidates.into_iter().find(fits).ok_or(WRONG)?
        };
        Ok(scheme)
    }
}

/// An `AlgorithmIdentifier` without the tag and length around it.
fn body(algorithm: &AlgorithmIdentifierOwned) -> Result<Vec<u8>, TimestampError> {
    Ok(inside(&algorithm.to_der()?, Tag::Sequence)?.remaining_bytes().to_vec())
}

impl SignatureVerificationAlgorithm for Scheme {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        /// With each hash function in turn.
        macro_rules! hashed {
            ($hashing:expr, $with:ident) => {
                match $hashing {
                    Hashing::Sha256 => $with!(Sha256),
                    Hashing::Sha384 => $with!(Sha384),
                    Hashing::Sha512 => $with!(Sha512),
                }
            };
        }
        let rsa_key = || rsa::PublicKey::from_pkcs1_der(public_key).map_err(|_| InvalidSignature);
        let verified = match self {
            Self::RsaPkcs1(hashing) => {
                let signature = rsa::pkcs1v15::Signature::try_from(signature).map_err(|_| InvalidSignature)?;
                macro_rules! with {
                    ($hash:ty) => {
                        rsa::pkcs1v15::VerifyingKey::<$hash>::new(rsa_key()?).verify(message, &signature)
                    };
                }
                hashed!(hashing, with)
            }
            Self::RsaPss(hashing) => {
                let signature = rsa::pss::Signature::try_from(signature).map_err(|_| InvalidSignature)?;
                macro_rules! with {
                    ($hash:ty) => {
                        rsa::pss::VerifyingKey::<$hash>::new(rsa_key()?).verify(message, &signature)
                    };
                }
                hashed!(hashing, with)
            }
            Self::Ecdsa(curve, hashing) => {
                let hash = hashing.hash(message);
                macro_rules! on {
                    ($curve:ident) => {{
                        let key =
                            $curve::ecdsa::VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
                        let signature = $curve::ecdsa::Signature::from_der(signature).map_err(|_| InvalidSignature)?;
                        key.verify_prehash(&hash, &signature)
                    }};
                }
                match curve {
                    Curve::P256 => on!(p256),
                    Curve::P384 => on!(p384),
                    Curve::P521 => on!(p521),
                }
            }
            Self::Ed25519 => {
                let key = public_key.try_into().map_err(|_| InvalidSignature)?;
                let key = Ed25519Key::from_bytes(key).map_err(|_| InvalidSignature)?;
                let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
                key.verify_strict(message, &signature)
            }
        };
        verified.map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self {
            Self::RsaPkcs1(_) | Self::RsaPss(_) => alg_id::RSA_ENCRYPTION,
            Self::Ecdsa(Curve::P256, _) => alg_id::ECDSA_P256,
            Self::Ecdsa(Curve::P384, _) => alg_id::ECDSA_P384,
            Self::Ecdsa(Curve::P521, _) => alg_id::ECDSA_P521,
            Self::Ed25519 => alg_id::ED25519,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self {
            Self::RsaPkcs1(Hashing::Sha256) => alg_id::RSA_PKCS1_SHA256,
            Self::RsaPkcs1(Hashing::Sha384) => alg_id::RSA_PKCS1_SHA384,
            Self::RsaPkcs1(Hashing::Sha512) => alg_id::RSA_PKCS1_SHA512,
            Self::RsaPss(Hashing::Sha256) => alg_id::RSA_PSS_SHA256,
            Self::RsaPss(Hashing::Sha384) => alg_id::RSA_PSS_SHA384,
            Self::RsaPss(Hashing::Sha512) => alg_id::RSA_PSS_SHA512,
            Self::Ecdsa(_, Hashing::Sha256) => alg_id::ECDSA_SHA256,
            Self::Ecdsa(_, Hashing::Sha384) => alg_id::ECDSA_SHA384,
            Self::Ecdsa(_, Hashing::Sha512) => alg_id::ECDSA_SHA512,
            Self::Ed25519 => alg_id::ED25519,
        }
    }
}
