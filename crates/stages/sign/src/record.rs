//! The record of a key in DNS (RFC 6376 §3.6.1): whether it verifies what is signed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::key::PublicKey;

/// What is found of a key in DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is there, and is the same.
    Matches,
    /// It says that the domain only tests (`t=y`): verifiers may treat the mail as unsigned.
    Testing,
    /// There is no record.
    Missing,
    /// There are so many records, and verifiers take any.
    Several(usize),
    /// Its key is empty (`p=`): it was taken back.
    Revoked,
    /// Its key is another.
    Differs,
    /// Its type (`k=`) is this, and not the key's.
    WrongType(String),
    /// It allows these hashes (`h=`), and not SHA-256.
    WrongHash(String),
    /// It is for these services (`s=`), and not for mail.
    WrongService(String),
    /// It is not a record of a key.
    Unreadable(Unreadable),
}

impl Finding {
    /// Whether signatures fail because of it.
    #[must_use]
    pub const fn fails(&self) -> bool {
        !matches!(self, Self::Matches | Self::Testing)
    }

    /// One word for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Testing => "testing",
            Self::Missing => "missing",
            Self::Several(_) => "several",
            Self::Revoked => "revoked",
            Self::Differs => "differs",
            Self::WrongType(_) => "wrong-type",
            Self::WrongHash(_) => "wrong-hash",
            Self::WrongService(_) => "wrong-service",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Matches => None,
            Self::Testing => Some("remove t=y from the record when your tests are done"),
            Self::Missing => Some(
                "publish the record; if you have just done that, wait until the DNS servers of the domain have it \
                 and cached answers have expired",
            ),
            Self::Several(_) => Some("keep one record at this name, and remove the others"),
            Self::Revoked => {
                Some("make a new key under another selector: a revoked key must not be used again")
            }
            Self::Differs => Some(
                "publish the record of this key, or sign with the key that is published; the key of a selector \
                 never changes",
            ),
            Self::WrongType(_) => Some("publish the record of this key, including k="),
            Self::WrongHash(_) => Some("remove h= from the record, or add sha256 to it"),
            Self::WrongService(_) => Some("remove s= from the record"),
            Self::Unreadable(_) => {
                Some("publish the record as it is shown, without changes and without line breaks")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches => f.write_str("published, and it matches"),
            Self::Testing => {
                f.write_str("its record says t=y: verifiers may treat the mail as unsigned")
            }
            Self::Missing => f.write_str("there is no record"),
            Self::Several(n) => write!(
                f,
                "there are {n} records, and verifiers may use any of them"
            ),
            Self::Revoked => f.write_str("its record says that the key is revoked (p= is empty)"),
            Self::Differs => f.write_str("its record contains another key"),
            Self::WrongType(k) => write!(f, "its record is for keys of the type {k} (k=)"),
            Self::WrongHash(h) => write!(f, "its record allows the hashes {h} only (h=)"),
            Self::WrongService(s) => write!(f, "its record is for {s} only (s=)"),
            Self::Unreadable(why) => write!(f, "its record cannot be read: {why}"),
        }
    }
}

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A part of it has no name; its first characters.
    #[error("`{0}` is not a tag")]
    NoTag(String),
    /// A tag stands there more than once; the first characters of its name.
    #[error("`{0}=` appears twice")]
    Twice(String),
    /// Its version is not where readers look for it.
    #[error("`v=` is not its first tag")]
    LateVersion,
    /// It is of another version than the one that there is.
    #[error("its version (v=) is not DKIM1")]
    Version,
    /// It has no key.
    #[error("it has no key (p=)")]
    NoKey,
    /// Its key is not in base64.
    #[error("its key (p=) is not valid base64")]
    Key,
}

/// Compares the TXT records at a key's name with the key. At least one finding; those that make
/// signatures fail come first.
#[must_use]
pub fn judge(records: &[String], key: &PublicKey) -> Vec<Finding> {
    match records {
        [] => vec![Finding::Missing],
        [one] => judge_one(one, key),
        several => {
            let mut found = vec![Finding::Several(several.len())];
            let fits = |record: &String| judge_one(record, key).iter().all(|f| !f.fails());
            if !several.iter().any(fits) {
                found.push(Finding::Differs);
            }
            found
        }
    }
}

