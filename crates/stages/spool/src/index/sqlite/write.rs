//! Applying a batch.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, params};
use store::EventWish;
use store::series::Naming;

use super::super::{Batch, Finished, IndexError, NetMessage, NetRecipient, QueueId, row};
use super::about::{About, about, number};
use super::series::Counting;
use super::{DONE, Place, time_to_sql, to_sql};
use crate::change::MessageMeta;
use crate::record::{given_bytes, origin_bytes, outcome_code, terms_bytes, verdict_bytes};

/// Brings finished recipients and attempts into the history.
pub(super) fn history(
    index: &Connection,
    history: &mut Connection,
    batch: &Batch,
    wish: &EventWish,
    naming: Option<Arc<dyn Naming>>,
) -> Result<(), IndexError> {
    let brings = |m: &NetMessage| m.meta.as_ref().is_some_and(|m| m.token.is_some());
    let tokens = batch.messages.values().any(brings);
    let later = !batch.later.is_empty() || !batch.records.is_empty();
    let notes = !batch.entries.is_empty() || later;
    let tells = !batch.events.is_empty() && !wish.is_none();
    let outcomes = !batch.finished.is_empty() || !batch.attempts.is_empty();
    if !outcomes && !tokens && !notes && !tells && batch.accepted.is_empty() {
        return Ok(());
    }
    let transaction = history.transaction()?;
    let mut counting = Counting::begin(&transaction, batch, naming)?;
    counting.accepted(batch);
    insert_finished(index, &transaction, batch, &mut counting)?;
    if tells {
        super::events::insert(index, &transaction, batch, wish)?;
    }
    insert_attempts(index, &transaction, batch, &mut counting)?;
    insert_tokens(&transaction, batch)?;
    if notes {
        super::notes::insert(&transaction, batch, &mut |sequence, row| {
            counting.later((index, &transaction), batch, (sequence, row))
        })?;
    }
    counting.finish(&transaction)?;
    Ok(transaction.commit()?)
}

fn insert_attempts(
    index: &Connection,
    transaction: &Transaction<'_>,
    batch: &Batch,
    counting: &mut Counting,
) -> Result<(), IndexError> {
    // A state that was changed for another reason has the verdict of the attempt before.
    let sql = "INSERT OR IGNORE INTO attempt SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
        WHERE NOT EXISTS (SELECT 1 FROM attempt WHERE id = ?1 AND n = ?2 AND at = ?5)";
    let mut attempt = transaction.prepare_cached(sql)?;
    for a in &batch.attempts {
        let added = attempt.execute(params![
            number(a.key.id),
            a.key.recipient,
            to_sql(a.sequence),
            a.attempts,
            time_to_sql(a.verdict.at),
            verdict_bytes(&a.verdict),
            a.transcript,
            time_to_sql(a.due),
        ])?;
        if added > 0 {
            counting.deferred(index, a)?;
        }
    }
    Ok(())
}

fn insert_tokens(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), IndexError> {
    let mut token = transaction.prepare_cached("INSERT OR IGNORE INTO token VALUES (?, ?, ?)")?;
    let messages = batch.messages.values().filter_map(|m| m.meta.as_ref());
    let finished = batch.finished.iter().filter_map(|f| f.meta.as_ref());
    for meta in messages.chain(finished) {
        if let Some(name) = &meta.token {
            token.execute(params![name, number(meta.id), time_to_sql(meta.accepted)])?;
        }
    }
    Ok(())
}

