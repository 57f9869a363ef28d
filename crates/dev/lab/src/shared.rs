//! What the connections of a scripted host share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::TlsAcceptor;

use crate::behaviour::{Behaviour, StartTls};
use crate::ca::{Ca, Identity};
use crate::record::{Connection, Login, Received};

/// What the host's connections share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) ca: Arc<Ca>,
    pub(crate) behaviour: Mutex<Arc<Behaviour>>,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) news: Condvar,
    pub(crate) open: AtomicUsize,
    pub(crate) open_max: AtomicUsize,
    pub(crate) acceptors: [OnceLock<TlsAcceptor>; 3],
    pub(crate) given: Mutex<Option<TlsAcceptor>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) received: Vec<Received>,
    pub(crate) unanswered: Vec<Received>,
    pub(crate) connections: Vec<Arc<Mutex<Connection>>>,
    pub(crate) connection_count: usize,
    pub(crate) logins: Vec<Login>,
    pub(crate) greylist: HashMap<(String, String), Instant>,
}

impl Shared {
    pub(crate) fn new(name: &str, ca: &Arc<Ca>) -> Self {
        Self {
            name: name.to_owned(),
            ca: Arc::clone(ca),
            behaviour: Mutex::default(),
            seen: Mutex::default(),
            news: Condvar::new(),
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(0),
            acceptors: Default::default(),
            given: Mutex::default(),
        }
    }

    pub(crate) fn behaviour(&self) -> Arc<Behaviour> {
        Arc::clone(&lock(&self.behaviour))
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, peer: SocketAddr) -> (usize, Option<Arc<Mutex<Connection>>>) {
        let keep = self.behaviour().keep_dialogue;
        let mut seen = lock(&self.seen);
        let number = seen.connection_count;
        seen.connection_count += 1;
        let record = keep.then(|| {
            Arc::new(Mutex::new(Connection {
                peer,
                at: Instant::now(),
                lines: Vec::new(),
                chunks: Vec::new(),
                closed: false,
            }))
        });
        seen.connections.extend(record.clone());
        (number, record)
    }

    pub(crate) fn accept(&self, mail: Received) {
        lock(&self.seen).received.push(mail);
        self.news.notify_all();
    }

    pub(crate) fn leave_unanswered(&self, mail: Received) {
        lock(&self.seen).unanswered.push(mail);
    }

    pub(crate) fn note_login(&self, login: Login) {
        lock(&self.seen).logins.push(login);
    }

    /// Whether a sender and recipient have to wait longer.
    pub(crate) fn greylisted(&self, sender: &str, recipient: &str, wait: Duration) -> bool {
        let key = (sender.to_owned(), recipient.to_owned());
        let mut seen = lock(&self.seen);
        seen.greylist
            .entry(key)
            .or_insert_with(Instant::now)
            .elapsed()
            < wait
    }

    /// The acceptor for a way of STARTTLS that ends in a handshake.
    pub(crate) fn acceptor(&self, way: StartTls) -> Option<TlsAcceptor> {
        let [good, self_signed, wrong_name] = &self.acceptors;
        let names = [self.name.as_str()];
        let of_ca = |names: &[&str]| self.ca.issue(names).acceptor();
        let acceptor = match way {
            StartTls::Good | StartTls::SmallHelloOnly => good.get_or_init(|| of_ca(&names)),
            StartTls::SelfSigned => {
                self_signed.get_or_init(|| Identity::self_signed(&names).acceptor())
            }
            StartTls::WrongName => wrong_name.get_or_init(|| of_ca(&["other.invalid"])),
            StartTls::Given => return lock(&self.given).clone(),
            StartTls::NotOffered | StartTls::Refused | StartTls::Garbage | StartTls::Closed => {
                return None;
            }
        };
        Some(acceptor.clone())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
