//! Other senders towards a relay, or a server that an administrator has named: `[[sender]]`.
//!
//! It is done when a mail leaves, not when it is taken in: what stays here, and what is shown of the queue,
//! has its author's own address, and reports go there. The content is rewritten once for a message and session.

use std::sync::Arc;

use bytes::Bytes;
use deliver::{Obstacle, Transaction};
use mail::{Message, body_offset};
use node::contents::Contents;
use node::{Node, Settings, signing};
use tokio::sync::SemaphorePermit;

use crate::fitted::Rewritten;
use crate::opened::Open;

/// The transaction as the host is to see its senders; with the turn of a large content that was rewritten, for
/// the result is as large again.
pub(crate) async fn rewritten<'a>(
    node: &'a Node,
    open: &mut Open,
    message: &Message,
    mut transaction: Transaction,
) -> (Transaction, Option<SemaphorePermit<'a>>) {
    let settings = node.settings();
    let rules = &settings.config.senders;
    if !open.configured || rules.is_empty() {
        return (transaction, None);
    }
    let sender = transaction.reverse_path.as_ref();
    if let Some(other) = sender.and_then(|sender| rules.apply(sender)) {
        transaction.reverse_path = Some(other);
    }
    if !deliver::has_sender(&transaction.content, rules) {
        return (transaction, None);
    }
    let turn = match Contents::is_large(message.content.len()) {
        true => node.contents.converting.acquire().await.ok(),
        false => None,
    };
    let is_known = open.rewritten.as_ref().is_some_and(|r| r.id == message.id);
    if !is_known {
        let content = made(node, &settings, open, message).await;
        open.rewritten = Some(Rewritten {
            id: message.id,
            content,
        });
    }
    let known = open.rewritten.as_ref();
    if let Some(content) = known.and_then(|known| known.content.clone()) {
        let header = content.get(..body_offset(&content)).unwrap_or_default();
        transaction.utf8_header &= !header.is_ascii();
        transaction.content = content;
    }
    (transaction, turn)
}

/// The content with other senders, said in the log; `None` where it must stay.
async fn made(
    node: &Node,
    settings: &Arc<Settings>,
    open: &Open,
    message: &Message,
) -> Option<Bytes> {
    let kept = Arc::clone(settings);
    let content = message.content.clone();
    let answered = message.envelope.reverse_path.is_some();
    let vouched = is_vouched(settings, message);
    let now = node.now();
    let work = move || signing::rewritten(&kept.config, &content, answered, vouched, now);
    let outcome = match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // As if it had happened here: the batch is deferred, and it is logged.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    match outcome {
        Ok(Some(made)) => {
            let line = node.journal.line(node.now(), "sender-rewritten");
            let line = line.field("id", message.id).field("host", &open.host);
            let broken = made
                .signed
                .then_some("its DKIM signature is no longer valid");
            line.field("fields", made.fields.join(","))
                .maybe("what", broken)
                .maybe("dkim", signing::names(&made.content))
                .send();
            Some(made.content)
        }
        Ok(None) => None,
        Err(why) => {
            log_kept(node, open, message, why);
            None
        }
    }
}

fn log_kept(node: &Node, open: &Open, message: &Message, why: Obstacle) {
    let line = node.journal.line(node.now(), "sender-kept");
    let line = line.field("id", message.id).field("host", &open.host);
    line.field("why", why).send();
}

/// Whether a mail came from somebody whom this server knows: what a stranger sent is not signed as from
/// somebody here, whatever its From becomes.
fn is_vouched(settings: &Settings, message: &Message) -> bool {
    let submitter = &message.envelope.submitter;
    let Some(peer) = submitter.peer.filter(|_| submitter.user.is_none()) else {
        return true;
    };
    let mut listeners = settings.policy.listeners.iter();
    listeners.any(|listener| listener.networks.iter().any(|n| n.contains(&peer)))
}