/// In the order of the key, so that the tree is appended to.
fn insert_finished(
    index: &Connection,
    transaction: &Transaction<'_>,
    batch: &Batch,
    counting: &mut Counting,
) -> Result<(), IndexError> {
    let mut finished: Vec<&Finished> = batch.finished.iter().collect();
    finished.sort_by_key(|f| f.key);
    let sql = "INSERT OR IGNORE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
               ?, ?, ?)";
    let mut insert = transaction.prepare_cached(sql)?;
    let sql = "SELECT m.sender, r.recipient, m.accepted, m.size, m.submitter, m.origin,
               r.destination, m.message_id, m.subject, m.given
               FROM recipient r JOIN message m ON m.id = r.id WHERE r.id = ? AND r.n = ?";
    let mut known = index.prepare_cached(sql)?;
    for f in finished {
        let about = match &f.meta {
            Some(meta) => about(meta, f.key.recipient),
            None => known
                .query_row(params![number(f.key.id), f.key.recipient], |r| {
                    Ok(About {
                        sender: r.get(0)?,
                        recipient: r.get(1)?,
                        accepted: r.get(2)?,
                        size: r.get(3)?,
                        submitter: r.get(4)?,
                        origin: r.get(5)?,
                        destination: r.get(6)?,
                        message_id: r.get(7)?,
                        subject: r.get(8)?,
                        given: r.get(9)?,
                    })
                })
                .optional()?,
        };
        let Some(about) = about else {
            continue;
        };
        let added = insert.execute(params![
            number(f.key.id),
            f.key.recipient,
            about.sender,
            about.recipient,
            about.accepted,
            about.size,
            about.submitter,
            f.attempts,
            time_to_sql(f.verdict.at),
            outcome_code(f.verdict.outcome),
            verdict_bytes(&f.verdict),
            f.transcript,
            about.origin,
            about.destination,
            about.message_id,
            about.subject,
            about.given,
        ])?;
        if added > 0 {
            counting.ended(f, &about);
        }
    }
    Ok(())
}

/// Brings the waiting up to date.
pub(super) fn index(index: &mut Connection, batch: &Batch) -> Result<(), IndexError> {
    let transaction = index.transaction()?;
    {
        let mut writer = Writer::new(&transaction)?;
        for (id, net) in &batch.messages {
            writer.message(*id, net)?;
        }
    }
    let sql = "INSERT OR REPLACE INTO control VALUES (?, ?, ?, ?, ?)";
    let mut control = transaction.prepare_cached(sql)?;
    for (name, (value, place)) in &batch.controls {
        control.execute(params![name, value, place.segment, place.offset, place.len])?;
    }
    drop(control);
    transaction.execute("DELETE FROM position", [])?;
    transaction.execute(
        "INSERT INTO position VALUES (?, ?, ?)",
        params![
            batch.applied.spool as i64,
            to_sql(batch.applied.hot),
            to_sql(batch.applied.cold)
        ],
    )?;
    Ok(transaction.commit()?)
}

struct Writer<'a> {
    insert_message: rusqlite::CachedStatement<'a>,
    insert_recipient: rusqlite::CachedStatement<'a>,
    delete_message: rusqlite::CachedStatement<'a>,
    delete_recipients: rusqlite::CachedStatement<'a>,
    place_message: rusqlite::CachedStatement<'a>,
    gone: rusqlite::CachedStatement<'a>,
    state: rusqlite::CachedStatement<'a>,
    done: rusqlite::CachedStatement<'a>,
    place: rusqlite::CachedStatement<'a>,
}

