//! Where the data is when nothing says where.

use std::path::PathBuf;

/// The computer's directory; an ordinary user's own below the XDG state directory (XDG Base Directory
/// Specification 0.8), where the computer has none, so that whoever tries the server out needs no root.
pub(super) fn data_dir() -> PathBuf {
    let system = PathBuf::from(super::DATA_DIR);
    let is_root = rustix::process::geteuid().is_root();
    if is_root || system.try_exists().unwrap_or(true) {
        return system;
    }
    // "All paths must be absolute"; another is as if it were not set.
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map_or(system, |state| state.join("sendoff"))
}
