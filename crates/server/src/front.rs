//! The way in by SMTP: connections of clients, each with its intake session.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use intake::{Busy, LoginVerdict, Near, Request, Session, Tls};
use net::{Link, Stream, Turn};
use smtp::sasl::{Evidence, Keys, Login};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::SemaphorePermit;
use tokio_util::task::TaskTracker;

use crate::hand_in::accept;
use crate::local;
use crate::shared::{Figures, Shared};
use crate::users::UsersError;

/// How long a proxy may take to name its client.
const PROXY_WAIT: Duration = Duration::from_secs(10);
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
/// How long a large message waits for memory before its connection is given up.
const MEMORY_WAIT: Duration = Duration::from_secs(60);
/// Clients that are told at once that there are too many.
const TURNED_AWAY_MAX: usize = 16;
/// How often trouble with accepting is told.
const TROUBLE_TOLD: Duration = Duration::from_secs(60);
/// The pause after an error of accepting, such as having no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Counts the clients, in all and by address.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_source: Mutex<(usize, HashMap<IpAddr, usize>)>,
    /// Those who are being told that there are too many.
    turned_away: AtomicUsize,
}

/// A client's place among them; given back when dropped.
struct Place {
    clients: Arc<Clients>,
    source: IpAddr,
}

impl Clients {
    fn enter(
        self: &Arc<Self>,
        source: IpAddr,
        all: usize,
        per_source: usize,
    ) -> Result<Place, Busy> {
        let mut guard = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (count, sources) = &mut *guard;
        if *count >= all {
            return Err(Busy::All);
        }
        let here = sources.entry(source).or_default();
        if *here >= per_source {
            return Err(Busy::Source);
        }
        *here += 1;
        *count += 1;
        Ok(Place {
            clients: Arc::clone(self),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guard = self
            .clients
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (count, sources) = &mut *guard;
        *count = count.saturating_sub(1);
        if let Some(here) = sources.get_mut(&self.source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

/// Takes connections of one listener until the server stops.
pub(crate) async fn listen(
    shared: Arc<Shared>,
    listener: TcpListener,
    number: usize,
    clients: Arc<Clients>,
    tasks: TaskTracker,
) {
    let mut told: Option<Instant> = None;
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() > TROUBLE_TOLD) {
                        told = Some(Instant::now());
                        let line = shared.journal.line(net::now(), "error");
                        line.field("what", "accepting a connection").field("why", error).send();
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = shared.stopping.cancelled() => return,
        };
        Figures::count(&shared.figures.connections_in);
        let clients = Arc::clone(&clients);
        let shared = Arc::clone(&shared);
        tasks.spawn(async move { admit(&shared, stream, peer, number, &clients).await });
    }
}

/// Lets a client in, or turns it away. One that comes by a proxy counts under its own address.
async fn admit(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    peer: SocketAddr,
    number: usize,
    clients: &Arc<Clients>,
) {
    let settings = shared.settings();
    let listener = settings.policy.listeners.get(number);
    let by_proxy = listener.is_some_and(|l| l.is_proxy(peer.ip()));
    let near = match settings.policy.locals_log_in && is_here(peer) {
        false => Near::Elsewhere,
        true if by_proxy => Near::ByProxyHere,
        true => Near::Here,
    };
    let peer = match by_proxy {
        false => peer,
        true => match net::proxied(&mut stream, PROXY_WAIT).await {
            // A client that its proxy does not name is nobody: not the proxy, which may be in a
            // trusted network.
            Ok(client) => client.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            Err(why) => return log_trouble(shared, peer, &why),
        },
    };
    let limits = settings.config.connections;
    drop(settings);
    match clients.enter(peer.ip().to_canonical(), limits.all, limits.per_source) {
        Ok(place) => {
            serve(shared, stream, (peer, near), number).await;
            drop(place);
        }
        Err(busy) => {
            // To be told takes a descriptor: beyond some, the connection only ends.
            if clients.turned_away.fetch_add(1, Ordering::Relaxed) < TURNED_AWAY_MAX {
                turn_away(shared, stream, peer, busy).await;
            }
            clients.turned_away.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn turn_away(shared: &Shared, mut stream: TcpStream, peer: SocketAddr, busy: Busy) {
    let why = match busy {
        Busy::All => "too many connections in all (intake.max_connections)",
        Busy::Source => "too many connections from one address (intake.max_connections_per_source)",
    };
    let line = shared
        .journal
        .line(net::now(), "turned-away")
        .field("client", peer.ip());
    line.field("why", why).send();
    let text = intake::busy(shared.settings().config.hostname.as_str(), busy);
    // Whether the client reads it is its own affair.
    drop(tokio::time::timeout(Duration::from_secs(2), stream.write_all(&text)).await);
}

/// Whether an address is this computer's: such can be bound. Where the kernel lets any be bound, everybody
/// counts as local.
fn is_here(peer: SocketAddr) -> bool {
    let mut own = peer;
    own.set_port(0);
    peer.ip().to_canonical().is_loopback() || UdpSocket::bind(own).is_ok()
}

async fn serve(
    shared: &Arc<Shared>,
    tcp: TcpStream,
    (peer, near): (SocketAddr, Near),
    number: usize,
) {
    let settings = shared.settings();
    let policy = Arc::clone(&settings.policy);
    let implicit = policy
        .listeners
        .get(number)
        .is_some_and(|l| l.tls == Tls::Implicit);
    if let Err(error) = tcp.set_nodelay(true) {
        log_trouble(shared, peer, &error.to_string());
        return;
    }
    let stream = match (implicit, &settings.server_tls) {
        (true, Some(tls)) => match tls.handshake(tcp, HANDSHAKE_MAX).await {
            Ok(stream) => stream,
            Err(why) => return log_trouble(shared, peer, &format!("TLS handshake failed: {why}")),
        },
        (true, None) => return,
        (false, _) => Stream::Plain(tcp),
    };
    drop(settings);
    let ids = Arc::clone(shared);
    let next_id = Box::new(move |now| ids.next_id(now));
    let mut session = Session::new(policy, number, peer, implicit, next_id, net::now());
    session.set_near(near);
    session.set_detailed(shared.journal.is_detailed(&[]));
    session.bind(stream.bindings().into_iter().next());
    converse(shared, &mut session, Link::new(stream), peer).await;
}

/// What a connection holds of the memory for content that is being received.
#[derive(Default)]
struct Memory<'a> {
    held: Vec<SemaphorePermit<'a>>,
}

impl<'a> Memory<'a> {
    /// Waits until there is memory for so much content, and gives back what is not needed. The
    /// first megabyte of each connection is free.
    async fn covers(&mut self, shared: &'a Shared, content: u64) -> bool {
        let megabytes = usize::try_from(content >> 20).unwrap_or(usize::MAX);
        self.held.truncate(megabytes);
        while self.held.len() < megabytes {
            match tokio::time::timeout(MEMORY_WAIT, shared.memory.acquire()).await {
                Ok(Ok(permit)) => self.held.push(permit),
                // Others hold what they wait for too: somebody must let go.
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    }
}

fn log_trouble(shared: &Shared, peer: SocketAddr, why: &str) {
    let line = shared.journal.line(net::now(), "client");
    line.field("client", peer.ip()).field("what", why).send();
}

async fn converse(shared: &Arc<Shared>, session: &mut Session, mut link: Link, peer: SocketAddr) {
    let mut told_to_stop = false;
    let mut memory = Memory::default();
    loop {
        let gone = link.flush(session).await == Turn::Gone;
        log_events(shared, session, peer);
        match session.poll_request() {
            Some(Request::Close) => {
                link.flush(session).await;
                return link.shutdown().await;
            }
            Some(Request::Accept(message)) => {
                let result = accept(shared, *message, session.rights(), None).await;
                session.accepted(net::now(), result);
                link.again(session);
            }
            Some(Request::FetchKeys(user)) => {
                let keys = fetch_keys(shared, user).await;
                session.keys_fetched(net::now(), keys);
                link.again(session);
            }
            Some(Request::CheckLogin(login)) => {
                let verdict = check_login(shared, login, peer.ip()).await;
                session.login_checked(net::now(), verdict);
                link.again(session);
            }
            Some(Request::CheckRecipient(address)) => {
                let verdict = local::knows(shared, &address).await;
                session.recipient_checked(net::now(), verdict);
                link.again(session);
            }
            Some(Request::StartTls) => {
                if !link.is_drained() {
                    link.again(session);
                    continue;
                }
                match start_tls(shared, link).await {
                    Ok(secured) => link = secured,
                    Err(why) => return log_trouble(shared, peer, &why),
                }
                session.bind(link.bindings().into_iter().next());
                session.tls_started(net::now());
            }
            None if gone || session.is_closed() => return link.shutdown().await,
            None => {
                if !memory.covers(shared, session.content_received()).await {
                    return log_trouble(shared, peer, "too much content is being received at once");
                }
                tokio::select! {
                    _ = link.turn(session) => {}
                    () = shared.stopping.cancelled(), if !told_to_stop => {
                        told_to_stop = true;
                        session.shutdown();
                    }
                }
            }
        }
    }
}

async fn start_tls(shared: &Shared, link: Link) -> Result<Link, String> {
    let settings = shared.settings();
    match (link.into_stream(), &settings.server_tls) {
        (Some(Stream::Plain(tcp)), Some(tls)) => match tls.handshake(tcp, HANDSHAKE_MAX).await {
            Ok(stream) => Ok(Link::new(stream)),
            Err(why) => Err(format!("TLS handshake failed: {why}")),
        },
        _ => Err("TLS is not available".to_owned()),
    }
}

/// The keys that a client must prove to know; `None` when the users' file can not be read.
async fn fetch_keys(shared: &Arc<Shared>, user: String) -> Option<Keys> {
    let settings = shared.settings();
    let fetched = tokio::task::spawn_blocking(move || settings.logins.keys(&user)).await;
    match fetched {
        Ok(Ok(keys)) => Some(keys),
        Ok(Err(error)) => {
            log_users_trouble(shared, &error);
            None
        }
        Err(_) => None,
    }
}

fn log_users_trouble(shared: &Shared, why: &UsersError) {
    let line = shared.journal.line(net::now(), "error");
    line.field("what", "users").field("why", why).send();
}

/// Checks a login. A wrong one is answered the later the more have failed from its address.
async fn check_login(shared: &Arc<Shared>, login: Login, peer: IpAddr) -> LoginVerdict {
    if !shared.guard.may_try(peer, net::now()) {
        return LoginVerdict::TooMany;
    }
    let settings = shared.settings();
    let user = login.user;
    let right = match login.evidence {
        Evidence::Proof(right) => right,
        Evidence::Password(password) => {
            match settings.logins.is_remembered(&user, &password, net::now()) {
                true => true,
                false => match check_password(shared, user.clone(), password).await {
                    Some(right) => right,
                    None => return LoginVerdict::Unavailable,
                },
            }
        }
    };
    if !right {
        tokio::time::sleep(shared.guard.failed(peer, net::now())).await;
        return LoginVerdict::Wrong;
    }
    shared.guard.succeeded(peer);
    let found = tokio::task::spawn_blocking(move || settings.logins.user(&user)).await;
    match found {
        Ok(Ok(Some(user))) => LoginVerdict::Right(user),
        // Taken out in this moment.
        Ok(Ok(None)) => LoginVerdict::Wrong,
        Ok(Err(error)) => {
            log_users_trouble(shared, &error);
            LoginVerdict::Unavailable
        }
        Err(_) => LoginVerdict::Unavailable,
    }
}

async fn check_password(shared: &Arc<Shared>, user: String, password: String) -> Option<bool> {
    let settings = shared.settings();
    let _permit = shared.hashing.acquire().await.ok()?;
    let checked =
        tokio::task::spawn_blocking(move || settings.logins.check(&user, &password, net::now()));
    match checked.await {
        Ok(Ok(right)) => Some(right),
        Ok(Err(error)) => {
            log_users_trouble(shared, &error);
            None
        }
        Err(_) => None,
    }
}

fn log_events(shared: &Shared, session: &mut Session, peer: SocketAddr) {
    while let Some(event) = session.poll_event() {
        let line = shared
            .journal
            .line(net::now(), "client")
            .field("client", peer.ip());
        line.maybe("user", session.user())
            .field("what", event)
            .send();
    }
}
