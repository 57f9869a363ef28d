//! Who may do what: root's commands in directories of the service account, what others may read, and what the
//! server itself keeps of the rights that it was started with.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::{Config, Scratch, Sendoff};

use crate::scene::{BINARY, SOON, Scene, eventually, feed, log_lines, not_tested, queue, send};

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

/// All that is below a directory, with what others than its owner and group may do.
fn for_others(dir: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        // A file of SQLite may have gone meanwhile.
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            for_others(&path, found);
        }
        found.push((path, meta.mode() & 0o7777));
    }
}

#[test]
fn under_a_careless_umask_nobody_else_reads_queue_history_or_log() {
    let scene = Scene::new();
    let away = scene.world.domain("away.example");
    let scratch = Scratch::new();
    let mailboxes = scratch.path().join("mail/{user}").display().to_string();
    let log = scratch.path().join("logs/outgoing.log");
    let config = scene.config().set("log.file", log.display().to_string());
    let config = config.set("local.domains", ["here.example"]);
    let config = config.set("local.deliver", format!("maildir:{mailboxes}"));
    let config = config.set("tls_reports.enabled", true);
    let careless = ["sh", "-c", "umask 022; exec \"$@\"", "sh"];
    let mut server = Sendoff::start_in(scratch, BINARY, config, &careless);
    send(&server, "ann@away.example");
    send(&server, "bob@here.example");
    let new = server.directory().join("mail/bob/new");
    eventually("both are there", SOON, || {
        let stored = fs::read_dir(&new).is_ok_and(|found| found.count() == 1);
        stored && away.received().len() == 1
    });
    assert_eq!(queue(&server).len(), 0);
    let check = |server: &Sendoff| {
        let mut found = Vec::new();
        for dir in ["data", "logs", "mail"] {
            for_others(&server.directory().join(dir), &mut found);
        }
        // What everybody may put mail into, and what tells each user of their own mail only.
        let open = ["data/drop", "data/mailq.sock"].map(|name| server.directory().join(name));
        for (path, mode) in found.iter().filter(|(path, _)| !open.contains(path)) {
            assert_eq!(mode & 0o007, 0, "{} {mode:o}", path.display());
        }
        let mode = |name: &str| {
            let path = server.directory().join(name);
            fs::metadata(path).expect(name).mode() & 0o7777
        };
        assert_eq!(mode("data"), 0o711);
        assert_eq!(mode("data/drop"), 0o3733);
        assert_eq!(mode("data/admin.sock"), 0o660);
        assert_eq!(mode("data/mailq.sock"), 0o666);
        assert_eq!(mode("data/spool"), 0o700);
        for file in ["history.db", "index.db"] {
            assert_eq!(mode(&format!("data/spool/{file}")), 0o600, "{file}");
        }
        assert_eq!((mode("logs"), mode("logs/outgoing.log")), (0o750, 0o640));
        // Those who read a mailbox are in its group.
        assert_eq!((mode("mail/bob"), mode("mail/bob/new")), (0o750, 0o750));
    };
    check(&server);
    let mail = fs::read_dir(&new).expect("a mailbox").flatten().next();
    let mail = mail.expect("a mail").metadata().expect("it is there");
    assert_eq!(mail.mode() & 0o777, 0o640);
    // What an earlier build left open is closed.
    server.terminate();
    let open = |name: &str, mode| {
        let path = server.directory().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    open("data/spool", 0o755);
    open("data/spool/history.db", 0o644);
    open("data/spool/index.db", 0o644);
    server.restart();
    check(&server);
}

#[test]
fn check_warns_of_secrets_that_everybody_reads() {
    let scratch = Scratch::new();
    let file = |name: &str, mode: u32| {
        let path = scratch.path().join(name);
        fs::write(&path, "").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        path.display().to_string()
    };
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 2525));
    let config = Config::new(address)
        .set(
            "data_dir",
            scratch.path().join("data").display().to_string(),
        )
        .set("users.file", file("users.toml", 0o644))
        .set("console.keys", file("keys.toml", 0o600))
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.host", "relay.example")
        .set("outgoing.relay.username", "ann")
        .set("outgoing.relay.password", "secret");
    let path = file("sendoff.toml", 0o604);
    fs::write(&path, config.text()).expect("a configuration");
    let check = || {
        let mut command = Command::new(BINARY);
        command.args(["check", "--config", &path]);
        let output = feed(command, b"");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = check();
    let warned = |said: &str, name: &str| {
        let name = format!("can read {}", scratch.path().join(name).display());
        said.lines()
            .any(|line| line.starts_with("warning: ") && line.contains(&name))
    };
    assert!(warned(&said, "users.toml"), "{said}");
    assert!(warned(&said, "sendoff.toml") && said.contains("outgoing.relay.password"));
    assert!(!warned(&said, "keys.toml"), "{said}");
    let close = fs::Permissions::from_mode(0o640);
    fs::set_permissions(&path, close.clone()).expect("ours");
    fs::set_permissions(scratch.path().join("users.toml"), close).expect("ours");
    assert!(!check().contains("every user of this computer"));
}

