//! A past for the demonstration: three days of mail that never was, so that reports have something to show. It is committed
//! to the queue as real mail is, and its submitter is called [`SUBMITTER`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use backup::opening;
use bytes::Bytes;
use config::Config;
use mail::{
    Address, BodyType, Class, EnhancedCode, Envelope, Labels, Message, Outcome, PeerHost, QueueId,
    Recipient, RecipientKey, RecipientState, Reply, Submitter, Terms, Timestamp, TlsUsed, Verdict,
};
use store::series::Naming;
use store::{Op, Store};

/// Who handed it in.
pub(crate) const SUBMITTER: &str = "simulated-past";
/// Hours of it.
const HOURS: u64 = 72;

/// Domains, how much of the mail goes there, and of a hundred mails how many are greylisted and how many refused.
const DOMAINS: [(&str, u64, u64, u64); 6] = [
    ("good.example", 40, 0, 1),
    ("tls.example", 25, 0, 2),
    ("grey.example", 12, 60, 1),
    ("slow.example", 10, 5, 3),
    ("reject.example", 8, 0, 45),
    ("partner.example", 5, 10, 4),
];

/// Mails of an hour of the day: an office that sends newsletters in the morning.
const BY_HOUR: [u64; 24] = [
    9, 7, 6, 5, 6, 9, 18, 40, 90, 120, 85, 70, 60, 75, 80, 72, 60, 44, 30, 24, 20, 17, 14, 11,
];

struct Names;

impl Naming for Names {
    fn site(&self, host: &str) -> String {
        host.split_once('.')
            .map_or(host, |(_, rest)| rest)
            .to_owned()
    }

    fn refusal(&self, verdict: &Verdict) -> Option<&'static str> {
        match (verdict.outcome, verdict.reply.code) {
            (Outcome::Delivered, _) => None,
            (_, 450) => Some("greylisted"),
            (_, 550) => Some("no_such_user"),
            _ => Some("mailbox_full"),
        }
    }
}

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most.max(1)
    }
}

/// Writes the past into the queue of a server that does not run yet. Blocks.
///
/// # Errors
/// When the queue cannot be opened or written.
pub(crate) fn write(config: &Config) -> Result<()> {
    let (spool, _) = opening::open_spool(config)?;
    let store: &dyn Store = &spool;
    store.name_series(std::sync::Arc::new(Names));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = Timestamp::from_secs(now.as_secs());
    let mut dice = Dice(7);
    for ago in (1..=HOURS).rev() {
        let hour = now - Duration::from_secs(3600 * ago);
        let of_day = (hour.as_secs() / 3600 % 24) as usize;
        let count = BY_HOUR.get(of_day).copied().unwrap_or_default();
        let mut ops = Vec::new();
        for n in 0..count {
            let at = hour + Duration::from_secs(3600 * n / count.max(1));
            mail(store.next_id(at), at, &mut dice, &mut ops)?;
        }
        store.commit_wait(ops)?;
    }
    store.catch_up()?;
    Ok(())
}

fn address(text: &str) -> Result<Address> {
    Address::parse(text).map_err(|why| anyhow!("{text}: {why}"))
}

/// One mail with all that became of it.
fn mail(id: QueueId, at: Timestamp, dice: &mut Dice, ops: &mut Vec<Op>) -> Result<()> {
    let mut share = dice.below(100);
    let found = DOMAINS.iter().find(|(_, part, ..)| {
        let is_it = share < *part;
        share = share.saturating_sub(*part);
        is_it
    });
    let (domain, _, grey, refused) = found.copied().unwrap_or(DOMAINS[0]);
    let to = address(&format!("user{}@{domain}", dice.below(400)))?;
    let message = message(id, at, to)?;
    ops.push(Op::Accept {
        message,
        states: vec![RecipientState::default()],
        token: None,
    });
    let key = RecipientKey { id, recipient: 0 };
    let mut attempts = 1;
    let mut when = at + Duration::from_millis(200 + dice.below(2500));
    if dice.below(100) < grey {
        let reply = Reply::new(
            450,
            Some(EnhancedCode::new(4, 7, 1)),
            "greylisted, try again later",
        );
        let last = verdict(Outcome::Deferred, reply, domain, when, dice);
        let state = RecipientState {
            attempts,
            due: when + Duration::from_secs(300),
            last: Some(last),
            ..RecipientState::default()
        };
        ops.push(Op::State {
            key,
            state,
            transcript: None,
        });
        attempts += 1;
        when = when + Duration::from_secs(300 + dice.below(20));
    }
    let (outcome, reply) = match dice.below(100) < refused {
        false => (
            Outcome::Delivered,
            Reply::new(250, Some(EnhancedCode::new(2, 0, 0)), "accepted"),
        ),
        true if dice.below(4) > 0 => (
            Outcome::Failed,
            Reply::new(550, Some(EnhancedCode::new(5, 1, 1)), "no such user here"),
        ),
        true => (
            Outcome::Failed,
            Reply::new(552, Some(EnhancedCode::new(5, 2, 2)), "the mailbox is full"),
        ),
    };
    let verdict = verdict(outcome, reply, domain, when, dice);
    ops.push(Op::Done {
        key,
        verdict,
        attempts,
        transcript: None,
    });
    Ok(())
}

fn message(id: QueueId, at: Timestamp, to: Address) -> Result<Message> {
    let content = Bytes::from_static(b"Subject: from the simulated past\r\n\r\nNever sent.\r\n");
    Ok(Message {
        id,
        accepted: at,
        envelope: Envelope {
            reverse_path: Some(address("anna@sender.example")?),
            recipients: vec![Recipient::new(to)],
            body_type: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            env_id: None,
            terms: Terms::default(),
            submitter: Submitter {
                user: Some(SUBMITTER.to_owned()),
                peer: None,
                via: "demo".to_owned(),
            },
        },
        labels: Labels::of(&content),
        content,
    })
}

fn verdict(
    outcome: Outcome,
    reply: Reply,
    domain: &str,
    at: Timestamp,
    dice: &mut Dice,
) -> Verdict {
    let mut verdict = Verdict::own(outcome, Class::Recipient, reply, at);
    verdict.host = Some(PeerHost {
        name: format!("mx.{domain}"),
        address: None,
    });
    verdict.tls = match dice.below(10) {
        0 => TlsUsed::None,
        1..=6 => TlsUsed::Encrypted,
        7 | 8 => TlsUsed::Verified,
        _ => TlsUsed::Dane,
    };
    verdict
}
