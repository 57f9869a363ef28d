//! What senders hear of their mail: failures, delays, successes, and what nobody hears.

use std::path::{Path, PathBuf};

use lab::{MxHost, Scratch, Verb as Said, World};
use mail::{ByMode, DeliverBy, Notify, Outcome};
use staging::{ALONE, submission, until};

use super::desk::{Desk, HOUR, REFUSED};

/// Who sends from a local domain gets the reports into a mailbox.
struct Boxes {
    world: World,
    directory: Scratch,
}

impl Boxes {
    fn new() -> Self {
        Self {
            world: World::new(),
            directory: Scratch::new(),
        }
    }

    fn config(&self) -> lab::Config {
        let template = format!("maildir:{}/{{user}}", self.directory.path().display());
        self.world
            .config()
            .set("local.domains", ["here.example"])
            .set("local.deliver", template)
    }

    /// A domain whose host refuses every recipient.
    fn refusing(&self, domain: &str) -> MxHost {
        let host = self.world.domain(domain);
        host.set(|b| {
            b.reply(Said::Rcpt, "", "550 5.1.1 no such user");
        });
        host
    }

    /// What lies in somebody's mailbox, once there is so much.
    async fn stored(&self, user: &str, count: usize) -> Vec<String> {
        let new = self.directory.path().join(user).join("new");
        let look = || {
            let files = files(&new);
            (files.len() == count).then_some(files)
        };
        let files = until(look).await;
        let files = files.unwrap_or_else(|| panic!("{count} in {}", new.display()));
        let read = |file: PathBuf| std::fs::read_to_string(file).unwrap();
        files.into_iter().map(read).collect()
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn the_recipients_of_a_mail_that_fail_together_are_told_of_in_one_report() {
    let boxes = Boxes::new();
    let _host = boxes.refusing("b.example");
    let desk = Desk::new(&boxes.config().text()).await;
    let id = desk
        .staging
        .mail("ann@here.example", &["bob@b.example", "eve@b.example"])
        .await;
    for end in desk.ended(id, 2).await {
        assert_eq!(end.verdict.outcome, Outcome::Failed);
    }
    let report = boxes.stored("ann", 1).await.remove(0);
    assert!(report.contains("Return-Path: <>"), "{report}");
    for text in [
        "bob@b.example",
        "eve@b.example",
        "5.1.1",
        "no such user",
        "Action: failed",
    ] {
        assert!(report.contains(text), "{text} in {report}");
    }
    desk.ended_of("", 1).await;
    desk.counted("failed", 2).await;
    desk.counted("delivered", 1).await;
}

#[tokio::test]
async fn a_sender_who_wants_to_hear_nothing_hears_nothing() {
    let boxes = Boxes::new();
    let _host = boxes.refusing("b.example");
    let desk = Desk::new(&boxes.config().text()).await;
    let mut silent = submission("ann@here.example", &["bob@b.example", "eve@b.example"]);
    silent.recipients[0].notify = Notify::NEVER;
    silent.recipients[1].notify = Notify::SUCCESS;
    let id = desk.staging.hand_in(silent).await;
    desk.ended(id, 2).await;
    assert!(desk.staging.lines("report").await.is_empty());
    assert_eq!(desk.turn().await, 0);
}

#[tokio::test]
async fn failure_messages_that_are_switched_off_are_not_made() {
    let boxes = Boxes::new();
    let _host = boxes.refusing("b.example");
    let config = boxes.config().set("outgoing.failure_messages", false);
    let desk = Desk::new(&config.text()).await;
    let id = desk
        .staging
        .mail("ann@here.example", &["bob@b.example"])
        .await;
    desk.ended(id, 1).await;
    assert!(desk.staging.lines("report").await.is_empty());
    assert!(desk.staging.lines("unreportable").await.is_empty());
}

#[tokio::test]
async fn of_a_report_that_fails_nobody_is_told_but_the_log() {
    let desk = Desk::new(&format!(
        "{ALONE}[outgoing]\nresend_attempts = 0\n{REFUSED}"
    ))
    .await;
    let id = desk.staging.mail("", &["ann@a.example"]).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Failed, 1));
    let line = desk
        .staging
        .logged("unreportable", &[&id.to_string()])
        .await;
    assert!(line.contains("nobody is notified of that"), "{line}");
    assert_eq!(desk.turn().await, 0);
}

