//! TLS-RPT: what is counted on which day, what is sent of it to whom, and what is given up.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use lab::{Config, WebAnswer, WebHost};
use mail::Message;
use node::event::Event;
use notify::{TlsFailed, TlsPolicyKind, TlsResult, TlsSession};
use serde_json::Value;
use staging::until;

use super::country::{Country, Room};
use crate::tls_policy::{Need, need};
use crate::tls_reports;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);
const COLLECTOR: &str = "reports.b.example";

fn session(domain: &str, failed: Option<&str>) -> TlsSession {
    TlsSession {
        domain: domain.to_owned(),
        kind: TlsPolicyKind::NoPolicyFound,
        policy: Vec::new(),
        mx: Vec::new(),
        failed: failed.map(|why| TlsFailed {
            result: TlsResult::ValidationFailure,
            from: None,
            host: Some("mx.b.example".to_owned()),
            to: None,
            why: why.to_owned(),
        }),
    }
}

/// Counts sessions of now: so many that were well, and one that was not.
fn count(room: &Room, domain: &str, well: usize) {
    let now = room.staging.now();
    for _ in 0..well {
        room.protection.reports.count(session(domain, None), now);
    }
    let failed = session(domain, Some("handshake failed"));
    room.protection.reports.count(failed, now);
    room.protection.reports.write().unwrap();
}

/// The names of the files, in order.
fn files(room: &Room) -> Vec<String> {
    let directory = room.staging.data_dir().join("tls-reports");
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

fn file(room: &Room, name: &str) -> PathBuf {
    room.staging.data_dir().join("tls-reports").join(name)
}

/// One look at all days: the server stops, so there is no second one.
async fn look(room: &Room) {
    room.staging.node.stopping.cancel();
    tls_reports::send(Arc::clone(&room.protection)).await;
}

/// A domain that takes its reports by HTTPS.
fn collector(country: &Country, domain: &str, status: u16) -> WebHost {
    let web = country.world.web(&[COLLECTOR]);
    web.answer(COLLECTOR, "/tls", WebAnswer::status(status));
    let port = country.world.port();
    let to = format!("v=TLSRPTv1; rua=https://{COLLECTOR}:{port}/tls");
    country.world.dns.txt(&format!("_smtp._tls.{domain}"), &to);
    web
}

fn json(gzip: &[u8]) -> Value {
    let mut text = String::new();
    GzDecoder::new(gzip).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The sessions of the first policy of a report: well, and not.
fn counts(report: &Value) -> (u64, u64) {
    let of = |kind: &str| {
        let place = format!("/policies/0/summary/total-{kind}-session-count");
        report.pointer(&place).and_then(Value::as_u64).unwrap()
    };
    (of("successful"), of("failure"))
}

async fn room(country: &Country, config: Config) -> Room {
    country.room(&config).await
}

#[tokio::test]
async fn a_day_is_reported_when_it_is_over_and_only_once() {
    let country = Country::new();
    let web = collector(&country, "b.example", 201);
    let room = room(&country, country.config()).await;
    count(&room, "b.example", 2);
    room.staging.advance(HOUR * 15);
    count(&room, "b.example", 1);
    look(&room).await;
    assert!(web.requests().is_empty(), "the day is not over");
    // 2 December, a minute after midnight.
    room.staging.advance(HOUR + Duration::from_secs(60));
    count(&room, "b.example", 5);
    assert_eq!(files(&room), ["2026-12-01.jsonl", "2026-12-02.jsonl"]);
    look(&room).await;
    let requests = web.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].headers["content-type"],
        "application/tlsrpt+gzip"
    );
    let report = json(&requests[0].content);
    assert_eq!(counts(&report), (3, 2));
    let range = report.pointer("/date-range/start-datetime").unwrap();
    assert_eq!(range, "2026-12-01T00:00:00Z");
    assert_eq!(files(&room), ["2026-12-02.jsonl"]);
    look(&room).await;
    assert_eq!(web.requests().len(), 1);
    room.staging
        .logged(
            "tls-report",
            &["domain=b.example", "day=2026-12-01", "to https://"],
        )
        .await;
}

