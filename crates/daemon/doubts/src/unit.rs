//! Where the systemd service may write: only what its unit and the drop-ins beside it allow.

use std::fs;
use std::path::{Path, PathBuf};

use config::{Config, DATA_DIR};

use super::Doubt;

/// Where units are, the strongest first.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const NAME: &str = "sendoff.service";

/// What of a configuration the service cannot write, where a service manager runs and has the unit.
pub fn read_only(config: &Config) -> Vec<Doubt> {
    // A server with another data directory is not the unit's.
    let is_the_units = config.data_dir == Path::new(DATA_DIR);
    match Path::new("/run/systemd/system").is_dir() && is_the_units {
        true => unit().map_or_else(Vec::new, |unit| judge(config, &unit)),
        false => Vec::new(),
    }
}

/// The unit and what is added to it.
fn unit() -> Option<String> {
    let mut dirs = UNITS.iter().map(Path::new);
    let mut text = dirs.find_map(|dir| fs::read_to_string(dir.join(NAME)).ok())?;
    for dir in UNITS.iter().rev() {
        let dir = Path::new(dir).join(format!("{NAME}.d"));
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            text.push('\n');
            text.push_str(&fs::read_to_string(file).unwrap_or_default());
        }
    }
    Some(text)
}

fn judge(config: &Config, unit: &str) -> Vec<Doubt> {
    let mailboxes = super::mailboxes(config).into_iter();
    let mut written: Vec<_> = mailboxes.map(|dir| ("local.deliver", dir)).collect();
    let log = config.log.file.as_deref().and_then(Path::parent);
    written.extend(log.map(|dir| ("log.file", dir.to_owned())));
    let drops = config.sendmail.drop_dir.clone();
    written.extend(drops.map(|dir| ("sendmail.drop_dir", dir)));
    let closed = written.into_iter().filter(|(_, dir)| !may_write(unit, dir));
    let told = |(key, dir): (&'static str, PathBuf)| {
        let dir = dir.display();
        let what = format!(
            "the systemd service is not allowed to write to {dir}: `systemctl edit sendoff`, add [Service] and \
             ReadWritePaths={dir}, then `systemctl restart sendoff`"
        );
        Doubt::of(key, what)
    };
    closed.map(told).collect()
}

/// The values of a setting; an empty one takes back those before.
fn values<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for line in unit.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if key.trim() == name {
            match value.trim() {
                "" => found.clear(),
                value => found.extend(value.split_whitespace()),
            }
        }
    }
    found
}

fn may_write(unit: &str, path: &Path) -> bool {
    let last = |name| values(unit, name).last().copied().unwrap_or_default();
    let is_below = |list: &[&str]| list.iter().any(|dir| path.starts_with(dir));
    let home = matches!(last("ProtectHome"), "yes" | "true" | "read-only" | "tmpfs");
    let open = values(unit, "ReadWritePaths");
    let open: Vec<&str> = open
        .iter()
        .map(|p| p.trim_start_matches(['-', '+']))
        .collect();
    let named = |setting: &str, above: &str| {
        let names = values(unit, setting).into_iter();
        names
            .map(|name| format!("{above}/{name}"))
            .collect::<Vec<_>>()
    };
    let own = [
        named("StateDirectory", "/var/lib"),
        named("LogsDirectory", "/var/log"),
        named("CacheDirectory", "/var/cache"),
        named("RuntimeDirectory", "/run"),
    ]
    .concat();
    if is_below(&open) || own.iter().any(|dir| path.starts_with(dir)) {
        return true;
    }
    if home && is_below(&["/home", "/root", "/run/user"]) {
        return false;
    }
    match last("ProtectSystem") {
        "strict" => is_below(&["/dev", "/proc", "/sys", "/tmp", "/var/tmp"]),
        "full" => !is_below(&["/usr", "/boot", "/efi", "/etc"]),
        "yes" | "true" => !is_below(&["/usr", "/boot", "/efi"]),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_packages_unit_closes_is_known() {
        let unit = include_str!("../../../../packaging/sendoff.service");
        let open = "[Service]\nReadWritePaths=/srv/mail -/opt/x\n";
        for (path, alone, with) in [
            ("/var/lib/sendoff/drop", true, true),
            ("/var/log/sendoff", true, true),
            ("/var/mail", false, false),
            ("/srv/mail/a.example", false, true),
            ("/opt/x", false, true),
            ("/home", false, false),
            ("/tmp/x", true, true),
        ] {
            assert_eq!(may_write(unit, Path::new(path)), alone, "{path}");
            let more = format!("{unit}\n{open}");
            assert_eq!(may_write(&more, Path::new(path)), with, "{path}");
        }
        let back = format!("{unit}\n{open}ReadWritePaths=\n");
        assert!(!may_write(&back, Path::new("/srv/mail")));
        assert!(may_write("[Service]\n", Path::new("/var/mail")));
    }

    #[test]
    fn a_place_that_is_closed_is_told_with_what_opens_it() {
        let unit = include_str!("../../../../packaging/sendoff.service");
        let text =
            "[local]\ndomains = [\"a.example\"]\ndeliver = \"maildir:/var/mail/{domain}/{user}\"\n";
        let config = Config::parse(text, Path::new("c.toml"), Path::new("/")).unwrap();
        let doubts = judge(&config, unit);
        assert_eq!(doubts.len(), 1, "{doubts:?}");
        assert!(
            doubts[0]
                .what
                .contains("ReadWritePaths=/var/mail/a.example")
        );
    }
}
