//! Carrying a verb out on waiting recipients.

use mail::{Class, EnhancedCode, Outcome, RecipientKey, Reply, Timestamp, Verdict};
use schedule::{Cancelled, Scheduler};
use store::Op;

use crate::request::Verb;

/// What a verb did, and what must be committed before it is said.
#[derive(Debug, Default)]
pub struct Acted {
    /// To commit.
    pub ops: Vec<Op>,
    /// Recipients that ended, with the attempts they had; their ends are the caller's to commit.
    pub ended: Vec<(RecipientKey, u32)>,
    /// Recipients changed.
    pub changed: u64,
    /// Recipients that were already in that state, or are no longer in the queue.
    pub unchanged: u64,
    /// Recipients that are being sent right now.
    pub in_flight: u64,
}

const REMOVED: &str = "removed from the queue by an administrator";
const GIVEN_UP: &str = "given up by an administrator";

/// The verdict of a recipient that an administrator ended.
#[must_use]
pub fn verdict_of_admin(verb: &Verb, at: Timestamp) -> Verdict {
    let text = match verb {
        Verb::Remove => REMOVED,
        Verb::Hold | Verb::Release | Verb::Retry(_) | Verb::Fail | Verb::Reroute(_) => GIVEN_UP,
    };
    let reply = Reply::own(EnhancedCode::new(5, 7, 0), text);
    Verdict::own(Outcome::Failed, Class::Policy, reply, at)
}

/// How an administrator ended a recipient with this verdict, in a word; `None` where none did.
#[must_use]
pub fn ended_by_admin(verdict: &Verdict) -> Option<&'static str> {
    let own = verdict.host.is_none() && verdict.class == Class::Policy;
    match verdict.reply.text.as_str() {
        REMOVED if own => Some("removed"),
        GIVEN_UP if own => Some("given_up"),
        _ => None,
    }
}

/// Carries `verb` out on these recipients.
pub fn act(verb: &Verb, keys: &[RecipientKey], scheduler: &mut Scheduler, now: Timestamp) -> Acted {
    let mut acted = Acted::default();
    for key in keys {
        let state = match verb {
            Verb::Hold => scheduler.hold(*key),
            Verb::Release => scheduler.release(now, *key),
            Verb::Retry(at) => {
                let at = at.map_or(now, Timestamp::from_millis);
                scheduler.retry(now, *key, at)
            }
            Verb::Reroute(to) => scheduler.reroute(now, *key, to.as_deref()),
            Verb::Fail | Verb::Remove => {
                end(verb, *key, scheduler, &mut acted);
                continue;
            }
        };
        match state {
            Some(state) => {
                // The last answer stays.
                acted.ops.push(Op::Change { key: *key, state });
                acted.changed += 1;
            }
            None => acted.unchanged += 1,
        }
    }
    acted
}

fn end(verb: &Verb, key: RecipientKey, scheduler: &mut Scheduler, acted: &mut Acted) {
    match scheduler.cancel(key, *verb == Verb::Remove) {
        Cancelled::Now { attempts } => {
            acted.changed += 1;
            acted.ended.push((key, attempts));
        }
        Cancelled::AfterAttempt => acted.in_flight += 1,
        Cancelled::Unknown => acted.unchanged += 1,
    }
}
