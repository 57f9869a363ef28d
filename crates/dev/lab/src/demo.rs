//! The cast of `sendoff demo`: domains whose hosts behave differently, and the mails to send.

use std::sync::Arc;
use std::time::Duration;

use crate::behaviour::{StartTls, Verb};
use crate::host::MxHost;
use crate::runtime::runtime;
use crate::world::World;

/// How long the host of `slow.example` thinks about every reply.
const SLOW: Duration = Duration::from_secs(1);
/// How long `grey.example` makes a stranger wait.
const GREY: Duration = Duration::from_secs(3);
/// When the host of `down.example` comes back.
const DOWN: Duration = Duration::from_secs(6);

/// A world with its hosts and the mails to send.
#[derive(Debug)]
pub struct DemoWorld {
    /// DNS, CA and SMTP port.
    pub world: World,
    /// The hosts, for a look at what they have received.
    pub hosts: Vec<Arc<MxHost>>,
    /// The mails to send.
    pub mails: Vec<DemoMail>,
}

/// A message to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoMail {
    /// The reverse-path.
    pub sender: &'static str,
    /// The only recipient.
    pub recipient: &'static str,
    /// The subject.
    pub subject: &'static str,
    /// What becomes of it, in words.
    pub expected: &'static str,
}

const SENDER: &str = "anna@sender.example";

const MAILS: &[(&str, &str, &str)] = &[
    (
        "bob@good.example",
        "Hello Bob",
        "delivered immediately by one of two MX hosts",
    ),
    (
        "tina@tls.example",
        "For your eyes",
        "delivered immediately, encrypted by STARTTLS",
    ),
    (
        "greta@grey.example",
        "A first contact",
        "deferred by greylisting, delivered at a retry",
    ),
    (
        "sam@slow.example",
        "No hurry",
        "delivered after some seconds: the host is slow",
    ),
    (
        "dora@down.example",
        "Are you back?",
        "deferred while the host is down, delivered when it is back",
    ),
    (
        "nobody@reject.example",
        "Anyone there?",
        "fails immediately: 550, no such user",
    ),
    (
        "full@reject.example",
        "One more",
        "fails immediately: 552, the mailbox is full",
    ),
    (
        "rita@reject.example",
        "You exist",
        "delivered: only other users of this domain are refused",
    ),
    (
        "nina@null.example",
        "No mail please",
        "fails immediately: the domain accepts no mail (null MX)",
    ),
    (
        "ned@nowhere.example",
        "Where are you?",
        "fails immediately: the domain does not exist",
    ),
    (
        "dan@dead.example",
        "Knock knock",
        "deferred until the retries run out: nothing listens there",
    ),
];

/// Starts the world of the demo. `down.example` comes back by itself after some seconds.
///
/// # Panics
/// When loopback has no room.
#[must_use]
pub fn demo_world() -> DemoWorld {
    let world = World::new();
    world.dns.ttl(Duration::from_secs(2));
    let mut hosts = Vec::new();
    for name in ["mx1.good.example", "mx2.good.example"] {
        let host = world.mx("good.example", 10, name);
        host.set(|b| {
            b.extension("CHUNKING");
        });
        hosts.push(Arc::new(host));
    }
    let tls = world.domain("tls.example");
    tls.set(|b| b.starttls = StartTls::Good);
    let grey = world.domain("grey.example");
    grey.set(|b| b.greylist = Some(GREY));
    let slow = world.domain("slow.example");
    slow.set(|b| b.reply_delay = SLOW);
    let reject = world.domain("reject.example");
    reject.set(|b| {
        b.reply(Verb::Rcpt, "<nobody@", "550 5.1.1 no such user here");
        b.reply(Verb::Rcpt, "<full@", "552 5.2.2 the mailbox is full");
    });
    let down = Arc::new(world.domain("down.example"));
    down.stop();
    comes_back(&down);
    hosts.extend([tls, grey, slow, reject].map(Arc::new));
    hosts.push(down);
    world.dns.mx("dead.example", 10, "mx.dead.example");
    world.dns.a("mx.dead.example", world.address());
    world.dns.null_mx("null.example");
    // The sender's own domain, to which the failure messages go.
    hosts.push(Arc::new(world.domain("sender.example")));
    let mail = |&(recipient, subject, expected): &_| DemoMail {
        sender: SENDER,
        recipient,
        subject,
        expected,
    };
    DemoWorld {
        world,
        hosts,
        mails: MAILS.iter().map(mail).collect(),
    }
}

fn comes_back(host: &Arc<MxHost>) {
    let host = Arc::downgrade(host);
    runtime().spawn(async move {
        tokio::time::sleep(DOWN).await;
        if let Some(host) = host.upgrade() {
            host.start();
        }
    });
}
