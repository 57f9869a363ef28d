//! Which files with secrets other users of this computer can read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use config::Config;

/// A line for each file that shows a secret to everybody.
pub fn readable_secrets(config: &Config) -> Vec<String> {
    let mut secrets = vec![
        ("users.file", config.users_file.as_path()),
        ("console.keys", config.console.keys.as_path()),
        ("return_path.secrets_file", config.paths.secrets.as_path()),
    ];
    let named = config.named.files.iter().filter(|file| file.is_secret);
    secrets.extend(named.map(|file| (file.key, file.path.as_path())));
    let mut found: Vec<String> = secrets
        .into_iter()
        .filter(|(_, path)| is_readable(path))
        .map(|(key, path)| told(path, key, "it"))
        .collect();
    if config.path.is_some()
        && let Some((key, path)) = &config.named.secret
        && is_readable(path)
    {
        let key = format!("it contains {key}");
        found.push(told(
            path,
            &key,
            "it, or put the secret into a separate file",
        ));
    }
    found
}

fn told(path: &Path, why: &str, what: &str) -> String {
    let path = path.display();
    format!(
        "every user of this computer can read {path} ({why}): let only its owner and group read {what} (chmod o= \
         {path})"
    )
}

/// Whether users who are neither owner nor in the group can read a file: its own mode says so, and so do the
/// directories on the way. One that cannot be looked at is not readable.
fn is_readable(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let allows = |path: &Path, bit: u32| {
        path.metadata()
            .is_ok_and(|found| found.permissions().mode() & bit != 0)
    };
    allows(&path, 0o004) && path.ancestors().skip(1).all(|above| allows(above, 0o001))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_readable_when_the_way_to_it_is_open_too() {
        let dir = std::env::temp_dir().join(format!("sendoff-open-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("key.pem");
        fs::write(&file, "secret").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (above, own, readable) in [
            (0o755, 0o644, true),
            (0o711, 0o604, true),
            (0o750, 0o644, false),
            (0o755, 0o640, false),
        ] {
            set(&dir, above);
            set(&file, own);
            assert_eq!(is_readable(&file), readable, "{above:o} {own:o}");
        }
        assert!(!is_readable(&dir.join("missing")));
        fs::remove_dir_all(dir).unwrap();
    }
}
