//! Users who may log in: their file, their keys, and a cache of successful logins.
//!
//! The file holds an Argon2id hash and SCRAM-SHA-256 keys a user, both made when the password is
//! set. Argon2 is slow on purpose, so a login that has succeeded is remembered for a while by a
//! keyed digest; the memory ends when the file changes.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use intake::SenderMatch;
use mail::{Domain, Timestamp};
use serde::{Deserialize, Serialize};
use smtp::sasl::{Keys, ScramHash, prepare};

/// Rounds of PBKDF2 for SCRAM (RFC 7677 §4 asks for at least 4096).
const SCRAM_ROUNDS: NonZeroU32 = NonZeroU32::new(15_000).unwrap();
/// How long a successful login is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Logins remembered at the most.
const REMEMBERED_MAX: usize = 10_000;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default)]
    user: Vec<User>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    /// Argon2id, in PHC form.
    password_hash: String,
    /// `SCRAM-SHA-256$rounds:salt$stored-key:server-key`. Not given: no login by SCRAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scram_sha_256: Option<String>,
    /// From where it may send: addresses, `@domain`, or `*`. Not given: its own domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    senders: Option<Vec<String>>,
}

/// What is kept of a password; it cannot be had from this.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    password_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scram_sha_256: Option<String>,
}

impl Kept {
    /// Of a password, each time with another salt.
    pub fn of(password: &str) -> Result<Self, UsersError> {
        if password.is_empty() {
            return Err(UsersError::Password("the password is empty".to_owned()));
        }
        let hash = Argon2::default()
            .hash_password(password.as_bytes())
            .map_err(|e| UsersError::Password(format!("the password cannot be hashed: {e}")))?;
        Ok(Self {
            password_hash: hash.to_string(),
            scram_sha_256: Some(scram_keys(password)?),
        })
    }

    /// What was made elsewhere.
    pub fn given(hash: String, scram: Option<String>) -> Result<Self, UsersError> {
        check_kept(&hash, scram.as_deref()).map_err(|why| UsersError::Password(why.to_string()))?;
        Ok(Self {
            password_hash: hash,
            scram_sha_256: scram,
        })
    }
}

/// What is wrong with what is kept of a password; it is not shown.
#[derive(Debug, thiserror::Error)]
enum WrongKept {
    #[error(
        "the password's hash is not an Argon2 hash ($argon2id$…): make it with `sendoff user hash`, and put it in \
         single quotation marks, because a shell replaces $"
    )]
    Hash,
    #[error("the SCRAM keys are damaged (SCRAM-SHA-256$…): make them with `sendoff user hash`")]
    Scram,
}

fn check_kept(hash: &str, scram: Option<&str>) -> Result<(), WrongKept> {
    let is_argon2 = |parsed: &PasswordHash| parsed.algorithm.as_str().starts_with("argon2");
    if !PasswordHash::new(hash).is_ok_and(|parsed| is_argon2(&parsed)) {
        return Err(WrongKept::Hash);
    }
    if scram.is_some_and(|keys| parse_keys(keys, String::new()).is_none()) {
        return Err(WrongKept::Scram);
    }
    Ok(())
}

/// The users' file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not what a users' file is.
    #[error("{path}: {why}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no such user.
    #[error("there is no user `{0}`; `sendoff user list` shows them")]
    Unknown(String),
    /// There is one of this name.
    #[error("there is a user `{0}` already; `sendoff user password {0}` sets another password")]
    Exists(String),
    /// Of this password, or of what was made of one elsewhere, nothing can be kept.
    #[error("{0}")]
    Password(String),
    /// A sender that nobody can be allowed.
    #[error("{0}")]
    Sender(String),
}

/// The users' file, as the CLI edits it.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    file: UsersFile,
}

