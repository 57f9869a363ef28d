//! One transaction of a worker's session, driven to its end; its content is converted before where
//! the host cannot take it as it is.

use deliver::{Conversion, Converted, Event as SessionEvent, Obstacle, Transaction};
use mail::{Message, PeerHost, QueueId};
use tokio::sync::SemaphorePermit;

use crate::contents::Contents;
use crate::opened::Open;
use crate::shared::Shared;
use crate::signing;

/// Whether the talk about a message is logged: for its name, its sender, or one of its recipients' domains.
pub(crate) fn is_detailed(shared: &Shared, message: &Message) -> bool {
    if !shared.journal.has_detail() {
        return false;
    }
    let sender = message.envelope.sender();
    let recipients = message.envelope.recipients.iter().take(10);
    let domains = recipients.map(|r| r.address.domain().as_str());
    let id = message.id.to_string();
    let names: Vec<&str> = domains.chain([sender.as_str(), id.as_str()]).collect();
    shared.journal.is_detailed(&names)
}

pub(crate) fn log_said(
    shared: &Shared,
    message: &Message,
    host: &PeerHost,
    ours: bool,
    line: &str,
) {
    let entry = shared
        .journal
        .line(net::now(), "smtp")
        .field("id", message.id);
    let entry = entry.field("host", host);
    entry
        .field(if ours { "sent" } else { "received" }, line)
        .send();
}

/// What came of converting a content. It is kept with the session, for the next recipients of the
/// same message.
pub(crate) struct Fitted {
    id: QueueId,
    conversion: Conversion,
    outcome: Result<Converted, Obstacle>,
}

/// The transaction with its content in a form that the host can take. A large content takes a
/// while, so it is converted on a thread that may block.
async fn fitted(
    shared: &Shared,
    open: &mut Open,
    message: &Message,
    transaction: Transaction,
) -> Transaction {
    let Some(conversion) = deliver::needed(&transaction, open.session.host()) else {
        return transaction;
    };
    let is_same = |f: &&Fitted| f.id == message.id && f.conversion == conversion;
    if let Some(known) = open.fitted.as_ref().filter(is_same) {
        return transaction.converted(&known.outcome);
    }
    let settings = shared.settings();
    let content = message.content.clone();
    let work = move || signing::converted(&settings.config, &content, conversion);
    let outcome = match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // As if it had happened here: the batch is deferred, and it is logged.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    if let Ok(converted) = &outcome {
        let line = shared.journal.line(net::now(), "converted");
        let line = line.field("id", message.id).field("host", &open.host);
        line.field("what", converted)
            .maybe("dkim", signing::names(&converted.content))
            .send();
    }
    let transaction = transaction.converted(&outcome);
    open.fitted = Some(Fitted {
        id: message.id,
        conversion,
        outcome,
    });
    transaction
}

/// Takes the turn of a large content that is converted: the result is as large again, and is dropped with the
/// transaction.
async fn conversion_turn<'a>(
    shared: &'a Shared,
    open: &Open,
    message: &Message,
    transaction: &Transaction,
) -> Option<SemaphorePermit<'a>> {
    let is_large = Contents::is_large(message.content.len());
    if !is_large || deliver::needed(transaction, open.session.host()).is_none() {
        return None;
    }
    shared.contents.converting.acquire().await.ok()
}

/// Drives a transaction to its end; `None` when the session ended without a word on it.
pub(crate) async fn converse(
    shared: &Shared,
    open: &mut Open,
    message: &Message,
    transaction: Transaction,
) -> Option<Vec<deliver::Ended>> {
    let turn = conversion_turn(shared, open, message, &transaction).await;
    let transaction = fitted(shared, open, message, transaction).await;
    open.session.start(net::now(), transaction);
    let ended = until_ended(shared, open, message).await;
    if turn.is_some() {
        open.fitted = None;
    }
    ended
}

async fn until_ended(
    shared: &Shared,
    open: &mut Open,
    message: &Message,
) -> Option<Vec<deliver::Ended>> {
    loop {
        while let Some(event) = open.session.poll_event() {
            match event {
                SessionEvent::Ended(ended) => return Some(ended),
                SessionEvent::Said(ours, line) => {
                    log_said(shared, message, &open.host, ours, &line)
                }
                SessionEvent::Closed => return None,
                SessionEvent::Failed(_)
                | SessionEvent::Ready
                | SessionEvent::StartTls
                | SessionEvent::Derive(_) => {}
            }
        }
        open.link.turn(&mut open.session).await;
    }
}
