//! Answers as tables for a terminal. What strangers wrote stays in its cell or line.

use std::collections::BTreeMap;

use mail::one_line;

use crate::answer::{
    AttemptView, LaterView, QueuedView, SiteView, SourceView, SuppressionView, WarmUpView,
};
use crate::columns::{short_time, table};
use crate::event::{ListedEvent, WebhookView};

fn sender(text: &str) -> String {
    if text.is_empty() {
        "<>".to_owned()
    } else {
        text.to_owned()
    }
}

/// What a message is labelled with, a line each, after `indent`; nothing where it is not labelled.
#[must_use]
pub fn labels_lines(
    indent: &str,
    tags: &[String],
    metadata: &BTreeMap<String, String>,
    report_of: Option<&str>,
) -> String {
    let mut text = String::new();
    if !tags.is_empty() {
        let tags = tags.join(", ");
        text.push_str(&format!("{indent}Tags      {}\n", one_line(&tags)));
    }
    for (name, value) in metadata {
        let entry = format!("{name}={value}");
        text.push_str(&format!("{indent}Metadata  {}\n", one_line(&entry)));
    }
    if let Some(id) = report_of {
        text.push_str(&format!("{indent}Report on {id}\n"));
    }
    text
}

/// Waiting recipients.
#[must_use]
pub fn queue_table(rows: &[QueuedView]) -> String {
    if rows.is_empty() {
        return "The queue is empty.\n".to_owned();
    }
    // A list of mail for the future is about that time alone.
    let is_future = rows.iter().all(|r| r.release.is_some());
    let mut head = vec![
        "ID",
        "STATE",
        "TRIED",
        if is_future {
            "RELEASE (UTC)"
        } else {
            "NEXT (UTC)"
        },
        "SENDER",
        "RECIPIENT",
    ];
    let is_tagged = rows.iter().any(|r| !r.tags.is_empty());
    head.extend(is_tagged.then_some("TAGS"));
    head.push("REASON");
    let cells = |r: &QueuedView| {
        let why = match r.last_reply.is_empty() {
            true => r.reason.clone(),
            false => {
                let kind = r.kind.as_deref().map(|kind| format!(" ({kind})"));
                let kind = kind.unwrap_or_default();
                format!("{} — last answer: {}{kind}", r.reason, r.last_reply)
            }
        };
        let mut cells = vec![
            r.id.clone(),
            r.state.clone(),
            r.attempts.to_string(),
            short_time(match (is_future, &r.next_event) {
                (true, _) | (false, None) => &r.due,
                (false, Some(next)) => next,
            }),
            sender(&r.sender),
            r.recipient.clone(),
        ];
        cells.extend(is_tagged.then(|| r.tags.join(", ")));
        cells.push(why);
        cells
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Sites.
#[must_use]
pub fn sites_table(rows: &[SiteView]) -> String {
    if rows.is_empty() {
        return "There are no sites at present.\n".to_owned();
    }
    let head = [
        "WAITING",
        "DUE",
        "BUSY",
        "IDLE",
        "WINDOW",
        "STANDING",
        "SITE",
        "ACTION OR LAST FAILURE",
    ];
    let cells = |s: &SiteView| {
        vec![
            s.waiting.to_string(),
            s.due.to_string(),
            s.busy.to_string(),
            s.idle.to_string(),
            s.window.to_string(),
            s.standing.clone(),
            s.site.clone(),
            match (&s.action, &s.last_failure) {
                (Some(action), _) => action.clone(),
                (None, failure) => failure.clone().unwrap_or_default(),
            },
        ]
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Source addresses.
#[must_use]
pub fn sources_table(rows: &[SourceView]) -> String {
    if rows.is_empty() {
        return "No source addresses are configured: the system chooses one.\n".to_owned();
    }
    let head = [
        "NAME",
        "ADDRESS",
        "EHLO",
        "WEIGHT",
        "CONNECTIONS",
        "STATE",
        "POOLS",
        "WARM-UP",
        "WHY",
    ];
    let cells = |s: &SourceView| {
        vec![
            s.name.clone(),
            match &s.proxy {
                Some(proxy) => format!("{} by {proxy}", s.address),
                None => s.address.clone(),
            },
            s.ehlo.clone(),
            s.weight.to_string(),
            s.connections.to_string(),
            match &s.until {
                Some(until) => format!("{} until {}", s.state, short_time(until)),
                None => s.state.clone(),
            },
            s.pools.join(", "),
            s.warm_up.as_ref().map(warm_up).unwrap_or_default(),
            s.why.clone().unwrap_or_default(),
        ]
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn warm_up(w: &WarmUpView) -> String {
    if w.day == 0 {
        return "not started".to_owned();
    }
    let most = w.sites.first().map(|site| format!(", most {}", site.sent));
    let most = most.unwrap_or_default();
    format!("day {} of {}: {} per site{most}", w.day, w.of, w.limit)
}

/// Attempts, with their transcripts below them.
#[must_use]
pub fn attempts_table(rows: &[AttemptView]) -> String {
    let mut out = String::new();
    for a in rows {
        let host = a
            .host
            .as_deref()
            .map(|h| format!(" at {h}"))
            .unwrap_or_default();
        let kind = a.kind.as_ref().map(|kind| format!(" ({kind})"));
        let kind = kind.unwrap_or_default();
        let [queued, connecting, wire] = a.delays_ms;
        out.push_str(&format!(
            "{} {} {}{host}: {}{kind}\n  attempt {}, TLS {}, waited {queued} ms, connecting {connecting} ms, \
             transferring {wire} ms\n",
            short_time(&a.at), a.recipient, a.outcome, one_line(&a.reply), a.attempt, a.tls,
        ));
        for line in a.transcript.iter().flat_map(|t| t.lines()) {
            out.push_str("    ");
            out.push_str(&one_line(line));
            out.push('\n');
        }
    }
    out
}

/// What came to be known behind a recipient's end.
#[must_use]
pub fn later_table(rows: &[LaterView]) -> String {
    let line = |l: &LaterView| {
        let at = short_time(&l.at);
        format!("{at} {} {}: {}\n", l.recipient, l.event, one_line(&l.text))
    };
    rows.iter().map(line).collect()
}

/// Entries of the suppression list.
#[must_use]
pub fn suppressions_table(rows: &[SuppressionView]) -> String {
    if rows.is_empty() {
        return "The suppression list is empty.\n".to_owned();
    }
    let head = [
        "RECIPIENT",
        "MAIL OF",
        "CAUSE",
        "SINCE (UTC)",
        "UNTIL (UTC)",
        "TIMES",
        "MESSAGE",
        "REASON",
    ];
    let cells = |s: &SuppressionView| {
        vec![
            s.recipient.clone(),
            s.scope.clone(),
            match s.in_force {
                true => s.cause.clone(),
                false => format!("{} (counted only)", s.cause),
            },
            short_time(&s.since),
            s.expires
                .as_deref()
                .map_or_else(|| "-".to_owned(), short_time),
            s.count.to_string(),
            s.message.clone().unwrap_or_else(|| "-".to_owned()),
            s.reason.clone(),
        ]
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Webhooks and how they fare.
#[must_use]
pub fn webhooks_table(rows: &[WebhookView]) -> String {
    if rows.is_empty() {
        return "No webhooks are configured ([[webhook]] in the configuration).\n".to_owned();
    }
    let head = [
        "NAME",
        "STATE",
        "UNSENT",
        "OLDEST (UTC)",
        "SENT",
        "LAST ANSWER",
        "NEXT TRY (UTC)",
        "URL",
    ];
    let time = |at: &Option<String>| at.as_deref().map_or_else(|| "-".to_owned(), short_time);
    let cells = |w: &WebhookView| {
        vec![
            w.name.clone(),
            w.state.clone(),
            w.unsent.to_string(),
            time(&w.oldest_unsent),
            w.sent.to_string(),
            w.last_answer.clone().unwrap_or_else(|| "-".to_owned()),
            time(&w.next_try),
            w.url.clone(),
        ]
    };
    let mut text = table(&head, &rows.iter().map(cells).collect::<Vec<_>>());
    for w in rows {
        if !w.reason.is_empty() {
            text.push_str(&format!("{}: {}\n", w.name, w.reason));
        }
        if w.put_aside.events > 0 {
            let (name, n) = (&w.name, w.put_aside.events);
            let (since, until) = (time(&w.put_aside.since), time(&w.put_aside.until));
            text.push_str(&format!(
                "{name}: {n} events from {since} to {until} were set aside (sendoff webhook replay)\n"
            ));
        }
        if let Some(replay) = &w.replay {
            let (since, until) = (short_time(&replay.since), short_time(&replay.until));
            text.push_str(&format!(
                "{}: events from {since} to {until} are sent again, {} so far\n",
                w.name, replay.sent
            ));
        }
    }
    text
}

/// Events, a line each.
#[must_use]
pub fn events_table(rows: &[ListedEvent]) -> String {
    let line = |listed: &ListedEvent| {
        let e = &listed.event;
        let id = e.queue_id.as_deref().unwrap_or("-");
        let reply = e.reply.as_ref().map(|r| {
            let enhanced = r.enhanced.as_ref().map(|code| format!(" {code}"));
            // Code 0: no server said it, it is our own account.
            let code = if r.code == 0 {
                String::new()
            } else {
                format!(" {}", r.code)
            };
            let text = one_line(&r.text);
            format!(":{code}{} {text}", enhanced.unwrap_or_default())
        });
        let reason = e.reason.as_ref().map(|reason| format!(" ({reason})"));
        let (place, time, what) = (listed.place, short_time(&e.time), e.kind.word());
        let (reply, reason) = (reply.unwrap_or_default(), reason.unwrap_or_default());
        format!(
            "{place} {time} {what:<10} {id} {}{reason}{reply}\n",
            e.recipient
        )
    };
    rows.iter().map(line).collect()
}