/// A user that every system has.
const NOBODY: &str = "nobody";

/// A directory that the server's user may write in.
fn scratch_of(uid: u32) -> Scratch {
    let scratch = Scratch::new();
    chown(scratch.path(), Some(uid), Some(uid)).expect("root may");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("root may");
    scratch
}

fn uid_of(name: &str) -> u32 {
    let output = Command::new("id").args(["-u", name]).output();
    let text = String::from_utf8(output.expect("id runs").stdout).expect("a number");
    text.trim().parse().expect("a number")
}

/// What `serve` says that ends at once.
fn refusal(config: &Config, scratch: &Scratch) -> String {
    let data = scratch.path().join("data").display().to_string();
    let file = scratch.path().join("sendoff.toml");
    let config = config.clone().set("data_dir", data);
    fs::write(&file, config.text()).expect("a configuration");
    let mut command = Command::new(BINARY);
    command.arg("serve").arg("--config").arg(&file);
    let output = feed(command, b"");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn started_by_root_the_server_becomes_its_user_and_keeps_no_rights() {
    if !rustix::process::geteuid().is_root() {
        return not_tested("only root can switch to another user");
    }
    let scene = Scene::new();
    let away = scene.world.domain("away.example");
    let scratch = scratch_of(uid_of(NOBODY));
    let config = scene.config().set("user", NOBODY);
    let server = Sendoff::start_in(scratch, BINARY, config, &[]);
    let pid = server.pid().expect("it runs");
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let uid = uid_of(NOBODY);
    let mut seen = 0;
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).expect("a thread");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let all = |n: &str| [n; 4].join(" ");
        assert_eq!(field("Uid:"), Some(all(&uid.to_string())));
        for name in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(name).as_deref(), Some("0000000000000000"), "{name}");
        }
        assert_eq!(field("NoNewPrivs:").as_deref(), Some("1"));
        seen += 1;
    }
    assert!(seen > 1, "the server has threads");
    let data = fs::metadata(server.directory().join("data")).expect("it was made");
    assert_eq!((data.uid(), data.mode() & 0o777), (uid, 0o711));
    // It works, and root steers it.
    send(&server, "ann@away.example");
    assert_eq!(away.wait_for(1, SOON).len(), 1);
    server.run(&["reload"]);
    server.run(&["user", "list"]);
}

#[test]
fn what_only_root_can_read_stops_the_start_and_not_a_reload() {
    if !rustix::process::geteuid().is_root() {
        return not_tested("only root can switch to another user");
    }
    let scratch = scratch_of(uid_of(NOBODY));
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config::new(address)
        .set("user", NOBODY)
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.host", "relay.example")
        .set("outgoing.relay.username", "ann")
        .set("outgoing.relay.password_file", "password");
    let password = scratch.path().join("password");
    fs::write(&password, "secret").expect("a file");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("root may");
    let said = refusal(&config, &scratch);
    assert!(said.contains("as the server's user"), "{said}");
    assert!(said.contains("password_file"), "{said}");
}

#[test]
fn a_data_directory_of_another_owner_stops_the_start_with_the_command_that_mends_it() {
    if !rustix::process::geteuid().is_root() {
        return not_tested("only root can make what belongs to others");
    }
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    for (user, owner, mended) in [
        (NOBODY, SERVICE, "chown -R nobody: "),
        ("root", SERVICE, "chown -R root: "),
    ] {
        let scratch = scratch_of(0);
        let data = scratch.path().join("data");
        fs::create_dir(&data).expect("a directory");
        chown(&data, Some(owner), Some(owner)).expect("root may");
        let said = refusal(&Config::new(address).set("user", user), &scratch);
        let command = format!("{mended}{}", data.display());
        assert!(said.contains(&command), "{said}");
    }
    let unknown = Config::new(address).set("user", "nobody-has-this-name");
    let said = refusal(&unknown, &scratch_of(0));
    assert!(said.contains("useradd --system"), "{said}");
}

