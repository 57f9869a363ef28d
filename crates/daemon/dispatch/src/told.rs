//! One recipient's line in the log, written when what it says is durable.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

use mail::{Message, Outcome, QueueId, RecipientKey, Timestamp, Verdict};
use node::figures::Figures;
use node::{Node, known};
use store::{HistoryFilter, HistoryRow};

use crate::Dispatch;
use crate::ended::Spoken;

/// Messages by id, with what was said about them.
pub(crate) type Known = HashMap<QueueId, (Arc<Message>, Arc<Spoken>)>;

/// What a line says.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) key: RecipientKey,
    pub(crate) verdict: Verdict,
    pub(crate) attempts: u32,
    /// The next attempt; `None`: this was the end.
    pub(crate) next: Option<Timestamp>,
}

/// Lines whose messages are not at hand: a thread reads these, one commit after the other, so that nobody who commits
/// waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Reader(OnceLock<Option<Sender<Vec<Told>>>>);

impl Reader {
    /// Writes the lines soon.
    fn give(&self, node: &Arc<Node>, lines: Vec<Told>) {
        let to = self.0.get_or_init(|| begin(node));
        // The thread lives as long as this; one that could not begin was told.
        if let Some(to) = to {
            to.send(lines).unwrap_or_default();
        }
    }
}

/// Starts the thread, which ends when nobody can give it lines any more.
fn begin(node: &Arc<Node>) -> Option<Sender<Vec<Told>>> {
    let (to, lines) = channel::<Vec<Told>>();
    let handles = Arc::clone(node);
    let spawned = std::thread::Builder::new()
        .name("log-reader".to_owned())
        .spawn(move || {
            for lines in lines {
                read_and_write(&handles, lines);
            }
        });
    match spawned {
        Ok(_) => Some(to),
        Err(error) => {
            let line = node.journal.line(node.now(), "error").field("what", "log");
            line.field("why", error).send();
            None
        }
    }
}

fn read_and_write(node: &Node, lines: Vec<Told>) {
    // The lines of one message stand together, so it is read once.
    let mut read: Option<Message> = None;
    let mut ended = Ended::default();
    for line in lines {
        if read.as_ref().is_none_or(|m| m.id != line.key.id) {
            read = node.store.read(line.key.id).ok().flatten();
        }
        let ended = match read {
            Some(_) => None,
            None => ended.of(node, line.key),
        };
        write(node, &line, read.as_ref(), ended.as_ref(), None);
    }
}

/// Writes lines. Where the message is not at hand, the reader does.
pub(crate) fn tell(dispatch: &Dispatch, told: Vec<Told>, known: &Known) {
    let mut unknown = Vec::new();
    for line in told {
        match known.get(&line.key.id) {
            Some((message, spoken)) => {
                write(&dispatch.node, &line, Some(message), None, Some(spoken));
            }
            None => unknown.push(line),
        }
    }
    if !unknown.is_empty() {
        dispatch.reader.give(&dispatch.node, unknown);
    }
}

/// Messages that have ended, as the history has them.
#[derive(Default)]
struct Ended {
    /// The history has all that was durable when the first was asked for.
    is_flushed: bool,
    /// The rows of the last message, in the order of its recipients.
    rows: Vec<HistoryRow>,
}

impl Ended {
    fn of(&mut self, node: &Node, key: RecipientKey) -> Option<HistoryRow> {
        if !self.is_flushed {
            // A history that cannot be written is told elsewhere.
            drop(node.store.catch_up());
            self.is_flushed = true;
        }
        if self.rows.first().is_none_or(|row| row.key.id != key.id) {
            let of_message = HistoryFilter {
                id: Some(key.id),
                ..HistoryFilter::default()
            };
            let rows = node.store.history(&of_message, 0, u64::MAX >> 1);
            self.rows = rows.unwrap_or_default();
            self.rows.sort_unstable_by_key(|row| row.key);
        }
        let place = self.rows.binary_search_by_key(&key, |row| row.key).ok()?;
        self.rows.get(place).cloned()
    }
}

/// Writes one line. `ended` names the recipient where the message is not in the queue any more.
pub(crate) fn write(
    node: &Node,
    told: &Told,
    message: Option<&Message>,
    ended: Option<&HistoryRow>,
    spoken: Option<&Spoken>,
) {
    let v = &told.verdict;
    let figures = &node.figures;
    Figures::count(match v.outcome {
        Outcome::Delivered => &figures.delivered,
        Outcome::Deferred => &figures.deferred,
        Outcome::Failed => &figures.failed,
        Outcome::Expired => &figures.expired,
    });
    if let (Outcome::Delivered, Some(message)) = (v.outcome, message) {
        figures.delays.count(v.at.since(message.accepted));
    }
    if v.unknown_outcome {
        Figures::count(&figures.unknown_outcomes);
    }
    let number = told.key.recipient;
    let recipient = message.and_then(|m| m.envelope.recipients.get(number as usize));
    let to = match (recipient, ended) {
        (Some(recipient), _) => format!("<{}>", recipient.address),
        (None, Some(row)) => format!("<{}>", row.recipient),
        (None, None) => format!("#{number}"),
    };
    let from = message.map(|m| m.envelope.sender());
    let from = from.or_else(|| ended.map(|row| row.sender.clone()));
    let from = from.map(|from| format!("<{from}>"));
    let t = &v.timing;
    let delays = [t.queued, t.connecting, t.wire].map(|d| d.as_millis());
    let [queued, connecting, wire] = delays;
    let unknown = v
        .unknown_outcome
        .then_some("the host may have received the message");
    let settings = node.settings();
    // An order of an administrator, or a rule of ours, is no answer that is about something.
    let is_ours = v.class == mail::Class::Policy && v.host.is_none();
    let refused = v.outcome != Outcome::Delivered && !is_ours;
    let known = refused.then(|| known::of(&settings, v));
    if let Some(known) = &known
        && let Some(counter) = figures.kinds.get(known.kind.place())
    {
        Figures::count(counter);
    }
    let rule = known.and_then(|k| k.rule);
    // Said only where the rule decided otherwise than the code.
    let against = rule.and_then(|r| r.treat_as).filter(|treat_as| {
        let word = treat_as.word();
        word == v.outcome.word() && v.reply.is_permanent() == (word == "deferred")
    });
    let class = (v.outcome != Outcome::Delivered).then(|| v.class.word());
    let line = node
        .journal
        .line(v.at, v.outcome.word())
        .field("id", told.key.id);
    let source = spoken.and_then(|s| s.sources.iter().find(|(n, _)| *n == number));
    line.maybe("from", from)
        .field("to", to)
        .maybe("host", v.host.as_ref())
        .maybe("source", source.map(|(_, name)| name))
        .field("tls", v.tls.word())
        .field("attempt", told.attempts)
        .field("delays", format_args!("{queued}/{connecting}/{wire}ms"))
        .maybe("next", told.next)
        .maybe("unknown-outcome", unknown)
        .maybe("class", class)
        .maybe("kind", known.map(|k| k.kind))
        .maybe("rule", rule.map(|r| &r.id))
        .maybe("treated-as", against.map(|t| t.word()))
        .field("reply", &v.reply)
        .send();
}
