//! Sites: what is ordered by itself because of what their hosts answer, what is shown of them, and domains that cannot be
//! routed.

use lab::{MxHost, Scratch, Verb as Said, World};
use mail::{Domain, Outcome};
use node::event::Event;
use schedule::SiteView;
use staging::until;
use tokio::sync::oneshot;

use super::desk::{Desk, HOUR, MINUTE};
use crate::reactions;

const LIMITED: &str = "450 4.7.28 rate limited, come back";

/// A site whose host limits the rate, and the rules about it.
struct Limited {
    world: World,
    host: MxHost,
    rules: Scratch,
}

impl Limited {
    fn new() -> Self {
        let world = World::new();
        let host = world.domain("b.example");
        host.set(|b| {
            b.reply(Said::Rcpt, "", LIMITED);
        });
        Self {
            world,
            host,
            rules: Scratch::new(),
        }
    }

    /// The configuration with an action of this text.
    fn config(&self, action: &str) -> String {
        let file = self.rules.path().join("rules.toml");
        let rule =
            "[[rule]]\nid = \"limited\"\nkind = \"rate_limited\"\ntext = [\"rate limited\"]\n";
        std::fs::write(&file, format!("{rule}{action}")).unwrap();
        self.world
            .config()
            .set("outgoing.resend_wait", "10m")
            .set("replies.rules", file.display().to_string())
            .text()
    }
}

const PAUSE: &str =
    "[[action]]\nid = \"rest\"\non = \"rate_limited\"\nafter = 2\ndo = \"pause\"\nfor = \"1h\"\n";
const SLOW: &str = "[[action]]\nid = \"ease\"\non = \"rate_limited\"\ndo = \"slow\"\nmax_message_rate = \"1/1h\"\nmax_connections = 1\nfor = \"2h\"\n";

async fn sites(desk: &Desk) -> Vec<SiteView> {
    let (ask, told) = oneshot::channel();
    desk.staging.node.tell(Event::Sites(ask));
    told.await.unwrap().0
}

/// How the only site is shown.
async fn standing(desk: &Desk) -> String {
    let views = desk.dispatch.reactions.views(sites(desk).await);
    assert_eq!(views.len(), 1, "{views:?}");
    views[0].standing.clone()
}

/// Two mails that the host limits.
async fn two(desk: &Desk) -> [mail::QueueId; 2] {
    let mut ids = Vec::new();
    for to in ["one@b.example", "two@b.example"] {
        let id = desk.staging.mail("ann@a.example", &[to]).await;
        desk.tried(id, 1).await;
        ids.push(id);
    }
    [ids[0], ids[1]]
}

#[tokio::test]
async fn a_site_that_limits_often_enough_is_left_alone_for_its_time_and_no_attempt_is_charged() {
    let limited = Limited::new();
    let desk = Desk::new(&limited.config(PAUSE)).await;
    let ids = two(&desk).await;
    let line = desk
        .staging
        .logged("action", &["who=rule:rest", "verb=pause"])
        .await;
    assert!(
        line.contains("domain=b.example") && line.contains("2 × rate_limited"),
        "{line}"
    );
    assert!(line.contains("until=2026-12-01T09:00:00"), "{line}");
    assert!(
        standing(&desk)
            .await
            .starts_with("paused until 2026-12-01T09:00:00")
    );
    limited.host.reset();
    desk.pass(59 * MINUTE).await;
    for id in ids {
        assert_eq!(desk.waiting(id)[0].attempts, 1);
        assert!(desk.reason(id).await.contains("paused for a time"));
    }
    desk.pass(MINUTE).await;
    for id in ids {
        assert_eq!(desk.ended(id, 1).await[0].attempts, 2);
    }
    desk.staging
        .logged("action", &["who=rule:rest", "verb=pause-ended"])
        .await;
}

#[tokio::test]
async fn one_mail_counts_once_for_an_action_however_many_recipients_it_has() {
    let limited = Limited::new();
    let desk = Desk::new(&limited.config(PAUSE)).await;
    let to = ["1@b.example", "2@b.example", "3@b.example"];
    let id = desk.staging.mail("ann@a.example", &to).await;
    let tried = || {
        desk.waiting(id)
            .iter()
            .all(|row| row.attempts == 1)
            .then_some(())
    };
    until(tried).await.unwrap();
    desk.turn().await;
    assert!(desk.staging.lines("action").await.is_empty());
    assert!(!standing(&desk).await.contains("paused"));
}

#[tokio::test]
async fn an_order_for_a_site_outlives_a_restart_and_ends_at_its_time() {
    let limited = Limited::new();
    let desk = Desk::new(&limited.config(PAUSE)).await;
    let [id, _] = two(&desk).await;
    desk.staging.logged("action", &["verb=pause"]).await;
    let desk = desk.restart().await;
    limited.host.reset();
    assert!(
        standing(&desk)
            .await
            .starts_with("paused until 2026-12-01T09:00:00")
    );
    desk.pass(30 * MINUTE).await;
    assert_eq!(desk.waiting(id)[0].attempts, 1);
    desk.pass(30 * MINUTE).await;
    desk.ended(id, 1).await;
    // And it is gone from the log of the queue.
    let kept = || {
        let site = format!("mx.b.example:{}", limited.world.port());
        let control = desk.staging.node.store.control(&reactions::control(&site));
        control.is_none().then_some(())
    };
    until(kept).await.unwrap();
}

