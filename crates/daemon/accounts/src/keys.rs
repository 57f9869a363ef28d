//! API keys: their file, and the check of a secret.
//!
//! A secret has 256 bits of chance, so its SHA-256 digest is all that is kept and nothing slow is
//! needed to check it. It is shown once, when the key is made.

use parking_lot::Mutex;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use intake::{Rights, SenderMatch, Senders};
use mail::{Address, Timestamp};
use serde::{Deserialize, Serialize};

/// What every secret begins with, so that it is known for what it is where it should not be.
const PREFIX: &str = "sendoff_";
/// Octets of chance in a secret.
const SECRET_OCTETS: usize = 32;

/// Characters of a secret that somebody has made, at least.
const OWN_SECRET_MIN: usize = 32;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Submitting mail; includes `read-own`.
    Send,
    /// Looking at queue, traces, sites and metrics; includes `read-own`.
    Read,
    /// Looking at the mail that was submitted with a key of this name: its status, traces, history and events.
    #[serde(rename = "read-own")]
    ReadOwn,
    /// Everything an administrator can do; includes `read`, not `send`.
    Admin,
}

impl Scope {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Read => "read",
            Self::ReadOwn => "read-own",
            Self::Admin => "admin",
        }
    }

    /// The scope of this word.
    ///
    /// # Errors
    /// What it may be.
    pub fn parse(word: &str) -> Result<Self, KeysError> {
        let all = [Self::Send, Self::Read, Self::ReadOwn, Self::Admin];
        let found = all.into_iter().find(|scope| scope.word() == word);
        found.ok_or_else(|| {
            KeysError::Wrong(format!(
                "`{word}` is not a scope: use send, read-own, read or admin"
            ))
        })
    }
}

/// One key, as it stands in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name, for log and list.
    pub name: String,
    /// SHA-256 of its secret, in base64url.
    digest: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// What it submits is a test: checked and shown as every mail, and never delivered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// Addresses and domains (`example.com` or `@example.com`) that it may send as; none: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<String>,
    /// The key by this name submits the mail that it looks at; none: it does so itself.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The secret before, which is valid until the rotation is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Before>,
}

/// A secret that another one takes the place of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    /// Its SHA-256, in base64url.
    digest: String,
    /// Since when there is another (RFC 3339).
    since: String,
}

impl Key {
    /// One that sends as anybody.
    fn new(name: &str, digest: String, scopes: Vec<Scope>) -> Self {
        Self {
            name: name.to_owned(),
            digest,
            scopes,
            test: false,
            senders: Vec::new(),
            of: None,
            before: None,
        }
    }

    /// Since when it has two secrets that are valid; `None`: it has one.
    #[must_use]
    pub fn rotating_since(&self) -> Option<&str> {
        self.before.as_ref().map(|before| before.since.as_str())
    }

    /// The name under which the mail is submitted that it may look at.
    #[must_use]
    pub fn submits_as(&self) -> &str {
        self.of.as_deref().unwrap_or(&self.name)
    }

    /// Whether it may be used for this.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        let has = |any: &[Scope]| self.scopes.iter().any(|own| any.contains(own));
        match scope {
            Scope::Send => has(&[Scope::Send]),
            Scope::ReadOwn => !self.scopes.is_empty(),
            Scope::Read => has(&[Scope::Read, Scope::Admin]),
            Scope::Admin => has(&[Scope::Admin]),
        }
    }

    /// Whether it may send as this address.
    #[must_use]
    pub fn may_send_as(&self, sender: &Address) -> bool {
        match self.rights() {
            Rights::Any => true,
            Rights::None => false,
            Rights::Only(senders) => senders.allow(Some(sender)),
        }
    }

    /// As whom it may write, in the terms of those who sign for it.
    pub fn rights(&self) -> Rights {
        if self.senders.is_empty() {
            return Rights::Any;
        }
        // Keys of before may have a domain of one word.
        let matching = |own: &String| {
            let found = own.parse::<SenderMatch>();
            found.or_else(|_| format!("@{own}").parse()).ok()
        };
        Rights::Only(Senders::new(
            self.senders.iter().filter_map(matching).collect(),
        ))
    }
}

