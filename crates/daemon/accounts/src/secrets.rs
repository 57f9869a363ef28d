//! Secrets of this server's own, each in a file that is made when it is needed first.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The text of a file of secrets. Where there is none it is made, with 32 random octets in hexadecimal: whole or
/// not at all, for what was signed with it is out in the world, and must be believed after a crash too.
pub fn kept(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut secret = [0u8; 32];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    let mut text = String::new();
    for octet in secret {
        let written = write!(text, "{octet:02x}");
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    text.push('\n');
    match net::create_private(path, &text) {
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::fs::read_to_string(path),
        made => made.map(|()| text),
    }
}
