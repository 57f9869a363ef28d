//! MTA-STS: when a policy is fetched, what is kept of it, and what holds when it cannot be had.

use std::time::Duration;

use lab::WebAnswer;
use mail::Timestamp;

use super::country::{Country, PATH, Room, domain, policy};
use crate::sts::Found;

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
const B: &str = "b.example";

async fn found(room: &Room, name: &str) -> Found {
    let settings = room.staging.node.settings();
    let (protection, now) = (&room.protection, room.staging.now());
    let (found, _) = protection
        .sts
        .policy(protection, &settings, &domain(name), now)
        .await;
    found
}

/// The hosts of the policy in force.
async fn hosts(room: &Room) -> Vec<String> {
    match found(room, B).await {
        Found::Policy(sts) => sts.policy.mx.clone(),
        other @ (Found::None | Found::Failed(_)) => panic!("{other:?}"),
    }
}

/// Why the policy cannot be had.
async fn failed(room: &Room, name: &str) -> String {
    match found(room, name).await {
        Found::Failed(why) => why,
        other @ (Found::None | Found::Policy(_)) => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_policy_is_fetched_once_and_outlives_its_host_its_record_and_a_restart() {
    let country = Country::new();
    let web = country.policy(B, "1", policy("enforce", "mx.b.example"));
    let room = country.room(&country.config()).await;
    for _ in 0..3 {
        assert_eq!(hosts(&room).await, ["mx.b.example"]);
    }
    assert_eq!(web.requests().len(), 1);
    assert_eq!(web.requests()[0].host, "mta-sts.b.example");
    room.staging
        .logged("mta-sts", &["domain=b.example", "fetched, mode enforce"])
        .await;
    drop(web);
    country.world.dns.remove("_mta-sts.b.example");
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    let room = room.restart().await;
    room.staging.advance(6 * DAY);
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    room.staging.advance(DAY);
    assert_eq!(found(&room, B).await, Found::None, "its time is over");
}

#[tokio::test]
async fn a_new_id_brings_a_new_policy_and_a_host_that_fails_leaves_the_old_one() {
    let country = Country::new();
    let web = country.policy(B, "1", policy("enforce", "old.b.example"));
    let room = country.room(&country.config()).await;
    assert_eq!(hosts(&room).await, ["old.b.example"]);
    web.answer("mta-sts.b.example", PATH, WebAnswer::status(503));
    country.publish(B, "2");
    let room = restarted_names(room, &country).await;
    assert_eq!(hosts(&room).await, ["old.b.example"]);
    room.staging
        .logged("mta-sts", &["cannot be fetched", "503"])
        .await;
    web.answer(
        "mta-sts.b.example",
        PATH,
        policy("enforce", "new.b.example"),
    );
    assert_eq!(
        hosts(&room).await,
        ["old.b.example"],
        "it is left alone for a while"
    );
    assert_eq!(web.requests().len(), 2);
    room.staging.advance(5 * MINUTE);
    assert_eq!(hosts(&room).await, ["new.b.example"]);
    let room = room.restart().await;
    assert_eq!(hosts(&room).await, ["new.b.example"]);
    assert_eq!(web.requests().len(), 3);
}

/// The configuration read again: the resolver remembers nothing.
async fn restarted_names(mut room: Room, country: &Country) -> Room {
    room.staging.reload(&country.config().text()).await;
    room
}

#[tokio::test]
async fn a_policy_is_fetched_anew_each_day_so_that_it_does_not_end_on_a_bad_one() {
    let country = Country::new();
    let web = country.policy(B, "1", policy("enforce", "mx.b.example"));
    let room = country.room(&country.config()).await;
    hosts(&room).await;
    room.staging.advance(DAY);
    hosts(&room).await;
    assert_eq!(web.requests().len(), 1);
    room.staging.advance(MINUTE);
    hosts(&room).await;
    assert_eq!(web.requests().len(), 2);
    // It holds for a week from the second time on.
    drop(web);
    room.staging.advance(7 * DAY - MINUTE);
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    room.staging.advance(MINUTE);
    failed(&room, B).await;
}

#[tokio::test]
async fn a_clock_that_was_wrong_takes_no_policy_away_when_it_is_set_right() {
    let country = Country::new();
    let _web = country.policy(B, "1", policy("enforce", "mx.b.example"));
    let room = country.room(&country.config()).await;
    hosts(&room).await;
    let now = room.staging.now();
    // Set back by a year: it was fetched in the future.
    room.staging
        .script
        .set(Timestamp::from_millis(now.as_millis() - 365 * 86_400_000));
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    let room = room.restart().await;
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    room.staging.script.set(now);
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    room.protection.sts.sweep(now);
    let room = room.restart().await;
    country.world.dns.remove("_mta-sts.b.example");
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
}

#[tokio::test]
async fn what_a_policy_host_must_not_answer_is_no_policy() {
    let country = Country::new();
    let text = "version: STSv1\nmode: enforce\nmx: mx.b.example\nmax_age: 86400\n";
    let html = WebAnswer {
        headers: vec!["Content-Type: text/html".to_owned()],
        ..WebAnswer::text(text)
    };
    let moved = WebAnswer::status(301).with("Location: https://b.example/policy");
    let large = format!("{text}{}", "mx: a.example\n".repeat(10_000));
    let answers = [
        ("missing.example", WebAnswer::status(404), "answered 404"),
        ("moved.example", moved, "answered 301"),
        ("html.example", html, "text/html"),
        ("large.example", WebAnswer::text(large), ""),
        ("empty.example", WebAnswer::text(""), ""),
        (
            "modeless.example",
            WebAnswer::text("version: STSv1\nmax_age: 1\n"),
            "",
        ),
        (
            "endless.example",
            WebAnswer::text(text.replace("86400", "forever")),
            "",
        ),
    ];
    let room = country.room(&country.config()).await;
    for (name, answer, words) in answers {
        let web = country.policy(name, "1", answer);
        let why = failed(&room, name).await;
        assert!(why.contains(words), "{name}: {why}");
        // It is not asked again at once, and nothing is kept.
        failed(&room, name).await;
        assert_eq!(web.requests().len(), 1, "{name}");
    }
    assert!(!room.staging.data_dir().join("mta-sts").exists());
}

#[tokio::test]
async fn a_policy_host_must_prove_its_name() {
    let country = Country::new();
    // A certificate of the authority, for another name.
    let web = country.world.web(&["www.b.example"]);
    let std::net::IpAddr::V4(ip) = web.address().ip() else {
        panic!("an address of IPv4");
    };
    country.world.dns.a("mta-sts.b.example", ip);
    country.publish(B, "1");
    web.answer("mta-sts.b.example", PATH, policy("enforce", "mx.b.example"));
    let room = country.room(&country.config()).await;
    failed(&room, B).await;
    assert!(web.requests().is_empty());
    room.protection.reports.write().unwrap();
    let file = room.staging.data_dir().join("tls-reports/2026-12-01.jsonl");
    let counted = std::fs::read_to_string(file).unwrap();
    assert!(counted.contains("sts-webpki-invalid"), "{counted}");
}

#[tokio::test]
async fn a_policy_host_may_not_lead_into_networks_that_are_refused() {
    let country = Country::new();
    let web = country.policy(B, "1", policy("enforce", "mx.b.example"));
    // Loopback is, unless the lab allows it.
    let config = country
        .config()
        .set("outgoing.refuse_networks", ["default"]);
    let room = country.room(&config).await;
    let why = failed(&room, B).await;
    assert!(why.contains("mta-sts.b.example"), "{why}");
    assert!(web.requests().is_empty());
}

#[tokio::test]
async fn a_policy_of_mode_none_and_no_policy_are_the_same() {
    let country = Country::new();
    let web = country.policy(
        B,
        "1",
        WebAnswer::text("version: STSv1\nmode: none\nmax_age: 604800\n"),
    );
    country
        .world
        .dns
        .txt("_mta-sts.two.example", "v=STSv1; id=1;");
    country
        .world
        .dns
        .txt("_mta-sts.two.example", "v=STSv1; id=2;");
    country
        .world
        .dns
        .txt("_mta-sts.odd.example", "v=STSv1; id=not-alphanumeric!;");
    let room = country.room(&country.config()).await;
    for name in [
        B,
        "two.example",
        "odd.example",
        "none.example",
        "[127.0.0.1]",
    ] {
        assert_eq!(found(&room, name).await, Found::None, "{name}");
    }
    assert_eq!(web.requests().len(), 1, "it is kept that there is none");
}

#[tokio::test]
async fn mails_that_come_together_share_one_fetch() {
    let country = Country::new();
    let answer = policy("enforce", "mx.b.example").behind(Duration::from_millis(50));
    let web = country.policy(B, "1", answer);
    let room = country.room(&country.config()).await;
    let (a, b, c) = tokio::join!(hosts(&room), hosts(&room), hosts(&room));
    assert!(a == b && b == c);
    assert_eq!(web.requests().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_policy_is_not_believed_and_one_that_cannot_be_written_is_not_needed() {
    let country = Country::new();
    let web = country.policy(B, "1", policy("enforce", "mx.b.example"));
    let half = "id: 1\nfetched: 2026-12-01T00:00:00Z\nversion: STSv1\n";
    for (text, fetches) in [("", 1), (half, 2), ("\u{0}\u{ff}garbage", 3)] {
        let room = country.room(&country.config()).await;
        let directory = room.staging.data_dir().join("mta-sts");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join(B), text).unwrap();
        assert_eq!(hosts(&room).await, ["mx.b.example"], "{text:?}");
        assert_eq!(web.requests().len(), fetches);
        let kept = std::fs::read_to_string(directory.join(B)).unwrap();
        assert!(
            kept.starts_with("id: 1\n") && kept.contains("mx: mx.b.example"),
            "{kept}"
        );
    }
    let room = country.room(&country.config()).await;
    std::fs::write(
        room.staging.data_dir().join("mta-sts"),
        "a file is in the way",
    )
    .unwrap();
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    room.staging.logged("mta-sts", &["cannot be stored"]).await;
    assert_eq!(hosts(&room).await, ["mx.b.example"]);
    assert_eq!(web.requests().len(), 4);
}
