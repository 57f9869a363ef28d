//! Hosts with TLS that nobody should have any more still get their mail, in the same attempt.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::scene::{SOON, Scene, send};

/// A host's kind, and how mail for it goes.
const KINDS: [(&str, &str); 6] = [
    // A key or certificate that is too old proves nothing, and nothing needs proof here.
    ("rsa1024", "encrypted"),
    ("x509v1", "encrypted"),
    ("x509v1-tls12", "encrypted"),
    // These share no version or cipher with us.
    ("tls11", "failed,clear"),
    ("static-rsa", "failed,clear"),
    ("dhe", "failed,clear"),
];

/// The hosts; they end with this.
struct Hosts(Child);

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn hosts_with_old_tls_get_their_mail_in_the_same_attempt() {
    let scene = Scene::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_tls/host.py");
    let mut python = Command::new("python3");
    python.arg(script);
    for (kind, _) in KINDS {
        let (domain, ip) = (format!("{kind}.example"), scene.world.address());
        scene.world.dns.mx(&domain, 10, &format!("mx.{domain}"));
        scene.world.dns.a(&format!("mx.{domain}"), ip);
        python.arg(format!("{ip}:{}={kind}", scene.world.port()));
    }
    let python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut hosts = Hosts(python.expect("python3 runs"));
    let output = hosts.0.stdout.take().expect("its output");
    let mut lines = BufReader::new(output).lines();
    let ready = lines.next().expect("a line").expect("text");
    assert_eq!(ready, "READY");
    let server = scene.start();
    for (kind, tls) in KINDS {
        let to = format!("bob@{kind}.example");
        send(&server, &to);
        let told = format!("to=<{to}>");
        let line = server.wait_for_log(&[" delivered ", &told], SOON);
        let line = line.unwrap_or_else(|| panic!("{kind}: {}", server.log()));
        assert!(line.contains(&format!("tls={tls} ")), "{kind}: {line}");
        assert!(line.contains("attempt=1 "), "{kind}: {line}");
    }
    let metrics = server.run(&["stats"]);
    assert!(metrics.contains("clear_after_failed_tls"), "{metrics}");
}
