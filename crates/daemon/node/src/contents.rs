//! Contents read back from the queue: each is in memory once, whoever sends it, and all of them within a bound.
//!
//! A large mail to many domains is sent by as many workers at once. They share one copy, which lives as long as
//! one of them uses it. Memory is taken before a content is read; waiting for it is no attempt, and is told as
//! the reason why a mail waits. **Invariant:** who waits for memory holds none, so that everybody gets it in
//! the end; a mail that is larger than all of it goes alone.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use mail::{EnhancedCode, Message, QueueId, Reply};
use store::ReadError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Node;

/// Contents up to this take no memory from the bound: connections bound how many there are.
const SMALL: u64 = 64 << 10;
/// Contents above this have a share of their own, so that they keep nobody else waiting.
const LARGE: u64 = 1 << 20;
/// What memory is counted in.
const UNIT: u64 = 4 << 10;

/// A message that was read back, and the memory that it has taken.
pub struct Lent {
    /// The mail.
    pub message: Arc<Message>,
    _memory: Option<OwnedSemaphorePermit>,
}

/// Why there is no content.
#[derive(Debug, thiserror::Error)]
pub enum NoContent {
    /// The message has no waiting recipient any more.
    #[error("the message is no longer in the queue")]
    Gone,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// Reading it failed in a way that it must not.
    #[error("{0}")]
    Fault(String),
}

impl NoContent {
    /// Whether what is on disk is not what was written, so that the mail cannot be delivered any more.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Unreadable(ReadError::Damaged(_)))
    }
}

/// What is said of a mail whose content is damaged.
pub fn damaged_reply() -> Reply {
    let text = "the message is damaged on the disk of this server and cannot be delivered";
    Reply::own(EnhancedCode::new(5, 3, 0), text)
}

/// The copies that are in use.
type Copies = HashMap<QueueId, Arc<tokio::sync::Mutex<Weak<Lent>>>>;

/// Contents that are read back, once however many want them, and within a bound.
pub struct Contents {
    copies: Mutex<Copies>,
    /// Memory for contents up to [`LARGE`], and for those above, in units.
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    units: (u32, u32),
    /// Mails that wait for memory.
    waiting: Mutex<HashSet<QueueId>>,
    /// One large content at a time is converted for a host: the result is as large again.
    pub converting: Semaphore,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Contents {
    /// With so many octets for contents: a quarter for those up to a megabyte, the rest for larger ones.
    pub(crate) fn new(octets: u64) -> Self {
        let units = |octets: u64| {
            let units = (octets / UNIT).clamp(1, Semaphore::MAX_PERMITS as u64);
            u32::try_from(units).unwrap_or(u32::MAX)
        };
        let (small, large) = (units(octets / 4), units(octets / 4 * 3));
        Self {
            copies: Mutex::new(Copies::new()),
            small: Arc::new(Semaphore::new(small as usize)),
            large: Arc::new(Semaphore::new(large as usize)),
            units: (small, large),
            waiting: Mutex::new(HashSet::new()),
            converting: Semaphore::new(1),
        }
    }

    /// Whether a mail waits for memory.
    pub fn waits(&self, id: QueueId) -> bool {
        lock(&self.waiting).contains(&id)
    }

    /// Whether a content is so large that only one of its kind is converted at a time.
    pub fn is_large(octets: usize) -> bool {
        octets as u64 > LARGE
    }

    /// Takes memory for a content; `None` where it needs none.
    async fn take(&self, id: QueueId, octets: u64) -> Option<OwnedSemaphorePermit> {
        let (memory, all) = match octets {
            0..=SMALL => return None,
            _ if octets <= LARGE => (&self.small, self.units.0),
            _ => (&self.large, self.units.1),
        };
        let units = u32::try_from(octets.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .min(all);
        if let Ok(taken) = Arc::clone(memory).try_acquire_many_owned(units) {
            return Some(taken);
        }
        let _waits = Waits::begin(self, id);
        // Never closed.
        Arc::clone(memory).acquire_many_owned(units).await.ok()
    }

    /// Forgets what nobody uses any more.
    fn sweep(copies: &mut Copies) {
        copies.retain(|_, copy| {
            // One that is locked is being read.
            Arc::strong_count(copy) > 1 || copy.try_lock().is_ok_and(|copy| copy.strong_count() > 0)
        });
    }
}

/// A mail that waits for memory, as long as this lives.
struct Waits<'a>(&'a Contents, QueueId);

impl<'a> Waits<'a> {
    fn begin(contents: &'a Contents, id: QueueId) -> Self {
        lock(&contents.waiting).insert(id);
        Self(contents, id)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

/// The message of this name, read from the queue unless somebody has it.
pub async fn fetch(node: &Arc<Node>, id: QueueId) -> Result<Arc<Lent>, NoContent> {
    let contents = &node.contents;
    let copy = {
        let mut copies = lock(&contents.copies);
        if copies.len() > 64 && copies.len() == copies.capacity() {
            Contents::sweep(&mut copies);
        }
        Arc::clone(copies.entry(id).or_default())
    };
    // Who comes second waits for the first to have read it.
    let mut copy = copy.lock().await;
    if let Some(lent) = copy.upgrade() {
        return Ok(lent);
    }
    let handles = Arc::clone(node);
    let first = blocking(move || look(&handles, id)).await?;
    let (message, memory) = match first {
        Look::Read(message) => (*message, None),
        Look::Size(octets) => {
            let memory = contents.take(id, octets).await;
            let handles = Arc::clone(node);
            let read = blocking(move || Ok(handles.store.read(id)?)).await?;
            (read.ok_or(NoContent::Gone)?, memory)
        }
    };
    let lent = Arc::new(Lent {
        message: Arc::new(message),
        _memory: memory,
    });
    *copy = Arc::downgrade(&lent);
    Ok(lent)
}

/// A message, or what it will take.
enum Look {
    Read(Box<Message>),
    Size(u64),
}

fn look(node: &Node, id: QueueId) -> Result<Look, NoContent> {
    let octets = node.store.size_hint(id)?.ok_or(NoContent::Gone)?;
    if octets > SMALL {
        return Ok(Look::Size(octets));
    }
    let read = node.store.read(id)?;
    read.map(Box::new).map(Look::Read).ok_or(NoContent::Gone)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NoContent> + Send + 'static,
) -> Result<T, NoContent> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(NoContent::Fault(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_shared_fairly_and_a_mail_larger_than_all_of_it_goes_alone() {
        let contents = Arc::new(Contents::new(40 << 20));
        let id = QueueId::from_u64(1);
        assert!(contents.take(id, SMALL).await.is_none(), "it needs none");
        let giant = contents.take(id, 1 << 40).await;
        // While it goes, no other large one does, and small ones do.
        let second = QueueId::from_u64(2);
        let others = Arc::clone(&contents);
        let waiting = tokio::spawn(async move { others.take(second, 20 << 20).await.is_some() });
        while !contents.waits(second) {
            tokio::task::yield_now().await;
        }
        assert!(contents.take(id, LARGE).await.is_some());
        drop(giant);
        assert!(waiting.await.expect("no panic"));
        assert!(!contents.waits(second));
    }
}
