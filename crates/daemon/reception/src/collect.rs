//! The server's task that takes drops: those that are there at its start, those that come, and
//! those that could not be taken before.

mod returned;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use drops::{
    CLAIMED, Directory, Line, Seen, Submit, Taken, Unread, WHOLE, Waiting, Watch, check, plain,
    submit,
};
use intake::{Submission, Wanted};
use mail::{Reply, Timestamp};
use net::Holder;
use node::Node;
use node::hand_in::hand_in;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use returned::{Told, give_back};

use crate::Reception;

/// The directory is opened and looked through anew this often: should it have been replaced, or a
/// change have gone unseen.
const RENEWED: Duration = Duration::from_secs(60);
/// How soon what could not be taken is tried again.
const AGAIN: Duration = Duration::from_secs(5);
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
const STRANGE: &str = "/strange";

/// Things without business in the directory that are named in the log at one look; of more there is a count.
const STRANGE_TOLD: usize = 10;

/// Makes the directory where it is not there, so that programs find it from the start on.
pub fn prepare(node: &Node) {
    if let Some(path) = &node.settings().config.sendmail.drop_dir {
        // What is wrong with it is told when it is looked into.
        drop(Directory::open(path));
    }
}

/// Takes drops until the server stops.
pub async fn collect(reception: Arc<Reception>) {
    let mut told = HashMap::new();
    let watch = Watch::start();
    while !reception.node.stopping.is_cancelled() {
        let until = Instant::now() + RENEWED;
        let path = reception.node.settings().config.sendmail.drop_dir.clone();
        if let Some(path) = path {
            match Directory::open(&path) {
                Ok(directory) => {
                    let watched = match &watch {
                        Ok(watch) => watch.add(&path).map(|()| &*watch.seen),
                        Err(error) => Err(error.kind().into()),
                    };
                    look_after(&reception, Arc::new(directory), watched, &mut told, until).await;
                }
                Err(error) => {
                    let why = format!("opening the drop directory {}: {error}", path.display());
                    complain(&reception.node, &mut told, DIRECTORY, &why);
                }
            }
        }
        tokio::select! {
            () = sleep_until(until) => {}
            () = reception.node.stopping.cancelled() => {}
        }
    }
}

/// Says what is wrong with the directory, once as long as it stays so.
fn complain(node: &Node, told: &mut HashMap<String, String>, about: &str, why: &str) {
    if told.insert(about.to_owned(), why.to_owned()).as_deref() != Some(why) {
        let line = node.journal.line(node.now(), "warning");
        line.field("what", why).send();
    }
}

/// Takes what is in the directory and what comes, for a while.
async fn look_after(
    reception: &Arc<Reception>,
    directory: Arc<Directory>,
    watched: io::Result<&Seen>,
    told: &mut HashMap<String, String>,
    until: Instant,
) {
    match directory.trouble() {
        Ok(Some(why)) => complain(&reception.node, told, DIRECTORY, &why),
        Ok(None) => drop(told.remove(DIRECTORY)),
        Err(error) => complain(&reception.node, told, DIRECTORY, &error.to_string()),
    }
    if let Err(error) = &watched {
        let why =
            format!("the drop directory cannot be watched, so it is checked at intervals: {error}");
        complain(&reception.node, told, WATCH, &why);
    }
    let mut line = Line::default();
    let mut taking = JoinSet::new();
    // Those that are to be tried again, by their plain names: what is heard of them before comes from us.
    let mut later: HashMap<String, String> = HashMap::new();
    let mut list_at = Instant::now();
    loop {
        let is_over = reception.node.stopping.is_cancelled() || Instant::now() >= until;
        if is_over && taking.is_empty() {
            return;
        }
        if !is_over && Instant::now() >= list_at {
            list(&reception.node, &directory, told, &mut line).await;
            later.clear();
            list_at = match &watched {
                Ok(_) => until,
                Err(_) => until.min(Instant::now() + AGAIN),
            };
        }
        while !is_over && let Some(waiting) = line.take_next() {
            let (reception, directory) = (Arc::clone(reception), Arc::clone(&directory));
            taking.spawn(async move {
                let came = take(&reception.node, &directory, &waiting.name).await;
                (waiting, came)
            });
        }
        let again = match later.is_empty() {
            true => list_at,
            false => list_at.min(Instant::now() + AGAIN),
        };
        tokio::select! {
            Some(done) = taking.join_next() => match done {
                Ok((waiting, Came::Done)) => line.done(&waiting),
                Ok((waiting, Came::Later(why))) => {
                    line.done(&waiting);
                    wait(&reception.node, told, waiting.name.clone(), why);
                    later.insert(plain(&waiting.name).to_owned(), waiting.name);
                }
                // Which one it was is not known; a look at all finds it.
                Err(_) => {
                    line = Line::default();
                    list_at = Instant::now() + AGAIN;
                }
            },
            seen = appeared(&watched), if !is_over => match seen {
                Some(mut names) => {
                    names.retain(|name| !later.contains_key(plain(name)));
                    line_up(&directory, &mut line, names);
                }
                None => list_at = Instant::now(),
            },
            () = sleep_until(again), if !is_over => {
                line_up(&directory, &mut line, later.drain().map(|(_, name)| name).collect());
            }
            () = reception.node.stopping.cancelled(), if !is_over => {}
        }
    }
}

