//! Events in the words in which others are told of them.

use config::webhooks::WebhookSettings;
use mail::{Destination, Outcome, RecipientKey, Timestamp, Verdict};
use node::{Settings, known};
use ops::{EventReply, EventType, EventView, ended_by_admin, report_of};
use returns::suppression;
use store::{Event, EventAbout, Happened};

/// An event in words, with its time; `None` for what nobody is told of.
pub(super) fn event(settings: &Settings, event: &Event) -> Option<(Timestamp, EventView)> {
    let about = match (&event.about, &event.what) {
        (Some(about), _) => about,
        (None, Happened::Entry { name, value }) => return suppressed(name, value),
        (None, _) => return None,
    };
    let at = event.at()?;
    let mut view = match &event.what {
        Happened::Accepted => of(about, EventType::Accepted, at, false),
        Happened::Deferred {
            attempts,
            due,
            verdict,
        } => {
            let mut view = of(about, EventType::Deferred, at, true);
            answer(settings, &mut view, *attempts, verdict);
            view.next_attempt = due.map(|due| due.to_string());
            view
        }
        Happened::Ended { attempts, verdict } => {
            let kind = match verdict.outcome {
                Outcome::Delivered => EventType::Delivered,
                Outcome::Failed | Outcome::Expired | Outcome::Deferred => EventType::Failed,
            };
            let mut view = of(about, kind, at, false);
            answer(settings, &mut view, *attempts, verdict);
            if kind == EventType::Failed {
                view.reason = Some(reason(verdict).to_owned());
            }
            view
        }
        Happened::Later { word, text, .. } => {
            let kind = EventType::of_word(word).ok()?;
            let mut view = of(about, kind, at, true);
            view.reason = Some(text.clone());
            view
        }
        Happened::Entry { .. } => return None,
    };
    view.accepted = Some(about.accepted.to_string());
    Some((at, view))
}

/// Whether a webhook is told of it.
pub(super) fn is_for(hook: &WebhookSettings, view: &EventView) -> bool {
    // A quota is about the sender; that some recipient is named with it means nothing.
    let recipient_fits =
        view.kind == EventType::Quota || fits(&hook.recipient_domains, Some(&view.recipient));
    hook.events.contains(&view.kind) && recipient_fits && sender_fits(&hook.sender_domains, view)
}

/// Whether the sender is at one of the domains. An entry of the suppression list has none: it is for those
/// whose mail it keeps back, and one that is not bound to a domain is for all.
pub(super) fn sender_fits(domains: &[String], view: &EventView) -> bool {
    match (view.kind, view.scope.as_deref()) {
        (EventType::Suppressed, Some(scope)) if !scope.starts_with("user:") && scope != "all" => {
            // `@domain`, or a sender's address.
            fits(domains, Some(scope))
        }
        (EventType::Suppressed, _) => true,
        (
            EventType::Accepted
            | EventType::Deferred
            | EventType::Delivered
            | EventType::Failed
            | EventType::Bounced
            | EventType::Complained
            | EventType::Quota,
            _,
        ) => fits(domains, view.sender.as_deref()),
    }
}

/// Whether an address is at one of the domains, or below one that begins with a dot.
pub(super) fn fits(domains: &[String], address: Option<&str>) -> bool {
    if domains.is_empty() {
        return true;
    }
    let domain = address.and_then(|address| address.rsplit_once('@'));
    let Some(domain) = domain.map(|(_, domain)| comparable(domain)) else {
        return false;
    };
    domains
        .iter()
        .any(|pattern| match pattern.strip_prefix('.') {
            Some(above) => domain
                .strip_suffix(comparable(above).as_str())
                .is_some_and(|below| below.ends_with('.')),
            None => domain == comparable(pattern),
        })
}

/// A domain in the form in which it is the same as another: lower case, and letters that are not ASCII as
/// DNS has them.
fn comparable(domain: &str) -> String {
    let known = (!domain.is_ascii()).then(|| mail::Domain::parse(domain).ok()?.to_ascii());
    known
        .flatten()
        .map_or_else(|| domain.to_ascii_lowercase(), |domain| domain.to_string())
}

/// The id is made from what the history keeps, so that a replay tells the same one. What happens to a
/// recipient once needs no time in it.
fn id(key: RecipientKey, kind: EventType, at: Option<Timestamp>) -> String {
    let at = at.map(|at| format!(".{}", at.as_millis()));
    let (id, number, kind) = (key.id, key.recipient, kind.word());
    format!("{id}.{number}.{kind}{}", at.unwrap_or_default())
}

