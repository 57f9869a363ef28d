//! Names that appear in the drop directory, as the system tells them.
//!
//! Only what appears is looked at: listing the directory at each mail would let anybody make each mail as dear as there
//! are files in it.

use parking_lot::Mutex;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, ReadFlags};
use tokio::sync::Notify;

/// Names kept for whoever looks; with more the directory is listed.
const NAMES_MAX: usize = 10_000;

/// What has appeared.
#[derive(Debug, Default)]
pub struct Seen {
    names: Mutex<Vec<String>>,
    /// Names were lost, or there are too many.
    is_partial: AtomicBool,
    came: Notify,
}

impl Seen {
    /// Waits until something has appeared.
    pub async fn wait(&self) {
        self.came.notified().await;
    }

    /// The names that have appeared; `None`: the directory has to be listed.
    pub fn take(&self) -> Option<Vec<String>> {
        let mut names = self.names.lock();
        let names = std::mem::take(&mut *names);
        match self.is_partial.swap(false, Ordering::AcqRel) {
            true => None,
            false => Some(names),
        }
    }

    fn add(&self, name: Option<String>) {
        let mut names = self.names.lock();
        match name {
            Some(name) if names.len() < NAMES_MAX => names.push(name),
            Some(_) | None => self.is_partial.store(true, Ordering::Release),
        }
        drop(names);
        self.came.notify_one();
    }
}

/// A thread waits for names as long as the server runs.
pub struct Watch {
    inotify: Arc<OwnedFd>,
    /// What has appeared.
    pub seen: Arc<Seen>,
}

impl Watch {
    /// Begins to watch, nothing yet; on a thread of its own.
    ///
    /// # Errors
    /// When the system gives no watch, or no thread.
    pub fn start() -> io::Result<Self> {
        let inotify = Arc::new(inotify::init(inotify::CreateFlags::CLOEXEC)?);
        let seen = Arc::new(Seen::default());
        let (fd, told) = (Arc::clone(&inotify), Arc::clone(&seen));
        let wait = move || {
            let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
            let mut events = inotify::Reader::new(&*fd, &mut buffer);
            loop {
                let event = match events.next() {
                    Ok(event) => event,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(_) => return told.add(None),
                };
                if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    told.add(None);
                } else if let Some(name) = event.file_name() {
                    told.add(Some(name.to_string_lossy().into_owned()));
                }
            }
        };
        std::thread::Builder::new()
            .name("drops".to_owned())
            .spawn(wait)?;
        Ok(Self { inotify, seen })
    }

    /// Watches a directory; without effect on one that is watched already.
    pub fn add(&self, path: &Path) -> io::Result<()> {
        inotify::add_watch(&self.inotify, path, inotify::WatchFlags::MOVED_TO)?;
        Ok(())
    }
}
