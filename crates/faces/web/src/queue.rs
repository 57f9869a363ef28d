//! The queue: find, understand, act.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mail::Timestamp;
use ops::{
    Act, ActLater, Count, List, Order, Pending, PendingView, QueuedView, Selection, SummaryView,
    Undo, Verb,
};

use crate::error::PageError;
use crate::fields::{Fields, Query, encode};
use crate::filters::{size, wire};
use crate::form::Form;
use crate::frame::Frame;
use crate::sent::{back, html};
use crate::session::User;
use crate::shell::{self, quoted};
use crate::state::Web;
use crate::when::{When, when};

/// Rows of a page.
const ROWS: u64 = 50;
/// How long what ends several recipients can be undone.
const UNDO_SECONDS: u64 = 60;
/// Recipients that are named before something is done to all that a filter matches.
const NAMED: u64 = 5;

/// What the list may be ordered by: the word in the address, and the name of the column.
const ORDERS: [(&str, Order, &str); 5] = [
    ("id", Order::Id, "Age"),
    ("due", Order::Due, "Next try"),
    ("domain", Order::Domain, "Domain"),
    ("size", Order::Size, "Size"),
    ("attempts", Order::Attempts, "Attempts"),
];

/// What can be done, in the words of buttons.
pub(crate) const VERBS: [(&str, &str, &str); 5] = [
    ("retry", "Try now", "tries at once, whatever the plan says"),
    ("hold", "Hold", "keeps it and does not try it"),
    ("release", "Release", "lets a held one be tried"),
    (
        "fail",
        "Give up",
        "ends it, with a failure message to its sender",
    ),
    ("remove", "Remove", "ends it, and sends no failure message"),
];

/// A waiting recipient, as a row shows it.
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) sender: String,
    pub(crate) recipient: String,
    pub(crate) domain: String,
    pub(crate) state: String,
    pub(crate) attempts: u32,
    pub(crate) accepted: When,
    pub(crate) due: When,
    pub(crate) size: String,
    pub(crate) reason: String,
    pub(crate) kind: String,
    pub(crate) reply: String,
    pub(crate) subject: String,
}

/// As a row shows it.
pub(crate) fn row(view: QueuedView, now: Timestamp) -> Row {
    Row {
        key: format!("{}/{}", view.id, view.number),
        sender: match view.sender.as_str() {
            "" => "<>".to_owned(),
            sender => wire(sender),
        },
        recipient: wire(&view.recipient),
        domain: view.domain,
        state: view.state,
        attempts: view.attempts,
        accepted: when(&view.accepted, now),
        due: when(view.next_event.as_deref().unwrap_or(&view.due), now),
        size: size(view.size),
        reason: wire(&view.reason),
        kind: view.kind.unwrap_or_default().replace('_', " "),
        reply: wire(&view.last_reply),
        subject: wire(&view.subject.unwrap_or_default()),
        id: view.id,
    }
}

struct Head {
    name: &'static str,
    link: String,
    /// `ascending` or `descending` for the column that the list is ordered by.
    sorted: &'static str,
}

/// What the address of a list says.
struct Asked {
    q: String,
    order: &'static str,
    descending: bool,
    page: u64,
}

impl Asked {
    fn of(fields: &Fields) -> Self {
        let order = fields.get("order").unwrap_or("id");
        let order = ORDERS.iter().find(|(word, ..)| *word == order);
        Self {
            q: fields.text("q"),
            order: order.map_or("id", |(word, ..)| *word),
            descending: fields.has("desc"),
            page: fields.number("page").unwrap_or(1).clamp(1, 10_000),
        }
    }

    fn order(&self) -> Order {
        let order = ORDERS.iter().find(|(word, ..)| *word == self.order);
        order.map_or(Order::Id, |(_, order, _)| *order)
    }

    /// The address of such a list.
    fn link(&self, order: &str, descending: bool, page: u64) -> String {
        let order = if order == "id" { "" } else { order };
        let page = if page > 1 {
            page.to_string()
        } else {
            String::new()
        };
        let query = encode(&[
            ("q", &self.q),
            ("order", order),
            ("desc", if descending { "1" } else { "" }),
            ("page", &page),
        ]);
        format!("/queue?{query}")
    }

