//! Where the running server is asked.

use std::path::{Path, PathBuf};

/// The administrator's socket of a data directory.
pub fn admin_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// The socket of a data directory at which every user sees the mail that is his own.
pub fn own_mail_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("mailq.sock")
}
