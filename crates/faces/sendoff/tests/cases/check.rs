//! `sendoff check`: it says everything that is wrong, and what it refuses `serve` refuses too.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use lab::{Ca, Identity, Scratch, Sendoff};
use serde_json::Value;

use crate::scene::{BINARY, SOON, Scene, not_tested};
use crate::web::Web;

/// A user that the tests give things to; nobody else has this number.
const SERVICE: u32 = 45_679;
const DAY: u64 = 86_400;

/// A configuration in a directory of its own, which no server runs by.
struct File {
    scratch: Scratch,
    path: PathBuf,
}

/// What `check` says.
struct Said {
    code: Option<i32>,
    text: String,
}

impl File {
    /// With these lines; the keys that every server in this place needs come first.
    fn new(text: &str) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("sendoff.toml");
        let file = Self { scratch, path };
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        let address = lab::free_address();
        let dir = self.scratch.path().display();
        let text = text.replace("FREE", &address.to_string());
        let text = text.replace("HERE", &dir.to_string());
        fs::write(
            &self.path,
            format!("hostname = \"mail.a.example\"\ndata_dir = \"{dir}/data\"\n{text}"),
        )
        .expect("a file of our own");
    }

    fn check(&self, more: &[&str]) -> Said {
        let output = Command::new(BINARY)
            .args(["--config", &self.path.display().to_string(), "check"])
            .args(more)
            .output()
            .expect("the command runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        Said {
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    fn findings(&self, more: &[&str]) -> (Option<i32>, Vec<Value>) {
        let said = self.check(&[&["--json"], more].concat());
        let list = serde_json::from_str(&said.text).expect("JSON");
        (said.code, list)
    }
}

/// A plain server: nothing is wrong with it.
const GOOD: &str = "[[listener]]\naddress = \"FREE\"\n[console]\naddress = \"\"\n[outgoing]\nplan = \"internet\"\n\
                    refuse_networks = [\"default\"]\n";

#[test]
fn all_mistakes_are_told_at_once_with_line_key_and_remedy() {
    let file = File::new(
        "hostnam = \"x\"\n[[listener]]\naddress = \"FREE\"\ntls = \"starttls\"\nauht = \"none\"\n[outgoing]\n\
         resend_wait = \"5x\"\nenabled = \"yes\"\n[outgoing.relay]\nhost = \"r.example\"\nusername = \"u\"\n\
         password_file = \"not-there\"\n[log]\nformat = \"xml\"\n[local]\ndomains = [\"b.example\"]\n\
         [[dkim]]\ndomain = \"a.example\"\nselector = \"s\"\nkey_file = \"no-key\"\n",
    );
    let (code, findings) = file.findings(&[]);
    assert_eq!(code, Some(2));
    let of = |severity: &str| -> Vec<(u64, String)> {
        let all = findings.iter().filter(|f| f["severity"] == severity);
        let brief = |f: &Value| {
            let line = f["line"].as_u64().unwrap_or_default();
            (line, f["key"].as_str().unwrap_or_default().to_owned())
        };
        all.map(brief).collect()
    };
    let wanted = [
        (3, "hostnam"),
        (6, "listener.tls"),
        (7, "listener.auht"),
        (9, "outgoing.resend_wait"),
        (10, "outgoing.enabled"),
        (14, "outgoing.relay.password_file"),
        (16, "log.format"),
        (22, "dkim.key_file"),
    ];
    let wanted = wanted.map(|(line, key)| (line, key.to_owned()));
    assert_eq!(of("error"), wanted, "{findings:#?}");
    assert!(of("warning").contains(&(18, "local.domains".to_owned())));
    let first = &findings[0];
    assert_eq!(first["file"], file.path.display().to_string());
    assert_eq!(first["message"], "unknown key `hostnam`");
    let remedy = first["remedy"].as_str().expect("a remedy");
    assert!(remedy.starts_with("Did you mean `hostname`?"), "{remedy}");
    let text = file.check(&[]).text;
    let path = file.path.display();
    for line in [
        format!("error: {path}:9: outgoing.resend_wait: `5x` is not a length of time: write"),
        format!("warning: {path}:18: mail for b.example is refused: local.domains contains it"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let words = ["error: ", "warning: ", "note: "];
    let lines: Vec<&str> = text.lines().collect();
    let (last, lines) = lines.split_last().expect("lines");
    assert!(lines.iter().all(|l| words.iter().any(|w| l.starts_with(w))));
    assert!(last.starts_with(&format!("{path}: 8 errors, ")), "{last}");
}

#[test]
fn nothing_wrong_is_said_of_a_plain_server_and_only_strict_minds_warnings() {
    let file = File::new(GOOD);
    let said = file.check(&["--strict"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert_eq!(said.text, format!("{}: no errors.\n", file.path.display()));
    assert_eq!(file.findings(&[]), (Some(0), Vec::new()));
    file.write(&format!("{GOOD}[local]\ndomains = [\"b.example\"]\n"));
    let said = file.check(&[]);
    assert_eq!(said.code, Some(0));
    assert!(
        said.text.ends_with(": no errors, 1 warning.\n"),
        "{}",
        said.text
    );
    assert_eq!(file.check(&["--strict"]).code, Some(2));
    file.write("x = [");
    let said = file.check(&[]);
    assert_eq!(said.code, Some(2));
    assert!(said.text.contains("sendoff.toml:3: "), "{}", said.text);
    let (code, found) = File::new("").findings(&["--config", "/nowhere/x.toml"]);
    assert_eq!((code, &found[0]["severity"]), (Some(2), &"error".into()));
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// The keys of a `[tls]` section.
fn tls(scratch: &Path, identity: &Identity) -> String {
    let (certificate, key) = identity.write(scratch, "own").expect("files");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    format!(
        "[tls]\ncertificate = \"{}\"\nprivate_key = \"{}\"\n",
        certificate.display(),
        key.display()
    )
}

#[test]
fn certificates_that_will_hurt_are_warned_of_by_check_at_the_start_and_after_a_reload() {
    let ca = Ca::new();
    let (name, now) = (["mail.a.example"], now());
    let file = File::new("");
    for (identity, expected) in [
        (ca.issue_within(&name, now - 90 * DAY, now + 60 * DAY), None),
        (
            ca.issue_within(&name, now - 90 * DAY, now - DAY),
            Some("own.pem expired on "),
        ),
        (
            ca.issue_within(&name, now - 90 * DAY, now + 20 * DAY + 60),
            Some("own.pem expires in 20 days, on "),
        ),
        (
            ca.issue_within(&name, now + DAY, now + 90 * DAY),
            Some("own.pem is not valid before "),
        ),
        (
            ca.issue_within(&["b.example"], now - DAY, now + 90 * DAY),
            Some("is not valid for the name mail.a.example (hostname): it is for b.example; "),
        ),
    ] {
        file.write(&format!("{GOOD}{}", tls(file.scratch.path(), &identity)));
        let said = file.check(&[]);
        assert_eq!(said.code, Some(0), "{}", said.text);
        match expected {
            None => assert!(said.text.ends_with(": no errors.\n"), "{}", said.text),
            Some(expected) => {
                assert!(said.text.contains("warning: ") && said.text.contains(expected));
                let (_, found) = file.findings(&[]);
                assert_eq!(found[0]["key"], "tls.certificate");
                assert_eq!(found[0]["line"], 11);
            }
        }
    }
    let scene = Scene::new();
    let scratch = Scratch::new();
    let soon = ca.issue_within(&["sendoff.lab"], now - DAY, now + 3 * DAY + 60);
    let (certificate, key) = soon.write(scratch.path(), "own").expect("files");
    let config = scene
        .config()
        .set("tls.certificate", certificate.display().to_string())
        .set("tls.private_key", key.display().to_string());
    let server = Sendoff::start(BINARY, config);
    let line = server.wait_for_log(&[" warning ", "own.pem expires in 3 days"], SOON);
    assert!(line.is_some(), "{}", server.log());
    let past = ca.issue_within(&["sendoff.lab"], now - 9 * DAY, now - DAY);
    past.write(scratch.path(), "own").expect("files");
    let said = server.run(&["reload"]);
    assert!(said.contains("warning: the certificate ") && said.contains("expired on"));
}

#[test]
fn a_key_of_another_certificate_is_said_once_with_its_line() {
    let file = File::new("");
    let ca = Ca::new();
    let text = tls(file.scratch.path(), &ca.issue(&["mail.a.example"]));
    let other = ca.issue(&["b.example"]);
    fs::write(file.scratch.path().join("own.key"), &other.key_pem).expect("a file");
    file.write(&format!("{GOOD}{text}"));
    let said = file.check(&[]);
    assert_eq!(said.code, Some(2));
    let errors: Vec<&str> = said
        .text
        .lines()
        .filter(|l| l.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{}", said.text);
    let path = file.path.display();
    let wanted = format!("error: {path}:12: tls.private_key: ");
    assert!(errors[0].starts_with(&wanted), "{errors:?}");
    assert!(errors[0].contains("own.key is not the private key of the certificate "));
}

#[test]
fn addresses_of_the_servers_own_are_not_taken_and_those_of_others_are() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address");
    let file = File::new(&GOOD.replace("FREE", &taken.to_string()));
    let said = file.check(&[]);
    assert_eq!(said.code, Some(2));
    let wanted = format!("sendoff.toml:4: listener.address: another program listens at {taken}: ");
    assert!(said.text.contains(&wanted), "{}", said.text);
    let twice = format!("[[listener]]\naddress = \"FREE\"\n{GOOD}");
    let port = lab::free_address().port();
    let twice = twice.replacen("FREE", &format!("0.0.0.0:{port}"), 1);
    file.write(&twice.replacen("FREE", &format!("127.0.0.1:{port}"), 1));
    let said = file.check(&[]);
    // A connection goes to the closer address.
    assert_eq!(said.code, Some(0), "{}", said.text);
    let both = GOOD.replace("address = \"\"", "address = \"FREE\"");
    file.write(&both.replace("FREE", &format!("127.0.0.1:{port}")));
    let said = file.check(&[]);
    assert!(
        said.text.contains("conflict with each other"),
        "{}",
        said.text
    );

    let scene = Scene::new();
    let server = scene.start();
    let said = server.run(&["check"]);
    assert!(said.contains(": no errors"), "{said}");
    if rustix::process::geteuid().is_root() {
        // Who may not ask the server does not take it for another program.
        let output = Command::new("setpriv")
            .args(["--reuid", &SERVICE.to_string(), "--clear-groups", BINARY])
            .args(["check", "--config"])
            .arg(server.config_file())
            .output()
            .expect("the command runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("data belongs to root"), "{said}");
        assert!(!said.contains("another program"), "{said}");
    }
    let text = fs::read_to_string(server.config_file()).expect("a file");
    let mut foreign = server.directory().to_owned();
    foreign.push("elsewhere.toml");
    let elsewhere = format!("{}/elsewhere", server.directory().display());
    let dir = server.directory().join("data").display().to_string();
    fs::write(&foreign, text.replace(&dir, &elsewhere)).expect("a file");
    let said = Command::new(BINARY)
        .args(["check", "--config"])
        .arg(&foreign)
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("another program listens at"), "{said}");
}

#[test]
fn root_judges_with_the_rights_of_the_servers_user() {
    if !rustix::process::geteuid().is_root() {
        return not_tested("only root can take on the rights of another");
    }
    let relay = "mode = \"relay\"\n[outgoing.relay]\nhost = \"r.example\"\nusername = \"u\"\n\
                 password_file = \"password\"\n[log]\nfile = \"HERE/log/outgoing.log\"\n";
    let file = File::new(&format!("{GOOD}{relay}"));
    let dir = file.scratch.path();
    fs::write(dir.join("password"), "secret").expect("a file");
    let close = fs::Permissions::from_mode(0o600);
    fs::set_permissions(dir.join("password"), close).expect("root may");
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).expect("root may");
    fs::create_dir(dir.join("data")).expect("a directory");
    assert_eq!(file.check(&[]).code, Some(0), "all of it is root's");
    chown(dir.join("data"), Some(SERVICE), Some(SERVICE)).expect("root may");
    let said = file.check(&[]);
    assert_eq!(said.code, Some(2));
    for expected in [
        "outgoing.relay.password_file: ".to_owned(),
        "password cannot be read: Permission denied".to_owned(),
        format!(
            "log does not exist, and cannot be created in {}",
            dir.display()
        ),
    ] {
        assert!(said.text.contains(&expected), "{expected}\n{}", said.text);
    }
    chown(dir.join("password"), Some(SERVICE), None).expect("root may");
    fs::create_dir(dir.join("log")).expect("a directory");
    chown(dir.join("log"), Some(SERVICE), None).expect("root may");
    let said = file.check(&[]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    let boxes = format!(
        "[local]\ndomains = [\"b.example\"]\ndeliver = \"maildir:{}/boxes/{{user}}\"\n",
        dir.display()
    );
    file.write(&format!("{GOOD}{boxes}"));
    let said = file.check(&[]);
    assert_eq!(said.code, Some(0));
    assert!(said.text.contains("warning: "), "{}", said.text);
    assert!(
        said.text
            .contains("boxes does not exist, and cannot be created")
    );
    assert!(said.text.contains("ReadWritePaths="), "{}", said.text);
    let output = Command::new(BINARY)
        .args([
            "--config",
            &file.path.display().to_string(),
            "check",
            "--as",
            "nobody",
        ])
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!(
        "data belongs to {SERVICE}, and the server runs as nobody"
    )));
}

#[test]
fn without_secrets_the_file_alone_is_judged() {
    let text = "[[listener]]\naddress = \"192.0.2.77:25\"\ntls = \"starttls\"\n[tls]\n\
                certificate = \"/nowhere/c.pem\"\nprivate_key = \"/nowhere/k.pem\"\n[outgoing]\n\
                plan = \"internet\"\nmode = \"relay\"\n[outgoing.relay]\nhost = \"r.example\"\nusername = \"u\"\n\
                password_file = \"/nowhere/password\"\n[[dkim]]\ndomain = \"a.example\"\nselector = \"s\"\n\
                key_file = \"/nowhere/dkim.pem\"\n[[webhook]]\nname = \"w\"\nurl = \"https://w.example/\"\n\
                secret_file = \"/nowhere/secret\"\n[log]\nfile = \"/proc/nowhere/log\"\n";
    let file = File::new(text);
    let (code, found) = file.findings(&["--without-secrets"]);
    assert_eq!((code, found), (Some(0), Vec::new()));
    assert_eq!(file.check(&[]).code, Some(2));
    file.write(&format!("{text}formta = \"json\"\n"));
    let (code, found) = file.findings(&["--without-secrets"]);
    assert_eq!((code, found.len()), (Some(2), 1), "{found:#?}");
    assert_eq!(found[0]["key"], "log.formta");
}

#[test]
fn what_serve_refuses_check_refuses() {
    for (text, why) in [
        (
            "[[listener]]\naddress = \"192.0.2.77:25\"\n",
            "is not an address of this computer",
        ),
        (
            "[log]\nfile = \"HERE/sendoff.toml/log\"\n",
            "is not a directory",
        ),
        (
            "[tls]\ncertificate = \"no.pem\"\nprivate_key = \"no.key\"\n",
            "no.pem",
        ),
    ] {
        let listener = "[[listener]]\naddress = \"FREE\"\n";
        let rest = "[console]\naddress = \"\"\n";
        let file = match text.contains("listener") {
            true => File::new(&format!("{text}{rest}")),
            false => File::new(&format!("{listener}{text}{rest}")),
        };
        let said = file.check(&[]);
        assert_eq!(said.code, Some(2), "{text}\n{}", said.text);
        assert!(said.text.contains(why), "{}", said.text);
        let output = Command::new("timeout")
            .args([
                "10",
                BINARY,
                "--config",
                &file.path.display().to_string(),
                "serve",
            ])
            .output()
            .expect("the command runs");
        assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    }
}

#[test]
fn a_refused_reload_is_loud_until_one_is_done() {
    let scene = Scene::new();
    let (mut server, web) = Web::start(&scene, scene.config());
    let failed = |expected: u8| {
        let figures = web.get("/metrics").expect(200).text();
        let line = format!("\nsendoff_config_reload_failed {expected}\n");
        assert!(figures.contains(&line), "{figures}");
    };
    failed(0);
    let good = fs::read_to_string(server.config_file()).expect("a file");
    let dir = format!(
        "data_dir = \"{}\"",
        server.directory().join("data").display()
    );
    assert!(good.contains(&dir), "{good}");
    for (bad, code, why) in [
        (
            good.replace("[outgoing]", "[outgoing]\nlifetime = \"5x\""),
            2,
            "outgoing.lifetime",
        ),
        (format!("{good}x = [\n"), 2, "sendoff.toml:"),
        (
            format!("user = \"other\"\n{good}"),
            1,
            "user changed, which needs a restart",
        ),
    ] {
        fs::write(server.config_file(), bad).expect("a file");
        let said = server.cli(&["reload"]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(code), "{text}");
        assert!(text.contains(why), "{text}");
        let health = web.get("/readyz").expect(200).text();
        assert!(
            health.contains("\"warnings\":[\"the reload at ") && health.contains(why),
            "{health}"
        );
        failed(1);
        fs::write(server.config_file(), &good).expect("a file");
        let stats = server.run(&["stats"]);
        assert!(
            stats.contains("reload_refused") && stats.contains(why),
            "{stats}"
        );
        let line = server.wait_for_log(&[" reload ", "result=refused", why], SOON);
        assert!(line.is_some(), "{}", server.log());
        server.run(&["reload"]);
        assert!(!web.get("/readyz").expect(200).text().contains("warnings"));
        failed(0);
    }
    server.terminate();
}

#[test]
fn the_days_of_certificates_in_use_are_in_stats_and_metrics() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let until = now() + 9 * DAY + 3600;
    let identity = Ca::new().issue_within(&["sendoff.lab"], now() - DAY, until);
    let (certificate, key) = identity.write(scratch.path(), "own").expect("files");
    let config = scene
        .config()
        .set("tls.certificate", certificate.display().to_string())
        .set("tls.private_key", key.display().to_string());
    let (server, web) = Web::start(&scene, config);
    let stats: Value = serde_json::from_str(&server.run(&["stats", "--json"])).expect("JSON");
    assert_eq!(stats["tls_certificate_days_left"], 9);
    let figures = web.get("/metrics").expect(200).text();
    let line = format!("\nsendoff_tls_certificate_not_after_timestamp_seconds {until}\n");
    assert!(figures.contains(&line), "{figures}");
    assert!(!figures.contains("\nsendoff_client_certificate_not_after_timestamp_seconds "));
    let health = web.get("/readyz").expect(200).text();
    assert!(health.contains("expires in 9 days"), "{health}");
}

#[test]
fn a_broken_file_keeps_nobody_from_asking_the_server() {
    let scene = Scene::new();
    let server = Sendoff::start(BINARY, scene.config());
    let file = server.config_file();
    let good = fs::read_to_string(&file).expect("a file");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        let output = command.arg("--config").arg(&file).args(arguments).output();
        let output = output.expect("it runs");
        let said = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (
            output.status.code(),
            said(&output.stdout),
            said(&output.stderr),
        )
    };
    for (broken, lists) in [
        (
            format!("{good}\n[outgoing.relay]\nhostt = \"a.example\"\n"),
            Some(0),
        ),
        (
            format!(
                "{good}\n[outgoing.relay]\nusername = \"${{SENDOFF_UNSET}}\"\npassword = \"x\"\n"
            ),
            Some(0),
        ),
        // Where the users' file is cannot be said of it.
        (format!("{good}\nwhat is this\n"), Some(2)),
    ] {
        fs::write(&file, &broken).expect("a file");
        for command in [&["health"][..], &["queue", "list"], &["stats"]] {
            let (code, said, warned) = run(command);
            assert_eq!(code, Some(0), "{command:?}: {said}{warned}");
            let silent = broken.contains("SENDOFF_UNSET");
            assert_ne!(
                warned.contains("sendoff check"),
                silent,
                "{command:?}: {warned}"
            );
        }
        let (code, said, warned) = run(&["user", "list"]);
        assert_eq!(code, lists, "{said}{warned}");
    }
}

/// Beside a value that is not set here, what is really wrong is found, and nothing that only seems to be.
#[test]
fn beside_a_variable_that_is_not_set_real_mistakes_are_found() {
    let file = File::new(&format!(
        "{GOOD}mode = \"relay\"\n[outgoing.relay]\nhost = \"relay.example\"\n\
         username = \"${{SENDOFF_UNSET}}\"\npassword = \"x\"\nprot = 587\n"
    ));
    let keys = |more: &[&str]| {
        let (_, found) = file.findings(more);
        let key = |finding: &Value| finding["key"].as_str().map(str::to_owned);
        found.iter().filter_map(key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&["--without-secrets"]), ["outgoing.relay.prot"]);
    let both = ["outgoing.relay.username", "outgoing.relay.prot"];
    assert_eq!(keys(&[]), both);
}

/// Nobody is sent to another server because a mistake hides where the own one is.
#[test]
fn what_hides_the_data_directory_keeps_commands_from_asking() {
    let scene = Scene::new();
    let server = Sendoff::start(BINARY, scene.config());
    let file = server.config_file();
    let good = fs::read_to_string(&file).expect("a file");
    let line = good.lines().find(|line| line.starts_with("data_dir"));
    let line = line.expect("it says where the data is");
    for broken in [
        good.replace(line, line.trim_end_matches('"')),
        good.replace(line, &format!("postmaster = \"\"\"\n{line}")),
    ] {
        fs::write(&file, &broken).expect("a file");
        let output = server.cli(&["health"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{broken}\n{said}");
    }
}
