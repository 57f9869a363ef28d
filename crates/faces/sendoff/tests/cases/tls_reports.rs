//! TLS-RPT: what is counted, over restarts too, and the report that the domain gets.

use std::io::Read;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use base64::Engine;
use flate2::read::GzDecoder;
use lab::{Config, MxHost, Sendoff, StartTls, WebAnswer, WebHost};
use serde_json::Value;

use crate::scene::{SOON, Scene, eventually, send};

const POLICY: &str = "mta-sts.watched.example";
const COLLECTOR: &str = "reports.watched.example";

/// `watched.example` tests a policy, and wants reports by mail and by HTTPS.
struct Watched {
    scene: Scene,
    host: MxHost,
    web: WebHost,
}

impl Watched {
    fn new() -> Self {
        let scene = Scene::new();
        let host = scene.world.domain("watched.example");
        let web = scene.world.web(&[POLICY, COLLECTOR]);
        let policy = "version: STSv1\nmode: testing\nmx: mx.watched.example\nmax_age: 86400\n";
        web.answer(POLICY, "/.well-known/mta-sts.txt", WebAnswer::text(policy));
        web.answer(COLLECTOR, "/tls", WebAnswer::status(201));
        let dns = &scene.world.dns;
        dns.txt("_mta-sts.watched.example", "v=STSv1; id=1;");
        let to = format!(
            "v=TLSRPTv1; rua=mailto:tls@origin.example,https://{COLLECTOR}:{}/tls",
            scene.world.port()
        );
        dns.txt("_smtp._tls.watched.example", &to);
        Self { scene, host, web }
    }

    fn config(&self) -> Config {
        self.scene
            .config()
            .set("outgoing.mta_sts_port", self.scene.world.port())
            .set("tls_reports.delay", "0s")
    }

    fn reports(&self) -> Vec<lab::WebRequest> {
        let all = self.web.requests();
        all.into_iter().filter(|r| r.host == COLLECTOR).collect()
    }
}

/// The days' files of counts.
fn files(server: &Sendoff) -> Vec<PathBuf> {
    let directory = server.directory().join("data/tls-reports");
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.sort();
    files
}

/// Makes today's counts those of the day before.
fn turn_back_a_day(server: &Sendoff) {
    for path in files(server) {
        let yesterday = path.with_file_name("2026-01-01.jsonl");
        std::fs::rename(path, yesterday).expect("a file of our own");
    }
}

fn json(gzip: &[u8]) -> Value {
    let mut text = String::new();
    let mut decoder = GzDecoder::new(gzip);
    decoder.read_to_string(&mut text).expect("gzip");
    serde_json::from_str(&text).expect("JSON")
}

/// What stands at a place of a report.
fn at<'a>(report: &'a Value, place: &str) -> &'a Value {
    report
        .pointer(place)
        .unwrap_or_else(|| panic!("no {place} in {report}"))
}

/// The sessions of the first policy that were as it asks, and those that were not.
fn counts(report: &Value) -> (u64, u64) {
    assert_eq!(at(report, "/policies/0/policy/policy-type"), "sts");
    let count = |kind: &str| {
        let place = format!("/policies/0/summary/total-{kind}-session-count");
        at(report, &place).as_u64().unwrap_or_default()
    };
    (count("successful"), count("failure"))
}

