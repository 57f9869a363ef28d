//! The list of the segments that must be there.
//!
//! Hot segments follow each other, so a gap among them shows; a cold one that is gone, or the last hot
//! one, shows only by this list. It never names a segment that may be gone in order: one is put on it
//! after its name is durable, and taken off before its file is given away. A segment that is not on it is
//! no damage.
//!
//! The file holds two copies, written in place by turns, so that changing it needs no room on a full
//! disk, and a write that is cut off leaves the other one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::codec::{DecodeError, Reader, put_varint};
use crate::segment::{Lane, PAGE};
use crate::storage::{File, Storage, read_around};

/// Its name.
pub(crate) const NAME: &str = "segments";

/// Octets of one copy; what does not fit is not listed, the oldest first.
const COPY: usize = 32 << 10;
const MAGIC: &[u8; 8] = b"SoSegs\n\x01";
/// Magic, turn, spool, length, checksum.
const HEAD: usize = 8 + 8 + 8 + 4 + 4;

/// Segments by number: their lane and the sequence of their first frame.
pub(crate) type Listed = BTreeMap<u32, (Lane, u64)>;

/// The file, and what its last copy says.
pub(crate) struct SegmentList {
    pub(crate) spool: u64,
    file: Arc<dyn File>,
    turn: u64,
    pub(crate) listed: Listed,
}

impl SegmentList {
    /// What the disk holds; `None` when there is no list, or none of this spool that can be read. Without a
    /// segment that tells which spool it is, the list does.
    pub(crate) fn open(storage: &dyn Storage, spool: Option<u64>) -> io::Result<Option<Self>> {
        let file = match storage.open(NAME) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let bytes = read_around(&*file, 0, 2 * COPY)?.bytes;
        let copies = bytes.chunks(COPY).filter_map(decode);
        let own = copies.filter(|(_, of, _)| spool.is_none_or(|spool| spool == *of));
        let last = own.max_by_key(|(turn, ..)| *turn);
        Ok(last.map(|(turn, spool, listed)| Self {
            spool,
            file,
            turn,
            listed,
        }))
    }

    /// An empty one in the place of what is there, durable on return.
    pub(crate) fn create(storage: &dyn Storage, spool: u64) -> io::Result<Self> {
        let file = storage.create(NAME)?;
        let made = file
            .write_at(&vec![0; 2 * COPY], 0)
            .and_then(|()| file.sync())
            .and_then(|()| storage.sync_dir(""));
        if let Err(e) = made {
            drop(storage.remove(NAME));
            return Err(e);
        }
        Ok(Self {
            spool,
            file,
            turn: 0,
            listed: Listed::new(),
        })
    }

    /// Writes `listed` down, without syncing it.
    pub(crate) fn write(&mut self, listed: Listed) -> io::Result<()> {
        let copy = encode(self.turn + 1, self.spool, &listed);
        let at = (self.turn + 1) % 2 * COPY as u64;
        self.file.write_at(&copy, at)?;
        self.turn += 1;
        self.listed = listed;
        Ok(())
    }

    /// Makes durable what was written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn encode(turn: u64, spool: u64, listed: &Listed) -> Vec<u8> {
    let mut payload = Vec::new();
    for (number, (lane, first)) in listed.iter().rev() {
        let mut one = Vec::new();
        put_varint(&mut one, u64::from(*number));
        put_varint(&mut one, first << 1 | u64::from(*lane == Lane::Cold));
        if HEAD + payload.len() + one.len() > COPY {
            break;
        }
        payload.append(&mut one);
    }
    let mut copy = Vec::with_capacity(COPY);
    copy.extend_from_slice(MAGIC);
    copy.extend_from_slice(&turn.to_le_bytes());
    copy.extend_from_slice(&spool.to_le_bytes());
    copy.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&copy), &payload);
    copy.extend_from_slice(&crc.to_le_bytes());
    copy.append(&mut payload);
    copy.resize(copy.len().next_multiple_of(PAGE), 0);
    copy
}

/// The turn, the spool and the segments of a copy that is whole.
fn decode(copy: &[u8]) -> Option<(u64, u64, Listed)> {
    let mut reader = Reader::new(copy);
    let magic = reader.take(8).ok()?;
    let (turn, spool) = (reader.u64().ok()?, reader.u64().ok()?);
    let len = reader.u32().ok()? as usize;
    let crc = reader.u32().ok()?;
    let payload = reader.take(len).ok()?;
    let head = copy.get(..HEAD - 4)?;
    let whole = crc32c::crc32c_append(crc32c::crc32c(head), payload) == crc;
    if magic != MAGIC || !whole {
        return None;
    }
    Some((turn, spool, entries(payload).ok()?))
}

fn entries(payload: &[u8]) -> Result<Listed, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut listed = Listed::new();
    while !reader.is_empty() {
        let number = reader.varint_u32()?;
        let first = reader.varint()?;
        let lane = match first & 1 {
            0 => Lane::Hot,
            _ => Lane::Cold,
        };
        listed.insert(number, (lane, first >> 1));
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_does_not_fit_names_the_newest() {
        let all: Listed = (1..=20_000)
            .map(|n| (n, (Lane::Hot, u64::from(n) * 1000)))
            .collect();
        let copy = encode(7, 9, &all);
        assert!(copy.len() <= COPY);
        let (turn, spool, read) = decode(&copy).unwrap_or_default();
        assert_eq!((turn, spool), (7, 9));
        assert!(read.len() > 4000 && read.contains_key(&20_000) && !read.contains_key(&1));
        assert!(read.iter().all(|(n, entry)| all.get(n) == Some(entry)));
    }
}
