//! Other senders towards a relay: `[[sender]]`.

use lab::{Config, MxHost, Sendoff, StartTls, Verb};
use serde_json::json;

use crate::scene::{BINARY, SOON, Scene, log_lines, python, send, send_with};

const OFFICE: &str = "office@provider.example";

/// What Python's `email` package reads of a header.
const JUDGE: &str = "
import sys, json, email, email.policy
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
def of(name):
    return [[a.display_name, a.addr_spec] for h in mail.get_all(name, []) for a in h.addresses]
print(json.dumps({n: of(n) for n in ['From', 'Sender', 'Reply-To', 'To']}
    | {'defects': [str(d) for h in mail.values() for d in h.defects], 'body': mail.get_content()}))
";

/// A relay that takes no sender but its login.
fn relay(scene: &Scene) -> MxHost {
    let ip = std::net::IpAddr::V4(scene.world.address());
    let host = scene.world.host_at(&ip.to_string(), ip);
    host.set(|b| {
        b.login = Some((OFFICE.to_owned(), "secret".to_owned()));
        b.login_required = true;
        b.starttls = StartTls::Good;
        b.senders = vec![OFFICE.to_owned()];
    });
    host
}

fn by_relay(scene: &Scene, host: &MxHost) -> Config {
    let config = scene.config();
    config
        .set("hostname", "host.lan")
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.host", host.ip().to_string())
        .set("outgoing.relay.port", host.address().port())
        .set("outgoing.relay.username", OFFICE)
        .set("outgoing.relay.password", "secret")
}

fn everybody(config: Config, domain: &str) -> Config {
    config.table(
        "sender",
        &[
            ("match", format!("@{domain}").into()),
            ("as", OFFICE.into()),
        ],
    )
}

#[test]
fn a_relay_that_insists_on_its_login_gets_it_as_the_sender() {
    let scene = Scene::new();
    let host = relay(&scene);
    let server = scene.start_trusting(everybody(by_relay(&scene, &host), "origin.example"));
    let content = "From: \"Smith, Ann\" <ann@origin.example>\r\nSender: root@origin.example\r\n\
                   To: Bob <bob@anywhere.example>, ann@origin.example\r\nSubject: x\r\n\r\n\
                   From: ann@origin.example\r\n";
    server.send(
        "ann@origin.example",
        &["bob@anywhere.example", "c@else.example"],
        content,
    );
    let mails = host.wait_for(1, SOON);
    let mail = mails.first().unwrap();
    assert_eq!(mail.sender, OFFICE);
    let read = python(JUDGE, &mail.content);
    assert_eq!(read["From"], json!([["Smith, Ann", OFFICE]]));
    assert_eq!(read["Sender"], json!([["", OFFICE]]));
    assert_eq!(
        read["Reply-To"],
        json!([["Smith, Ann", "ann@origin.example"]])
    );
    assert_eq!(
        read["To"],
        json!([["Bob", "bob@anywhere.example"], ["", "ann@origin.example"]])
    );
    assert_eq!(read["defects"], json!([]));
    assert_eq!(
        read["body"].as_str().unwrap().trim(),
        "From: ann@origin.example"
    );
    // The log names the author as before, and says what was done.
    assert!(
        server
            .wait_for_log(&[" sender-rewritten ", "From,Reply-To,Sender"], SOON)
            .is_some()
    );
    assert!(
        server
            .wait_for_log(&[" delivered ", "bob@anywhere.example"], SOON)
            .is_some()
    );
}

#[test]
fn without_a_rule_the_relay_refuses_the_sender() {
    let scene = Scene::new();
    let host = relay(&scene);
    let server = scene.start_trusting(by_relay(&scene, &host));
    send(&server, "bob@anywhere.example");
    assert!(
        server
            .wait_for_log(&[" failed ", "553", "not owned"], SOON)
            .is_some()
    );
    // The report of this server goes there too, from its own postmaster.
    let mails = host.wait_for(1, SOON);
    assert!(mails.first().unwrap().text().contains("host.lan>"));
}

