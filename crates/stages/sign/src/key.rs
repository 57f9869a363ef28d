//! Private keys from their files, and the public keys that belong to them.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// RSA keys below this many bits are refused: verifiers do not believe them (RFC 8301 §3.2).
pub const RSA_BITS_MIN: usize = 2048;

/// How is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    RsaSha256,
    /// Ed25519 over SHA-256 (RFC 8463).
    Ed25519Sha256,
}

impl Algorithm {
    /// The word for it in a signature (`a=`).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// The word for its keys in DNS (`k=`).
    #[must_use]
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa",
            Self::Ed25519Sha256 => "ed25519",
        }
    }
}

/// Why a text is not a key to sign with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no PEM block of a private key in it.
    #[error("it contains no private key in PEM (`-----BEGIN PRIVATE KEY-----`)")]
    NoPem,
    /// The key needs a password.
    #[error("its key is encrypted: store it without a password, readable by the server only")]
    Encrypted,
    /// It is something else, or damaged.
    #[error("its key is damaged, or neither RSA nor Ed25519 in PKCS #8")]
    Unknown,
    /// An RSA key that nobody believes.
    #[error(
        "its RSA key has less than 2048 bits, which verifiers may not accept: make a longer one"
    )]
    TooShort,
    /// An RSA key that verifiers need not support.
    #[error("its RSA key has {0} bits, but verifiers accept at most 4096: make a shorter one")]
    TooLong(usize),
}

/// A key to sign with.
pub struct PrivateKey(Kind);

enum Kind {
    Rsa(Box<rsa::KeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never its secret.
        write!(f, "PrivateKey({})", self.algorithm().word())
    }
}

impl PrivateKey {
    /// Reads a PEM file's text: PKCS #8, or the older form of RSA keys (PKCS #1).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (label, der) = pem(text)?;
        match label {
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            "RSA PRIVATE KEY" => {
                // In that form, encryption is told within the block, which is not base64 then.
                let der = der.ok_or(KeyError::Encrypted)?;
                let pair = rsa::KeyPair::from_der(&der).map_err(|e| rejected_rsa(&e))?;
                Self::from_rsa(pair)
            }
            _ => Self::from_pkcs8(&der.ok_or(KeyError::Unknown)?),
        }
    }

    /// Reads a key in PKCS #8.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Kind::Ed25519(pair)));
        }
        match rsa::KeyPair::from_pkcs8(der) {
            Ok(pair) => Self::from_rsa(pair),
            Err(rejected) => Err(rejected_rsa(&rejected)),
        }
    }

    fn from_rsa(pair: rsa::KeyPair) -> Result<Self, KeyError> {
        match pair.public_modulus_len() * 8 {
            bits if bits < RSA_BITS_MIN => Err(KeyError::TooShort),
            bits if bits > 4096 => Err(KeyError::TooLong(bits)),
            _ => Ok(Self(Kind::Rsa(Box::new(pair)))),
        }
    }

    /// An Ed25519 key from its 32 octets.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(|pair| Self(Kind::Ed25519(pair)))
            .map_err(|_| KeyError::Unknown)
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Kind::Rsa(_) => Algorithm::RsaSha256,
            Kind::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// What verifies its signatures; `None` when the library cannot say it.
    #[must_use]
    pub fn public(&self) -> Option<PublicKey> {
        match &self.0 {
            Kind::Rsa(pair) => {
                let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
                Some(PublicKey {
                    algorithm: Algorithm::RsaSha256,
                    bits: pair.public_modulus_len() * 8,
                    published: spki.as_ref().to_vec(),
                    bare: pair.public_key().as_ref().to_vec(),
                })
            }
            Kind::Ed25519(pair) => Some(PublicKey {
                algorithm: Algorithm::Ed25519Sha256,
                bits: 256,
                published: pair.public_key().as_ref().to_vec(),
                bare: pair.public_key().as_ref().to_vec(),
            }),
        }
    }

    /// The signature of these octets; `None` when the library fails.
    pub(crate) fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let digest = digest::digest(&SHA256, octets);
        match &self.0 {
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature)
                    .ok()?;
                Some(signature)
            }
            Kind::Ed25519(pair) => {
                let signature = pair.try_sign(digest.as_ref()).ok()?;
                Some(signature.as_ref().to_vec())
            }
        }
    }
}

/// The public half of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Whose.
    pub algorithm: Algorithm,
    /// Its size in bits.
    pub bits: usize,
    /// What DNS holds: of RSA a SubjectPublicKeyInfo, of Ed25519 the key itself.
    published: Vec<u8>,
    /// RSA without the frame around it, which some publish (RFC 6376 §3.6.1).
    bare: Vec<u8>,
}

impl PublicKey {
    /// The value of its TXT record.
    #[must_use]
    pub fn record(&self) -> String {
        format!(
            "v=DKIM1; k={}; p={}",
            self.algorithm.key_type(),
            STANDARD.encode(&self.published)
        )
    }

    /// Whether these are the octets of the same key.
    #[must_use]
    pub fn is(&self, octets: &[u8]) -> bool {
        octets == self.published || octets == self.bare
    }

    /// Its octets, as signatures are verified by them.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.bare
    }
}

/// The library takes no short keys; they are told from damaged ones.
fn rejected_rsa(rejected: &KeyRejected) -> KeyError {
    match rejected.to_string().as_str() {
        "TooSmall" => KeyError::TooShort,
        _ => KeyError::Unknown,
    }
}

/// The label and the octets of the first private key in a text; the octets are missing where they
/// are not base64.
fn pem(text: &str) -> Result<(&str, Option<Vec<u8>>), KeyError> {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("-----BEGIN ") {
        let (label, body) = behind.split_once("-----").ok_or(KeyError::NoPem)?;
        if !label.ends_with("PRIVATE KEY") {
            rest = body;
            continue;
        }
        let (body, _) = body.split_once("-----END ").ok_or(KeyError::NoPem)?;
        let base64: String = body.split_ascii_whitespace().collect();
        return Ok((label, STANDARD.decode(base64).ok()));
    }
    Err(KeyError::NoPem)
}
