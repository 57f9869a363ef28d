//! Accounts of the console: their file, and the sessions of those who are logged in.
//!
//! The file holds an Argon2id hash for each account; sessions are in memory, known by a digest of their token, and end when
//! the server does. A link that is made at the command line lets somebody in once, so that there is no first password
//! to guess.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mail::Timestamp;
use ops::Role;
use serde::{Deserialize, Serialize};

use crate::totp;

/// The accounts' file in the data directory.
const FILE: &str = "console-accounts.json";
/// How long a link lets somebody in.
const LINK_LIVES: Duration = Duration::from_secs(30 * 60);
/// How long a session lives without being used, and altogether.
const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);
const SESSION_LIVES: Duration = Duration::from_secs(7 * 86_400);
/// Sessions and links at once; older ones make room.
const SESSIONS_MAX: usize = 1000;
/// Characters of a password; a longer one is safer than one with signs of all sorts (NIST SP 800-63B §3.1.1).
pub const PASSWORD_MIN: usize = 10;
/// Octets of a password: hashing a longer one would only cost time.
const PASSWORD_MAX: usize = 1024;
/// Octets of an account's name.
const NAME_MAX: usize = 60;
/// The account of those who come by a link.
pub const BY_LINK: &str = "link";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Account {
    name: String,
    role: Role,
    password_hash: String,
    /// The secret of one-time passwords; empty where none are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    totp: Vec<u8>,
    /// The step of the last code that counted.
    #[serde(default)]
    totp_step: u64,
}

/// An account, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it needs a one-time password.
    pub totp: bool,
}

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names the session for people; it lets nobody in.
    pub id: String,
    /// The account.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What forms must carry (CSRF).
    pub form_token: String,
    /// From where.
    pub peer: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was used last.
    pub used: Timestamp,
}

/// Why somebody is not let in, or an account not changed.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is none.
    #[error("{path}: {why}; restore it from a backup, or remove it and create the accounts again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: serde_json::Error,
    },
    /// The name, the password or the code is wrong: which one is not said.
    #[error("the name, the password or the code is wrong")]
    Wrong,
    /// There is no such account.
    #[error("there is no account `{0}`")]
    Unknown(String),
    /// It cannot be called so.
    #[error("`{0}` is not a name: use up to 60 letters, digits and -_.@")]
    Name(String),
    /// The password is too short.
    #[error("a password needs at least {PASSWORD_MIN} characters")]
    Short,
    /// The password is too long.
    #[error("a password has at most {PASSWORD_MAX} octets")]
    Long,
    /// Nobody could steer the server any more.
    #[error("`{0}` is the last administrator: make another one first")]
    Last(String),
    /// The system has no random numbers, or no memory for a hash.
    #[error("the system cannot make a secret")]
    NoSecret,
}

#[derive(Debug, Default)]
struct State {
    accounts: Vec<Account>,
    sessions: HashMap<Vec<u8>, Session>,
    links: HashMap<Vec<u8>, Timestamp>,
}

/// The accounts and sessions.
#[derive(Debug)]
pub struct ConsoleAccounts {
    file: PathBuf,
    state: Mutex<State>,
}

fn random<const N: usize>() -> Result<[u8; N], ConsoleError> {
    let mut octets = [0; N];
    let filled = SystemRandom::new().fill(&mut octets);
    filled.map_err(|_| ConsoleError::NoSecret)?;
    Ok(octets)
}

fn token() -> Result<String, ConsoleError> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

fn digest_of(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

fn hash(password: &str) -> Result<String, ConsoleError> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(ConsoleError::Short);
    }
    if password.len() > PASSWORD_MAX {
        return Err(ConsoleError::Long);
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|_| ConsoleError::NoSecret)
}

fn check_name(name: &str) -> Result<(), ConsoleError> {
    let plain = |c: char| c.is_alphanumeric() || "-_.@".contains(c);
    let is_name = !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(plain);
    match is_name && name != BY_LINK {
        true => Ok(()),
        false => Err(ConsoleError::Name(name.to_owned())),
    }
}