#[test]
fn c36_a_domain_hears_what_its_policy_would_have_stopped() {
    let watched = Watched::new();
    watched.host.set(|b| b.starttls = StartTls::SelfSigned);
    let mut server = watched.scene.start_trusting(watched.config());
    send(&server, "bob@watched.example");
    assert_eq!(watched.host.wait_for(1, SOON).len(), 1, "{}", server.log());
    eventually("the count is on the disk", SOON, || {
        !files(&server).is_empty()
    });
    // What is counted behind a crash is added to what was counted before it.
    server.kill9();
    watched.host.set(|b| b.starttls = StartTls::Good);
    server.restart();
    send(&server, "bob@watched.example");
    assert_eq!(watched.host.wait_for(2, SOON).len(), 2, "{}", server.log());
    server.terminate();
    turn_back_a_day(&server);
    server.restart();

    eventually("a report by HTTPS", SOON, || !watched.reports().is_empty());
    let reports = watched.reports();
    let request = reports.first().expect("a report");
    assert_eq!(request.method, "POST");
    let kind = request.headers.get("content-type").map(String::as_str);
    assert_eq!(kind, Some("application/tlsrpt+gzip"));
    let report = json(&request.content);
    assert_eq!(counts(&report), (1, 1), "{report}");
    let detail = |key: &str| at(&report, &format!("/policies/0/failure-details/0/{key}"));
    assert_eq!(detail("result-type"), "certificate-not-trusted");
    assert_eq!(detail("receiving-mx-hostname"), "mx.watched.example");
    let start = at(&report, "/date-range/start-datetime");
    assert_eq!(start, "2026-01-01T00:00:00Z");

    let mails = watched.scene.origin.wait_for(1, SOON);
    let mail = mails.first().expect("a report by mail");
    assert_eq!(
        mail.header("TLS-Report-Domain").as_deref(),
        Some("watched.example")
    );
    assert_eq!(mail.header("TLS-Required").as_deref(), Some("No"));
    let text = mail.text();
    let part = text
        .split("application/tlsrpt+gzip")
        .nth(1)
        .expect("the part");
    let encoded = part.split("\r\n\r\n").nth(1).expect("its content");
    let encoded: String = encoded
        .lines()
        .take_while(|l| !l.starts_with("--"))
        .collect();
    let content = base64::engine::general_purpose::STANDARD.decode(encoded);
    assert_eq!(json(&content.expect("base64")), report);

    // Once is enough: the day is done with, also behind another restart.
    eventually("the day is done with", SOON, || {
        files(&server)
            .iter()
            .all(|f| !f.ends_with("2026-01-01.jsonl"))
    });
    assert_eq!(watched.reports().len(), 1);
}

#[test]
fn a_report_that_cannot_be_handed_over_waits_and_the_other_is_not_sent_twice() {
    let watched = Watched::new();
    watched
        .web
        .answer(COLLECTOR, "/tls", WebAnswer::status(503));
    let mut server = watched.scene.start_trusting(watched.config());
    send(&server, "bob@watched.example");
    assert_eq!(watched.host.wait_for(1, SOON).len(), 1, "{}", server.log());
    server.terminate();
    // Yesterday, so that it is not too late for it.
    let today = files(&server).pop().expect("counts");
    let name = today
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let yesterday = day_before(&name);
    std::fs::rename(&today, today.with_file_name(format!("{yesterday}.jsonl"))).expect("a rename");
    server.restart();
    eventually("a try", SOON, || watched.reports().len() == 1);
    assert_eq!(watched.scene.origin.wait_for(1, SOON).len(), 1);
    server.terminate();
    watched
        .web
        .answer(COLLECTOR, "/tls", WebAnswer::status(200));
    server.restart();
    eventually("another try", SOON, || watched.reports().len() == 2);
    eventually("the day is done with", SOON, || {
        server
            .wait_for_log(&[" tls-report ", "to https://"], SOON)
            .is_some()
    });
    let mails = watched.scene.origin.wait_for(2, crate::scene::A_WHILE);
    assert_eq!(mails.len(), 1, "{}", server.log());
    let report = json(&watched.reports().pop().expect("a report").content);
    // No STARTTLS at all is a failure of a policy that is tested.
    assert_eq!(counts(&report), (0, 1), "{report}");
}

fn day_before(day: &str) -> String {
    let at = mail::Timestamp::parse_rfc3339(&format!("{day}T00:00:00Z")).expect("a day");
    let before = at - std::time::Duration::from_secs(86_400);
    before.to_string().chars().take(10).collect()
}

#[test]
fn a_report_is_handed_to_no_private_network() {
    let watched = Watched::new();
    let dns = &watched.scene.world.dns;
    dns.remove(COLLECTOR)
        .a(COLLECTOR, Ipv4Addr::new(192, 168, 255, 1));
    let mut server = watched.scene.start_trusting(watched.config());
    send(&server, "bob@watched.example");
    eventually("the count is on the disk", SOON, || {
        !files(&server).is_empty()
    });
    server.terminate();
    turn_back_a_day(&server);
    server.restart();
    let told = [" tls-report ", "not delivered to https://", "private"];
    let line = server.wait_for_log(&told, SOON);
    let line = line.unwrap_or_else(|| panic!("no line: {}", server.log()));
    assert!(
        line.contains("192.168.255.1 is in the private network 192.168.0.0/16"),
        "{line}"
    );
}
