//! Who may log in: the users' file, the keys of programs, the guard against guessing, and what is kept about users beside their file, a secret
//! and from where they have logged in.
//!
//! Passwords, hashes and secrets never leave: what others get of them is a verdict.

mod console;
mod guard;
mod keys;
mod secrets;
pub mod totp;
mod users;

use std::io;
use std::path::Path;

pub use console::{
    BY_LINK, ConsoleAccounts, ConsoleError, PASSWORD_MIN, Session, Shown as ShownAccount,
};
pub use guard::{LoginGuard, Origins, Try};
pub use keys::{Key, Keys, KeysError, KeysFile, Scope, hash_secret};
pub use secrets::kept;
pub use users::{Kept, Logins, Users, UsersError, own_domains};

/// By this users are made up who are not there.
const SECRET: &str = "login-secret";
/// What is shorter could be guessed.
const SECRET_MIN: usize = 32;
/// From where users have logged in.
const ORIGINS: &str = "login-origins.json";

/// The secret by which users are made up who are not there; made where there is none. It stays the same over
/// restarts: who asks twice for a user who is not there must not see another salt.
///
/// # Errors
/// When its file cannot be read or made, or holds too little to be a secret.
pub fn secret(data_dir: &Path) -> io::Result<Vec<u8>> {
    let secret = kept(&data_dir.join(SECRET))?.trim().to_owned();
    if secret.len() < SECRET_MIN {
        let why = format!(
            "it has less than {SECRET_MIN} characters; remove it, and a new one is created"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(secret.into_bytes())
}

/// From where users have logged in before.
pub fn origins(data_dir: &Path) -> Origins {
    // What is lost by a damaged file is that strangers can lock out a user for 15 minutes.
    let text = std::fs::read_to_string(data_dir.join(ORIGINS)).unwrap_or_default();
    Origins::read(&text)
}

/// Writes down from where users have logged in, where that has changed.
///
/// # Errors
/// When the file cannot be written; with its name.
pub fn write_origins(guard: &LoginGuard, data_dir: &Path) -> Result<(), NotWritten> {
    let Some(text) = guard.changed_origins() else {
        return Ok(());
    };
    let path = data_dir.join(ORIGINS);
    net::write_private(&path, &text).map_err(|source| NotWritten { path, source })
}

/// What is kept about users could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub struct NotWritten {
    /// Which file.
    pub path: std::path::PathBuf,
    /// What the system says.
    pub source: io::Error,
}
