//! The configuration.

use std::path::Path;

/// No text makes the reader panic; an error names a line that is there, and what is wrong. Who looks for all errors finds
/// some where the reader finds one, and none elsewhere.
pub(crate) fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let base = Path::new("/etc/sendoff");
    let path = base.join("sendoff.toml");
    let parsed = config::Config::parse(&text, &path, base);
    let judged = config::judged::judge(&text, &path, base, false);
    let is_right = parsed.as_ref().is_ok_and(|read| read.check_keys().is_ok());
    assert_eq!(judged.errors.is_empty(), is_right, "{:?}", judged.errors);
    assert!(
        judged
            .lines
            .values()
            .all(|spot| spot.line <= text.len() + 1)
    );
    match parsed {
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