#[tokio::test]
async fn a_restart_sends_no_report_twice_and_forgets_no_count() {
    let country = Country::new();
    let web = collector(&country, "b.example", 201);
    // A second domain, whose DNS does not answer, keeps the day open.
    country.world.dns.servfail("_smtp._tls.c.example");
    let room = room(&country, country.config()).await;
    count(&room, "b.example", 1);
    let room = room.restart().await;
    count(&room, "b.example", 1);
    count(&room, "c.example", 1);
    room.staging.advance(DAY);
    look(&room).await;
    assert_eq!(counts(&json(&web.requests()[0].content)), (2, 2));
    assert_eq!(files(&room), ["2026-12-01.jsonl", "2026-12-01.sent"]);
    let room = room.restart().await;
    look(&room).await;
    assert_eq!(web.requests().len(), 1);
    // DNS is mended, and the other domain wants no report: the day is done with.
    country.world.dns.remove("_smtp._tls.c.example");
    let room = room.restart().await;
    look(&room).await;
    assert_eq!(web.requests().len(), 1);
    assert!(files(&room).is_empty());
}

#[tokio::test]
async fn a_report_that_is_not_taken_is_tried_for_two_days_and_given_up() {
    let country = Country::new();
    let web = collector(&country, "b.example", 503);
    let room = room(&country, country.config()).await;
    count(&room, "b.example", 1);
    room.staging.advance(DAY);
    look(&room).await;
    look(&room).await;
    assert_eq!(web.requests().len(), 2);
    room.staging
        .logged("tls-report", &["not delivered to https://", "503"])
        .await;
    assert_eq!(files(&room), ["2026-12-01.jsonl"]);
    // Begun at 8:00: two days after the day's end are over at midnight of the 4th.
    room.staging.advance(DAY + HOUR * 15);
    look(&room).await;
    assert_eq!(files(&room), ["2026-12-01.jsonl"]);
    room.staging.advance(HOUR + Duration::from_secs(1));
    look(&room).await;
    assert_eq!(web.requests().len(), 4);
    assert!(files(&room).is_empty());
}

#[tokio::test]
async fn lines_that_a_crash_cut_off_are_passed_over_and_files_of_others_stay() {
    let country = Country::new();
    let web = collector(&country, "b.example", 200);
    let room = room(&country, country.config()).await;
    count(&room, "b.example", 2);
    let name = file(&room, "2026-12-01.jsonl");
    let whole = std::fs::read_to_string(&name).unwrap();
    let half = whole.get(..20).unwrap();
    std::fs::write(&name, format!("{whole}\nnot json\n{half}")).unwrap();
    for other in ["notes.txt", "1999.jsonl", "2026-13-77.jsonl"] {
        std::fs::write(file(&room, other), "of somebody").unwrap();
    }
    room.staging.advance(DAY);
    look(&room).await;
    assert_eq!(counts(&json(&web.requests()[0].content)), (2, 1));
    assert_eq!(
        files(&room),
        ["1999.jsonl", "2026-13-77.jsonl", "notes.txt"]
    );
}

#[tokio::test]
async fn reports_that_are_switched_off_are_forgotten_unsent() {
    let country = Country::new();
    let web = collector(&country, "b.example", 200);
    let off = country.config().set("tls_reports.enabled", false);
    let room = room(&country, off).await;
    count(&room, "b.example", 1);
    look(&room).await;
    assert_eq!(
        files(&room),
        ["2026-12-01.jsonl"],
        "today's may be wanted yet"
    );
    room.staging.advance(DAY);
    look(&room).await;
    assert!(files(&room).is_empty() && web.requests().is_empty());
}

#[tokio::test]
async fn who_publishes_no_place_for_reports_gets_none_and_is_asked_once() {
    let country = Country::new();
    let dns = &country.world.dns;
    dns.txt(
        "_smtp._tls.two.example",
        "v=TLSRPTv1; rua=https://a.example/",
    );
    dns.txt(
        "_smtp._tls.two.example",
        "v=TLSRPTv1; rua=https://b.example/",
    );
    dns.txt(
        "_smtp._tls.odd.example",
        "v=TLSRPTv1; rua=gopher://a.example/",
    );
    let room = room(&country, country.config()).await;
    for name in ["none.example", "two.example", "odd.example"] {
        count(&room, name, 1);
    }
    room.staging.advance(DAY);
    look(&room).await;
    assert!(files(&room).is_empty());
    assert!(room.staging.lines("tls-report").await.is_empty());
}

