//! A configuration of several files, with values from the environment and from the service manager.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use lab::{Scratch, Sendoff, free_address};
use serde_json::Value;

use crate::scene::{BINARY, SOON, Scene, send};

/// Files in a directory of their own.
struct Files(Scratch);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let new = Self(Scratch::new());
        let first = format!(
            "hostname = \"mail.a.example\"\ndata_dir = \"data\"\ninclude = [\"conf.d/*.toml\"]\n\
             [console]\naddress = \"\"\n[[listener]]\naddress = \"{}\"\n[outgoing]\nplan = \"internet\"\n\
             refuse_networks = [\"default\"]\n",
            free_address()
        );
        new.write("sendoff.toml", &first);
        for (name, text) in files {
            new.write(name, text);
        }
        new
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let above = path.parent().expect("a directory");
        fs::create_dir_all(above).expect("a directory of our own");
        fs::write(path, text).expect("a file of our own");
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(self.path("sendoff.toml"));
        command.args(arguments).envs(variables.iter().copied());
        command.output().expect("the command runs")
    }

    fn check(&self, variables: &[(&str, &str)]) -> String {
        let output = self.command(&["check"], variables);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let here = format!("{}/", self.0.path().display());
        String::from_utf8_lossy(&output.stdout).replace(&here, "")
    }
}

#[test]
fn mistakes_of_included_files_are_told_with_their_file_and_line() {
    let files = Files::new(&[
        (
            "conf.d/10-domains.toml",
            "[[domain]]\nmatch = \"b.example\"\nmax_conections = 2\n",
        ),
        (
            "conf.d/20-twice.toml",
            "\nhostname = \"other.example\"\n[outgoing]\nplan = \"internet\"\nresend_wiat = 3\n",
        ),
        (
            "conf.d/30-more.toml",
            "include = [\"x.toml\"]\n[[listener]]\naddress = \"here\"\n[local]\ndomains = [\"c.example\"]\n",
        ),
        ("conf.d/.40-hidden.toml", "this is no TOML"),
        ("conf.d/50-other.txt", "this is no TOML"),
    ]);
    let said = files.check(&[]);
    for line in [
        "error: conf.d/10-domains.toml:3: unknown key `max_conections` in [domain]. Did you mean `max_connections`?",
        "error: conf.d/20-twice.toml:2: hostname: it is set in sendoff.toml:1 too: set it in one place.",
        "error: conf.d/20-twice.toml:4: outgoing.plan: it is set in sendoff.toml:9 too: set it in one place.",
        "error: conf.d/20-twice.toml:5: unknown key `resend_wiat` in [outgoing]. Did you mean `resend_wait`?",
        "error: conf.d/30-more.toml:1: include: an included file cannot include others",
        "error: conf.d/30-more.toml:3: listener.address: `here` is not an address with a port",
        "warning: conf.d/30-more.toml:5: mail for c.example is refused: local.domains contains it",
        "sendoff.toml: 6 errors, 1 warning.",
    ] {
        assert!(said.contains(line), "{line} in:\n{said}");
    }
    files.write("conf.d/15-broken.toml", "[tls\n");
    files.write("conf.d/35-broken.toml", "a = \n");
    let said = files.check(&[]);
    assert!(said.contains("error: conf.d/15-broken.toml:1: "), "{said}");
    assert!(
        said.contains("error: conf.d/35-broken.toml:1: a: "),
        "{said}"
    );
}

#[test]
fn tables_merge_and_lists_of_tables_append_in_the_order_of_the_names() {
    let files = Files::new(&[
        (
            "conf.d/b.toml",
            "[[domain]]\nmatch = \"b.example\"\n[outgoing]\nmax_connections = 7\n",
        ),
        (
            "conf.d/a.toml",
            "[[domain]]\nmatch = \"a.example\"\n[outgoing.timeouts]\nconnect = \"7s\"\n",
        ),
    ]);
    assert_eq!(files.check(&[]), "sendoff.toml: no errors.\n");
    // Which is why the second of two rules for a domain is found in the later file.
    files.write("conf.d/c.toml", "[[domain]]\nmatch = \"a.example\"\n");
    let said = files.check(&[]);
    assert!(!said.contains("conf.d/a.toml:"), "{said}");
    let first = fs::read_to_string(files.path("sendoff.toml")).expect("our file");
    for (include, said) in [
        ("[\"none/*.toml\"]", ""),
        (
            "[\"none.toml\"]",
            "error: sendoff.toml:3: include: none.toml cannot be read: No such file",
        ),
        (
            "[\"conf.d\"]",
            "error: sendoff.toml:3: include: conf.d is not a file: write conf.d/*.toml",
        ),
        (
            "[\"conf.d/[*.toml\"]",
            "error: sendoff.toml:3: include: `conf.d/[*.toml` is not a pattern: ",
        ),
        (
            "\"conf.d/*.toml\"",
            "error: sendoff.toml:3: include: found \"conf.d/*.toml\", but a list",
        ),
    ] {
        files.write(
            "sendoff.toml",
            &first.replace("[\"conf.d/*.toml\"]", include),
        );
        let found = files.check(&[]);
        assert!(found.contains(said), "{include}: {found}");
    }
}

