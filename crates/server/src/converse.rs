//! One transaction of a worker's session, driven to its end.

use mail::{Message, PeerHost};

use deliver::Event as SessionEvent;

use crate::shared::Shared;
use crate::worker::Open;

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

/// Drives a transaction to its end; `None` when the session ended without a word on it.
pub(crate) async fn converse(
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
                SessionEvent::Failed(_) | SessionEvent::Ready | SessionEvent::StartTls => {}
            }
        }
        open.link.turn(&mut open.session).await;
    }
}
