//! What the book of rules knows of an answer, where it makes a difference: how the answer is taken,
//! when it is tried again, what is shown.

use std::sync::Arc;
use std::time::Duration;

use deliver::{Ended, Known, retry_after};
use mail::{Message, Outcome, PeerHost, RecipientKey, Timestamp, Verdict};
use ops::{AttemptView, QueuedView};
use schedule::{Attempted, Plan, SiteFailure};
use store::Kinds;

use crate::Settings;

/// What a verdict's reply is about.
pub fn of<'a>(settings: &'a Settings, verdict: &Verdict) -> Known<'a> {
    let host = verdict.host.as_ref().map(|host| host.name.as_str());
    settings.config.replies.book.classify(&verdict.reply, host)
}

/// How filters find kinds: by the rules in force. It takes a few microseconds a reply.
pub fn kinds(settings: &Arc<Settings>) -> Kinds {
    let settings = Arc::clone(settings);
    Kinds::new(move |reply, host| {
        let book = &settings.config.replies.book;
        book.classify_written(reply, host).kind
    })
}

/// How a transaction ended, with what the rules say of its answers.
pub fn revised(settings: &Settings, mut ended: Vec<Ended>, host: &PeerHost) -> Vec<Ended> {
    let book = &settings.config.replies.book;
    let refused = |end: &&mut Ended| end.judgement.outcome != Outcome::Delivered;
    for end in ended.iter_mut().filter(refused) {
        let known = book.classify(&end.reply, Some(&host.name));
        end.judgement = deliver::known(end.judgement, &end.reply, known);
    }
    ended
}

/// The end of an attempt for a recipient of a message, by its number, with what the rules and the host
/// say of the next one.
pub fn attempted(
    settings: &Settings,
    message: &Message,
    number: u32,
    verdict: Verdict,
) -> Attempted {
    let recipient = message.envelope.recipients.get(number as usize);
    let domain = recipient.map_or("", |r| r.address.domain().as_str());
    let (retry_after, plan) = next(settings, &verdict, domain);
    Attempted {
        key: RecipientKey {
            id: message.id,
            recipient: number,
        },
        retry_after,
        plan,
        ours: None,
        verdict,
    }
}

/// The same where the message may be unreadable: then nothing more is known.
pub fn attempted_of(
    settings: &Settings,
    message: Option<&Message>,
    key: RecipientKey,
    verdict: Verdict,
) -> Attempted {
    match message {
        Some(message) => attempted(settings, message, key.recipient, verdict),
        None => Attempted {
            key,
            verdict,
            retry_after: None,
            plan: None,
            ours: None,
        },
    }
}

/// A next hop of which no host could be used; `ours_until`: it is our fault, and tried again then.
pub fn no_host(verdict: Verdict, ours_until: Option<Timestamp>) -> SiteFailure {
    // What a greeting or EHLO is answered with may name a time.
    let answered = verdict.reply.code > 0;
    SiteFailure {
        retry_after: answered.then(|| retry_after(&verdict.reply)).flatten(),
        verdict,
        ours_until,
    }
}

/// The least wait, and the plan, for a recipient that was answered so.
fn next(
    settings: &Settings,
    verdict: &Verdict,
    domain: &str,
) -> (Option<Duration>, Option<Arc<Plan>>) {
    if verdict.outcome != Outcome::Deferred {
        return (None, None);
    }
    let known = of(settings, verdict);
    let wait = known.rule.and_then(|rule| rule.wait);
    let wait = wait.max(retry_after(&verdict.reply));
    let host = verdict.host.as_ref().map(|host| host.name.as_str());
    let plan = settings.config.replies.plan(known.kind, host, domain);
    (wait, plan.map(Arc::clone))
}

/// An attempt as it is shown, with the kind of its answer.
pub fn attempt(
    settings: &Settings,
    recipient: String,
    attempt: u32,
    verdict: &Verdict,
    transcript: Option<String>,
) -> AttemptView {
    let mut view = AttemptView::new(recipient, attempt, verdict, transcript);
    if verdict.outcome != Outcome::Delivered {
        view.kind = Some(of(settings, verdict).kind.to_string());
    }
    view
}

/// A waiting recipient with the kind of its last answer.
pub fn waiting(settings: &Settings, mut view: QueuedView) -> QueuedView {
    if !view.last_reply.is_empty() {
        let book = &settings.config.replies.book;
        let known = book.classify_written(&view.last_reply, view.last_host.as_deref());
        view.kind = Some(known.kind.to_string());
    }
    view
}
