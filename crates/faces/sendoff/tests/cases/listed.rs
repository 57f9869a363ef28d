//! Lists say how many of how many they show, and the queue is told in numbers.

use lab::Sendoff;
use serde_json::Value;

use crate::scene::{BINARY, SOON, Scene, eventually, queue, send_many};
use crate::web::Web;

/// A server that sends nothing, with mail for three domains.
fn full(scene: &Scene) -> Sendoff {
    let server = Sendoff::start(BINARY, scene.config().set("outgoing.enabled", false));
    send_many(&server, 12, |n| match n % 6 {
        0 => format!("u{n}@a.example"),
        1 | 2 => format!("u{n}@b.example"),
        _ => format!("u{n}@c.example"),
    });
    server
}

#[test]
fn lists_say_how_many_of_how_many_they_show() {
    let scene = Scene::new();
    let server = full(&scene);
    let last = |arguments: &[&str]| {
        let text = server.run(arguments);
        text.lines().last().unwrap_or_default().to_owned()
    };
    for (arguments, line) in [
        (&["queue", "list"][..], "12 recipients."),
        (
            &["queue", "list", "--limit", "5"],
            "5 of 12 recipients (--limit, --offset).",
        ),
        (
            &["queue", "list", "--limit", "5", "--offset", "10"],
            "2 of 12 recipients (--limit, --offset).",
        ),
        (
            &["queue", "list", "--offset", "50"],
            "0 of 12 recipients (--limit, --offset).",
        ),
        (
            &["queue", "list", "--filter", "domain:a.example"],
            "2 recipients.",
        ),
        (
            &["queue", "list", "--filter", "domain:x.example"],
            "Nothing in the queue matches.",
        ),
        (
            &["queue", "history"],
            "The history is empty: nothing has finished yet.",
        ),
        (&["suppression", "list"], "The suppression list is empty."),
    ] {
        assert_eq!(last(arguments), line, "{arguments:?}");
    }
    server.run(&["queue", "remove", "--all", "--yes"]);
    assert_eq!(server.run(&["queue", "list"]), "The queue is empty.\n");
    assert_eq!(server.run(&["queue", "summary"]), "The queue is empty.\n");
    assert_eq!(last(&["queue", "history"]), "12 finished recipients.");
    assert_eq!(
        last(&["queue", "history", "--limit", "3"]),
        "3 of 12 finished recipients (--limit, --offset)."
    );
    assert_eq!(
        last(&["queue", "history", "--domain", "x.example"]),
        "Nothing in the history matches."
    );
    server.run(&["suppression", "add", "a@b.example", "c@d.example"]);
    assert_eq!(last(&["suppression", "list"]), "2 suppressions.");
    assert_eq!(
        last(&["suppression", "list", "--limit", "1"]),
        "1 of 2 suppressions (--limit, --offset)."
    );
    assert_eq!(
        last(&["suppression", "list", "nobody"]),
        "Nothing on the suppression list matches."
    );
}

#[test]
fn the_queue_is_told_in_numbers_by_command_and_by_http() {
    let scene = Scene::new();
    let host = scene.world.domain("c.example");
    host.set(|b| {
        b.reply(lab::Verb::Rcpt, "", "450 4.7.1 Greylisted, come back later");
    });
    let (server, web) = Web::start(&scene, scene.config());
    server.run(&["site", "pause", "a.example"]);
    server.run(&["site", "pause", "b.example"]);
    send_many(&server, 12, |n| match n % 6 {
        0 => format!("u{n}@a.example"),
        1 | 2 => format!("u{n}@b.example"),
        _ => format!("u{n}@c.example"),
    });
    eventually("all were tried", SOON, || {
        let tried = queue(&server).iter().filter(|r| r["attempts"] == 1).count();
        tried == 6
    });
    let text = server.run(&["queue", "summary"]);
    assert!(text.starts_with("12 recipients of 12 messages ("), "{text}");
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = text.lines().map(words).collect();
    let row = |cells: &[&str]| {
        assert!(
            rows.iter()
                .any(|row| row.starts_with(&words(&cells.join(" ")))),
            "{cells:?} in\n{text}"
        );
    };
    row(&["6", "6", "0", "0", "0", "0", "0", "c.example"]);
    row(&["2", "2", "0", "0", "0", "0", "0", "a.example"]);
    row(&["12", "12", "0", "0", "0", "0", "0", "all domains"]);
    row(&["6", "greylisted", "450 4.7.1 Greylisted, come back later"]);
    row(&["6", "not_tried"]);
    let cut = server.run(&["queue", "summary", "--limit", "1"]);
    assert!(cut.contains("1 of 3 domains.\n"), "{cut}");
    let json: Value =
        serde_json::from_str(&server.run(&["queue", "summary", "--json"])).expect("JSON");
    let reader = web.with_key(&server, "read", &[]);
    let by_http = reader.get("/api/v1/queue/summary").expect(200).json();
    for told in [&json, &by_http] {
        assert_eq!(told["recipients"], 12, "{told}");
        assert_eq!(told["domains"][0]["domain"], "c.example", "{told}");
        assert_eq!(told["domains"][0]["ages"]["under_5m"], 6, "{told}");
        assert_eq!(told["submitters"][0]["messages"], 12, "{told}");
    }
    // Those that wait for their next attempt are counted where they will go, and come first.
    let sites: Value =
        serde_json::from_str(&server.run(&["site", "list", "--json"])).expect("JSON");
    assert_eq!(sites["sites"][0]["waiting"], 6, "{sites}");
    assert_eq!(sites["sites"][0]["due"], 0, "{sites}");
    let text = server.run(&["site", "list"]);
    assert!(text.starts_with("WAITING  DUE"), "{text}");
}

#[test]
fn metrics_tell_how_long_mail_is_due_and_what_the_process_uses() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config().set("outgoing.enabled", false));
    let value = |name: &str| {
        let text = web.get("/metrics").expect(200).text();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.find_map(|rest| rest.strip_prefix(' ')?.parse::<f64>().ok())
    };
    assert_eq!(value("sendoff_oldest_due_seconds"), Some(0.0));
    send_many(&server, 2, |n| format!("u{n}@a.example"));
    eventually("it is overdue", SOON, || {
        value("sendoff_oldest_due_seconds").is_some_and(|seconds| seconds >= 1.0)
    });
    server.run(&["queue", "hold", "--all", "--yes"]);
    eventually("what is held is not due", SOON, || {
        value("sendoff_oldest_due_seconds") == Some(0.0)
    });
    let build = format!(
        "sendoff_build_info{{version=\"{}\",commit=\"\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(value(&build), Some(1.0));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a time after 1970").as_secs_f64();
    for (name, least, most) in [
        ("process_resident_memory_bytes", 1e6, 1e10),
        ("process_cpu_seconds_total", 0.0, 1e4),
        ("process_open_fds", 5.0, 1e6),
        ("process_max_fds", 10.0, 1e10),
        ("process_start_time_seconds", now - 3600.0, now + 2.0),
    ] {
        let found = value(&format!("sendoff_{name}"));
        assert!(
            found.is_some_and(|n| n >= least && n <= most),
            "{name}: {found:?}"
        );
    }
}