/// The keys' file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Reading or writing it.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Its text.
    #[error("{path}: {why}", path = path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was asked for.
    #[error("{0}")]
    Wrong(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysText {
    #[serde(default)]
    key: Vec<Key>,
}

/// The keys' file, as the command line edits it.
#[derive(Debug)]
pub struct KeysFile {
    path: PathBuf,
    text: KeysText,
}

impl KeysFile {
    /// Reads the file; one that is not there has no keys.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                let path = path.to_owned();
                return Err(KeysError::Io { path, source });
            }
        };
        let text = toml::from_str(&text).map_err(|e| KeysError::Syntax {
            path: path.to_owned(),
            why: e.message().to_owned(),
        })?;
        let path = path.to_owned();
        Ok(Self { path, text })
    }

    /// Every key.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.text.key
    }

    /// A new key; its secret, which is not to be had again.
    ///
    /// # Errors
    /// A name that is taken or cannot be used, senders that are none, or a file that cannot be
    /// written.
    pub fn add(
        &mut self,
        name: &str,
        scopes: Vec<Scope>,
        senders: Vec<String>,
        test: bool,
    ) -> Result<String, KeysError> {
        self.check_new(name, &scopes, &senders, test)?;
        let secret = new_secret()?;
        let key = Key::new(name, digest_of(&secret), scopes);
        self.push(Key {
            senders,
            test,
            ..key
        })?;
        Ok(secret)
    }

    /// A new key with the hash of a secret that was made elsewhere.
    ///
    /// # Errors
    /// As [`KeysFile::add`], and for what is no hash of a secret.
    pub fn add_hashed(
        &mut self,
        name: &str,
        scopes: Vec<Scope>,
        senders: Vec<String>,
        test: bool,
        hash: &str,
    ) -> Result<(), KeysError> {
        self.check_new(name, &scopes, &senders, test)?;
        check_digest(hash).map_err(|why| KeysError::Wrong(why.to_owned()))?;
        let key = Key::new(name, hash.to_owned(), scopes);
        self.push(Key {
            senders,
            test,
            ..key
        })
    }

    /// What is wrong with the file, for somebody who wrote it by hand or deploys it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), KeysError> {
        for key in &self.text.key {
            let before = key.before.as_ref().map(|before| &before.digest);
            for digest in std::iter::once(&key.digest).chain(before) {
                check_digest(digest).map_err(|why| KeysError::Syntax {
                    path: self.path.clone(),
                    why: format!("`{}`: {why}", key.name),
                })?;
            }
        }
        Ok(())
    }

    fn push(&mut self, key: Key) -> Result<(), KeysError> {
        self.text.key.push(key);
        self.save()
    }

    /// Whether there can be such a key.
    fn check_new(
        &self,
        name: &str,
        scopes: &[Scope],
        senders: &[String],
        test: bool,
    ) -> Result<(), KeysError> {
        let wrong = |why: String| Err(KeysError::Wrong(why));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return wrong(
                "the name of a key must have 1 to 64 letters, digits, dots, dashes and underscores"
                    .to_owned(),
            );
        }
        if self.text.key.iter().any(|key| key.name == name) {
            return wrong(format!(
                "there is a key `{name}` already; `sendoff key revoke {name}` removes it"
            ));
        }
        if scopes.is_empty() {
            return wrong("a key needs a scope: --scope send, read-own, read or admin".to_owned());
        }
        if test && !scopes.contains(&Scope::Send) {
            return wrong(
                "--test is about mail that the key submits: it needs --scope send".to_owned(),
            );
        }
        for sender in senders {
            let parsed = sender.parse::<SenderMatch>();
            parsed.map_err(|why| KeysError::Wrong(why.to_string()))?;
        }
        Ok(())
    }

    /// A new key that looks at the mail of another key and can do nothing else; its secret.
    ///
    /// # Errors
    /// As [`KeysFile::add`], and for a key that there is not.
    pub fn add_for(&mut self, name: &str, of: &str) -> Result<String, KeysError> {
        self.check_new(name, &[Scope::ReadOwn], &[], false)?;
        self.find(of)?;
        let secret = new_secret()?;
        let key = Key::new(name, digest_of(&secret), vec![Scope::ReadOwn]);
        self.push(Key {
            of: Some(of.to_owned()),
            ..key
        })?;
        Ok(secret)
    }

    fn find(&mut self, name: &str) -> Result<&mut Key, KeysError> {
        let found = self.text.key.iter_mut().find(|key| key.name == name);
        found.ok_or_else(|| {
            let why = format!("there is no key `{name}`; `sendoff key list` shows them");
            KeysError::Wrong(why)
        })
    }

    /// A new secret for a key. The one that it had is valid beside it until [`finish`](Self::finish), or until the
    /// next one; one of before that ends now. `hash`: that of a secret that was made elsewhere; otherwise the new
    /// secret is the result, which is not to be had again.
    ///
    /// # Errors
    /// When there is no such key, for what is no hash, or a file that cannot be written.
    pub fn rotate(
        &mut self,
        name: &str,
        hash: Option<String>,
        now: Timestamp,
    ) -> Result<Option<String>, KeysError> {
        let (secret, digest) = match hash {
            Some(hash) => {
                check_digest(&hash).map_err(|why| KeysError::Wrong(why.to_owned()))?;
                (None, hash)
            }
            None => {
                let secret = new_secret()?;
                let digest = digest_of(&secret);
                (Some(secret), digest)
            }
        };
        let key = self.find(name)?;
        key.before = Some(Before {
            digest: std::mem::replace(&mut key.digest, digest),
            since: now.to_string(),
        });
        self.save()?;
        Ok(secret)
    }

    /// Ends the secret that a key had before; whether it had two.
    ///
    /// # Errors
    /// When there is no such key, or the file cannot be written.
    pub fn finish(&mut self, name: &str) -> Result<bool, KeysError> {
        let had = self.find(name)?.before.take().is_some();
        if had {
            self.save()?;
        }
        Ok(had)
    }

    /// Takes a key away.
    ///
    /// # Errors
    /// When there is none of this name, or the file cannot be written.
    pub fn revoke(&mut self, name: &str) -> Result<(), KeysError> {
        let before = self.text.key.len();
        self.text.key.retain(|key| key.name != name);
        if self.text.key.len() == before {
            let why = format!("there is no key `{name}`; `sendoff key list` shows them");
            return Err(KeysError::Wrong(why));
        }
        self.save()
    }

    /// Replaces the file as a whole, readable by its owner only.
    fn save(&self) -> Result<(), KeysError> {
        let wrong = |source| KeysError::Io {
            path: self.path.clone(),
            source,
        };
        let text = toml::to_string(&self.text).map_err(|e| KeysError::Syntax {
            path: self.path.clone(),
            why: e.to_string(),
        })?;
        net::write_private(&self.path, &text).map_err(wrong)
    }
}