impl ConsoleAccounts {
    /// Those of a data directory; none where there is no file.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, ConsoleError> {
        let file = data_dir.join(FILE);
        let accounts = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).map_err(|why| ConsoleError::Damaged {
                path: file.clone(),
                why,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ConsoleError::Io { path: file, source }),
        };
        let state = State {
            accounts,
            ..State::default()
        };
        Ok(Self {
            file,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Writes other accounts down, and then goes by them. Blocks on the disk.
    fn replace(&self, state: &mut State, accounts: Vec<Account>) -> Result<(), ConsoleError> {
        let text = serde_json::to_string_pretty(&accounts);
        let text = text.map_err(|why| ConsoleError::Damaged {
            path: self.file.clone(),
            why,
        })?;
        net::write_private(&self.file, &text).map_err(|source| ConsoleError::Io {
            path: self.file.clone(),
            source,
        })?;
        state.accounts = accounts;
        Ok(())
    }

    /// The accounts, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Shown> {
        let state = self.state();
        let shown = |account: &Account| Shown {
            name: account.name.clone(),
            role: account.role,
            totp: !account.totp.is_empty(),
        };
        let mut all: Vec<Shown> = state.accounts.iter().map(shown).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Makes an account, or changes one: what is not given stays. Sessions of an account whose role or password changed
    /// end. Blocks.
    ///
    /// # Errors
    /// When the name or password is none, nobody could administer any more, or the file cannot be written.
    pub fn set(
        &self,
        name: &str,
        role: Option<Role>,
        password: Option<&str>,
    ) -> Result<(), ConsoleError> {
        check_name(name)?;
        let password = password.map(hash).transpose()?;
        let mut state = self.state();
        let mut accounts = state.accounts.clone();
        match accounts.iter_mut().find(|account| account.name == name) {
            Some(account) => {
                account.role = role.unwrap_or(account.role);
                if let Some(hash) = password {
                    account.password_hash = hash;
                }
            }
            None => accounts.push(Account {
                name: name.to_owned(),
                role: role.unwrap_or(Role::Auditor),
                password_hash: password.ok_or(ConsoleError::Short)?,
                totp: Vec::new(),
                totp_step: 0,
            }),
        }
        still_administered(&state.accounts, &accounts, name)?;
        self.replace(&mut state, accounts)?;
        state.sessions.retain(|_, session| session.name != name);
        Ok(())
    }

    /// Removes an account and ends its sessions. Blocks.
    ///
    /// # Errors
    /// When there is none, it is the last administrator, or the file cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), ConsoleError> {
        let mut state = self.state();
        let mut accounts = state.accounts.clone();
        accounts.retain(|account| account.name != name);
        if accounts.len() == state.accounts.len() {
            return Err(ConsoleError::Unknown(name.to_owned()));
        }
        still_administered(&state.accounts, &accounts, name)?;
        self.replace(&mut state, accounts)?;
        state.sessions.retain(|_, session| session.name != name);
        Ok(())
    }

    /// A new secret for one-time passwords, which is in force when [`ConsoleAccounts::begin_totp`] has seen a code of it.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn totp_secret() -> Result<Vec<u8>, ConsoleError> {
        Ok(random::<20>()?.to_vec())
    }

    /// Asks for one-time passwords from now on; without a secret: no longer. Blocks.
    ///
    /// # Errors
    /// When the code is wrong, there is no such account, or the file cannot be written.
    pub fn begin_totp(
        &self,
        name: &str,
        secret: Option<(&[u8], &str)>,
        now: Timestamp,
    ) -> Result<(), ConsoleError> {
        let mut state = self.state();
        let mut accounts = state.accounts.clone();
        let account = accounts.iter_mut().find(|account| account.name == name);
        let account = account.ok_or_else(|| ConsoleError::Unknown(name.to_owned()))?;
        match secret {
            None => account.totp.clear(),
            Some((secret, code)) => {
                let step = totp::verify(secret, code, now, 0).ok_or(ConsoleError::Wrong)?;
                account.totp = secret.to_vec();
                account.totp_step = step;
            }
        }
        self.replace(&mut state, accounts)
    }

    /// Whether the password is that of the account. Slow on purpose.
    fn is_right(&self, name: &str, password: &str) -> bool {
        let found = {
            let state = self.state();
            let account = state.accounts.iter().find(|account| account.name == name);
            account.map(|account| account.password_hash.clone())
        };
        // Who does not exist takes as long as who does.
        let hash = match &found {
            Some(hash) => hash.clone(),
            None => match hash("a password of nobody") {
                Ok(hash) => hash,
                Err(_) => return false,
            },
        };
        let password = password.get(..PASSWORD_MAX).unwrap_or(password);
        let right = PasswordHash::new(&hash).is_ok_and(|hash| {
            (Argon2::default().verify_password(password.as_bytes(), &hash)).is_ok()
        });
        right && found.is_some()
    }

    /// Lets somebody in: the session's token. Blocks, and is slow on purpose.
    ///
    /// # Errors
    /// When something of it is wrong, or what was used up cannot be written down.
    pub fn log_in(
        &self,
        (name, password, code): (&str, &str, &str),
        peer: &str,
        now: Timestamp,
    ) -> Result<String, ConsoleError> {
        if !self.is_right(name, password) {
            return Err(ConsoleError::Wrong);
        }
        let mut state = self.state();
        let mut accounts = state.accounts.clone();
        let account = accounts.iter_mut().find(|account| account.name == name);
        let account = account.ok_or(ConsoleError::Wrong)?;
        let role = account.role;
        if !account.totp.is_empty() {
            let step = totp::verify(&account.totp, code, now, account.totp_step);
            account.totp_step = step.ok_or(ConsoleError::Wrong)?;
            // A code that was used must stay used over a restart.
            self.replace(&mut state, accounts)?;
        }
        begin(&mut state, name, role, peer, now)
    }

    /// Whether the password of somebody who is logged in is right. Blocks, and is slow on purpose. Who came by a link has
    /// none, and is believed.
    #[must_use]
    pub fn confirm(&self, session: &Session, password: &str) -> bool {
        session.name == BY_LINK || self.is_right(&session.name, password)
    }

    /// A link's token: it lets an administrator in once, within 30 minutes.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn link(&self, now: Timestamp) -> Result<String, ConsoleError> {
        let token = token()?;
        let mut state = self.state();
        state.links.retain(|_, until| *until > now);
        if state.links.len() >= SESSIONS_MAX {
            state.links.clear();
        }
        state.links.insert(digest_of(&token), now + LINK_LIVES);
        Ok(token)
    }

    /// Lets somebody in by a link, which ends: the session's token.
    ///
    /// # Errors
    /// When there is no such link any more.
    pub fn enter(&self, link: &str, peer: &str, now: Timestamp) -> Result<String, ConsoleError> {
        let mut state = self.state();
        let until = state.links.remove(&digest_of(link));
        if until.is_none_or(|until| until <= now) {
            return Err(ConsoleError::Wrong);
        }
        begin(&mut state, BY_LINK, Role::Administrator, peer, now)
    }

    /// Who has this token.
    #[must_use]
    pub fn session(&self, token: &str, now: Timestamp) -> Option<Session> {
        let key = digest_of(token);
        let mut state = self.state();
        let session = state.sessions.get_mut(&key)?;
        if !lives(session, now) {
            state.sessions.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// Whether the session of this id still stands. To ask does not count as using it.
    #[must_use]
    pub fn stands(&self, id: &str, now: Timestamp) -> bool {
        let state = self.state();
        let mut sessions = state.sessions.values();
        sessions.any(|session| session.id == id && lives(session, now))
    }

    /// The sessions, the one used last first.
    #[must_use]
    pub fn sessions(&self, now: Timestamp) -> Vec<Session> {
        let mut state = self.state();
        state.sessions.retain(|_, session| lives(session, now));
        let mut all: Vec<Session> = state.sessions.values().cloned().collect();
        all.sort_by_key(|session| std::cmp::Reverse(session.used));
        all
    }

    /// Ends the session of this id; whether there was one.
    pub fn end(&self, id: &str) -> bool {
        let mut state = self.state();
        let before = state.sessions.len();
        state.sessions.retain(|_, session| session.id != id);
        state.sessions.len() < before
    }
}

fn lives(session: &Session, now: Timestamp) -> bool {
    now.since(session.used) < SESSION_IDLE && now.since(session.since) < SESSION_LIVES
}

fn begin(
    state: &mut State,
    name: &str,
    role: Role,
    peer: &str,
    now: Timestamp,
) -> Result<String, ConsoleError> {
    let token = token()?;
    state.sessions.retain(|_, session| lives(session, now));
    if state.sessions.len() >= SESSIONS_MAX {
        let oldest = state.sessions.iter().min_by_key(|(_, s)| s.used);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            state.sessions.remove(&oldest);
        }
    }
    let session = Session {
        id: URL_SAFE_NO_PAD.encode(random::<9>()?),
        name: name.to_owned(),
        role,
        form_token: self::token()?,
        peer: peer.to_owned(),
        since: now,
        used: now,
    };
    state.sessions.insert(digest_of(&token), session);
    Ok(token)
}

