//! The configuration.

use std::path::Path;

use crate::server::config;

/// No text makes the reader panic; an error names a line that is there, and what is wrong.
pub(crate) fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let base = Path::new("/etc/sendoff");
    match config::Config::parse(&text, &base.join("sendoff.toml"), base) {
        Ok(read) => {
            assert!(!read.listeners.is_empty(), "a server without a listener");
            assert!(read.data_dir.is_absolute());
            assert!(read.outgoing.max_connections > 0);
        }
        Err(config::ConfigError::Wrong { line, message, .. }) => {
            assert!(line >= 1 && line <= text.matches('\n').count() + 1);
            assert!(
                !message.is_empty() && message.len() <= text.len() * 4 + 2000,
                "{message}"
            );
        }
        Err(error @ config::ConfigError::Read { .. }) => panic!("nothing is read: {error}"),
    }
}
