//! What becomes of mail of a test key: nothing is sent, nothing is stored in a mailbox, and nobody is written to
//! about it.
//!
//! Addresses at a reserved domain (RFC 6761 §6.2: no `.test` is in DNS) say by their local part what is to happen;
//! everybody else gets the mail. That a mail is a test stands with each of its recipients in its record, whatever
//! becomes of the key.

use std::sync::Arc;

use mail::{
    Address, Class, Destination, EnhancedCode, Message, Outcome, RecipientKey, Reply, Timestamp,
    Verdict,
};
use node::event::{Finished, Job};
use node::{Node, contents, known};
use store::{LaterRow, Note, Op};

/// What happens to a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    /// At the first attempt; the next one delivers it.
    Deferred,
    Failed,
    /// Delivered, and reported as not delivered after that.
    Bounced,
    /// Delivered, and complained about after that.
    Complained,
    /// Nothing is meant by this name: submitted to a build that did not refuse it.
    Unknown,
}

impl Fate {
    fn of(address: &Address) -> Self {
        let Some(name) = intake::test_name(address) else {
            return Self::Delivered;
        };
        match name.as_str() {
            "delivered" => Self::Delivered,
            "deferred" => Self::Deferred,
            "failed" => Self::Failed,
            "bounced" => Self::Bounced,
            "complained" => Self::Complained,
            _ => Self::Unknown,
        }
    }

    /// What an attempt comes to, behind so many.
    fn verdict(self, attempts: u32, now: Timestamp) -> Verdict {
        let (outcome, code, enhanced, text) = match self {
            Self::Deferred if attempts == 0 => (
                Outcome::Deferred,
                451,
                EnhancedCode::new(4, 3, 0),
                "simulated: not accepted now; the next attempt will deliver it".to_owned(),
            ),
            Self::Delivered | Self::Deferred | Self::Bounced | Self::Complained => (
                Outcome::Delivered,
                250,
                EnhancedCode::new(2, 0, 0),
                "simulated: a test, and nothing was sent".to_owned(),
            ),
            Self::Failed => (
                Outcome::Failed,
                550,
                EnhancedCode::new(5, 1, 1),
                "simulated: there is no such mailbox".to_owned(),
            ),
            Self::Unknown => (
                Outcome::Failed,
                550,
                EnhancedCode::new(5, 1, 1),
                format!(
                    "there is no such test address: at {} there are {}",
                    intake::TEST_DOMAIN,
                    intake::TEST_NAMES.join(", ")
                ),
            ),
        };
        let reply = Reply::new(code, Some(enhanced), text);
        Verdict::own(outcome, Class::Recipient, reply, now)
    }
}

/// Plays a batch.
pub async fn run(node: &Arc<Node>, job: Job) -> Finished {
    let began = node.instant();
    // A test is a test: its content takes memory as another's would.
    let (message, lent) = match job.message {
        Some(message) => (Some(message), Ok(None)),
        None => match contents::fetch(node, job.batch.id).await {
            Ok(lent) => (Some(Arc::clone(&lent.message)), Ok(Some(lent))),
            Err(why) => (None, Err(why)),
        },
    };
    let settings = node.settings();
    let attempted = job.batch.recipients.iter().map(|(number, attempts, _)| {
        let recipient = message
            .as_ref()
            .and_then(|m| m.envelope.recipients.get(*number as usize));
        let verdict = match (recipient, &lent) {
            (Some(recipient), _) => Fate::of(&recipient.address).verdict(*attempts, node.now()),
            (None, Err(why)) if why.is_damage() => {
                let reply = contents::damaged_reply();
                Verdict::own(Outcome::Failed, Class::Recipient, reply, node.now())
            }
            (None, _) => {
                let why = "the message cannot be read from the queue";
                let reply = Reply::own(EnhancedCode::new(4, 3, 0), why);
                Verdict::own(Outcome::Deferred, Class::Recipient, reply, node.now())
            }
        };
        let key = RecipientKey {
            id: job.batch.id,
            recipient: *number,
        };
        known::attempted_of(&settings, message.as_deref(), key, verdict)
    });
    let attempted = attempted.collect();
    Finished::here(message, attempted, node.instant().since(began))
}

/// Whether a recipient of a message is a test: its sender is sent no report.
pub fn is_test(message: &Message, number: u32) -> bool {
    let recipient = message.envelope.recipients.get(number as usize);
    recipient.is_some_and(|r| r.destination == Destination::Test)
}

/// What comes to be known of a test that was just delivered, for the commit that says so.
pub fn later(message: &Message, key: RecipientKey, verdict: &Verdict) -> Option<Op> {
    if verdict.outcome != Outcome::Delivered || !is_test(message, key.recipient) {
        return None;
    }
    let recipient = message.envelope.recipients.get(key.recipient as usize)?;
    let (word, text) = match Fate::of(&recipient.address) {
        Fate::Bounced => ("bounced", "simulated: 5.1.1 there is no such mailbox"),
        Fate::Complained => ("complained", "simulated: abuse"),
        Fate::Delivered | Fate::Deferred | Fate::Failed | Fate::Unknown => return None,
    };
    Some(Op::Note(Note::Later(LaterRow {
        key,
        at: verdict.at,
        word: word.to_owned(),
        text: text.to_owned(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_part_says_what_happens_at_the_reserved_domain_alone() {
        for (address, fate) in [
            ("delivered@sendoff.test", Fate::Delivered),
            ("Deferred+7@Sendoff.Test", Fate::Deferred),
            ("failed@sendoff.test", Fate::Failed),
            ("bounced+a+b@sendoff.test", Fate::Bounced),
            ("complained@sendoff.test", Fate::Complained),
            ("bonced@sendoff.test", Fate::Unknown),
            ("failed@example.com", Fate::Delivered),
            ("failed@a.sendoff.test", Fate::Delivered),
        ] {
            assert_eq!(Fate::of(&address.parse().unwrap()), fate, "{address}");
        }
    }
}