#[test]
fn a_report_leaves_from_an_address_that_the_relay_knows() {
    let scene = Scene::new();
    let host = relay(&scene);
    host.set(|b| {
        b.reply(Verb::Rcpt, "nobody@", "550 5.1.1 no such user");
    });
    let config = everybody(by_relay(&scene, &host), "host.lan");
    let server = scene.start_trusting(everybody(config, "origin.example"));
    send(&server, "nobody@anywhere.example");
    let mails = host.wait_for(1, SOON);
    let report = mails.first().expect("a report");
    // It goes to the author, not to the address that the relay has seen.
    assert_eq!((report.sender.as_str(), report.recipients.len()), ("", 1));
    assert_eq!(report.recipients[0].address, "ann@origin.example");
    let read = python(
        "import sys, json, email, email.policy\n\
         mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)\n\
         print(json.dumps([mail['From'].addresses[0].addr_spec, mail['Reply-To']]))",
        &report.content,
    );
    assert_eq!(read, json!([OFFICE, null]));
    drop(server);
}

#[test]
fn what_goes_to_the_hosts_of_its_recipients_keeps_its_sender() {
    let scene = Scene::new();
    let mx = scene.world.domain("good.example");
    let named = scene.world.host("named.lab");
    let config = scene.config().table(
        "domain",
        &[
            ("match", "via.example".into()),
            ("via_smtp", named.address().to_string().into()),
        ],
    );
    let server = Sendoff::start(BINARY, everybody(config, "origin.example"));
    server.send(
        "ann@origin.example",
        &["b@good.example", "c@via.example"],
        "From: ann@origin.example\r\n\r\nx\r\n",
    );
    let direct = mx.wait_for(1, SOON);
    let direct = direct.first().unwrap();
    assert_eq!(direct.sender, "ann@origin.example");
    assert_eq!(direct.header("from").as_deref(), Some("ann@origin.example"));
    assert_eq!(direct.header("reply-to"), None);
    let via = named.wait_for(1, SOON);
    let via = via.first().unwrap();
    assert_eq!(
        (via.sender.as_str(), via.header("from").as_deref()),
        (OFFICE, Some(OFFICE))
    );
}

#[test]
fn a_signature_of_others_decides_where_it_must_hold() {
    let scene = Scene::new();
    let host = relay(&scene);
    let config = everybody(by_relay(&scene, &host), "origin.example");
    let server = scene.start_trusting(config.set("outgoing.convert_signed", false));
    let content =
        b"DKIM-Signature: v=1; d=origin.example; s=x\r\nFrom: ann@origin.example\r\n\r\nx\r\n";
    send_with(&server, "", &["<bob@anywhere.example>"], content);
    let mails = host.wait_for(1, SOON);
    let mail = mails.first().unwrap();
    assert_eq!(
        (mail.sender.as_str(), mail.header("from").as_deref()),
        (OFFICE, Some("ann@origin.example"))
    );
    let kept = [" sender-kept ", "convert_signed"];
    assert!(
        server.wait_for_log(&kept, SOON).is_some(),
        "{}",
        server.log()
    );
    assert_eq!(log_lines(&server, &kept).len(), 1);
}

#[test]
fn a_providers_limit_is_warned_of_before_it_is_met() {
    let scene = Scene::new();
    let host = relay(&scene);
    // 200 recipients a day, in the sandbox.
    let config = everybody(by_relay(&scene, &host), "origin.example");
    let server = scene.start_trusting(
        config
            .set("outgoing.relay.preset", "ses")
            .set("outgoing.relay.tls", "verify"),
    );
    let all: Vec<String> = (0..160).map(|n| format!("u{n}@anywhere.example")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    server.send(
        "ann@origin.example",
        &all,
        "From: ann@origin.example\r\n\r\nx\r\n",
    );
    let told = [
        " warning ",
        "80 % of the provider",
        "160 recipients of 200 recipients",
    ];
    assert!(server.wait_for_log(&told, SOON).is_some());
    let explained = server.run(&["explain", "bob@anywhere.example"]);
    assert!(explained.contains("160 recipients today"), "{explained}");
}