/// Refuses a change by which the last administrator goes.
fn still_administered(
    before: &[Account],
    after: &[Account],
    name: &str,
) -> Result<(), ConsoleError> {
    let some = |accounts: &[Account]| accounts.iter().any(|a| a.role == Role::Administrator);
    match some(before) && !some(after) {
        true => Err(ConsoleError::Last(name.to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const PASSWORD: &str = "correct horse";

    struct Dir(PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn dir(name: &str) -> Dir {
        let name = format!("sendoff-console-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    #[test]
    fn accounts_outlive_the_server_and_sessions_do_not() {
        let dir = dir("accounts");
        let accounts = ConsoleAccounts::open(&dir.0).unwrap();
        accounts
            .set("anna", Some(Role::Administrator), Some(PASSWORD))
            .unwrap();
        let token = accounts
            .log_in(("anna", PASSWORD, ""), "here", NOW)
            .unwrap();
        let session = accounts.session(&token, NOW).unwrap();
        assert_eq!(
            (session.name.as_str(), session.role),
            ("anna", Role::Administrator)
        );
        let again = ConsoleAccounts::open(&dir.0).unwrap();
        assert_eq!(again.session(&token, NOW), None);
        assert!(again.log_in(("anna", PASSWORD, ""), "here", NOW).is_ok());
        for wrong in [
            ("anna", "correct horsE", ""),
            ("otto", PASSWORD, ""),
            ("", "", ""),
        ] {
            let refused = again.log_in(wrong, "here", NOW);
            assert!(matches!(refused, Err(ConsoleError::Wrong)), "{wrong:?}");
        }
        let text = std::fs::read_to_string(dir.0.join(FILE)).unwrap();
        assert!(!text.contains(PASSWORD));
    }

    #[test]
    fn a_session_ends_unused_or_when_its_account_changes() {
        let dir = dir("sessions");
        let accounts = ConsoleAccounts::open(&dir.0).unwrap();
        let role = Some(Role::Operator);
        accounts.set("otto", role, Some(PASSWORD)).unwrap();
        let log_in = |now| {
            accounts
                .log_in(("otto", PASSWORD, ""), "here", now)
                .unwrap()
        };
        let token = log_in(NOW);
        assert!(accounts.session(&token, NOW + SESSION_IDLE / 2).is_some());
        assert!(
            accounts.session(&token, NOW + SESSION_IDLE).is_some(),
            "it was used"
        );
        assert!(accounts.session(&token, NOW + SESSION_IDLE * 2).is_none());
        let token = log_in(NOW);
        accounts.set("otto", Some(Role::Auditor), None).unwrap();
        assert_eq!(accounts.session(&token, NOW), None);
        let token = log_in(NOW);
        let id = accounts.session(&token, NOW).unwrap().id;
        assert!(accounts.stands(&id, NOW) && !accounts.stands(&id, NOW + SESSION_IDLE));
        assert!(accounts.end(&id) && !accounts.end(&id));
        assert!(!accounts.stands(&id, NOW));
        assert_eq!(accounts.session(&token, NOW), None);
    }

    #[test]
    fn a_link_lets_in_once_and_for_half_an_hour() {
        let dir = dir("links");
        let accounts = ConsoleAccounts::open(&dir.0).unwrap();
        let link = accounts.link(NOW).unwrap();
        assert!(accounts.enter("guessed", "here", NOW).is_err());
        let token = accounts.enter(&link, "here", NOW).unwrap();
        assert_eq!(
            accounts.session(&token, NOW).unwrap().role,
            Role::Administrator
        );
        assert!(accounts.enter(&link, "here", NOW).is_err(), "once");
        let link = accounts.link(NOW).unwrap();
        assert!(accounts.enter(&link, "here", NOW + LINK_LIVES).is_err());
    }

    #[test]
    fn the_last_administrator_stays() {
        let dir = dir("last");
        let accounts = ConsoleAccounts::open(&dir.0).unwrap();
        let admin = Some(Role::Administrator);
        accounts.set("anna", admin, Some(PASSWORD)).unwrap();
        let last = |done: Result<(), ConsoleError>| matches!(done, Err(ConsoleError::Last(_)));
        assert!(last(accounts.remove("anna")));
        assert!(last(accounts.set("anna", Some(Role::Auditor), None)));
        accounts.set("otto", admin, Some(PASSWORD)).unwrap();
        accounts.remove("anna").unwrap();
        assert!(matches!(
            accounts.remove("anna"),
            Err(ConsoleError::Unknown(_))
        ));
        for name in ["", "a b", "<script>", BY_LINK] {
            let refused = accounts.set(name, admin, Some(PASSWORD));
            assert!(matches!(refused, Err(ConsoleError::Name(_))), "{name}");
        }
        let short = accounts.set("x", admin, Some("short"));
        assert!(matches!(short, Err(ConsoleError::Short)));
    }

    #[test]
    fn a_one_time_password_is_asked_for_and_counts_once_over_restarts() {
        let dir = dir("totp");
        let accounts = ConsoleAccounts::open(&dir.0).unwrap();
        accounts
            .set("anna", Some(Role::Administrator), Some(PASSWORD))
            .unwrap();
        let secret = b"12345678901234567890";
        let at = Timestamp::from_secs;
        // RFC 6238 appendix B.
        assert!(
            accounts
                .begin_totp("anna", Some((secret, "000000")), at(59))
                .is_err()
        );
        accounts
            .begin_totp("anna", Some((secret, "287082")), at(59))
            .unwrap();
        let log_in = |a: &ConsoleAccounts, code, now| a.log_in(("anna", PASSWORD, code), "", now);
        assert!(log_in(&accounts, "", at(1_111_111_111)).is_err());
        assert!(log_in(&accounts, "050471", at(1_111_111_111)).is_ok());
        let again = ConsoleAccounts::open(&dir.0).unwrap();
        assert!(
            log_in(&again, "050471", at(1_111_111_111)).is_err(),
            "twice"
        );
        assert!(log_in(&again, "279037", at(2_000_000_000)).is_ok());
        again.begin_totp("anna", None, at(2_000_000_000)).unwrap();
        assert!(log_in(&again, "", at(2_000_000_000)).is_ok());
    }
}
