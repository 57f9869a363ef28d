//! Which events a batch makes, whatever keeps them.

use std::collections::HashSet;

use store::{Event, EventAbout, EventWish, Happened, Note};

use super::net::{Batch, Happening};
use super::{IndexError, RecipientKey, Timestamp};
use crate::record::about;

/// What has to be looked up for it.
pub(super) trait Lookup {
    /// A recipient that the batch did not bring.
    fn about(&mut self, key: RecipientKey) -> Result<Option<EventAbout>, IndexError>;

    /// Whether the history has an attempt of this recipient at this time already: a state that an
    /// administrator changed still names its last attempt.
    fn attempted(&mut self, key: RecipientKey, at: Timestamp) -> Result<bool, IndexError>;
}

/// The events of a batch in the order of its changes, from those after the frame `seen`.
pub(super) fn gather(
    batch: &Batch,
    seen: u64,
    wish: &EventWish,
    lookup: &mut impl Lookup,
) -> Result<Vec<Event>, IndexError> {
    let mut events = Vec::new();
    let mut attempts = HashSet::new();
    for Happening {
        sequence,
        key,
        meta,
        kind,
    } in &batch.events
    {
        if *sequence <= seen {
            continue;
        }
        let what = match kind {
            super::net::Kind::Accepted => Happened::Accepted,
            super::net::Kind::Deferred(n) => {
                let Some(a) = batch.attempts.get(*n) else {
                    continue;
                };
                let new = attempts.insert((a.key, a.verdict.at))
                    && !lookup.attempted(a.key, a.verdict.at)?;
                if !new {
                    continue;
                }
                Happened::Deferred {
                    attempts: a.attempts,
                    due: Some(a.due),
                    verdict: a.verdict.clone(),
                }
            }
            super::net::Kind::Ended(n) => {
                let Some(f) = batch.finished.get(*n) else {
                    continue;
                };
                Happened::Ended {
                    attempts: f.attempts,
                    verdict: f.verdict.clone(),
                }
            }
            super::net::Kind::Note(note) => match note {
                Note::Later(row) => Happened::Later {
                    at: row.at,
                    word: row.word.clone(),
                    text: row.text.clone(),
                },
                Note::Entry { name, value } => {
                    if let Some(value) = value
                        && name.starts_with(&wish.entries)
                    {
                        let (name, value) = (name.clone(), value.clone());
                        events.push(Event {
                            about: None,
                            what: Happened::Entry { name, value },
                        });
                    }
                    continue;
                }
                Note::Record(_) => continue,
            },
        };
        let about = match meta {
            Some(meta) => about(meta, key.recipient),
            None => lookup.about(*key)?,
        };
        if let Some(about) = about {
            let about = Some(about);
            events.push(Event { about, what });
        }
    }
    Ok(events)
}
