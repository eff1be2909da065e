//! Signing keys as PEM: what operators bring and take away. Nothing here signs or decrypts a message.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyward_verifier::{Algorithm, Jwk};
use rsa::RsaPrivateKey;
use rsa::pkcs1::der::asn1::{BitStringRef, UintRef};
use rsa::pkcs1::der::{Decode, Encode};
use rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
use rsa::pkcs8::{EncodePrivateKey, EncryptedPrivateKeyInfo, PrivateKeyInfo, pkcs5};
use zeroize::Zeroizing;

/// The smallest modulus, in bits.
pub const SMALLEST: usize = 2048;
/// The largest modulus of a key that signs, in bits.
pub const LARGEST_PRIVATE: usize = 4096;
/// The largest modulus of a key that only verifies, in bits.
pub const LARGEST_PUBLIC: usize = 8192;

const LONGEST_PEM: usize = 32 * 1024;
const F4: &[u8] = &[1, 0, 1];

/// Why a PEM file was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No `-----BEGIN …-----` block, or a broken one.
    #[error("the file holds no whole PEM block")]
    NoBlock,
    /// More than one key could be meant.
    #[error("the file holds more than one PEM block; keep only the key")]
    SeveralBlocks,
    /// A block of another kind.
    #[error("a block `{0}` cannot be imported; {1}")]
    Kind(String, &'static str),
    /// An encrypted key and no passphrase.
    #[error("the key is encrypted: its passphrase is needed")]
    PassphraseNeeded,
    /// The passphrase is wrong, or the block is damaged.
    #[error("the passphrase does not open the key")]
    Passphrase,
    /// Encrypted in a way that is not supported.
    #[error(
        "the key is encrypted with an outdated method; convert it: openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW"
    )]
    Encryption,
    /// The bytes are not an RSA key.
    #[error("the block does not hold an RSA key (RS256 needs one)")]
    NotRsa,
    /// The modulus is too short or too long.
    #[error("the key has {bits} bits; {SMALLEST} to {most} are allowed")]
    Size {
        /// What it has.
        bits: usize,
        /// What is allowed.
        most: usize,
    },
    /// The public exponent is not 65537.
    #[error("the public exponent is not 65537")]
    Exponent,
    /// The numbers of the private key contradict each other.
    #[error("the numbers of the private key do not belong together")]
    Inconsistent,
}

/// A key read from PEM.
pub enum PemKey {
    /// A private key as unencrypted PKCS#8 DER.
    Private(Zeroizing<Vec<u8>>, Jwk),
    /// A public key.
    Public(Jwk),
}

/// Reads one key: PKCS#1, PKCS#8 and encrypted PKCS#8 (RFC 8018 PBES2), or public as SPKI or PKCS#1.
///
/// # Errors
/// [`PemError`] in words for the operator.
pub fn read(text: &str, passphrase: Option<&str>) -> Result<PemKey, PemError> {
    let (label, der) = block(text)?;
    match label {
        "RSA PRIVATE KEY" => private_from_pkcs1(&der),
        "PRIVATE KEY" => private_from_pkcs8(&der),
        "ENCRYPTED PRIVATE KEY" => {
            let passphrase = passphrase.ok_or(PemError::PassphraseNeeded)?;
            let info = EncryptedPrivateKeyInfo::try_from(der.as_slice()).map_err(|_| PemError::Encryption)?;
            let plain = info.decrypt(passphrase).map_err(|error| match error {
                rsa::pkcs8::Error::EncryptedPrivateKey(
                    pkcs5::Error::NoPbes1CryptSupport
                    | pkcs5::Error::UnsupportedAlgorithm { .. }
                    | pkcs5::Error::AlgorithmParametersInvalid { .. },
                ) => PemError::Encryption,
                _ => PemError::Passphrase,
            })?;
            private_from_pkcs8(plain.as_bytes())
        }
        "PUBLIC KEY" => {
            let info = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| PemError::NotRsa)?;
            if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
                return Err(PemError::NotRsa);
            }
            let key = info.subject_public_key.as_bytes().ok_or(PemError::NotRsa)?;
            public_from_pkcs1(key, LARGEST_PUBLIC).map(PemKey::Public)
        }
        "RSA PUBLIC KEY" => public_from_pkcs1(&der, LARGEST_PUBLIC).map(PemKey::Public),
        "CERTIFICATE" => Err(refused(label, "take its key: openssl x509 -pubkey -noout -in CERTIFICATE")),
        _ => Err(refused(label, "an RSA key is needed, as PKCS#1, PKCS#8 or SubjectPublicKeyInfo")),
    }
}