#[test]
fn values_come_from_the_environment_and_no_secret_is_shown() {
    let files = Files::new(&[(
        "conf.d/relay.toml",
        "postmaster = \"pm@${SITE}\"\n[[webhook]]\nname = \"w\"\nurl = \"https://hooks.${SITE}/\"\n\
         secret = \"${HOOK_SECRET}\"\n",
    )]);
    let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let all = [("SITE", "a.example"), ("HOOK_SECRET", good)];
    assert_eq!(files.check(&all), "sendoff.toml: no errors.\n");
    let said = files.check(&[("HOOK_SECRET", good)]);
    for line in [
        "error: conf.d/relay.toml:1: postmaster: the environment variable SITE is not set: set it where",
        "error: conf.d/relay.toml:4: webhook.url: the environment variable SITE is not set: set it where",
        "sendoff.toml: 2 errors",
    ] {
        assert!(said.contains(line), "{line} in:\n{said}");
    }
    let said = files.check(&[("SITE", "a.example"), ("HOOK_SECRET", "not-to-be-seen")]);
    assert!(
        said.contains("error: conf.d/relay.toml:5: webhook.secret: "),
        "{said}"
    );
    assert!(!said.contains("not-to-be-seen"), "{said}");
    // `serve` needs all of it, and commands that only ask it do not.
    let refused = files.command(&["serve"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("SITE is not set"));
    let asked = files.command(&["queue", "list"], &[]);
    assert_eq!(asked.status.code(), Some(3), "{asked:?}");
    files.write(
        "conf.d/where.toml",
        "[users]\nfile = \"${ELSEWHERE}/users.toml\"\n",
    );
    let refused = files.command(&["user", "list"], &[]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn a_credential_of_the_service_manager_is_read_as_a_file() {
    let files = Files::new(&[
        (
            "conf.d/w.toml",
            "[[webhook]]\nname = \"w\"\nurl = \"https://h.example/\"\nsecret_file = \"credential:hook\"\n",
        ),
        ("given/hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
    ]);
    // As systemd gives them.
    let mode = fs::Permissions::from_mode(0o400);
    fs::set_permissions(files.path("given/hook"), mode).expect("a file of our own");
    let directory = files.path("given").display().to_string();
    assert_eq!(
        files.check(&[("CREDENTIALS_DIRECTORY", &directory)]),
        "sendoff.toml: no errors.\n"
    );
    let said = files.check(&[]);
    assert!(
        said.contains("/run/credentials/sendoff.service/hook"),
        "{said}"
    );
}

#[test]
fn a_running_server_takes_new_files_by_reload_and_a_backup_has_them() {
    let scene = Scene::new();
    let config = scene.config();
    let server = Sendoff::start(BINARY, config.set("include", ["conf.d/*.toml"]));
    let directory = server.directory().join("conf.d");
    fs::create_dir_all(&directory).expect("a directory");
    let rule = "[[domain]]\nmatch = \"b.example\"\nconvert_domain = \"c.example\"\n";
    fs::write(directory.join("rule.toml"), rule).expect("a file");
    server.run(&["reload"]);
    let host = scene.world.domain("c.example");
    send(&server, "x@b.example");
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    fs::write(directory.join("wrong.toml"), "\n[outgoing]\nmode = \"x\"\n").expect("a file");
    let output = server.cli(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("conf.d/wrong.toml:3: outgoing.mode: "),
        "{said}"
    );
    fs::remove_file(directory.join("wrong.toml")).expect("a file");
    let copy = server.directory().join("copy");
    let made = server.run(&["backup", &copy.display().to_string(), "--json"]);
    assert!(serde_json::from_str::<Value>(&made).is_ok(), "{made}");
    let copied = fs::read_to_string(copy.join("included/conf.d/rule.toml"));
    assert_eq!(copied.expect("a copy"), rule);
}