/// Whether the kernel has Landlock with the rights that are needed, as it says itself.
fn has_landlock() -> bool {
    let ask = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))";
    let output = Command::new("python3").args(["-c", ask]).output();
    let text = String::from_utf8(output.expect("python3 runs").stdout).expect("a number");
    text.trim().parse().unwrap_or(0) >= 2
}

#[test]
fn the_server_writes_nowhere_else_even_as_root() {
    let scene = Scene::new();
    let config = scene.config().set("outgoing.enabled", false);
    let elsewhere = Scratch::new();
    let mut server = Sendoff::start(BINARY, config);
    let copy = elsewhere.path().join("copy").display().to_string();
    if !has_landlock() {
        let told = log_lines(&server, &[" warning ", "not support Landlock"]);
        assert_eq!(told.len(), 1, "it is said once");
        return not_tested("this kernel does not support Landlock");
    }
    assert!(log_lines(&server, &[" warning ", "Landlock"]).is_empty());
    let refused = server.cli(&["backup", &copy]);
    assert!(!refused.status.success(), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("sandbox.paths"), "{said}");
    assert!(
        fs::read_dir(elsewhere.path())
            .expect("it is there")
            .next()
            .is_none()
    );
    let paths = [elsewhere.path().display().to_string()];
    server.reconfigure(|config| config.set("sandbox.paths", paths));
    let reload = server.cli(&["reload"]);
    let said = String::from_utf8_lossy(&reload.stderr);
    assert!(
        said.contains("sandbox.paths") && said.contains("needs a restart"),
        "{said}"
    );
    server.terminate();
    server.restart();
    server.run(&["backup", &copy]);
}

#[test]
fn what_a_reload_would_read_elsewhere_needs_a_restart() {
    if !has_landlock() {
        return not_tested("this kernel does not support Landlock");
    }
    let scene = Scene::new();
    let elsewhere = Scratch::new();
    let ca = scene.world.ca.write(elsewhere.path()).expect("a file");
    let mut server = Sendoff::start(BINARY, scene.config());
    let roots = [ca.display().to_string()];
    server.reconfigure(|config| config.set("tls.extra_roots", roots));
    let reload = server.cli(&["reload"]);
    assert!(!reload.status.success(), "{reload:?}");
    let said = String::from_utf8_lossy(&reload.stderr);
    assert!(
        said.contains("tls.extra_roots") && said.contains("needs a restart"),
        "{said}"
    );
    server.terminate();
    server.restart();
    server.run(&["reload"]);
}

#[test]
fn a_mailbox_that_is_a_link_elsewhere_is_found_by_check_and_let_in_by_a_setting() {
    let scene = Scene::new();
    let (boxes, elsewhere) = (Scratch::new(), Scratch::new());
    symlink(elsewhere.path(), boxes.path().join("bob")).expect("a link");
    fs::create_dir(boxes.path().join("ann")).expect("a directory");
    let config = scene.config().set("local.domains", ["here.example"]).set(
        "local.deliver",
        format!("maildir:{}/{{user}}", boxes.path().display()),
    );
    let mut server = Sendoff::start(BINARY, config);
    let warned = |server: &Sendoff| {
        let said = server.run(&["check"]);
        said.contains("bob is a link to") && said.contains("sandbox.paths")
    };
    assert!(warned(&server));
    send(&server, "bob@here.example");
    if has_landlock() {
        let line = server.wait_for_log(&[" deferred ", "Permission denied"], SOON);
        assert!(line.is_some(), "{}", server.log());
        assert!(!elsewhere.path().join("new").exists());
    } else {
        not_tested("this kernel does not support Landlock");
    }
    let paths = [elsewhere.path().display().to_string()];
    server.reconfigure(|config| config.set("sandbox.paths", paths));
    assert!(!warned(&server));
    server.terminate();
    server.restart();
    let new = elsewhere.path().join("new");
    eventually("it is stored", SOON, || {
        fs::read_dir(&new).is_ok_and(|found| found.count() == 1)
    });
}