fn judge_one(record: &str, key: &PublicKey) -> Vec<Finding> {
    let tags = match tags(record) {
        Ok(tags) => tags,
        Err(why) => return vec![Finding::Unreadable(why)],
    };
    let tag = |name: &str| tags.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let has = |value: &str, word: &str| value.split(':').any(|part| part.trim() == word);
    if tag("v").is_some_and(|v| v != "DKIM1") {
        return vec![Finding::Unreadable(Unreadable::Version)];
    }
    let mut found = Vec::new();
    let kind = tag("k").unwrap_or("rsa");
    if kind != key.algorithm.key_type() {
        found.push(Finding::WrongType(kind.to_owned()));
    }
    if let Some(hashes) = tag("h").filter(|h| !has(h, "sha256")) {
        found.push(Finding::WrongHash(hashes.to_owned()));
    }
    if let Some(services) = tag("s").filter(|s| !has(s, "*") && !has(s, "email")) {
        found.push(Finding::WrongService(services.to_owned()));
    }
    let Some(p) = tag("p") else {
        return vec![Finding::Unreadable(Unreadable::NoKey)];
    };
    let base64: String = p.split_ascii_whitespace().collect();
    match STANDARD.decode(&base64) {
        Ok(octets) if octets.is_empty() => found.push(Finding::Revoked),
        Ok(octets) if key.is(&octets) => {}
        Ok(_) => found.push(Finding::Differs),
        Err(_) => found.push(Finding::Unreadable(Unreadable::Key)),
    }
    if tag("t").is_some_and(|flags| has(flags, "y")) {
        found.push(Finding::Testing);
    }
    if !found.iter().any(Finding::fails) {
        found.insert(0, Finding::Matches);
    }
    found
}

/// The tags of a list (RFC 6376 §3.2).
fn tags(text: &str) -> Result<Vec<(&str, &str)>, Unreadable> {
    let mut tags: Vec<(&str, &str)> = Vec::new();
    for tag in text.split(';').map(str::trim).filter(|t| !t.is_empty()) {
        let Some((name, value)) = tag.split_once('=') else {
            return Err(Unreadable::NoTag(shortened(tag)));
        };
        let name = name.trim();
        if tags.iter().any(|(n, _)| *n == name) {
            return Err(Unreadable::Twice(shortened(name)));
        }
        tags.push((name, value.trim()));
    }
    match tags.iter().position(|(name, _)| *name == "v") {
        Some(0) | None => Ok(tags),
        Some(_) => Err(Unreadable::LateVersion),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrivateKey;

    #[test]
    fn each_fault_of_a_record_is_named() {
        let key = PrivateKey::from_seed(&[1; 32]).unwrap().public().unwrap();
        let other = PrivateKey::from_seed(&[2; 32]).unwrap().public().unwrap();
        let p = key.record().rsplit_once("p=").unwrap().1.to_owned();
        let words = |records: &[&str]| {
            let records: Vec<String> = records.iter().map(|r| (*r).to_owned()).collect();
            let found = judge(&records, &key);
            let words: Vec<&str> = found.iter().map(Finding::word).collect();
            words.join(" ")
        };
        let own = key.record();
        assert_eq!(words(&[&own]), "matches");
        assert_eq!(words(&[&format!("k=ed25519;p={p};")]), "matches");
        assert_eq!(
            words(&[&format!("{own}; t=s:y; n=note")]),
            "matches testing"
        );
        assert_eq!(words(&[]), "missing");
        assert_eq!(words(&[&own, &own]), "several");
        assert_eq!(words(&["a", "b"]), "several differs");
        assert_eq!(words(&["v=DKIM1; k=ed25519; p="]), "revoked");
        assert_eq!(words(&[&other.record()]), "differs");
        assert_eq!(words(&[&format!("v=DKIM1; p={p}")]), "wrong-type");
        assert_eq!(words(&[&format!("{own}; h=sha1")]), "wrong-hash");
        assert_eq!(words(&[&format!("{own}; h=sha1 : sha256")]), "matches");
        assert_eq!(words(&[&format!("{own}; s=tlsrpt")]), "wrong-service");
        assert_eq!(words(&[&format!("{own}; s=email:x")]), "matches");
        for unreadable in [
            "v=spf1 -all",
            "v=DKIM1; k=ed25519",
            "v=DKIM1; k=ed25519; p=%%%",
            "k=ed25519; v=DKIM1; p=",
            "p=; p=",
            "nothing",
        ] {
            assert_eq!(words(&[unreadable]), "unreadable", "{unreadable}");
        }
    }
}