/// What has appeared in the directory; `None`: it has to be listed.
async fn appeared(watched: &io::Result<&Seen>) -> Option<Vec<String>> {
    match watched {
        Ok(seen) => {
            seen.wait().await;
            seen.take()
        }
        Err(_) => std::future::pending().await,
    }
}

/// Lines up those of these names that are drops and are there.
fn line_up(directory: &Directory, line: &mut Line, names: Vec<String>) {
    for name in names.into_iter().filter(|name| name.ends_with(WHOLE)) {
        if line.knows(&name) {
            continue;
        }
        // One that was claimed is known by the name that it got.
        let other = match name.strip_prefix(CLAIMED) {
            Some(plain) => plain.to_owned(),
            None => format!("{CLAIMED}{name}"),
        };
        let mut both = [name, other].into_iter();
        let found = both.find_map(|name| directory.stat(&name).map(|stat| (name, stat)));
        if let Some((name, (owner, size))) = found {
            line.push(Waiting {
                name,
                owner,
                is_large: size > SMALL,
            });
        }
    }
}

/// Looks through the whole directory: lines up its drops, and puts aside what has no business there.
async fn list(
    node: &Arc<Node>,
    directory: &Arc<Directory>,
    told: &mut HashMap<String, String>,
    line: &mut Line,
) {
    let handle = Arc::clone(directory);
    // It may be large.
    let now = node.now();
    let looked = tokio::task::spawn_blocking(move || {
        let (names, strange) = handle.list(now)?;
        let aside: Vec<_> = strange
            .into_iter()
            .map(|s| (handle.refuse(&s), s))
            .collect();
        Ok::<_, io::Error>((names, aside))
    });
    let (names, aside) = match looked.await.map_err(io::Error::other).flatten() {
        Ok(found) => found,
        Err(error) => {
            return complain(
                node,
                told,
                DIRECTORY,
                &format!("the drop directory: {error}"),
            );
        }
    };
    let there: HashSet<&String> = names.iter().collect();
    told.retain(|name, _| name.starts_with('/') || there.contains(name));
    let count = aside.len();
    let moved = aside
        .iter()
        .filter_map(|(moved, name)| Some((moved.as_ref().ok()?, name)));
    for (path, name) in moved.take(STRANGE_TOLD) {
        let what = format!(
            "set aside as {}: it does not belong in the drop directory",
            path.display()
        );
        log(node, name, &what);
    }
    let stuck = aside
        .iter()
        .find_map(|(moved, name)| Some((moved.as_ref().err()?, name)));
    match stuck {
        Some((error, name)) => {
            let why = format!(
                "{count} files do not belong in the drop directory and cannot be set aside, such as {name}: \
                 {error}; remove them as root"
            );
            complain(node, told, STRANGE, &why);
        }
        None if count > STRANGE_TOLD => {
            let why =
                format!("{count} files did not belong in the drop directory: they were set aside");
            complain(node, told, STRANGE, &why);
        }
        None => drop(told.remove(STRANGE)),
    }
    line_up(directory, line, names);
}

/// What came of one file.
enum Came {
    /// It is in the queue, back with its sender, or put aside; or was gone.
    Done,
    /// It stays for now.
    Later(String),
}

fn id_of(name: &str) -> &str {
    let plain = name.strip_prefix(CLAIMED).unwrap_or(name);
    plain.strip_suffix(WHOLE).unwrap_or(plain)
}

fn log(node: &Node, name: &str, what: &str) {
    let line = node.journal.line(node.now(), "drop");
    line.field("drop", id_of(name)).field("what", what).send();
}

/// Says that a file stays and why, once as long as that is so.
fn wait(node: &Node, told: &mut HashMap<String, String>, name: String, why: String) {
    if told.get(&name) != Some(&why) {
        log(node, &name, &format!("waits: {why}"));
        told.insert(name, why);
    }
}