impl<'a> Writer<'a> {
    fn new(t: &'a Transaction<'_>) -> Result<Self, IndexError> {
        Ok(Self {
            insert_message: t.prepare_cached(
                "INSERT OR REPLACE INTO message
                 VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            insert_recipient: t.prepare_cached(
                "INSERT OR REPLACE INTO recipient
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            delete_message: t.prepare_cached("DELETE FROM message WHERE id = ?")?,
            delete_recipients: t.prepare_cached("DELETE FROM recipient WHERE id = ?")?,
            place_message: t.prepare_cached(
                "UPDATE message SET seg = ?, off = ?, len = ?, copy = ? WHERE id = ?",
            )?,
            gone: t.prepare_cached(
                "UPDATE message SET gone_seg = ?, gone_off = ?, gone_len = ? WHERE id = ?",
            )?,
            state: t.prepare_cached(
                "UPDATE recipient SET status = ?, attempts = ?, due = ?, delay_notified = ?,
                 last_reply = ?, last_host = ?, route = ? WHERE id = ? AND n = ?",
            )?,
            done: t.prepare_cached("UPDATE recipient SET status = 2 WHERE id = ? AND n = ?")?,
            place: t.prepare_cached(
                "UPDATE recipient SET seg = ?, off = ?, len = ? WHERE id = ? AND n = ?",
            )?,
        })
    }

    fn message(&mut self, id: QueueId, net: &NetMessage) -> Result<(), IndexError> {
        if net.forgotten {
            self.delete_recipients.execute([number(id)])?;
            self.delete_message.execute([number(id)])?;
            return Ok(());
        }
        match (&net.meta, net.place) {
            (Some(meta), place) => self.insert(meta, place.unwrap_or_default(), net)?,
            (None, Some((place, from))) => {
                let at = params![place.segment, place.offset, place.len, from, number(id)];
                self.place_message.execute(at)?;
            }
            (None, None) => {}
        }
        if let Some(gone) = net.gone {
            let at = params![gone.segment, gone.offset, gone.len, number(id)];
            self.gone.execute(at)?;
            // Where the single outcomes stood is of no matter any more, and may not last.
            let sql = params![number(id)];
            self.delete_recipients.execute(sql)?;
            self.insert_gone(id)?;
            return Ok(());
        }
        if net.meta.is_none() {
            for (n, recipient) in &net.recipients {
                self.update(id, *n, recipient)?;
            }
        }
        Ok(())
    }

    /// One finished recipient stands for all of them.
    fn insert_gone(&mut self, id: QueueId) -> Result<(), IndexError> {
        let none: Option<String> = None;
        self.insert_recipient.execute(params![
            number(id),
            0,
            "",
            "",
            0,
            0,
            DONE,
            0,
            0,
            0,
            0,
            0,
            0,
            "",
            none,
            none
        ])?;
        Ok(())
    }

    fn insert(
        &mut self,
        meta: &MessageMeta,
        (place, from): (Place, u32),
        net: &NetMessage,
    ) -> Result<(), IndexError> {
        self.insert_message.execute(params![
            number(meta.id),
            place.segment,
            place.offset,
            place.len,
            from,
            meta.body_file,
            meta.envelope.sender(),
            meta.envelope.submitter.name(),
            time_to_sql(meta.accepted),
            to_sql(meta.size),
            terms_bytes(&meta.envelope.terms),
            origin_bytes(&meta.envelope),
            meta.labels.message_id,
            meta.labels.subject,
            given_bytes(&meta.labels),
        ])?;
        for (n, recipient) in &net.recipients {
            let state = recipient.state.as_deref().cloned().unwrap_or_default();
            let (Some(row), Some(given)) = (
                row(meta, *n, &state),
                meta.envelope.recipients.get(*n as usize),
            ) else {
                continue;
            };
            let at = recipient.place.unwrap_or_default();
            self.insert_recipient.execute(params![
                number(meta.id),
                n,
                row.recipient,
                row.domain,
                given.destination.code(),
                given.notify.bits(),
                status(recipient.done, &state),
                state.attempts,
                time_to_sql(state.due),
                state.delay_notified,
                at.segment,
                at.offset,
                at.len,
                row.last_reply,
                row.last_host,
                row.route,
            ])?;
        }
        Ok(())
    }

    fn update(&mut self, id: QueueId, n: u32, net: &NetRecipient) -> Result<(), IndexError> {
        if let Some(state) = &net.state {
            let last = state.last.as_ref();
            self.state.execute(params![
                status(false, state),
                state.attempts,
                time_to_sql(state.due),
                state.delay_notified,
                last.map(|v| v.reply.to_string()).unwrap_or_default(),
                last.and_then(|v| v.host.as_ref()).map(|h| &h.name),
                state.route,
                number(id),
                n,
            ])?;
        }
        if net.done {
            run(&mut self.done, params![number(id), n])?;
        }
        if let Some(place) = net.place {
            let at = params![place.segment, place.offset, place.len, number(id), n];
            run(&mut self.place, at)?;
        }
        Ok(())
    }
}

fn run(
    statement: &mut Statement<'_>,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<(), IndexError> {
    statement.execute(parameters)?;
    Ok(())
}

fn status(done: bool, state: &mail::RecipientState) -> i64 {
    match (done, state.status) {
        (true, _) => DONE,
        (false, mail::Status::Held) => 1,
        (false, mail::Status::Waiting) => 0,
    }
}
