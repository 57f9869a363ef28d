//! The first start, by a person at a terminal.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use lab::Scratch;

use crate::scene::BINARY;

#[test]
fn an_ordinary_user_starts_it_at_a_terminal_and_is_told_what_runs() {
    if fs::exists("/var/lib/sendoff").unwrap_or(true) {
        // The computer's own server has the default.
        return;
    }
    let scratch = Scratch::new();
    let home = scratch.path().join("home");
    fs::create_dir(&home).expect("a directory");
    let config = scratch.path().join("sendoff.toml");
    let text = "hostname = \"mail.example.com\"\nlistener = [{ address = \"127.0.0.1:0\" }]\n\
                console.address = \"\"\nlog.file = \"own.log\"\n";
    fs::write(&config, text).expect("a file");
    let binary = scratch.path().join("sendoff");
    fs::copy(BINARY, &binary).expect("a copy of the binary");
    let mut command = Command::new("script");
    // Not below a shell, which would answer for it: some of them die of the Ctrl-C that it has dealt with.
    let (binary, file) = (binary.display(), config.display());
    let serve = format!("exec {binary} --config {file} serve");
    if rustix::process::geteuid().is_root() {
        for path in [scratch.path(), &home] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("root may");
            std::os::unix::fs::chown(path, Some(12345), Some(12345)).expect("root may");
        }
        command = Command::new("setpriv");
        command.args([
            "--reuid",
            "12345",
            "--regid",
            "12345",
            "--clear-groups",
            "script",
        ]);
    }
    let mut script = command
        .args(["-qec", &serve, "/dev/null"])
        .env("HOME", &home)
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs");
    let mut said = String::new();
    let mut output = script.stdout.take().expect("a pipe");
    let mut piece = [0; 4096];
    while !said.contains("Ctrl-C stops") {
        let n = output.read(&mut piece).expect("it says something");
        assert!(n > 0, "it has ended: {said}");
        said.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    // As Ctrl-C does.
    let mut input = script.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"\x03").expect("script reads");
    let ended = script.wait().expect("it ends");
    assert!(ended.success(), "{ended}: {said}");
    let data = home.join(".local/state/sendoff");
    for (row, value) in [
        ("configuration", config.display().to_string()),
        ("SMTP", "127.0.0.1:0".to_owned()),
        (
            "sends",
            "directly to the mail hosts of each domain (MX)".to_owned(),
        ),
        ("data", data.display().to_string()),
        ("log", data.join("own.log").display().to_string()),
    ] {
        let is_row = |line: &str| line.trim().starts_with(row) && line.trim().ends_with(&value);
        assert!(said.lines().any(is_row), "{row} {value}: {said}");
    }
    assert!(data.join("spool").exists());
}
