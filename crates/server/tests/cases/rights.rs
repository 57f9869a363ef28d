//! Who may do what: root's commands in directories of the service account.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::{Config, Scratch};

use crate::scene::{BINARY, feed, not_tested};

/// The service account of these tests; nobody else has this number.
const SERVICE: u32 = 45_678;

/// A data directory of the service account, a configuration beside it, and something of root's.
struct House {
    scratch: Scratch,
    data: PathBuf,
    treasure: PathBuf,
}

impl House {
    /// `None`, said aloud, where the tests do not run as root.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_tested("only root can show what root's commands do");
            return None;
        }
        let scratch = Scratch::new();
        let data = scratch.path().join("data");
        let treasure = scratch.path().join("treasure");
        for dir in [&data, &treasure] {
            fs::create_dir(dir).expect("a directory");
        }
        fs::set_permissions(&treasure, fs::Permissions::from_mode(0o700)).expect("root may");
        fs::write(treasure.join("file"), "gold").expect("a file");
        chown(&data, Some(SERVICE), Some(SERVICE)).expect("root may");
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 2525));
        let config = Config::new(address).set("data_dir", data.display().to_string());
        fs::write(scratch.path().join("sendoff.toml"), config.text()).expect("a configuration");
        Some(Self {
            scratch,
            data,
            treasure,
        })
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(BINARY);
        command.args(arguments);
        command
            .arg("--config")
            .arg(self.scratch.path().join("sendoff.toml"));
        feed(command, input.as_bytes())
    }

    /// What the service account leads elsewhere.
    fn plant(&self, link: &str, to: &Path) {
        let link = self.data.join(link);
        drop(fs::remove_file(&link));
        symlink(to, link).expect("a link");
    }

    /// Root's file is as it was, and nothing stands beside it.
    fn assert_untouched(&self) {
        let file = self.treasure.join("file");
        let found = fs::metadata(&file).expect("the file is there");
        assert_eq!((found.uid(), found.gid()), (0, 0));
        assert_eq!(fs::read_to_string(file).expect("text"), "gold");
        let names = fs::read_dir(&self.treasure).expect("a directory").count();
        assert_eq!(names, 1, "something was put beside it");
    }

    fn assert_of_the_service(&self, file: &str) {
        let found = fs::symlink_metadata(self.data.join(file)).expect("it is there");
        assert!(found.is_file());
        assert_eq!(found.mode() & 0o777, 0o600, "{file}");
        assert_eq!(found.uid(), SERVICE, "{file}");
    }
}

#[test]
fn a_link_planted_beside_a_file_leads_root_nowhere() {
    let Some(house) = House::new() else { return };
    let treasure = house.treasure.join("file");
    for name in ["users.toml.new", "keys.toml.new", ".users.toml"] {
        house.plant(name, &treasure);
    }
    let added = house.run(&["user", "add", "ann"], "secret\n");
    assert!(added.status.success(), "{added:?}");
    let made = house.run(&["key", "add", "shop", "--scope", "send"], "");
    assert!(made.status.success(), "{made:?}");
    house.assert_untouched();
    house.assert_of_the_service("users.toml");
    house.assert_of_the_service("keys.toml");
}

#[test]
fn a_link_planted_beside_a_key_of_dkim_leads_root_nowhere() {
    let Some(house) = House::new() else { return };
    let dkim = house.data.join("dkim");
    fs::create_dir(&dkim).expect("a directory");
    chown(&dkim, Some(SERVICE), Some(SERVICE)).expect("root may");
    house.plant("dkim/a.example.s1.pem.new", &house.treasure.join("file"));
    let generate = ["dkim", "generate", "a.example", "--selector", "s1"];
    let made = house.run(&generate, "");
    assert!(made.status.success(), "{made:?}");
    house.assert_untouched();
    house.assert_of_the_service("dkim/a.example.s1.pem");
}

#[test]
fn a_link_planted_in_place_of_a_directory_leads_root_nowhere() {
    let Some(house) = House::new() else { return };
    house.plant("dkim", &house.treasure);
    let made = house.run(&["dkim", "generate", "a.example"], "");
    assert!(!made.status.success(), "{made:?}");
    house.assert_untouched();
    // A name that is missing behind the link is not made there either.
    house.plant("dkim", &house.treasure.join("deeper"));
    let made = house.run(&["dkim", "generate", "a.example"], "");
    assert!(!made.status.success(), "{made:?}");
    house.assert_untouched();
}

#[test]
fn a_link_in_place_of_the_file_itself_is_not_read_with_roots_rights() {
    let Some(house) = House::new() else { return };
    house.plant("users.toml", &house.treasure.join("file"));
    let added = house.run(&["user", "add", "ann"], "secret\n");
    assert!(!added.status.success(), "{added:?}");
    let said = String::from_utf8_lossy(&added.stderr);
    assert!(said.contains("Permission denied"), "{said}");
    house.assert_untouched();
}