#[tokio::test]
async fn a_mail_that_fails_at_its_only_attempt_is_reported_once_and_the_report_too_ends() {
    // The report goes to a domain where nobody listens either.
    let desk = Desk::new(&format!(
        "{ALONE}[outgoing]\nresend_attempts = 0\n{REFUSED}"
    ))
    .await;
    let id = desk.staging.mail("ann@a.example", &["bob@b.example"]).await;
    desk.ended(id, 1).await;
    desk.holds(1).await;
    // Its server is left alone for a moment after that.
    desk.pass(HOUR).await;
    desk.ended_of("", 1).await;
    desk.staging.logged("unreportable", &[]).await;
    desk.holds(0).await;
    assert_eq!(desk.history().len(), 2);
}

#[tokio::test]
async fn a_success_is_told_where_it_was_asked_for_by_a_host_that_does_not_report_itself() {
    let boxes = Boxes::new();
    let hosts = [
        boxes.world.domain("b.example"),
        boxes.world.domain("c.example"),
    ];
    hosts[1].set(|b| {
        b.extension("DSN");
    });
    // Both batches of the mail end in one round of the owner.
    let desk = Desk::gathering(&boxes.config().text(), 2).await;
    let mut asking = submission("ann@here.example", &["bob@b.example", "eve@c.example"]);
    for recipient in &mut asking.recipients {
        recipient.notify = Notify::SUCCESS;
    }
    let id = desk.staging.hand_in(asking).await;
    for end in desk.ended(id, 2).await {
        assert_eq!(end.verdict.outcome, Outcome::Delivered);
    }
    let line = desk
        .staging
        .logged("report", &["to=<ann@here.example>"])
        .await;
    let id = line
        .split(' ')
        .find_map(|word| word.strip_prefix("id="))
        .unwrap();
    let report = desk
        .staging
        .node
        .store
        .read(id.parse().unwrap())
        .unwrap()
        .unwrap();
    let report = String::from_utf8_lossy(&report.content).into_owned();
    assert!(report.contains("Action: relayed"), "{report}");
    assert!(report.contains("bob@b.example"), "{report}");
    assert!(!report.contains("eve@c.example"), "{report}");
    let params = |host: &MxHost| host.received()[0].recipients[0].params.clone();
    assert!(params(&hosts[1]).contains("NOTIFY=SUCCESS"));
    assert_eq!(params(&hosts[0]), "");
}

#[tokio::test]
async fn what_was_said_to_one_host_is_not_kept_with_the_recipients_of_another() {
    let boxes = Boxes::new();
    let hosts = ["b.example", "c.example"].map(|domain| boxes.refusing(domain));
    let desk = Desk::gathering(&boxes.config().text(), 2).await;
    let id = desk
        .staging
        .mail("ann@here.example", &["bob@b.example", "eve@c.example"])
        .await;
    for (end, host) in desk.ended(id, 2).await.into_iter().zip(&hosts) {
        let said = end.transcript.unwrap_or_default();
        assert!(said.contains(host.name()), "{}: {said}", end.recipient);
    }
}