#[tokio::test]
async fn an_action_that_is_taken_out_of_the_rules_ends_what_it_has_ordered() {
    let limited = Limited::new();
    let mut desk = Desk::new(&limited.config(PAUSE)).await;
    let [id, _] = two(&desk).await;
    desk.staging.logged("action", &["verb=pause"]).await;
    limited.host.reset();
    desk.staging.reload(&limited.config("")).await;
    desk.staging.node.tell(Event::Reloaded);
    desk.staging.logged("action", &["verb=pause-ended"]).await;
    desk.pass(10 * MINUTE).await;
    desk.ended(id, 1).await;
}

#[tokio::test]
async fn what_was_ordered_is_taken_back_by_the_name_of_the_domain_or_of_the_host() {
    for name in ["b.example", "MX.B.EXAMPLE"] {
        let limited = Limited::new();
        let desk = Desk::new(&limited.config(PAUSE)).await;
        two(&desk).await;
        desk.staging.logged("action", &["verb=pause"]).await;
        assert!(reactions::undo(&desk.dispatch, "c.example", None).is_empty());
        let gone = reactions::undo(&desk.dispatch, name, None);
        assert_eq!(gone.len(), 1, "{name}");
        desk.staging.node.tell(Event::Order(gone[0].clone(), None));
        desk.turn().await;
        assert!(!standing(&desk).await.contains("paused"), "{name}");
        assert!(reactions::undo(&desk.dispatch, name, None).is_empty());
    }
}

#[tokio::test]
async fn a_slowed_site_gets_what_it_is_allowed_and_the_pause_of_another_rule_goes_before() {
    let limited = Limited::new();
    let desk = Desk::new(&limited.config(SLOW)).await;
    let [first, second] = two(&desk).await;
    desk.staging
        .logged(
            "action",
            &["verb=slow", "limits=\"rate=1/3600s connections=1\""],
        )
        .await;
    let shown = standing(&desk).await;
    assert!(
        shown.contains("slowed (rate=1/3600s connections=1) until"),
        "{shown}"
    );
    limited.host.reset();
    desk.pass(10 * MINUTE).await;
    assert!(
        desk.reason(first).await.contains("rate"),
        "{}",
        desk.reason(first).await
    );
    assert_eq!(limited.host.count(), 0);
    desk.pass(HOUR).await;
    let left = || {
        let waits = [first, second].map(|id| desk.waiting(id).len());
        (waits.iter().sum::<usize>() == 1).then_some(())
    };
    until(left).await.unwrap();
    assert_eq!(limited.host.count(), 1, "one in an hour");
    desk.pass(HOUR).await;
    desk.ended(first, 1).await;
    desk.ended(second, 1).await;
    let both = format!("{PAUSE}{SLOW}");
    limited.host.set(|b| {
        b.reply(Said::Rcpt, "", LIMITED);
    });
    let desk = Desk::new(&limited.config(&both)).await;
    two(&desk).await;
    desk.staging.logged("action", &["verb=pause"]).await;
    let third = desk
        .staging
        .mail("ann@a.example", &["three@b.example"])
        .await;
    desk.turn().await;
    assert!(standing(&desk).await.starts_with("paused until"));
    assert_eq!(desk.waiting(third)[0].attempts, 0);
}

#[tokio::test]
async fn a_domain_that_gets_no_mail_ends_at_once_and_one_that_dns_does_not_know_yet_waits() {
    let world = World::new();
    world.dns.null_mx("null.example");
    world.dns.servfail("broken.example");
    let desk = Desk::new(&world.config().text()).await;
    let null = desk.staging.mail("", &["bob@null.example"]).await;
    let end = desk.ended(null, 1).await.remove(0);
    assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Failed, 1));
    let broken = desk.staging.mail("", &["bob@broken.example"]).await;
    desk.tried(broken, 1).await;
    world.dns.remove("broken.example");
    let host = world.domain("broken.example");
    let mut waited = 0;
    // DNS may remember for a moment that it did not know.
    while host.count() == 0 {
        assert!(waited < 5, "{:?}", desk.waiting(broken));
        desk.pass(5 * MINUTE).await;
        waited += 1;
        let seen = || {
            (desk
                .waiting(broken)
                .first()
                .is_none_or(|row| row.attempts > waited))
            .then_some(())
        };
        until(seen).await.unwrap();
    }
    desk.ended(broken, 1).await;
}

#[tokio::test]
async fn a_domain_is_known_by_its_site_once_mail_went_there() {
    let world = World::new();
    let _host = world.domain("b.example");
    let desk = Desk::new(&world.config().text()).await;
    let of = async |name: &str| {
        let (ask, told) = oneshot::channel();
        let domain = Domain::parse(name).unwrap();
        desk.staging.node.tell(Event::Domain(domain, ask));
        told.await.unwrap()
    };
    assert!(matches!(of("b.example").await, (false, None)));
    let id = desk.staging.mail("", &["bob@b.example"]).await;
    desk.ended(id, 1).await;
    let (paused, site) = of("b.example").await;
    assert!(!paused && site.unwrap().key.contains("mx.b.example"));
    desk.pause("c.example", true).await;
    assert!(matches!(of("c.example").await, (true, None)));
}
