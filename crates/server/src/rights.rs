//! Who the process is and what it may do: the identity that root takes on before it writes where others may.

mod identity;
mod readable;

use anyhow::{Context, Result};
use rustix::fs::Mode;

use crate::config::{Config, LocalStore};

pub(crate) use identity::{take_on_for, take_on_for_file};
pub(crate) use readable::readable_secrets;

/// Others pass through the data directory, to the drops and the admin socket, and see nothing of it.
const DATA_DIR_MODE: u32 = 0o711;

/// What is made without a mode of its own is nobody else's; but Maildirs are made for other programs, which are
/// in their group.
pub(crate) fn set_umask(config: &Config) {
    let mask = match &config.local {
        LocalStore::Maildir(_) => Mode::WGRP | Mode::RWXO,
        LocalStore::None | LocalStore::LmtpTcp(_) | LocalStore::LmtpUnix(_) => {
            Mode::RWXG | Mode::RWXO
        }
    };
    rustix::process::umask(mask);
}

/// Sets the umask and makes the data directory where there is none.
pub(crate) fn close_to_others(config: &Config) -> Result<()> {
    set_umask(config);
    let dir = &config.data_dir;
    net::make_dir(dir, DATA_DIR_MODE)
        .with_context(|| format!("making the data directory {}", dir.display()))
}