fn new_secret() -> Result<String, KeysError> {
    let mut octets = [0u8; SECRET_OCTETS];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| KeysError::Wrong("the system has no random numbers".to_owned()))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(octets)))
}

/// The hash of a secret that somebody has made, as the keys' file keeps it.
///
/// # Errors
/// For one that may be guessed: the hash is a fast one.
pub fn hash_secret(secret: &str) -> Result<String, KeysError> {
    if secret.len() < OWN_SECRET_MIN {
        return Err(KeysError::Wrong(format!(
            "a secret must have at least {OWN_SECRET_MIN} random characters: make one with `openssl rand -hex 32`"
        )));
    }
    Ok(digest_of(secret))
}

fn digest_of(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}

fn check_digest(text: &str) -> Result<(), &'static str> {
    match URL_SAFE_NO_PAD.decode(text) {
        Ok(octets) if octets.len() == SHA256.output_len() => Ok(()),
        Ok(_) | Err(_) => Err(
            "this is not the hash of a secret (43 characters of base64url): make it with `sendoff key hash`",
        ),
    }
}

/// Checks secrets for the running server; reads the file again when it has changed.
#[derive(Debug, Default)]
pub struct Keys {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Vec<(Vec<u8>, Arc<Key>)>,
    /// The file that `keys` are of: its path, time, number and length.
    read: Option<(PathBuf, SystemTime, u64, u64)>,
}

impl Keys {
    /// The key that has this secret. Takes the same time whichever it is.
    pub fn find(&self, path: &Path, secret: &str) -> Result<Option<Arc<Key>>, KeysError> {
        let mut known = self.known.lock();
        known.refresh(path)?;
        let given = digest(&SHA256, secret.as_bytes());
        let mut found = None;
        for (digest, key) in &known.keys {
            if verify_slices_are_equal(digest, given.as_ref()).is_ok() {
                found = Some(Arc::clone(key));
            }
        }
        Ok(found)
    }
}

