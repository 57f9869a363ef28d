//! Who the process is and what it may do: as whom the server runs, which files it may touch, and the identity that
//! root takes on before it writes where others may.

mod identity;
mod readable;
mod sandbox;
mod user;

use anyhow::{Context, Result};
use config::{Config, LocalStore};
use rustix::fs::Mode;

pub use identity::{take_on_for, take_on_for_file};
pub use readable::readable_secrets;
pub use sandbox::{explain, lacks, mailboxes_elsewhere, maildir_root};
pub use user::{check_data_dir, name_of_user, take_on_the_servers};

/// Others pass through the data directory, to the drops and the admin socket, and see nothing of it.
const DATA_DIR_MODE: u32 = 0o711;

/// What is made without a mode of its own is nobody else's; but Maildirs are made for other programs, which are
/// in their group.
pub fn set_umask(config: &Config) {
    let mask = match &config.local {
        LocalStore::Maildir(_) => Mode::WGRP | Mode::RWXO,
        LocalStore::None | LocalStore::LmtpTcp(_) | LocalStore::LmtpUnix(_) => {
            Mode::RWXG | Mode::RWXO
        }
    };
    rustix::process::umask(mask);
}

/// Sets the umask and makes the data directory where there is none.
pub fn close_to_others(config: &Config) -> Result<()> {
    set_umask(config);
    let dir = &config.data_dir;
    net::make_dir(dir, DATA_DIR_MODE)
        .with_context(|| format!("creating the data directory {}", dir.display()))
}

/// What the server does once its sockets are open, before there are other threads: it becomes its user and confines
/// itself. The configuration as that user reads it, so that what a reload could not read is found at the start.
pub fn give_up(config: Config) -> Result<Config> {
    set_umask(&config);
    let was_root = rustix::process::geteuid().is_root();
    let settled = user::settle(&config)?;
    let mut config = match &config.path {
        Some(path) if was_root && !rustix::process::geteuid().is_root() => {
            Config::load(path).context("reading the configuration as the server's user")?
        }
        Some(_) | None => config,
    };
    rustix::thread::set_no_new_privs(true).context("giving up new privileges")?;
    let (in_force, told) = sandbox::confine(&config)?;
    config.sandbox.in_force = in_force;
    config.warnings.extend(settled.into_iter().chain(told));
    Ok(config)
}