impl Users {
    /// Reads the file; one that is not there has no users.
    pub fn load(path: &Path) -> Result<Self, UsersError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(UsersError::Io {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let file = toml::from_str(&text).map_err(|e| UsersError::Syntax {
            path: path.to_owned(),
            why: e.message().to_owned(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Everybody's name.
    pub fn names(&self) -> Vec<&str> {
        self.file.user.iter().map(|u| u.name.as_str()).collect()
    }

    /// What is wrong with the file, for somebody who wrote it by hand or deploys it.
    pub fn check(&self) -> Result<(), UsersError> {
        let wrong = |user: &User, why: &dyn std::fmt::Display| UsersError::Syntax {
            path: self.path.clone(),
            why: format!("`{}`: {why}", user.name),
        };
        let mut names = HashSet::new();
        for user in &self.file.user {
            check_kept(&user.password_hash, user.scram_sha_256.as_deref())
                .map_err(|why| wrong(user, &why))?;
            for text in user.senders.iter().flatten() {
                let parsed: Result<SenderMatch, _> = text.parse();
                parsed.map_err(|why| wrong(user, &why))?;
            }
            if !names.insert(&user.name) {
                return Err(wrong(user, &"this user is listed twice"));
            }
        }
        Ok(())
    }

    /// Whether there can be a new user of this name.
    pub fn check_new(&self, name: &str) -> Result<(), UsersError> {
        if self.names().contains(&name) {
            return Err(UsersError::Exists(name.to_owned()));
        }
        let valid = !name.is_empty() && name.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if !valid {
            return Err(UsersError::Password(
                "a user's name must not contain spaces".to_owned(),
            ));
        }
        if name.starts_with("key=") {
            return Err(UsersError::Password(
                "a user's name must not begin with key=, which is reserved for HTTP keys"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// A new user.
    pub fn add(&mut self, name: &str, kept: Kept) -> Result<(), UsersError> {
        self.check_new(name)?;
        self.file.user.push(User {
            name: name.to_owned(),
            password_hash: kept.password_hash,
            scram_sha_256: kept.scram_sha_256,
            senders: None,
        });
        self.save()
    }

    /// Another password; whether it is another.
    pub fn set_password(&mut self, name: &str, kept: Kept) -> Result<bool, UsersError> {
        let user = self.user_mut(name)?;
        let is_same =
            user.password_hash == kept.password_hash && user.scram_sha_256 == kept.scram_sha_256;
        if is_same {
            return Ok(false);
        }
        user.password_hash = kept.password_hash;
        user.scram_sha_256 = kept.scram_sha_256;
        self.save()?;
        Ok(true)
    }

    fn user_mut(&mut self, name: &str) -> Result<&mut User, UsersError> {
        let user = self.file.user.iter_mut().find(|u| u.name == name);
        user.ok_or_else(|| UsersError::Unknown(name.to_owned()))
    }

    /// From where a user may send; `None`: from its own domains.
    pub fn senders(&self, name: &str) -> Result<Option<&[String]>, UsersError> {
        let user = self.file.user.iter().find(|u| u.name == name);
        let user = user.ok_or_else(|| UsersError::Unknown(name.to_owned()))?;
        Ok(user.senders.as_deref())
    }

    /// Sets from where a user may send; `None`: from its own domains. Whether that is new.
    pub fn set_senders(
        &mut self,
        name: &str,
        senders: Option<Vec<String>>,
    ) -> Result<bool, UsersError> {
        for text in senders.iter().flatten() {
            let parsed: Result<SenderMatch, _> = text.parse();
            parsed.map_err(|e| UsersError::Sender(e.to_string()))?;
        }
        let user = self.user_mut(name)?;
        if user.senders == senders {
            return Ok(false);
        }
        user.senders = senders;
        self.save()?;
        Ok(true)
    }

    /// Takes a user out.
    pub fn remove(&mut self, name: &str) -> Result<(), UsersError> {
        let before = self.file.user.len();
        self.file.user.retain(|u| u.name != name);
        if self.file.user.len() == before {
            return Err(UsersError::Unknown(name.to_owned()));
        }
        self.save()
    }

    /// Replaces the file as a whole, readable by its owner only.
    fn save(&self) -> Result<(), UsersError> {
        let wrong = |source| UsersError::Io {
            path: self.path.clone(),
            source,
        };
        let text = toml::to_string(&self.file).map_err(|e| UsersError::Syntax {
            path: self.path.clone(),
            why: e.to_string(),
        })?;
        net::write_private(&self.path, &text).map_err(wrong)
    }
}

/// The keys of RFC 5802 §3, from which the password cannot be had.
fn scram_keys(password: &str) -> Result<String, UsersError> {
    let mut salt = [0u8; 16];
    let random = SystemRandom::new();
    random
        .fill(&mut salt)
        .map_err(|_| UsersError::Password("the system has no random numbers".to_owned()))?;
    let hash = ScramHash::Sha256;
    let salted = hash.salted(&prepare(password), &salt, SCRAM_ROUNDS);
    let stored_key = hash.hash(&hash.sign(&salted, b"Client Key"));
    let server_key = hash.sign(&salted, b"Server Key");
    Ok(format!(
        "SCRAM-SHA-256${SCRAM_ROUNDS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    ))
}

/// Reads what [`scram_keys`] writes.
fn parse_keys(stored: &str, nonce: String) -> Option<Keys> {
    let (rounds, rest) = stored.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
    let (salt, keys) = rest.split_once('$')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    Some(Keys {
        salt: STANDARD.decode(salt).ok()?,
        rounds: rounds.parse().ok()?,
        stored_key: STANDARD.decode(stored_key).ok()?,
        server_key: STANDARD.decode(server_key).ok()?,
        nonce,
    })
}

/// Checks logins for the running server.
#[derive(Debug)]
pub struct Logins {
    path: PathBuf,
    key: hmac::Key,
    /// Where users without a domain in their name may send from.
    own_domains: Vec<Domain>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    users: HashMap<String, User>,
    /// The state of the file that `users` is of.
    read_at: Option<(SystemTime, u64)>,
    /// Keyed digests of the passwords that were right, until when.
    remembered: HashMap<String, (Vec<u8>, Timestamp)>,
}

/// The domain in a user's name; for a name without one, the server's own domains.
pub fn own_domains(name: &str, of_server: &[Domain]) -> Vec<Domain> {
    let of_name = name.rsplit_once('@').map(|(_, domain)| domain);
    match of_name.and_then(|domain| Domain::parse(domain).ok()) {
        Some(domain) => vec![domain],
        None => of_server.to_vec(),
    }
}

impl Logins {
    /// Logins against the users of this file; it is read when it is needed and has changed. By the secret users
    /// are made up who are not there: it must stay the same.
    pub fn new(path: PathBuf, own_domains: Vec<Domain>, secret: &[u8]) -> Self {
        Self {
            path,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            own_domains,
            known: Mutex::new(Known::default()),
        }
    }

    /// What a session of this user rests on; another, or none, after the user was changed or taken out.
    pub fn standing(&self, name: &str) -> Result<Option<Vec<u8>>, UsersError> {
        let mut known = self.known.lock();
        self.refresh(&mut known)?;
        let user = known.users.get(name);
        Ok(user.map(|user| {
            let all = format!("{}\n{:?}", user.password_hash, user.senders);
            hmac::sign(&self.key, all.as_bytes()).as_ref().to_vec()
        }))
    }

    /// Which version of the file is in force.
    pub fn version(&self) -> Option<(SystemTime, u64)> {
        let mut known = self.known.lock();
        // A file that cannot be read ends nobody's session.
        self.refresh(&mut known).ok()?;
        known.read_at
    }

    /// Whether a login is remembered; otherwise [`Logins::check`] must do the slow work.
    pub fn is_remembered(&self, user: &str, password: &str, now: Timestamp) -> bool {
        let mut known = self.known.lock();
        if self.refresh(&mut known).is_err() {
            return false;
        }
        known.remembered.get(user).is_some_and(|(tag, until)| {
            *until > now && hmac::verify(&self.key, password.as_bytes(), tag).is_ok()
        })
    }

    /// Whether the password is the user's. Takes tens of milliseconds, also when there is no such
    /// user, so that nobody learns who there is.
    pub fn check(&self, user: &str, password: &str, now: Timestamp) -> Result<bool, UsersError> {
        // The hash of nobody's password.
        const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2VuZG9mZi1ub2JvZHk$\
                              AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let hash = {
            let mut known = self.known.lock();
            self.refresh(&mut known)?;
            known.users.get(user).map(|u| u.password_hash.clone())
        };
        let is_user = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        let parsed = PasswordHash::new(&hash).map_err(|e| UsersError::Syntax {
            path: self.path.clone(),
            why: format!("the hash of `{user}` is damaged: {e}"),
        })?;
        let right = Argon2::default()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok();
        if right && is_user {
            let tag = hmac::sign(&self.key, password.as_bytes()).as_ref().to_vec();
            let mut known = self.known.lock();
            if known.remembered.len() >= REMEMBERED_MAX {
                known.remembered.clear();
            }
            known
                .remembered
                .insert(user.to_owned(), (tag, now + REMEMBERED_FOR));
        }
        Ok(right && is_user)
    }

    /// A user, and from where it may send.
    pub fn user(&self, name: &str) -> Result<Option<intake::User>, UsersError> {
        let mut known = self.known.lock();
        self.refresh(&mut known)?;
        let Some(user) = known.users.get(name) else {
            return Ok(None);
        };
        let senders = match &user.senders {
            None => self.own_domains_of(name),
            Some(given) => {
                let parse = |text: &String| {
                    text.parse().map_err(|e| UsersError::Syntax {
                        path: self.path.clone(),
                        why: format!("senders of `{name}`: {e}"),
                    })
                };
                given.iter().map(parse).collect::<Result<_, _>>()?
            }
        };
        Ok(Some(intake::User {
            name: name.to_owned(),
            senders: intake::Senders::new(senders),
        }))
    }

    /// What a user without senders may send from.
    fn own_domains_of(&self, name: &str) -> Vec<SenderMatch> {
        let own = own_domains(name, &self.own_domains);
        own.into_iter().map(SenderMatch::Domain).collect()
    }

    /// A user's keys for SCRAM, with a nonce. Where there is no such user, or it has none, some that nobody can
    /// prove to know, always with the same salt, so that nobody learns who there is.
    pub fn keys(&self, name: &str) -> Result<Keys, UsersError> {
        let mut random = [0u8; 24];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| UsersError::Password("the system has no random numbers".to_owned()))?;
        let nonce = STANDARD.encode(random);
        let stored = {
            let mut known = self.known.lock();
            self.refresh(&mut known)?;
            known.users.get(name).and_then(|u| u.scram_sha_256.clone())
        };
        let Some(stored) = stored else {
            let salt = hmac::sign(&self.key, name.as_bytes());
            return Ok(Keys {
                salt: salt.as_ref().iter().copied().take(16).collect(),
                rounds: SCRAM_ROUNDS.get(),
                stored_key: random.repeat(2).into_iter().take(32).collect(),
                server_key: random.repeat(2).into_iter().take(32).collect(),
                nonce,
            });
        };
        parse_keys(&stored, nonce).ok_or_else(|| UsersError::Syntax {
            path: self.path.clone(),
            why: format!("the keys of `{name}` are damaged: set its password again"),
        })
    }

    fn refresh(&self, known: &mut Known) -> Result<(), UsersError> {
        let state = std::fs::metadata(&self.path)
            .and_then(|m| Ok((m.modified()?, std::os::unix::fs::MetadataExt::ino(&m))))
            .ok();
        if state.is_some() && state == known.read_at {
            return Ok(());
        }
        let users = Users::load(&self.path)?;
        let users = users.file.user.into_iter();
        known.users = users.map(|u| (u.name.clone(), u)).collect();
        known.remembered.clear();
        known.read_at = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_remembered_until_the_password_changes() {
        let dir = std::env::temp_dir().join(format!("sendoff-users-{}", std::process::id()));
        let path = dir.join("users.toml");
        let mut users = Users::load(&path).unwrap();
        users.add("anna", Kept::of("geheim").unwrap()).unwrap();
        assert!(users.add("anna", Kept::of("x").unwrap()).is_err());
        assert!(users.add("key=anna", Kept::of("x").unwrap()).is_err());
        let logins = Logins::new(path, Vec::new(), b"secret");
        let now = Timestamp::from_secs(1000);
        assert!(!logins.is_remembered("anna", "geheim", now));
        assert!(!logins.check("anna", "falsch", now).unwrap());
        assert!(!logins.check("otto", "geheim", now).unwrap());
        assert!(logins.check("anna", "geheim", now).unwrap());
        assert!(logins.is_remembered("anna", "geheim", now));
        assert!(!logins.is_remembered("anna", "falsch", now));
        assert!(!logins.is_remembered("anna", "geheim", now + REMEMBERED_FOR));
        users
            .set_password("anna", Kept::of("neu").unwrap())
            .unwrap();
        assert!(!logins.is_remembered("anna", "geheim", now));
        assert!(logins.check("anna", "neu", now).unwrap());
        users.remove("anna").unwrap();
        assert!(!logins.check("anna", "neu", now).unwrap());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
