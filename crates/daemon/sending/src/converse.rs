//! One transaction of a worker's session, driven to its end; its content is converted before where
//! the host cannot take it as it is.

use bytes::Bytes;
use deliver::{Conversion, Converted, Ended, Event as SessionEvent, Stage, Transaction, judge};
use mail::{BodyType, EnhancedCode, Message, Outcome, Reply};
use node::contents::Contents;
use node::detail::log_said;
use node::{Node, signing};
use tokio::sync::SemaphorePermit;

use crate::fitted::Fitted;
use crate::opened::Open;
use crate::{Sending, relayed, senders};

/// The transaction with its content in a form that the host can take. A large content takes a
/// while, so it is converted on a thread that may block.
async fn fitted(
    node: &Node,
    open: &mut Open,
    message: &Message,
    transaction: Transaction,
) -> Transaction {
    let Some(conversion) = open.session.needed(&transaction) else {
        return transaction;
    };
    let is_same = |f: &&Fitted| f.id == message.id && f.conversion == conversion;
    if let Some(known) = open.fitted.as_ref().filter(is_same) {
        return transaction.converted(&known.outcome);
    }
    let settings = node.settings();
    let content = transaction.content.clone();
    let now = node.now();
    let work = move || signing::converted(&settings.config, &content, conversion, now);
    let outcome = match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // As if it had happened here: the batch is deferred, and it is logged.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    if let Ok(converted) = &outcome {
        log_converted(node, open, message, converted);
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
    node: &'a Node,
    open: &Open,
    message: &Message,
    transaction: &Transaction,
) -> Option<SemaphorePermit<'a>> {
    let is_large = Contents::is_large(message.content.len());
    if !is_large || open.session.needed(transaction).is_none() {
        return None;
    }
    node.contents.converting.acquire().await.ok()
}

/// Drives a transaction to its end; `None` when the session ended without a word on it. Where the host
/// refuses the mail for the length of its lines, it gets it once more with short ones.
pub(crate) async fn converse(
    sending: &Sending,
    open: &mut Open,
    message: &Message,
    transaction: Transaction,
) -> Option<Vec<Ended>> {
    let (transaction, mut turn) =
        senders::rewritten(&sending.node, open, message, transaction).await;
    let is_long = transaction.body != BodyType::BinaryMime
        && sending.node.settings().config.outgoing.short_lines
        && mail::has_long_line(&transaction.content);
    let again = is_long.then(|| transaction.clone());
    if turn.is_none() {
        turn = conversion_turn(&sending.node, open, message, &transaction).await;
    }
    let mut ended = one(sending, open, message, transaction, turn.is_some()).await?;
    let refused: Vec<u32> = ended.iter().filter_map(refused_for_lines).collect();
    let (Some(mut again), false, true) = (again, refused.is_empty(), open.session.is_idle()) else {
        return Some(ended);
    };
    if turn.is_none() && Contents::is_large(message.content.len()) {
        turn = sending.node.contents.converting.acquire().await.ok();
    }
    let Some(short) = shortened(&sending.node, open, message, again.content.clone()).await else {
        return Some(ended);
    };
    again.recipients.retain(|r| refused.contains(&r.number));
    // What was made of it before had the long lines, and what is made now is not what the next
    // recipients begin with.
    open.fitted = None;
    let mut second = one(sending, open, message, again.converted(&Ok(short)), true).await;
    open.fitted = None;
    drop(turn);
    let lost = Reply::own(EnhancedCode::new(4, 4, 2), "the connection was lost");
    for end in &mut ended {
        let answer = second.as_mut().and_then(|list| {
            let place = list.iter().position(|e| e.number == end.number)?;
            Some(list.swap_remove(place))
        });
        if let Some(answer) = answer {
            *end = answer;
        } else if refused.contains(&end.number) {
            end.judgement = judge(Stage::Data, &lost);
            end.reply = lost.clone();
        }
    }
    Some(ended)
}

fn refused_for_lines(end: &Ended) -> Option<u32> {
    let is_final = end.judgement.outcome == Outcome::Failed;
    (is_final && deliver::is_about_line_length(&end.reply)).then_some(end.number)
}

/// The content with short lines; `None`, and said in the log, where it must stay as it is.
async fn shortened(
    node: &Node,
    open: &Open,
    message: &Message,
    content: Bytes,
) -> Option<Converted> {
    let settings = node.settings();
    let now = node.now();
    let work = move || signing::converted(&settings.config, &content, Conversion::Short, now);
    let outcome = match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // As if it had happened here: the batch is deferred, and it is logged.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let why = match outcome {
        Ok(made) if !mail::has_long_line(&made.content) => {
            log_converted(node, open, message, &made);
            return Some(made);
        }
        Ok(_) => "long lines are in places that must not be changed: a signed or encrypted part, an attached \
                  message, or a header field without spaces"
            .to_owned(),
        Err(obstacle) => obstacle.to_string(),
    };
    let line = node.journal.line(node.now(), "not-converted");
    let line = line.field("id", message.id).field("host", &open.host);
    line.field("why", why).send();
    None
}

fn log_converted(node: &Node, open: &Open, message: &Message, converted: &Converted) {
    let line = node.journal.line(node.now(), "converted");
    let line = line.field("id", message.id).field("host", &open.host);
    line.field("what", converted)
        .maybe("dkim", signing::names(&converted.content))
        .send();
}

async fn one(
    sending: &Sending,
    open: &mut Open,
    message: &Message,
    transaction: Transaction,
    has_turn: bool,
) -> Option<Vec<Ended>> {
    let transaction = fitted(&sending.node, open, message, transaction).await;
    open.session.start(sending.node.now(), transaction);
    let ended = until_ended(sending, open, message).await;
    if has_turn {
        open.fitted = None;
        open.rewritten = None;
    }
    ended
}

async fn until_ended(sending: &Sending, open: &mut Open, message: &Message) -> Option<Vec<Ended>> {
    loop {
        while let Some(event) = open.session.poll_event() {
            match event {
                SessionEvent::Ended(ended) => {
                    relayed::count(sending, open.relay, &ended);
                    return Some(ended);
                }
                SessionEvent::Said(ours, line) => {
                    log_said(&sending.node, message, &open.host, ours, &line)
                }
                SessionEvent::Closed => return None,
                SessionEvent::Failed(_)
                | SessionEvent::Ready
                | SessionEvent::StartTls
                | SessionEvent::Asked(..)
                | SessionEvent::Derive(_) => {}
            }
        }
        open.link.turn(&mut open.session).await;
    }
}
