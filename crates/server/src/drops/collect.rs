//! The server's task that takes drops: those that are there at its start, those that come, and
//! those that could not be taken before.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use intake::{Submission, Wanted};
use mail::{Reply, Timestamp};
use net::Holder;
use rustix::fs::inotify;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::WHOLE;
use super::directory::{CLAIMED, Directory, Taken, Unread};
use super::returned::{Told, give_back};
use super::submit::{Submit, submit};
use crate::hand_in::hand_in;
use crate::shared::Shared;

/// The directory is opened and looked through anew this often: should it have been replaced, or a
/// change have gone unseen.
const RENEWED: Duration = Duration::from_secs(60);
/// How soon what could not be taken is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Drops taken at once, so that their commits become one.
const AT_ONCE: usize = 16;
/// Recipients of one message. Never a setting: how a drop is cut must be the same at every try.
const PART: usize = 1000;
/// Content of drops below this size needs no memory of the share.
const SMALL: u64 = 1 << 20;
/// How long a drop waits for memory before others have its turn.
const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// What has been said about the directory and the watch on it, among what was said about files,
/// whose names have no slash.
const DIRECTORY: &str = "/";
const WATCH: &str = "/watch";

/// Makes the directory where it is not there, so that programs find it from the start on.
pub(crate) fn prepare(shared: &Shared) {
    if let Some(path) = &shared.settings().config.sendmail.drop_dir {
        // What is wrong with it is told when it is looked into.
        drop(Directory::open(path));
    }
}

