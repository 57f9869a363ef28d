//! A scripted MX host: its sockets, its behaviour, and what it has seen.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::behaviour::{Behaviour, StartTls};
use crate::ca::{Ca, Identity};
use crate::record::{Connection, Login, Received};
use crate::runtime::runtime;
use crate::session;
use crate::shared::{Seen, Shared, lock};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A scripted SMTP server on one loopback address. It listens from the beginning, until
/// [`MxHost::stop`].
pub struct MxHost {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    stop: watch::Sender<bool>,
    gone: mpsc::Receiver<()>,
}

impl std::fmt::Debug for MxHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MxHost")
            .field("name", &self.shared.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl MxHost {
    /// Starts a host.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start_on(name: &str, address: SocketAddr, ca: &Arc<Ca>) -> io::Result<Self> {
        let host = Self {
            shared: Arc::new(Shared::new(name, ca)),
            address,
            listening: Mutex::new(None),
        };
        host.listen()?;
        Ok(host)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its address and port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Offers STARTTLS with this certificate from now on.
    pub fn identify(&self, identity: &Identity) {
        self.accept_by(identity.acceptor());
    }

    /// The same, by TLS 1.2 alone.
    pub fn identify_in_tls12(&self, identity: &Identity) {
        self.accept_by(identity.acceptor_of_tls12());
    }

    fn accept_by(&self, acceptor: TlsAcceptor) {
        *lock(&self.shared.given) = Some(acceptor);
        self.set(|b| b.starttls = StartTls::Given);
    }

    /// Changes its behaviour, from the next command on.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) -> &Self {
        let mut current = lock(&self.shared.behaviour);
        let mut behaviour = Behaviour::clone(&current);
        change(&mut behaviour);
        *current = Arc::new(behaviour);
        drop(current);
        self
    }

    /// Behaves as at first again.
    pub fn reset(&self) -> &Self {
        self.set(|b| *b = Behaviour::default())
    }

    /// Listens on its address again.
    ///
    /// # Panics
    /// When the address is taken by another.
    pub fn start(&self) -> &Self {
        self.listen().expect("the host's own address is free");
        self
    }

    /// Stops to listen and drops all connections: nobody is at the address when this returns.
    pub fn stop(&self) -> &Self {
        if let Some(listening) = lock(&self.listening).take() {
            listening.stop.send_replace(true);
            // An error means that the listener went away by itself.
            listening.gone.recv().ok();
        }
        self
    }

    /// The mails accepted, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.seen).received.clone()
    }

    /// How many mails were accepted.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.shared.seen).received.len()
    }

    /// The mails read to their end and then refused or not answered.
    #[must_use]
    pub fn unanswered(&self) -> Vec<Received> {
        lock(&self.shared.seen).unanswered.clone()
    }

    /// Waits until so many mails were accepted, or the time is over; all accepted then.
    #[must_use]
    pub fn wait_for(&self, count: usize, limit: Duration) -> Vec<Received> {
        let seen = lock(&self.shared.seen);
        let (seen, _) = self
            .shared
            .news
            .wait_timeout_while(seen, limit, |s| s.received.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        seen.received.clone()
    }

    /// The connections so far, in order, where dialogues are kept.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        let list = lock(&self.shared.seen).connections.clone();
        list.iter().map(|c| lock(c).clone()).collect()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        lock(&self.shared.seen).connection_count
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// The most connections that were open at one time.
    #[must_use]
    pub fn open_max(&self) -> usize {
        self.shared.open_max.load(Ordering::Relaxed)
    }

    /// The logins tried.
    #[must_use]
    pub fn logins(&self) -> Vec<Login> {
        lock(&self.shared.seen).logins.clone()
    }

    /// All lines of all connections.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = |c: Connection| c.lines.into_iter().map(|l| l.text);
        self.connections().into_iter().flat_map(text).collect()
    }

    /// Forgets what it has seen.
    pub fn forget(&self) -> &Self {
        *lock(&self.shared.seen) = Seen::default();
        self.shared.open_max.store(0, Ordering::Relaxed);
        self
    }

    fn listen(&self) -> io::Result<()> {
        let mut listening = lock(&self.listening);
        if listening.is_some() {
            return Ok(());
        }
        let _inside = runtime().enter();
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        let listener = socket.listen(BACKLOG)?;
        let (stop, stopped) = watch::channel(false);
        let (tell, gone) = mpsc::channel();
        *listening = Some(Listening { stop, gone });
        drop(listening);
        runtime().spawn(accept(listener, Arc::clone(&self.shared), stopped, tell));
        Ok(())
    }
}

impl Drop for MxHost {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
    tell: mpsc::Sender<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        if let Ok((tcp, peer)) = accepted {
            tokio::spawn(serve(tcp, peer, Arc::clone(&shared), stopped.clone()));
        }
    }
    drop(listener);
    // Nobody waits when the host is dropped.
    tell.send(()).ok();
}

async fn serve(
    tcp: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
    shared.open_max.fetch_max(open, Ordering::Relaxed);
    let (number, record) = shared.begin(peer);
    let run = session::run(tcp, peer, number, record.clone(), &shared);
    tokio::select! {
        // How a client breaks off is in the record already.
        ended = run => drop(ended),
        _ = stopped.wait_for(|s| *s) => {}
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
    if let Some(record) = record {
        lock(&record).closed = true;
    }
}