#[tokio::test]
async fn a_late_mail_is_told_of_once_and_is_sent_on() {
    let boxes = Boxes::new();
    let config = boxes
        .config()
        .set("outgoing.delay_notice_after", "2h")
        .set("outgoing.resend_wait", "1h")
        .rule("b.example", "via_smtp", "127.0.0.1:1");
    let desk = Desk::new(&config.text()).await;
    let id = desk
        .staging
        .mail("ann@here.example", &["bob@b.example"])
        .await;
    desk.tried(id, 1).await;
    desk.pass(HOUR).await;
    desk.tried(id, 2).await;
    assert!(desk.staging.lines("report").await.is_empty());
    desk.pass(HOUR).await;
    desk.tried(id, 3).await;
    let notice = boxes.stored("ann", 1).await.remove(0);
    assert!(notice.contains("Action: delayed"), "{notice}");
    assert!(notice.contains("bob@b.example"));
    desk.pass(HOUR).await;
    desk.tried(id, 4).await;
    desk.turn().await;
    assert_eq!(desk.staging.lines("report").await.len(), 1);
    // It is remembered over a restart.
    let desk = desk.restart().await;
    desk.pass(HOUR).await;
    desk.tried(id, 5).await;
    assert_eq!(desk.staging.lines("report").await.len(), 1);
}

#[tokio::test]
async fn a_mail_that_is_kept_back_is_late_and_comes_back_at_its_time_like_others() {
    let boxes = Boxes::new();
    let config = boxes.config().set("outgoing.enabled", false);
    let desk = Desk::new(&config.text()).await;
    let mut urgent = submission("ann@here.example", &["bob@b.example"]);
    urgent.terms.deliver_by = Some(DeliverBy {
        by: desk.staging.now() + 5 * HOUR,
        mode: ByMode::Return,
        trace: false,
    });
    let id = desk.staging.hand_in(urgent).await;
    desk.turn().await;
    desk.pass(4 * HOUR).await;
    let notice = boxes.stored("ann", 1).await.remove(0);
    assert!(notice.contains("it has not been tried yet"), "{notice}");
    desk.pass(HOUR).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Expired, 0));
    boxes.stored("ann", 2).await;
}

#[tokio::test]
async fn a_mail_that_is_to_come_back_by_a_time_comes_back_then() {
    let boxes = Boxes::new();
    let config = boxes.config().set("outgoing.resend_wait", "3h").rule(
        "b.example",
        "via_smtp",
        "127.0.0.1:1",
    );
    let desk = Desk::new(&config.text()).await;
    let mut urgent = submission("ann@here.example", &["bob@b.example"]);
    urgent.terms.deliver_by = Some(DeliverBy {
        by: desk.staging.now() + HOUR,
        mode: ByMode::Return,
        trace: false,
    });
    let id = desk.staging.hand_in(urgent).await;
    desk.tried(id, 1).await;
    desk.pass(HOUR - std::time::Duration::from_secs(1)).await;
    assert!(desk.history().is_empty());
    desk.pass(std::time::Duration::from_secs(1)).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert!(matches!(
        end.verdict.outcome,
        Outcome::Failed | Outcome::Expired
    ));
    let report = boxes.stored("ann", 1).await.remove(0);
    assert!(report.contains("Action: failed"), "{report}");
}

#[tokio::test]
async fn a_failure_puts_the_recipient_on_the_list_in_the_same_breath() {
    let boxes = Boxes::new();
    let _host = boxes.refusing("b.example");
    let config = boxes.config().set("suppression.enabled", true);
    let desk = Desk::new(&config.text()).await;
    let id = desk
        .staging
        .mail("ann@here.example", &["bob@b.example"])
        .await;
    desk.ended(id, 1).await;
    let policy = || desk.staging.node.settings().policy.suppressed.len();
    assert!(until(|| (policy() == 1).then_some(())).await.is_some());
    let again = node::hand_in::hand_in(
        &desk.staging.node,
        submission("ann@here.example", &["bob@b.example"]),
        None,
    );
    let again = again.await;
    let refused = match &again {
        Ok(handed) => handed.recipients[0].is_err(),
        Err(_) => true,
    };
    assert!(refused, "{again:?}");
    // Its entry is in the queue's log, where a restart finds it.
    let mut kept = Vec::new();
    let mut keep = |name, _| kept.push(name);
    desk.staging.node.store.catch_up().unwrap();
    desk.staging.node.store.entries("", &mut keep).unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
}
