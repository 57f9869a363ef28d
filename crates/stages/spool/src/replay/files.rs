//! Finding the segments in the directory, and setting aside what is damaged.

use std::sync::Arc;

use mail::QueueId;

use super::{OpenError, Quarantined, Replay, io_error};
use crate::body;
use crate::quarantine::{self, QUARANTINE_DIR};
use crate::segment::{FORMAT_VERSION, HeaderCheck, Lane, PAGE, SegmentHeader};
use crate::shared::Ready;
use crate::storage::{File, read_around};
use crate::table::Segment;

/// The free segments, longer ones later, and the highest number that one of them bears.
pub(super) type Free = (Vec<Ready>, u64);

impl Replay<'_> {
    /// Opens every file that is named like a segment; returns the free ones.
    pub(super) fn open_segments(&mut self) -> Result<Free, OpenError> {
        let mut free = Vec::new();
        let mut last_free = 0;
        let names = self
            .storage
            .list("")
            .map_err(io_error("list the segments"))?;
        for name in names {
            let Some((kind, number)) = name.strip_suffix(".seg").and_then(|n| n.split_once('-'))
            else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            let file = self
                .storage
                .open(&name)
                .map_err(io_error("open a segment"))?;
            let len = file.len().map_err(io_error("measure a segment"))?;
            match kind {
                "hot" => self.open_segment(name, number, Lane::Hot, file)?,
                "cold" => self.open_segment(name, number, Lane::Cold, file)?,
                "free" => {
                    last_free = last_free.max(number);
                    // One that was cut off in the making, or is larger than is wanted today.
                    let least = self.options.first_step() as u64;
                    let size = u64::from(self.options.segment_bytes);
                    if (least..=size).contains(&len) {
                        free.push(Ready::new(name, file));
                    } else {
                        drop(file);
                        self.storage
                            .remove(&name)
                            .map_err(io_error("remove a segment"))?;
                    }
                }
                _ => {}
            }
        }
        free.sort_by_key(|ready| ready.len);
        Ok((free, last_free))
    }

    fn open_segment(
        &mut self,
        name: String,
        number: u64,
        lane: Lane,
        file: Arc<dyn File>,
    ) -> Result<(), OpenError> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.last_number = self.last_number.max(number);
        let read = read_around(&*file, 0, 2 * PAGE).map_err(io_error("read a segment"))?;
        let (page, unreadable) = (read.bytes, !read.unreadable.is_empty());
        let header = match SegmentHeader::check(&page) {
            HeaderCheck::Good(header) if (header.number, header.lane) == (number, lane) => header,
            HeaderCheck::Newer(version) => {
                return Err(OpenError::Newer {
                    file: name,
                    version,
                    known: FORMAT_VERSION,
                });
            }
            HeaderCheck::Good(_) | HeaderCheck::Bad => {
                let spool = self
                    .table
                    .segments
                    .values()
                    .next()
                    .map_or(0, |s| s.header.spool);
                self.quarantine(&name, &page, (0, PAGE), unreadable)?;
                let salvaged = SegmentHeader::salvage(&page, lane, number, spool);
                let Some(header) = salvaged else {
                    self.set_aside.insert(number);
                    return self.set_whole_aside(&name, &file);
                };
                header
            }
        };
        let used = file.len().map_err(io_error("measure a segment"))?;
        let segment = Segment {
            header,
            file,
            live_records: 0,
            live_bytes: 0,
            used: u32::try_from(used).unwrap_or(u32::MAX),
            last: header.first.saturating_sub(1),
            unreadable,
            miscounted: false,
        };
        self.table.segments.insert(number, segment);
        Ok(())
    }

    /// A segment of which nothing can be read goes to the quarantine whole.
    fn set_whole_aside(&mut self, name: &str, file: &Arc<dyn File>) -> Result<(), OpenError> {
        let to = format!("{QUARANTINE_DIR}/{name}");
        let moved = self.storage.rename(name, &to);
        let synced = moved.and_then(|()| self.storage.sync_dir(QUARANTINE_DIR));
        synced
            .and_then(|()| self.storage.sync_dir(""))
            .map_err(io_error("set a damaged segment aside"))?;
        self.recovered.quarantined.push(Quarantined {
            file: to,
            segment: name.to_owned(),
            from: 0,
            to: file.len().unwrap_or_default(),
            unreadable: false,
        });
        Ok(())
    }

    /// Removes contents that no mail claims, or keeps them where the mail may be lost.
    pub(super) fn clear_orphan_bodies(&mut self) -> Result<(), OpenError> {
        let names = self
            .storage
            .list(body::DIR)
            .map_err(io_error("list the contents"))?;
        let is_orphan = |id: &QueueId| !self.table.body_files.contains(id);
        let orphans: Vec<QueueId> = names
            .iter()
            .filter_map(|name| body::owner(name))
            .filter(is_orphan)
            .collect();
        if !orphans.is_empty() && (!self.recovered.missing.is_empty() || self.has_damage()?) {
            self.keep_orphan_bodies(&orphans)?;
        } else {
            for id in orphans {
                let failed = io_error("remove a content that belongs to no mail");
                self.storage.remove(&body::file_name(id)).map_err(failed)?;
            }
        }
        self.table.dead_files.clear();
        Ok(())
    }

    /// Whether parts of the log are in the quarantine, from now or from earlier.
    fn has_damage(&self) -> Result<bool, OpenError> {
        let kept = self.storage.list(QUARANTINE_DIR);
        let kept = kept.map_err(io_error("list the quarantine"))?;
        Ok(kept.iter().any(|name| name.contains(".seg")))
    }

    /// A content that no mail claims may belong to one whose record is damaged.
    fn keep_orphan_bodies(&mut self, orphans: &[QueueId]) -> Result<(), OpenError> {
        let failed = io_error("set aside a content that belongs to no mail");
        let found_now =
            !self.recovered.quarantined.is_empty() || !self.recovered.missing.is_empty();
        for id in orphans {
            let (from, to) = (body::file_name(*id), body::quarantine_name(*id));
            self.storage.rename(&from, &to).map_err(&failed)?;
            // One that turns up after old damage is as a rule a mail that was never accepted.
            if found_now {
                let file = self.storage.open(&to).map_err(&failed)?;
                self.recovered.quarantined.push(Quarantined {
                    file: to,
                    segment: from,
                    from: 0,
                    to: file.len().unwrap_or_default(),
                    unreadable: false,
                });
            }
        }
        self.storage
            .sync_dir(QUARANTINE_DIR)
            .and_then(|()| self.storage.sync_dir(body::DIR))
            .map_err(failed)
    }

    pub(super) fn quarantine(
        &mut self,
        name: &str,
        bytes: &[u8],
        (from, to): (usize, usize),
        unreadable: bool,
    ) -> Result<(), OpenError> {
        if from >= to {
            return Ok(());
        }
        let file_name = quarantine::file_name(name, from, to);
        let bytes = bytes.get(from..to.min(bytes.len())).unwrap_or_default();
        if self.storage.open(&file_name).is_ok() {
            // Told when it was found.
            return Ok(());
        }
        quarantine::keep(self.storage, &file_name, bytes)
            .map_err(io_error("copy a damaged part of the log to the quarantine"))?;
        self.recovered.quarantined.push(Quarantined {
            file: file_name,
            segment: name.to_owned(),
            from: from as u64,
            to: to as u64,
            unreadable,
        });
        Ok(())
    }
}