/// Keeps what can neither be taken nor given back, and says so.
fn put_aside(node: &Node, directory: &Directory, name: &str, why: &str) -> Came {
    match directory.refuse(name) {
        Ok(path) => {
            log(
                node,
                name,
                &format!("set aside as {}: {why}", path.display()),
            );
            Came::Done
        }
        Err(error) => Came::Later(format!("{why}; and it cannot be set aside: {error}")),
    }
}

async fn take(node: &Arc<Node>, directory: &Arc<Directory>, name: &str) -> Came {
    // What cannot be removed would be taken again when its token is forgotten.
    let claimed = match directory.claim(name) {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return Came::Done,
        Err(error) => {
            return Came::Later(format!(
                "it could not be removed afterwards, so it is not accepted: {error}. Check the permissions of the \
                 drop directory and of this file (lsattr)"
            ));
        }
    };
    take_claimed(node, directory, &claimed).await
}

async fn take_claimed(node: &Arc<Node>, directory: &Arc<Directory>, name: &str) -> Came {
    let settings = node.settings();
    let max = settings.policy.limits.message_size;
    let Some((owner, size)) = directory.stat(name) else {
        return Came::Done;
    };
    let holders = vec![Holder::Local(owner), Holder::Locals];
    let mut memory = node.memory.hold(holders);
    if size > SMALL && !memory.resize(size >> 20, MEMORY_WAIT).await {
        return Came::Later("too much mail is being received at the same time".to_owned());
    }
    let read = {
        let (directory, name) = (Arc::clone(directory), name.to_owned());
        tokio::task::spawn_blocking(move || directory.read(&name, max)).await
    };
    let taken = match read {
        Ok(Ok(taken)) => taken,
        Ok(Err(Unread::Gone)) => return Came::Done,
        Ok(Err(Unread::Later(error))) => return Came::Later(error.to_string()),
        Ok(Err(Unread::Bad(bad))) => return put_aside(node, directory, name, &bad.to_string()),
        Err(error) => return Came::Later(error.to_string()),
    };
    match check(&taken.drop).and_then(|()| submit(&settings.config, &taken)) {
        Ok(ready) => queue(node, directory, name, &taken, ready).await,
        Err(why) => put_aside(node, directory, name, &why.to_string()),
    }
}

/// Hands a drop in, gives back what of it is refused, and removes it when that is durable. One with
/// many recipients becomes several messages, cut the same way at every try: a part is known by its number.
async fn queue(
    node: &Arc<Node>,
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
        match part.hand_in(node, name).await {
            Ok(None) => {}
            Ok(Some(why)) => untold = Some(why),
            Err(later) => return Came::Later(later),
        }
    }
    if let Some(why) = untold {
        return put_aside(node, directory, name, &why);
    }
    match directory.remove(name) {
        Ok(()) => Came::Done,
        Err(error) => Came::Later(format!(
            "it is in the queue, but cannot be removed: {error}"
        )),
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
    async fn hand_in(self, node: &Arc<Node>, name: &str) -> Result<Option<String>, String> {
        let wanted = &self.submission.recipients;
        let result = match self.refusal.clone() {
            Some(reply) => Err(reply),
            None => hand_in(node, self.submission.clone(), Some(self.token.clone()))
                .await
                .map_err(Reply::from),
        };
        let (id, failed) = match result {
            Ok(handed_in) => {
                // A crash may have come before those who were refused were given back.
                let results = wanted.iter().cloned().zip(handed_in.recipients);
                let failed = results.filter_map(|(to, result)| Some((to, result.err()?.reply)));
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
            let line = node.journal.line(node.now(), "drop");
            let line = line.field("drop", id_of(name)).field("id", id);
            line.field("what", what).send();
        }
        match failed.is_empty() {
            true => Ok(None),
            false => self.give_back(node, name, failed).await,
        }
    }

    async fn give_back(
        self,
        node: &Arc<Node>,
        name: &str,
        failed: Vec<(Wanted, Reply)>,
    ) -> Result<Option<String>, String> {
        let reason = failed.first().map(|(_, reply)| reply.to_string());
        let reason = reason.unwrap_or_default();
        let handles = Arc::clone(node);
        let told = tokio::task::spawn_blocking(move || {
            let token = format!("{}:returned", self.token);
            give_back(&handles, &self.submission, &failed, self.written, &token)
        });
        match told.await {
            Ok(Told::Yes) => {
                log(node, name, &format!("returned to its sender: {reason}"));
                Ok(None)
            }
            Ok(Told::Nobody) => Ok(Some(format!(
                "{reason}; and it has no sender to return it to"
            ))),
            Ok(Told::Later(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    }
}