/// Takes drops until the server stops.
pub(crate) async fn collect(shared: Arc<Shared>) {
    let mut told = HashMap::new();
    let watch = Watch::start();
    while !shared.stopping.is_cancelled() {
        let until = Instant::now() + RENEWED;
        let path = shared.settings().config.sendmail.drop_dir.clone();
        if let Some(path) = path {
            match Directory::open(&path) {
                Ok(directory) => {
                    let watched = match &watch {
                        Ok(watch) => watch.add(&path).map(|()| &*watch.seen),
                        Err(error) => Err(error.kind().into()),
                    };
                    look_after(&shared, Arc::new(directory), watched, &mut told, until).await;
                }
                Err(error) => {
                    let why = format!("opening the drop directory {}: {error}", path.display());
                    complain(&shared, &mut told, DIRECTORY, &why);
                }
            }
        }
        tokio::select! {
            () = sleep_until(until) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
}

/// Says what is wrong with the directory, once as long as it stays so.
fn complain(shared: &Shared, told: &mut HashMap<String, String>, about: &str, why: &str) {
    if told.insert(about.to_owned(), why.to_owned()).as_deref() != Some(why) {
        let line = shared.journal.line(net::now(), "warning");
        line.field("what", why).send();
    }
}

/// Takes what is in the directory and what comes, for a while.
async fn look_after(
    shared: &Arc<Shared>,
    directory: Arc<Directory>,
    watched: io::Result<&Notify>,
    told: &mut HashMap<String, String>,
    until: Instant,
) {
    match directory.trouble() {
        Ok(Some(why)) => complain(shared, told, DIRECTORY, &why),
        Ok(None) => drop(told.remove(DIRECTORY)),
        Err(error) => complain(shared, told, DIRECTORY, &error.to_string()),
    }
    if let Err(error) = &watched {
        let why = format!("the drop directory cannot be watched, and is looked at: {error}");
        complain(shared, told, WATCH, &why);
    }
    while !shared.stopping.is_cancelled() && Instant::now() < until {
        let waiting = take_all(shared, &directory, told).await;
        let again = match (waiting, &watched) {
            (false, Ok(_)) => until,
            (true, _) | (_, Err(_)) => until.min(Instant::now() + AGAIN),
        };
        let seen = async {
            match &watched {
                Ok(seen) => seen.notified().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = seen => {}
            () = sleep_until(again) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
}

/// Names that appear in the directory: a thread waits for them as long as the server runs.
struct Watch {
    inotify: Arc<OwnedFd>,
    seen: Arc<Notify>,
}

impl Watch {
    fn start() -> io::Result<Self> {
        let inotify = Arc::new(inotify::init(inotify::CreateFlags::CLOEXEC)?);
        let seen = Arc::new(Notify::new());
        let (fd, waker) = (Arc::clone(&inotify), Arc::clone(&seen));
        let wait = move || {
            let mut buffer = [0u8; 4096];
            // What has come, the next look shows.
            while rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut buffer)).is_ok() {
                waker.notify_one();
            }
        };
        std::thread::Builder::new()
            .name("drops".to_owned())
            .spawn(wait)?;
        Ok(Self { inotify, seen })
    }

    /// Watches a directory; without effect on one that is watched already.
    fn add(&self, path: &Path) -> io::Result<()> {
        inotify::add_watch(&self.inotify, path, inotify::WatchFlags::MOVED_TO)?;
        Ok(())
    }
}

/// What came of one file.
enum Came {
    /// It is in the queue, back with its sender, or put aside; or was gone.
    Done,
    /// It stays for now.
    Later(String),
}

/// Takes all that is there; whether something has to be tried again.
async fn take_all(
    shared: &Arc<Shared>,
    directory: &Arc<Directory>,
    told: &mut HashMap<String, String>,
) -> bool {
    let (names, strange) = match directory.list(net::now()) {
        Ok(found) => found,
        Err(error) => {
            complain(
                shared,
                told,
                DIRECTORY,
                &format!("the drop directory: {error}"),
            );
            return true;
        }
    };
    let is_there =
        |name: &String| name.starts_with('/') || names.contains(name) || strange.contains(name);
    told.retain(|name, _| is_there(name));
    for name in strange {
        let why = "it has no business in the drop directory";
        if let Came::Later(why) = put_aside(shared, directory, &name, why) {
            wait(shared, told, name, why);
        }
    }
    let mut names = names.into_iter();
    let mut taking = JoinSet::new();
    let mut later = false;
    loop {
        while taking.len() < AT_ONCE && !shared.stopping.is_cancelled() {
            let Some(name) = names.next() else { break };
            let (shared, directory) = (Arc::clone(shared), Arc::clone(directory));
            taking.spawn(async move {
                let came = take(&shared, &directory, &name).await;
                (name, came)
            });
        }
        match taking.join_next().await {
            None => return later,
            Some(Ok((_, Came::Done))) => {}
            Some(Ok((name, Came::Later(why)))) => {
                later = true;
                wait(shared, told, name, why);
            }
            Some(Err(_)) => later = true,
        }
    }
}

fn id_of(name: &str) -> &str {
    let plain = name.strip_prefix(CLAIMED).unwrap_or(name);
    plain.strip_suffix(WHOLE).unwrap_or(plain)
}

fn log(shared: &Shared, name: &str, what: &str) {
    let line = shared.journal.line(net::now(), "drop");
    line.field("drop", id_of(name)).field("what", what).send();
}

/// Says that a file stays and why, once as long as that is so.
fn wait(shared: &Shared, told: &mut HashMap<String, String>, name: String, why: String) {
    if told.get(&name) != Some(&why) {
        log(shared, &name, &format!("waits: {why}"));
        told.insert(name, why);
    }
}

/// Keeps what can neither be taken nor given back, and says so.
fn put_aside(shared: &Shared, directory: &Directory, name: &str, why: &str) -> Came {
    match directory.refuse(name) {
        Ok(path) => {
            log(
                shared,
                name,
                &format!("put aside as {}: {why}", path.display()),
            );
            Came::Done
        }
        Err(error) => Came::Later(format!("{why}; and it cannot be put aside: {error}")),
    }
}

async fn take(shared: &Arc<Shared>, directory: &Arc<Directory>, name: &str) -> Came {
    // What cannot be removed would be taken again when its token is forgotten.
    let claimed = match directory.claim(name) {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return Came::Done,
        Err(error) => {
            return Came::Later(format!(
                "it could not be removed afterwards, so it is not taken: {error}. Look at the permissions of the \
                 drop directory and of this file (lsattr)"
            ));
        }
    };
    take_claimed(shared, directory, &claimed).await
}

async fn take_claimed(shared: &Arc<Shared>, directory: &Arc<Directory>, name: &str) -> Came {
    let settings = shared.settings();
    let max = settings.policy.limits.message_size;
    let Some((owner, size)) = directory.stat(name) else {
        return Came::Done;
    };
    let holders = vec![Holder::Local(owner), Holder::Locals];
    let mut memory = shared.memory.hold(holders);
    if size > SMALL && !memory.resize(size >> 20, MEMORY_WAIT).await {
        return Came::Later("too much mail is being received at once".to_owned());
    }
    let read = {
        let (directory, name) = (Arc::clone(directory), name.to_owned());
        tokio::task::spawn_blocking(move || directory.read(&name, max)).await
    };
    let taken = match read {
        Ok(Ok(taken)) => taken,
        Ok(Err(Unread::Gone)) => return Came::Done,
        Ok(Err(Unread::Later(error))) => return Came::Later(error.to_string()),
        Ok(Err(Unread::Bad(bad))) => return put_aside(shared, directory, name, &bad.to_string()),
        Err(error) => return Came::Later(error.to_string()),
    };
    match submit(&settings.config, &taken) {
        Ok(ready) => queue(shared, directory, name, &taken, ready).await,
        Err(why) => put_aside(shared, directory, name, &why),
    }
}

/// Hands a drop in, gives back what of it is refused, and removes it when that is durable. One with
/// many recipients becomes several messages, cut the same way at every try: a part is known by its number.
async fn queue(
    shared: &Arc<Shared>,
    directory: &Arc<Directory>,
    name: &str,
    taken: &Taken,
    ready: Submit,
) -> Came {
    // The owner is part of it: nobody can take another's token, whatever his file says.
    let whole = format!("drop:{}:{}", taken.owner, taken.drop.id);
    let mut untold = None;
    for (recipients, number) in ready.submission.recipients.chunks(PART).zip(0u32..) {
        let part = Part {
            submission: Submission {
                body_type: mail::BodyType::SevenBit,
                recipients: recipients.to_vec(),
                ..ready.submission.clone()
            },
            refusal: ready.refusal.clone(),
            token: match number {
                0 => whole.clone(),
                number => format!("{whole}:{number}"),
            },
            written: Timestamp::from_millis(taken.drop.written),
        };
        match part.hand_in(shared, name).await {
            Ok(None) => {}
            Ok(Some(why)) => untold = Some(why),
            Err(later) => return Came::Later(later),
        }
    }
    if let Some(why) = untold {
        return put_aside(shared, directory, name, &why);
    }
    match directory.remove(name) {
        Ok(()) => Came::Done,
        Err(error) => Came::Later(format!("it is taken, and cannot be removed: {error}")),
    }
}

/// What of a drop becomes one message.
struct Part {
    submission: Submission,
    refusal: Option<Reply>,
    token: String,
    written: Timestamp,
}

impl Part {
    /// Hands it in, and gives back what is refused. `Ok` is done, perhaps with what its sender
    /// could not be told; an error is why it has to wait.
    async fn hand_in(self, shared: &Arc<Shared>, name: &str) -> Result<Option<String>, String> {
        let wanted = &self.submission.recipients;
        let result = match self.refusal.clone() {
            Some(reply) => Err(reply),
            None => hand_in(shared, self.submission.clone(), Some(self.token.clone())).await,
        };
        let (id, failed) = match result {
            Ok(handed_in) => {
                // A crash may have come before those who were refused were given back.
                let results = wanted.iter().cloned().zip(handed_in.recipients);
                let failed = results.filter_map(|(to, result)| Some((to, result.err()?)));
                (
                    Some((handed_in.id, handed_in.duplicate)),
                    failed.collect::<Vec<_>>(),
                )
            }
            Err(reply) if reply.is_permanent() => {
                let everybody = wanted.iter().cloned();
                (None, everybody.map(|to| (to, reply.clone())).collect())
            }
            Err(reply) => return Err(reply.to_string()),
        };
        if let Some((id, duplicate)) = id {
            let what = match duplicate {
                true => "was in the queue already",
                false => "taken",
            };
            let line = shared.journal.line(net::now(), "drop");
            let line = line.field("drop", id_of(name)).field("id", id);
            line.field("what", what).send();
        }
        match failed.is_empty() {
            true => Ok(None),
            false => self.give_back(shared, name, failed).await,
        }
    }

    async fn give_back(
        self,
        shared: &Arc<Shared>,
        name: &str,
        failed: Vec<(Wanted, Reply)>,
    ) -> Result<Option<String>, String> {
        let reason = failed.first().map(|(_, reply)| reply.to_string());
        let reason = reason.unwrap_or_default();
        let handles = Arc::clone(shared);
        let told = tokio::task::spawn_blocking(move || {
            let token = format!("{}:returned", self.token);
            give_back(&handles, &self.submission, &failed, self.written, &token)
        });
        match told.await {
            Ok(Told::Yes) => {
                log(shared, name, &format!("given back to its sender: {reason}"));
                Ok(None)
            }
            Ok(Told::Nobody) => Ok(Some(format!("{reason}; and there is nobody to tell"))),
            Ok(Told::Later(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    }
}
