//! A consistent copy of the queue while it takes and delivers mail.
//!
//! Reclaiming rests meanwhile, so that no file is given away or removed: what is committed below the end
//! that was seen at one instant is never written again, and is copied as it stands. The history is copied
//! before that instant: what it lacks then is in the log. The index is not copied; it is rebuilt.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use mail::QueueId;
use store::{BackedUp, BackupError, StoreError};

use crate::body;
use crate::lane::segment_name;
use crate::list::{Listed, SegmentList};
use crate::segment::Lane;
use crate::shared::lock;
use crate::spool::Spool;
use crate::storage::{DirStorage, File, Storage, read_around};

const CHUNK: usize = 1 << 20;

/// What is to be copied, as of one instant.
struct Snapshot {
    segments: BTreeMap<u32, (Lane, u64, Arc<dyn File>, usize)>,
    bodies: Vec<QueueId>,
    waiting: u64,
}

impl Spool {
    /// Copies the queue into the empty directory `to`, which is made where it is not there; durable on return.
    /// Mail is taken and delivered meanwhile; what was accepted before the call is in the copy. Blocks for as
    /// long as it takes to copy, and files that could be given back stay until then.
    ///
    /// # Errors
    /// When the directory is not empty, or the disk refuses.
    pub fn backup(&self, to: &Path) -> Result<BackedUp, BackupError> {
        let target = DirStorage::open(to).map_err(|e| BackupError::Directory(e.to_string()))?;
        let failed = |file: &str| {
            let file = file.to_owned();
            move |source| BackupError::Io { file, source }
        };
        let there = target.list("").map_err(failed("the list of files"))?;
        if there.iter().any(|name| name != "lock") {
            return Err(BackupError::NotEmpty(to.display().to_string()));
        }
        // Held to the end: nothing that is copied may be given away.
        let _rest = lock(&self.shared.reclaiming);
        self.flush_index().map_err(StoreError::from)?;
        let copied = self.shared.index.copy_history(to);
        copied.map_err(StoreError::from)?;
        let snapshot = self.snapshot();
        let mut done = BackedUp {
            waiting: snapshot.waiting,
            ..BackedUp::default()
        };
        let mut listed = Listed::new();
        for (number, (lane, first, file, used)) in &snapshot.segments {
            let name = segment_name(*lane, *number);
            copy(&**file, *used as u64, &target, &name, &mut done).map_err(failed(&name))?;
            listed.insert(*number, (*lane, *first));
        }
        for id in &snapshot.bodies {
            let name = body::file_name(*id);
            let copied = self.shared.storage.open(&name).and_then(|file| {
                let len = file.len()?;
                copy(&*file, len, &target, &name, &mut done)
            });
            match copied {
                // One whose mail was found lost meanwhile is in the quarantine.
                Err(e) if e.kind() == io::ErrorKind::NotFound => done.unreadable.push(name),
                copied => copied.map_err(failed(&name))?,
            }
        }
        let name = crate::list::NAME;
        let mut list = SegmentList::create(&target, self.shared.spool_id).map_err(failed(name))?;
        let written = list.write(listed);
        written.and_then(|()| list.sync()).map_err(failed(name))?;
        for dir in [body::DIR, ""] {
            target.sync_dir(dir).map_err(failed("the directory"))?;
        }
        Ok(done)
    }

    fn snapshot(&self) -> Snapshot {
        let table = lock(&self.shared.table);
        let segments = table.segments.iter();
        Snapshot {
            segments: segments
                .map(|(number, s)| {
                    let header = &s.header;
                    let file = Arc::clone(&s.file);
                    (*number, (header.lane, header.first, file, s.used as usize))
                })
                .collect(),
            bodies: table.body_files.iter().copied().collect(),
            waiting: table.waiting(),
        }
    }
}

/// Copies the first `len` octets of a file.
fn copy(
    from: &dyn File,
    len: u64,
    target: &DirStorage,
    name: &str,
    done: &mut BackedUp,
) -> io::Result<()> {
    let to = target.create(name)?;
    let mut at = 0;
    while at < len {
        let wanted = usize::try_from(len - at).unwrap_or(CHUNK).min(CHUNK);
        let read = read_around(from, at, wanted)?;
        if read.bytes.is_empty() {
            break;
        }
        let gaps = read.unreadable.iter();
        let told = gaps.map(|(offset, _)| format!("{name} at octet {}", at + *offset as u64));
        done.unreadable.extend(told);
        to.write_at(&read.bytes, at)?;
        at += read.bytes.len() as u64;
    }
    done.bytes += at;
    to.sync()
}