impl Known {
    fn refresh(&mut self, path: &Path) -> Result<(), KeysError> {
        let state = std::fs::metadata(path)
            .and_then(|m| Ok((path.to_owned(), m.modified()?, m.ino(), m.len())))
            .ok();
        if state.is_some() && state == self.read {
            return Ok(());
        }
        let file = KeysFile::load(path)?;
        let mut keys = Vec::with_capacity(file.text.key.len());
        for key in file.text.key {
            let key = Arc::new(key);
            let before = key.before.as_ref().map(|before| &before.digest);
            for text in std::iter::once(&key.digest).chain(before) {
                let digest = URL_SAFE_NO_PAD
                    .decode(text)
                    .map_err(|e| KeysError::Syntax {
                        path: path.to_owned(),
                        why: format!("the hash of `{}` is damaged: {e}", key.name),
                    })?;
                keys.push((digest, Arc::clone(&key)));
            }
        }
        self.keys = keys;
        self.read = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_from_its_making_to_its_end() {
        let dir = std::env::temp_dir().join(format!("sendoff-keys-{}", std::process::id()));
        let path = dir.join("keys.toml");
        let keys = Keys::default();
        assert!(keys.find(&path, "").unwrap().is_none(), "no file, no keys");
        let mut file = KeysFile::load(&path).unwrap();
        let web = file
            .add("web", vec![Scope::Send], Vec::new(), false)
            .unwrap();
        let ops = file
            .add("ops", vec![Scope::Admin], Vec::new(), false)
            .unwrap();
        assert!(
            file.add("web", vec![Scope::Read], Vec::new(), false)
                .is_err()
        );
        assert!(file.add("x", Vec::new(), Vec::new(), false).is_err());
        assert!(
            file.add("a b", vec![Scope::Read], Vec::new(), false)
                .is_err()
        );
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&web), "only its digest is kept");
        assert_eq!(keys.find(&path, &web).unwrap().unwrap().name, "web");
        let key = keys.find(&path, &web).unwrap().unwrap();
        assert!(key.allows(Scope::ReadOwn) && !key.allows(Scope::Read));
        let key = keys.find(&path, &ops).unwrap().unwrap();
        assert!(key.allows(Scope::Admin) && key.allows(Scope::Read) && !key.allows(Scope::Send));
        assert!(keys.find(&path, &web[..web.len() - 1]).unwrap().is_none());
        KeysFile::load(&path).unwrap().revoke("web").unwrap();
        assert!(keys.find(&path, &web).unwrap().is_none());
        assert!(keys.find(&path, &ops).unwrap().is_some());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_has_two_secrets_until_its_rotation_is_finished() {
        let dir = std::env::temp_dir().join(format!("sendoff-rotate-{}", std::process::id()));
        let path = dir.join("keys.toml");
        let keys = Keys::default();
        let valid = |secret: &str| keys.find(&path, secret).unwrap().is_some();
        let mut file = KeysFile::load(&path).unwrap();
        let first = file
            .add("web", vec![Scope::Send], Vec::new(), false)
            .unwrap();
        let now = Timestamp::from_secs(1_800_000_000);
        let rotate = |name: &str| KeysFile::load(&path).unwrap().rotate(name, None, now);
        let second = rotate("web").unwrap().unwrap();
        assert!(valid(&first) && valid(&second));
        let since = KeysFile::load(&path).unwrap().keys()[0]
            .rotating_since()
            .map(str::to_owned);
        assert_eq!(since, Some(now.to_string()));
        let third = rotate("web").unwrap().unwrap();
        assert!(!valid(&first) && valid(&second) && valid(&third));
        let finish = || KeysFile::load(&path).unwrap().finish("web").unwrap();
        assert!(finish() && !finish());
        assert!(!valid(&second) && valid(&third));
        assert!(rotate("other").is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_sends_only_as_whom_it_may() {
        let key = |senders: &[&str]| Key {
            name: "k".to_owned(),
            digest: String::new(),
            scopes: vec![Scope::Send],
            test: false,
            of: None,
            before: None,
            senders: senders.iter().map(|&s| s.to_owned()).collect(),
        };
        let address = |text: &str| Address::parse(text).unwrap();
        for domain in ["example.com", "@example.com"] {
            check_domain(&key(&[domain, "ann@x.example"]));
        }
        assert!(key(&[]).may_send_as(&address("who@ever.example")));
    }

    fn check_domain(of_domain: &Key) {
        let address = |text: &str| Address::parse(text).unwrap();
        assert!(of_domain.may_send_as(&address("bob@EXAMPLE.com")));
        assert!(of_domain.may_send_as(&address("Ann@x.example")));
        assert!(!of_domain.may_send_as(&address("bob@x.example")));
        assert!(!of_domain.may_send_as(&address("bob@sub.example.com")));
    }
}
