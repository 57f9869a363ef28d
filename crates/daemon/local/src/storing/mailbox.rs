//! Which mailboxes there are, where Maildirs are not made for whoever gets mail (`local.create = false`).

use std::fs;
use std::path::Path;

/// Whether there is a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mailbox {
    /// There is.
    There,
    /// There are others, and not this one.
    Missing,
    /// There are none at all, or they cannot be looked at: their disk may not be mounted.
    Unknown,
}

/// Looks for a mailbox. Blocks.
pub(crate) fn look(template: &str, path: &Path) -> Mailbox {
    match path.try_exists() {
        Ok(true) => Mailbox::There,
        Err(_) => Mailbox::Unknown,
        Ok(false) => match fs::read_dir(root(template)).map(|mut entries| entries.next()) {
            Ok(Some(_)) => Mailbox::Missing,
            Ok(None) | Err(_) => Mailbox::Unknown,
        },
    }
}

/// The directory that all mailboxes are in.
pub(crate) fn root(template: &str) -> &Path {
    let fixed = template.split('{').next().unwrap_or_default();
    let end = fixed.rfind('/').map_or(0, |slash| slash.max(1));
    Path::new(fixed.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_says_nothing_of_a_mailbox() {
        assert_eq!(root("/var/mail/{domain}/{user}"), Path::new("/var/mail"));
        assert_eq!(root("/{user}"), Path::new("/"));
        let dir = lab::Scratch::new();
        let template = format!("{}/m-{{domain}}/{{user}}", dir.path().display());
        assert_eq!(root(&template), dir.path());
        let ann = dir.path().join("m-a.example/ann");
        assert_eq!(look(&template, &ann), Mailbox::Unknown);
        fs::create_dir_all(dir.path().join("m-a.example/bob")).expect("a directory");
        assert_eq!(look(&template, &ann), Mailbox::Missing);
        fs::create_dir(&ann).expect("a directory");
        assert_eq!(look(&template, &ann), Mailbox::There);
    }
}
