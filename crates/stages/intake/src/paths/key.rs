//! Secrets, and the hashes that they make.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};

/// Digits of a hash: 32 letters that survive folding to lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Octets of a secret at the least.
const SECRET_MIN: usize = 16;

/// Secrets: the first one signs, each of them is believed, so that one can be replaced while mail
/// with hashes of the other is still on its way.
#[derive(Clone, Default)]
pub struct Keys(Arc<[hmac::Key]>);

/// Why a text holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// A line is not hexadecimal, or short.
    #[error("line {0} is not a secret: write at least 32 hexadecimal digits")]
    Line(usize),
    /// No line holds one.
    #[error("it contains no secret: write at least 32 hexadecimal digits on a line")]
    Empty,
}

impl FromStr for Keys {
    type Err = ParseKeyError;

    /// One secret a line, in hexadecimal digits; empty lines and those that begin with `#` say
    /// nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let keys = said.map(|(number, line)| {
            let octets = octets(line).filter(|octets| octets.len() >= SECRET_MIN);
            octets
                .map(|octets| hmac::Key::new(hmac::HMAC_SHA256, &octets))
                .ok_or(ParseKeyError::Line(number))
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        match keys.is_empty() {
            true => Err(ParseKeyError::Empty),
            false => Ok(Self(keys.into())),
        }
    }
}

fn octets(line: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = line.chars().map(|c| c.to_digit(16)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    let octet = |pair: &[u32; 2]| u8::try_from(pair[0] * 16 + pair[1]).ok();
    match rest.is_empty() {
        true => pairs.iter().map(octet).collect(),
        false => None,
    }
}

impl Keys {
    /// The hash of a text, in so many digits of 5 bits; `None` without a secret.
    pub(super) fn sign(&self, text: &str, digits: usize) -> Option<String> {
        self.0.first().map(|key| hash(key, text, digits))
    }

    /// Whether this is the hash of a text by any secret. Letters are in lower case.
    pub(super) fn confirm(&self, text: &str, given: &str, digits: usize) -> bool {
        let is = |key| {
            let made = hash(key, text, digits);
            constant_time::verify_slices_are_equal(made.as_bytes(), given.as_bytes()).is_ok()
        };
        self.0.iter().any(is)
    }
}

fn hash(key: &hmac::Key, text: &str, digits: usize) -> String {
    let tag = hmac::sign(key, text.as_bytes());
    let letter = |octet: &u8| {
        let place = usize::from(octet & 31);
        char::from(ALPHABET.get(place).copied().unwrap_or(b'0'))
    };
    // An octet each: 5 of its bits count, and there are enough of them.
    tag.as_ref().iter().take(digits).map(letter).collect()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.sign("", DIGITS_COMPARED) == other.sign("", DIGITS_COMPARED)
            && self.0.len() == other.0.len()
    }
}

impl Eq for Keys {}

/// Enough to tell secrets apart.
const DIGITS_COMPARED: usize = 32;