    fn heads(&self) -> Vec<Head> {
        let head = |(word, _, name): (&'static str, Order, &'static str)| {
            let is_this = word == self.order;
            Head {
                name,
                link: self.link(word, is_this && !self.descending, 1),
                sorted: match (is_this, self.descending) {
                    (false, _) => "",
                    (true, false) => "ascending",
                    (true, true) => "descending",
                },
            }
        };
        ORDERS.into_iter().map(head).collect()
    }
}

fn selection(q: &str) -> Selection {
    match q.is_empty() {
        true => Selection::All,
        false => Selection::Filter(q.to_owned()),
    }
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    frame: Frame,
    q: String,
    rows: Vec<Row>,
    count: u64,
    heads: Vec<Head>,
    first: u64,
    last: u64,
    before: Option<String>,
    after: Option<String>,
    summary: Option<SummaryView>,
    verbs: [(&'static str, &'static str, &'static str); 5],
    /// What the same is called at the command line.
    command: String,
    curl: String,
    why: Option<String>,
    pending: Vec<Waits>,
}

/// An order that waits, as a page shows it.
pub(crate) struct Waits {
    pub(crate) id: String,
    pub(crate) verb: String,
    pub(crate) about: String,
    pub(crate) recipients: u64,
    pub(crate) who: String,
    pub(crate) due: When,
}

/// The orders that can still be undone.
pub(crate) async fn pending(web: &Web, user: &User) -> Result<Vec<Waits>, PageError> {
    let now = web.now();
    let waits = |view: PendingView| Waits {
        id: view.id,
        verb: view.verb,
        about: wire(&view.about),
        recipients: view.recipients,
        who: wire(&view.who),
        due: when(&view.due, now),
    };
    let found = web.ask(user, Pending).await?;
    Ok(found.into_iter().map(waits).collect())
}

/// Undoes an order that waits.
pub(crate) async fn undo(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let done = web.ask(&user, Undo(fields.text("order"))).await?;
    let next = fields.get("next").unwrap_or("/queue");
    Ok(back(next, &done.0).into_response())
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let asked = Asked::of(&fields);
    let now = web.now();
    let offset = (asked.page - 1) * ROWS;
    let list = List {
        selection: selection(&asked.q),
        order: asked.order(),
        descending: asked.descending,
        limit: ROWS,
        offset,
    };
    let found = async {
        let rows = web.ask(&user, list).await?;
        let count = web.ask(&user, Count(selection(&asked.q))).await?;
        Ok::<_, PageError>((rows, count))
    };
    // A filter that is mistyped is corrected on the page.
    let (rows, count, why) = match found.await {
        Ok((rows, count)) => (rows, count, None),
        Err(error) if !asked.q.is_empty() => (Vec::new(), 0, Some(error.why)),
        Err(error) => return Err(error),
    };
    let shown = rows.len() as u64;
    let command = match asked.q.as_str() {
        "" => "sendoff queue list".to_owned(),
        q => format!("sendoff queue list --filter {}", quoted(q)),
    };
    let api = format!("/api/v1/queue?{}", encode(&[("filter", &asked.q)]));
    let curl = shell::curl(&web, &api);
    let summary = match asked.q.is_empty() {
        true => web.summary(&user).await,
        false => None,
    };
    let page = QueuePage {
        frame: Frame::new(&web, &user, "/queue", "Queue"),
        heads: asked.heads(),
        rows: rows.into_iter().map(|view| row(view, now)).collect(),
        count,
        first: if shown == 0 { 0 } else { offset + 1 },
        last: offset + shown,
        before: (asked.page > 1).then(|| asked.link(asked.order, asked.descending, asked.page - 1)),
        after: (offset + shown < count)
            .then(|| asked.link(asked.order, asked.descending, asked.page + 1)),
        summary,
        verbs: VERBS,
        pending: pending(&web, &user).await?,
        command,
        curl,
        why,
        q: asked.q,
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    verb: String,
    label: &'static str,
    effect: &'static str,
    q: String,
    ids: Vec<String>,
    count: u64,
    /// Some of them.
    named: Vec<Row>,
    next: String,
    /// How many there were when somebody said yes.
    before: Option<u64>,
}

fn label(verb: &str) -> Option<(&'static str, &'static str)> {
    let found = VERBS.iter().find(|(word, ..)| *word == verb);
    found.map(|(_, label, effect)| (*label, *effect))
}

/// Does something to what was ticked, or to all that a filter matches; the latter, and what cannot be undone, after a page
/// that says what and how many.
pub(crate) async fn act(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let word = fields.text("verb");
    let verb = Verb::of_word(&word).filter(|_| label(&word).is_some());
    let verb = verb.ok_or_else(|| PageError::malformed("choose what to do"))?;
    let (q, next) = (fields.text("q"), fields.text("next"));
    let ids: Vec<String> = fields.all("id").map(str::to_owned).collect();
    let is_all = fields.has("all");
    let selection = match (is_all, ids.is_empty()) {
        (true, _) => selection(&q),
        (false, false) => Selection::Ids(ids.clone()),
        (false, true) => return Err(PageError::malformed("tick the rows that you mean")),
    };
    let count = match is_all {
        true => web.ask(&user, Count(selection.clone())).await?,
        false => ids.len() as u64,
    };
    let ends = matches!(verb, Verb::Fail | Verb::Remove);
    let expected = fields.number("expect");
    let must_confirm = is_all || ends && count > 1;
    // More than were shown, by more than one in a hundred, are not meant.
    let has_grown = expected.is_some_and(|expected| count > expected + expected / 100);
    if must_confirm && (expected.is_none() || has_grown) {
        let page = confirm(&web, &user, &word, (q, ids, is_all), count, next);
        let mut page = page.await?;
        page.before = expected;
        return Ok(html(&page));
    }
    let next = if next.is_empty() { "/queue" } else { &next };
    if ends && count > 1 {
        let later = ActLater {
            verb,
            selection,
            expect: is_all.then_some(expected).flatten(),
            after: UNDO_SECONDS,
        };
        let order = web.ask(&user, later).await?;
        let n = order.recipients;
        let done = format!(
            "{n} recipients are held. In {UNDO_SECONDS} seconds: {word}. Until then it can be undone."
        );
        return Ok(back(next, &done).into_response());
    }
    let done = web.ask(&user, Act { verb, selection }).await?;
    Ok(back(next, &told(&word, done)).into_response())
}

/// What was done, in words.
pub(crate) fn told(word: &str, done: ops::ActedView) -> String {
    let (label, _) = label(word).unwrap_or(("Done", ""));
    let mut words = format!("{label}: {} changed", done.changed);
    if done.unchanged > 0 {
        words.push_str(&format!(", {} were so already or are gone", done.unchanged));
    }
    if done.in_flight > 0 {
        let n = done.in_flight;
        words.push_str(&format!(
            ", {n} are being sent right now and follow unless they are delivered"
        ));
    }
    words.push('.');
    words
}

async fn confirm(
    web: &Web,
    user: &User,
    word: &str,
    (q, ids, is_all): (String, Vec<String>, bool),
    count: u64,
    next: String,
) -> Result<ConfirmPage, PageError> {
    let (label, effect) = label(word).unwrap_or_default();
    let now = web.now();
    let named = match is_all {
        true => {
            let list = List {
                selection: selection(&q),
                order: Order::Id,
                descending: false,
                limit: NAMED,
                offset: 0,
            };
            web.ask(user, list).await?
        }
        false => Vec::new(),
    };
    Ok(ConfirmPage {
        frame: Frame::new(web, user, "/queue", label),
        verb: word.to_owned(),
        label,
        effect,
        q,
        ids: if is_all { Vec::new() } else { ids },
        count,
        named: named.into_iter().map(|view| row(view, now)).collect(),
        next,
        before: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_of_a_button_is_one() {
        for (word, ..) in VERBS {
            assert!(Verb::of_word(word).is_some(), "{word}");
        }
    }

    #[test]
    fn an_address_of_a_list_is_read_back() {
        let fields = Fields::parse(b"q=domain%3Aa&order=due&desc=1&page=3");
        let asked = Asked::of(&fields);
        let link = asked.link(asked.order, asked.descending, asked.page);
        assert_eq!(link, "/queue?q=domain%3Aa&order=due&desc=1&page=3");
        let asked = Asked::of(&Fields::parse(b"order=nonsense&page=x"));
        assert_eq!((asked.order, asked.page), ("id", 1));
    }

    #[test]
    fn what_was_done_is_told_exactly() {
        let done = |changed, unchanged, in_flight| ops::ActedView {
            changed,
            unchanged,
            in_flight,
        };
        assert_eq!(told("hold", done(3, 0, 0)), "Hold: 3 changed.");
        assert!(told("fail", done(1, 2, 3)).contains("2 were so already"));
    }
}
