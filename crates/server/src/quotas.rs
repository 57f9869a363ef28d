//! Quotas that are nearly used up, told.

use mail::{QueueId, RecipientKey};
use spool::{LaterRow, Note, Op};

use crate::shared::Shared;

/// The word of what is told of a mail.
const WORD: &str = "quota";

/// Tells that a quota is nearly used up, in the log and of the mail that was taken last, with which those hear
/// it who are told of events.
pub(crate) fn near(shared: &Shared, id: QueueId, what: &str) {
    let now = net::now();
    let line = shared.journal.line(now, "quota");
    line.field("id", id).field("what", what).send();
    let key = RecipientKey { id, recipient: 0 };
    let row = LaterRow {
        key,
        at: now,
        word: WORD.to_owned(),
        text: what.to_owned(),
    };
    // The log has said it.
    let note = Op::Note(Note::Later(row));
    shared.spool.commit(vec![note], Box::new(|_| {}));
}