#[tokio::test]
async fn a_report_by_mail_is_one_that_programs_read_and_nobody_is_told_of_its_failure() {
    let country = Country::new();
    let dns = &country.world.dns;
    dns.txt(
        "_smtp._tls.b.example",
        "v=TLSRPTv1; rua=mailto:tls@b.example,mailto:more@c.example",
    );
    let config = country
        .config()
        .set("tls_reports.from", "reports@sendoff.lab");
    let mut room = room(&country, config).await;
    count(&room, "b.example", 3);
    room.staging.advance(DAY);
    let sending = tokio::spawn(tls_reports::send(Arc::clone(&room.protection)));
    let mut mails: Vec<Arc<Message>> = Vec::new();
    while mails.len() < 2 {
        if let Some(Event::Accepted(message, _)) = room.events.recv().await {
            mails.push(message);
        }
    }
    let done = until(|| files(&room).is_empty().then_some(())).await;
    assert!(done.is_some(), "{:?}", files(&room));
    room.staging.node.stopping.cancel();
    sending.await.unwrap();
    for (message, to) in mails.iter().zip(["tls@b.example", "more@c.example"]) {
        let recipient = &message.envelope.recipients[0];
        assert_eq!(recipient.address.to_string(), to);
        assert_eq!(recipient.notify, mail::Notify::NEVER);
        assert_eq!(message.envelope.sender(), "reports@sendoff.lab");
        let text = String::from_utf8_lossy(&message.content).into_owned();
        for field in [
            "TLS-Required: No\r\n",
            "TLS-Report-Domain: b.example\r\n",
            "Content-Type: application/tlsrpt+gzip\r\n",
            "filename=\"sendoff.lab!b.example!1796083200!1796169599.json.gz\"",
        ] {
            assert!(text.contains(field), "{field} in {text}");
        }
        assert!(text.lines().all(|line| line.len() <= 998));
        assert_eq!(need(message), Need::Optional);
    }
}

#[tokio::test]
async fn a_report_waits_for_its_own_time_after_midnight() {
    let country = Country::new();
    let web = collector(&country, "b.example", 200);
    let config = country.config().set("tls_reports.delay", "12h");
    let room = room(&country, config).await;
    count(&room, "b.example", 1);
    // Midnight, and the end of the time within which all reports go.
    room.staging.advance(HOUR * 16);
    look(&room).await;
    let at_midnight = web.requests().len();
    room.staging.advance(HOUR * 12);
    look(&room).await;
    assert_eq!((at_midnight, web.requests().len()), (0, 1));
}

#[tokio::test]
async fn counts_are_written_at_the_end_of_the_server_too() {
    let country = Country::new();
    let room = room(&country, country.config()).await;
    let now = room.staging.now();
    room.protection
        .reports
        .count(session("b.example", None), now);
    room.staging.node.stopping.cancel();
    tls_reports::keep(Arc::clone(&room.protection)).await;
    let text = std::fs::read_to_string(file(&room, "2026-12-01.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("\"count\":1"), "{text}");
    // What cannot be written is lost, and said.
    std::fs::remove_dir_all(room.staging.data_dir().join("tls-reports")).unwrap();
    std::fs::write(room.staging.data_dir().join("tls-reports"), "in the way").unwrap();
    room.protection
        .reports
        .count(session("b.example", None), now);
    tls_reports::keep(Arc::clone(&room.protection)).await;
    room.staging
        .logged("error", &["TLS reports", "some counts are lost"])
        .await;
}

#[tokio::test]
async fn what_follows_a_line_that_a_crash_cut_off_is_not_lost_with_it() {
    let country = Country::new();
    let web = collector(&country, "b.example", 200);
    country.world.dns.servfail("_smtp._tls.c.example");
    let room = room(&country, country.config()).await;
    std::fs::create_dir(room.staging.data_dir().join("tls-reports")).unwrap();
    std::fs::write(file(&room, "2026-12-01.jsonl"), "{\"domain\":\"b.exa").unwrap();
    std::fs::write(file(&room, "2026-12-01.sent"), "b.example htt").unwrap();
    let now = room.staging.now();
    room.protection
        .reports
        .count(session("b.example", None), now);
    room.protection.reports.write().unwrap();
    count(&room, "c.example", 1);
    room.staging.advance(DAY);
    look(&room).await;
    assert_eq!(web.requests().len(), 1, "its count was read");
    // And what was sent is known at the next start.
    let room = room.restart().await;
    look(&room).await;
    assert_eq!(web.requests().len(), 1);
}
