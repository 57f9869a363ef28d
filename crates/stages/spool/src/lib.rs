//! The durable queue: an append-only log of commits in segments, and an index beside it.
//!
//! A mail is in the queue from the moment its commit is synced; the reply to the client and every
//! log line wait for that. There is no clock here and no randomness: times and the seed of the
//! nonces are handed in. What is due when is not decided here.
//!
//! # Files
//!
//! | name | what | lives |
//! |---|---|---|
//! | `hot-N.seg` | segment of the hot lane: what is committed | until nothing in it lives and the index has it |
//! | `cold-N.seg` | segment of the cold lane: what outlived its hot segment | until less than half of it lives |
//! | `free-N.seg` | a segment ready for use; its content means nothing | until it is renamed |
//! | `segments` | which segments there must be | for ever; without it, less that is missing is noticed |
//! | `ballast` | room that is given up when the disk is full | made again when there is room |
//! | `bodies/ID.body` | the content of mail ID, larger than [`Options::inline_max`] | until all its recipients are done |
//! | `quarantine/…` | damaged parts of the log, copied, and contents of mail that may be in them | until the administrator removes them |
//! | `index.db` | waiting recipients, in SQLite; derived from the log | deleted at will, rebuilt |
//! | `history.db` | finished recipients, attempts, tokens, what came to be known later, entries, events for others, in SQLite; primary | for ever; rows expire, entries do not, events go when all have them |
//! | `lock` | held by the one process that uses the directory | |
//!
//! Segment numbers rise by one over both lanes and are never used twice. A segment is as long as its
//! file: what is set today is how long those become that are begun today. Its file is written ahead with
//! zeros, 2 MiB at first and more the more it holds, so that a write changes nothing of the file system's
//! own; a recycled one keeps its length. An idle queue gives back what a busy time took.
//!
//! # Layout, format 2
//!
//! Format 1 had no labels, and segments no longer than its setting said; it is read. Both may stand side by side.
//!
//! Integers are little-endian; a *varint* is LEB128; *bytes* are a varint length and octets.
//!
//! A **segment** is one page of header and frames after it. Frames of one write follow each other
//! directly; every write begins at a multiple of 4096, the rest of its last page is zeros.
//!
//! | segment header | octets | | frame header | octets |
//! |---|---|---|---|---|
//! | magic `SENDOFF\n` | 8 | | magic `SoFr` | 4 |
//! | format version | 4 | | CRC32C of octets 8 to 47 and of the headers of the records | 4 |
//! | number | 4 | | nonce of the segment | 8 |
//! | nonce | 8 | | sequence, rising by one in its lane | 8 |
//! | id of the spool | 8 | | hot sequence as of which it is true | 8 |
//! | sequence of the first frame | 8 | | offset below which this segment was synced | 4 |
//! | previous segment of the lane | 4 | | length of the records | 4 |
//! | where that one ended | 4 | | hot segment and offset as of which it is true | 4 + 4 |
//! | lane (0 hot, 1 cold), zeros | 1 + 3 | | | |
//! | CRC32C of all before | 4 | | | |
//!
//! A **record** is kind (1), version (1), zeros (2), length (4), CRC32C of the payload (4), payload.
//! A frame is whole when its checksum and those of its records hold: so a commit is there as a
//! whole or not at all, and each octet of a body is summed once. Readers ignore kinds that they do
//! not know and octets after the fields that they know.
//!
//! | kind | payload |
//! |---|---|
//! | 1 Message | id (8), accepted, source segment of a copy, token, envelope, per recipient 0 and its state or 1 for "has its outcome", body: 0 and bytes, or 1, length and CRC32C of the file; terms, where some were asked for; labels, where a content in the record does not say them all: Message-ID, subject, tags, metadata, and the id of the message that a report is about |
//! | 2 State | id (8), recipient, state, transcript |
//! | 3 Done | id (8), recipient, attempts, verdict, transcript |
//! | 4 Control | name, value or none |
//! | 5 Gone | id (8): all recipients have their outcome, whatever copies say |
//! | 6 Note | 0, name, value or none; or 1, id (8), recipient, time, word, text: for the history alone, dead as soon as that has it |
//!
//! # Limits
//!
//! Segments of 32 KiB to 1 GiB; a frame that is larger than a segment gets one of its own size, up to
//! 1 GiB; a state or an outcome takes [`store::Op::STATE_MAX`] at most; a write takes about 4 MiB; contents
//! above [`Options::inline_max`] go to files; some 400 000 changes may wait for the index before
//! commits wait as well. While the index cannot be written no mail is taken from 50 000 changes or 8
//! segments more than usual on. In memory: some 64 bytes a message, 12 a recipient beyond the first.
//!
//! # The states of a mail
//!
//! | state | Message record | State record | Done record | body file | index | history |
//! |---|---|---|---|---|---|---|
//! | S1 being received | – | – | – | perhaps, growing | – | – |
//! | S2 received, not accepted | – | – | – | perhaps, synced | – | – |
//! | S3 waiting | hot | – | – | as S2 | soon | – |
//! | S4 tried | hot | hot, the last counts | – | as S2 | soon | attempts |
//! | S5 moved | cold (hot until recycled) | in the Message | – | as S2 | before the source goes | attempts |
//! | S6 done, never moved | hot, dead | dead | hot, dead | being removed | – | before the segment goes |
//! | S7 done, moved | cold, dead | dead | hot or Gone in cold, **lives** | being removed | as "done" | as S6 |
//!
//! S2 to S3 is the sync of the frame: at that instant the mail is accepted. S7 ends when the cold
//! segment with the copy is recycled: until then the outcome must be on disk, or the copy would
//! bring the mail back. S6 needs no such care, for hot segments are recycled oldest first, so the
//! message is gone before its outcome is.
//!
//! # The crash story
//!
//! - **A write is cut off.** Its frames name the offset known to be synced, which is where the
//!   write begins. A bad frame at or above that offset (the highest that any whole frame of the
//!   segment names, or the end that the next segment names) is a torn tail and ends the log:
//!   nothing in it was acknowledged. Whole frames after the tear are overwritten with zeros before
//!   the log is written to again, so that they are not found later. What was read above the offset
//!   is written once more and synced, for it may have been in the system's memory only.
//! - **A record is damaged below that offset.** The damaged range is copied to `quarantine/` and
//!   reported, and contents that no mail claims are kept there as well; reading resumes at the next whole frame with the segment's nonce, which no sender
//!   of mail can know. A gap in the sequence tells damage that ends at a page from padding.
//! - **The disk cannot read part of a segment** (EIO). The rest is read page by page, the gap is damage as
//!   above, and what stands there by the index is rescued or told when the segment is reclaimed; its file
//!   is not used again. At the end of the last segment such a gap is damage too, for nobody can say that
//!   nothing stood there.
//! - **A segment is missing.** The list names it, or a gap among the hot ones does. What the index says to
//!   stand in it is lost like a survivor that cannot be read: each mail is told, is listed, and waits for
//!   its outcome. Without an index the commits that are missing are told by their sequences.
//! - **The end of the last segment is missing or damaged** although the index has seen it: what the index
//!   knows was durable, so it is not a torn tail. It is told, and a new segment begins.
//! - **The log is read without an index.** What the history knows as finished is left out: its outcome may
//!   have stood in what is missing. Mails that an index of no use knew, and that neither the log nor the
//!   history has, are named, and that index is kept in `quarantine/`.
//! - **A survivor cannot be read** when its segment is reclaimed. Each record has a checksum of its
//!   own, so its neighbours in the frame are copied all the same; an outcome or a setting is written
//!   again from memory. What is lost is copied to `quarantine/` before the segment goes, and is told
//!   by [`store::Store::take_damaged`]. A mail whose state is lost goes on with the state in its message's
//!   record. A mail whose message is lost stays known, without a place: it is listed, reading it
//!   says [`store::ReadError::Damaged`], and it waits until the caller commits its outcome, so that it
//!   ends in the history and not in nothing. Its events are sent again at every start until then. Only the
//!   index remembers it; a rebuilt index does not know it.
//! - **A write fails.** The pages where its frames begin are overwritten with zeros and synced
//!   before the clients hear of it. If that fails too, as when any sync fails, nothing is known
//!   about the disk: everything is refused from then on ([`store::CommitError::Poisoned`]).
//! - **A process dies and the system lives on**, then the power goes. What was written is read and relied
//!   on, and not durable: the directories are synced before anything is read, and the ends of both lanes
//!   are written once more and synced before the index is told of them.
//! - **A segment is written ahead.** The zeros are synced before a frame goes among them; where they cannot
//!   be written the file is cut off again and another segment begins.
//! - **A segment begins.** The header is written and synced under a free name; then the file is
//!   renamed and the directory synced; only then frames are written. Housekeeping puts it on the list. A
//!   recycled segment's old frames bear another nonce and mean nothing.
//! - **A segment is reclaimed.** Survivors are copied to the cold lane and synced; the index and
//!   the history have everything, synced; it is taken off the list; then the file gets a free name and the directory is
//!   synced; only then may another segment go. After a crash in between two copies of a message
//!   exist; a copy never says more than was known at the hot position in its frame, so later
//!   records of the hot lane win, and the index remembers the other copy until it is gone.
//! - **The history is damaged.** It is set aside and a new one begun, which is told; one that cannot be read for
//!   another reason refuses the opening.
//! - **A thread panics.** Nothing is accepted or delivered any more, as after a failed sync, and all who wait
//!   are told.
//! - **The index cannot be written.** The log goes on and keeps what the index and the history lack, so nothing
//!   is reclaimed. Mail is refused from a bound on ([`store::CommitError::Behind`]); outcomes are taken up to a
//!   higher one, at which all commits wait. It is tried again every second.
//! - **The index lags.** It knows the sequences that it has applied; the frames after them are
//!   replayed. What the history has already is not entered twice.
//! - **Events** ([`store::EventWish`]) are written in the transaction of the history that takes in what they are
//!   about, together with the sequence up to which that was done. A replay of frames below it makes no
//!   events: each change is one event or none, as was wished when it became durable.

mod backup;
mod ballast;
mod body;
mod change;
mod codec;
mod committer;
mod entries;
#[doc(hidden)]
pub mod format;
pub mod index;
mod indexer;
mod keeper;
mod lane;
mod list;
mod options;
mod quarantine;
mod record;
mod replay;
mod segment;
mod shared;
mod spool;
pub mod storage;
mod table;
mod verbs;

pub use change::{Applied, Change, MessageMeta, Place};
pub use codec::DecodeError;
pub use index::{HistoryFound, Index, IndexError, MemoryIndex, SqliteIndex};
pub use options::Options;
pub use replay::{Missing, OpenError, Quarantined, Recovered};
pub use segment::FORMAT_VERSION;
pub use spool::Spool;
pub use storage::{DirStorage, File, OpenDirError, Storage};