/// The public key as SPKI PEM (RFC 5280 §4.1.2.7).
///
/// # Errors
/// [`PemError::NotRsa`] when the JWK holds no RSA key.
pub fn write_public(public_jwk: &str) -> Result<String, PemError> {
    let jwk: Jwk = serde_json::from_str(public_jwk).map_err(|_| PemError::NotRsa)?;
    let number = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| PemError::NotRsa);
    let (modulus, exponent) = (number(&jwk.n)?, number(&jwk.e)?);
    let der = spki(&modulus, &exponent).map_err(|_| PemError::NotRsa)?;
    let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
    for (i, letter) in STANDARD.encode(der).chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END PUBLIC KEY-----\n");
    Ok(text)
}

/// The public key in an RSAPublicKey structure (RFC 8017 A.1.1), if its modulus has at most `most` bits.
pub(super) fn public_from_pkcs1(der: &[u8], most: usize) -> Result<Jwk, PemError> {
    let key = rsa::pkcs1::RsaPublicKey::from_der(der).map_err(|_| PemError::NotRsa)?;
    check(key.modulus, key.public_exponent, most)?;
    Ok(Jwk::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes(), Algorithm::Rs256))
}

fn spki(modulus: &[u8], exponent: &[u8]) -> rsa::pkcs1::der::Result<Vec<u8>> {
    let key = rsa::pkcs1::RsaPublicKey {
        modulus: UintRef::new(modulus)?,
        public_exponent: UintRef::new(exponent)?,
    };
    let key = key.to_der()?;
    SubjectPublicKeyInfoRef {
        algorithm: rsa::pkcs1::ALGORITHM_ID,
        subject_public_key: BitStringRef::from_bytes(&key)?,
    }
    .to_der()
}

fn private_from_pkcs8(der: &[u8]) -> Result<PemKey, PemError> {
    let info = PrivateKeyInfo::try_from(der).map_err(|_| PemError::NotRsa)?;
    if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
        return Err(PemError::NotRsa);
    }
    private_from_pkcs1(info.private_key)
}

fn private_from_pkcs1(der: &[u8]) -> Result<PemKey, PemError> {
    let key = rsa::pkcs1::RsaPrivateKey::from_der(der).map_err(|_| PemError::NotRsa)?;
    check(key.modulus, key.public_exponent, LARGEST_PRIVATE)?;
    let public = Jwk::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes(), Algorithm::Rs256);
    let info = PrivateKeyInfo::new(rsa::pkcs1::ALGORITHM_ID, der);
    let key = RsaPrivateKey::try_from(info).map_err(|_| PemError::Inconsistent)?;
    let pkcs8 = key.to_pkcs8_der().map_err(|_| PemError::Inconsistent)?;
    Ok(PemKey::Private(Zeroizing::new(pkcs8.as_bytes().to_vec()), public))
}

fn check(modulus: UintRef<'_>, exponent: UintRef<'_>, most: usize) -> Result<(), PemError> {
    let bytes = modulus.as_bytes();
    let leading = bytes.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = (bytes.len() * 8).saturating_sub(leading);
    if !(SMALLEST..=most).contains(&bits) {
        return Err(PemError::Size { bits, most });
    }
    if exponent.as_bytes() != F4 {
        return Err(PemError::Exponent);
    }
    Ok(())
}

fn block(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), PemError> {
    const BEGIN: &str = "-----BEGIN ";
    if text.len() > LONGEST_PEM {
        return Err(PemError::NoBlock);
    }
    let (_, rest) = text.split_once(BEGIN).ok_or(PemError::NoBlock)?;
    if rest.contains(BEGIN) {
        return Err(PemError::SeveralBlocks);
    }
    let (label, rest) = rest.split_once("-----").ok_or(PemError::NoBlock)?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(PemError::NoBlock)?;
    // RFC 1421 headers: the key derivation of `Proc-Type: 4,ENCRYPTED` is one round of MD5.
    if body.contains("Proc-Type:") {
        return Err(PemError::Encryption);
    }
    let letters: Zeroizing<Vec<u8>> =
        Zeroizing::new(body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let der = STANDARD.decode(letters.as_slice()).map_err(|_| PemError::NoBlock)?;
    Ok((label, Zeroizing::new(der)))
}

fn refused(label: &str, instead: &'static str) -> PemError {
    let label = label.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(40).collect();
    PemError::Kind(label, instead)
}