fn of(about: &EventAbout, kind: EventType, at: Timestamp, repeats: bool) -> EventView {
    let id = id(about.key, kind, repeats.then_some(at));
    let origin = &about.origin;
    EventView {
        queue_id: Some(about.key.id.to_string()),
        number: Some(about.key.recipient),
        sender: Some(about.sender.clone()),
        destination: Some(about.destination.word().to_owned()),
        test: about.destination == Destination::Test,
        size: Some(about.size),
        submitter: Some(about.submitter.clone()),
        user: origin.user.clone(),
        client: origin.peer.map(|ip| ip.to_string()),
        via: Some(origin.via.clone()).filter(|via| !via.is_empty()),
        envid: origin.env_id.clone(),
        message_id: about.labels.message_id.clone(),
        subject: about.labels.subject.clone(),
        tags: about.labels.tags.clone(),
        metadata: about.labels.metadata.clone(),
        report_of: report_of(&about.labels),
        ..EventView::new(id, kind, at.to_string(), about.recipient.clone())
    }
}

fn answer(settings: &Settings, view: &mut EventView, attempts: u32, verdict: &Verdict) {
    view.attempts = Some(attempts);
    view.reply = Some(EventReply {
        code: verdict.reply.code,
        enhanced: verdict.reply.enhanced.map(|code| code.to_string()),
        text: verdict.reply.text.clone(),
    });
    view.host = verdict.host.as_ref().map(|host| host.name.clone());
    let address = verdict.host.as_ref().and_then(|host| host.address);
    view.address = address.map(|address| address.to_string());
    if verdict.host.is_some() {
        view.tls = Some(verdict.tls.word().to_owned());
    }
    view.unknown_outcome = Some(verdict.unknown_outcome);
    if verdict.outcome != Outcome::Delivered {
        view.class = Some(verdict.class.word().to_owned());
        view.kind_of_reply = Some(known::of(settings, verdict).kind.to_string());
    }
}

/// How a recipient failed.
fn reason(verdict: &Verdict) -> &'static str {
    match (verdict.outcome, ended_by_admin(verdict)) {
        (_, Some(word)) => word,
        (Outcome::Expired, _) => "expired",
        (_, None) if verdict.reply.is_permanent() => "refused",
        (_, None) => "attempts",
    }
}

/// An entry of the suppression list.
fn suppressed(name: &str, value: &str) -> Option<(Timestamp, EventView)> {
    let (entry, at) = suppression::told(name, value)?;
    if !entry.in_force {
        return None;
    }
    let digest = super::post::digest(name.as_bytes());
    let digest = digest.get(..16).unwrap_or_default();
    let id = format!("suppressed.{digest}.{}", at.as_millis());
    let recipient = entry.recipient.to_string();
    let view = EventView {
        queue_id: entry.message.map(|id| id.to_string()),
        reason: Some(entry.reason),
        cause: Some(entry.cause.word().to_owned()),
        scope: Some(entry.scope.to_string()),
        expires: entry.expires.map(|at| at.to_string()),
        ..EventView::new(id, EventType::Suppressed, at.to_string(), recipient)
    };
    Some((at, view))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_at(domain: &str, address: &str) -> bool {
        fits(&[domain.to_owned()], Some(address))
    }

    #[test]
    fn a_domain_is_the_same_in_every_way_to_write_it() {
        assert!(is_at("example.com", "a@Example.COM"));
        assert!(is_at("bücher.example", "a@xn--bcher-kva.example"));
        assert!(is_at("xn--bcher-kva.example", "a@BÜCHER.example"));
        assert!(is_at(".example", "a@xn--bcher-kva.example"));
        assert!(!is_at(".example.com", "a@example.com"));
        assert!(!is_at("example.com", "a@shop.example.com"));
        assert!(!is_at("example.com", ""));
    }

    #[test]
    fn a_suppression_is_told_to_those_whose_mail_it_keeps_back() {
        let domains = ["shop.example".to_owned()];
        let is_told = |scope: &str| {
            let (id, at) = (String::new(), String::new());
            let view = EventView {
                scope: Some(scope.to_owned()),
                ..EventView::new(
                    id,
                    EventType::Suppressed,
                    at,
                    "bob@there.example".to_owned(),
                )
            };
            sender_fits(&domains, &view)
        };
        for scope in ["all", "@shop.example", "news@shop.example", "user:a@b"] {
            assert!(is_told(scope), "{scope}");
        }
        for scope in ["@other.example", "news@other.example"] {
            assert!(!is_told(scope), "{scope}");
        }
    }
}
