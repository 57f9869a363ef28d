//! The way in by SMTP: connections of clients, each with its intake session.

mod logins;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use accounts::Try;
use intake::{Near, NoKeys, Request, Session, Tls};
use local::storing;
use net::{Hold, Holder, Link, NotProxied, Origin, Place, Room, Standing, Stream, Turn};
use node::figures::Figures;
use node::hand_in::accept;
use node::quotas;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use logins::{begin, check_login, fetch_keys};

use crate::busy::LAST_WORDS_MAX;
use crate::securing::{MADE_ROOM, handshake, start_tls};
use crate::spot::Spot;
use crate::{Reception, busy, floods};

/// How long a proxy may take to name its client.
const PROXY_WAIT: Duration = Duration::from_secs(10);
/// How long a large message waits for memory before it is thrown away.
const MEMORY_WAIT: Duration = Duration::from_secs(60);
/// A wait of ours below this is nothing to a client.
const WAIT_NOTICED: Duration = Duration::from_millis(100);
/// Where places are scarce, who comes has so long to log in.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);
/// ... and who is told the end of its session for another reason.
const CLOSING_MAX: Duration = Duration::from_secs(30);
/// Clients that are told at once that there are too many.
const TURNED_AWAY_MAX: usize = 16;
/// Connections of a listener that were accepted and have neither a place nor been turned away: each has a descriptor.
const UNDECIDED_MAX: usize = 16;
/// How often trouble with accepting is told.
const TROUBLE_TOLD: Duration = Duration::from_secs(60);
/// The pause after an error of accepting, such as having no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A client and the place that it holds.
struct Guest {
    peer: SocketAddr,
    near: Near,
    place: Place,
    /// As it was when the client came.
    room: Room,
    /// By then it has logged in, where places are scarce.
    known_by: Option<tokio::time::Instant>,
    since: world::Instant,
    age_max: Duration,
}

impl Guest {
    /// Tells the place whether the client does something with it.
    fn shows(&self, session: &Session) {
        match session.is_idle() {
            true => self.place.idle(),
            false => self.place.busy(),
        }
    }
}

/// What a login rests on; `None`: there is no such user, or the file cannot be read.
type RestsOn = Option<Vec<u8>>;

/// The login of a client.
struct Account {
    /// The attempt that has begun, and what sessions of its user rested on then.
    attempt: Option<(Try, RestsOn)>,
    /// Who has logged in, and what that rests on.
    user: Option<(String, RestsOn)>,
    /// Told when users were changed.
    changes: watch::Receiver<()>,
}

/// A listener whose connections are taken.
pub(crate) struct WayIn {
    pub(crate) listener: TcpListener,
    pub(crate) spot: Spot,
    /// Cancelled when the configuration has it no more.
    pub(crate) close: CancellationToken,
}

/// Takes connections of one listener until the server stops.
pub(crate) async fn listen(reception: Arc<Reception>, way_in: WayIn, tasks: TaskTracker) {
    let WayIn {
        listener,
        spot,
        close,
    } = way_in;
    let mut told: Option<world::Instant> = None;
    let undecided = Arc::new(Semaphore::new(UNDECIDED_MAX));
    loop {
        let turn = Arc::clone(&undecided).acquire_owned().await;
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    if told.is_none_or(|told| reception.node.instant().since(told) > TROUBLE_TOLD) {
                        told = Some(reception.node.instant());
                        let line = reception.node.journal.line(reception.node.now(), "error");
                        line.field("what", "accepting a connection").field("why", error).send();
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = reception.node.stopping.cancelled() => return,
            () = close.cancelled() => return,
        };
        Figures::count(&reception.node.figures.connections_in);
        let reception = Arc::clone(&reception);
        tasks.spawn(async move { admit(&reception, stream, peer, spot, turn.ok()).await });
    }
}

/// The client that a proxy names. It takes its time, and others come meanwhile.
async fn named(
    stream: &mut TcpStream,
    turn: Option<OwnedSemaphorePermit>,
) -> Result<Option<SocketAddr>, NotProxied> {
    drop(turn);
    net::proxied(stream, PROXY_WAIT).await
}

/// Lets a client in, or turns it away. One that comes by a proxy counts under its own address.
async fn admit(
    reception: &Arc<Reception>,
    mut stream: TcpStream,
    peer: SocketAddr,
    spot: Spot,
    mut turn: Option<OwnedSemaphorePermit>,
) {
    let settings = reception.node.settings();
    let listener = spot.listener(&settings).map(|(_, listener)| listener);
    let by_proxy = listener.is_some_and(|l| l.is_proxy(peer.ip()));
    let near = match settings.policy.locals_log_in && is_here(peer) {
        false => Near::Elsewhere,
        true if by_proxy => Near::ByProxyHere,
        true => Near::Here,
    };
    let peer = match by_proxy {
        false => peer,
        true => match named(&mut stream, turn.take()).await {
            // A client that its proxy does not name is nobody: not the proxy, which may be in a
            // trusted network.
            Ok(client) => client.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            Err(why) => return log_trouble(reception, peer, &why.to_string()),
        },
    };
    let standing = match listener.is_some_and(|l| near == Near::Elsewhere && l.trusts(peer.ip())) {
        true => Standing::Trusted,
        false => Standing::Stranger,
    };
    let room = settings.config.connections.room();
    let age_max = settings.config.connections.age_max;
    drop(settings);
    match reception.places.enter(peer.ip(), standing, &room) {
        Ok(place) => {
            drop(turn);
            let must_hurry = place.is_crowded() && standing == Standing::Stranger;
            let known_by = must_hurry.then(|| tokio::time::Instant::now() + KNOWN_WITHIN);
            let guest = Guest {
                peer,
                near,
                place,
                room,
                known_by,
                since: reception.node.instant(),
                age_max,
            };
            serve(reception, stream, &guest, spot).await;
        }
        Err(full) => {
            drop(turn);
            // To be told takes a descriptor: beyond some, the connection only ends.
            if reception.turned_away.fetch_add(1, Ordering::Relaxed) < TURNED_AWAY_MAX {
                busy::turn_away(reception, stream, peer, full).await;
            }
            reception.turned_away.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether an address is this computer's: such can be bound. Where the kernel lets any be bound, everybody
/// counts as local.
fn is_here(peer: SocketAddr) -> bool {
    let mut own = peer;
    own.set_port(0);
    peer.ip().to_canonical().is_loopback() || UdpSocket::bind(own).is_ok()
}

async fn serve(reception: &Arc<Reception>, tcp: TcpStream, guest: &Guest, spot: Spot) {
    let peer = guest.peer;
    let settings = reception.node.settings();
    let policy = Arc::clone(&settings.policy);
    // A reload may have closed the listener meanwhile.
    let Some((number, listener)) = spot.listener(&settings) else {
        return;
    };
    let implicit = listener.tls == Tls::Implicit;
    if let Err(error) = tcp.set_nodelay(true) {
        log_trouble(reception, peer, &error.to_string());
        return;
    }
    let stream = match (implicit, &settings.server_tls) {
        (true, Some(tls)) => match handshake(tls, tcp, &guest.place).await {
            Ok(stream) => stream,
            Err(why) => return log_trouble(reception, peer, &why.to_string()),
        },
        (true, None) => return,
        (false, _) => Stream::Plain(tcp),
    };
    drop(settings);
    let ids = Arc::clone(reception);
    let next_id = Box::new(move |now| ids.node.next_id(now));
    let mut session = Session::new(
        policy,
        number,
        peer,
        implicit,
        next_id,
        reception.node.now(),
    );
    session.set_near(guest.near);
    session.set_detailed(reception.node.journal.is_detailed(&[]));
    session.bind(stream.bindings().into_iter().next());
    session.pause_at_refusals();
    let link = Link::new(stream, reception.node.clock.handle().clone());
    converse(reception, &mut session, link, guest).await;
}

fn log_trouble(reception: &Reception, peer: SocketAddr, why: &str) {
    floods::tell(reception, peer.ip(), "client", &[("what", Some(why))]);
}

/// Has memory for the content that is being received, or the content is given up. The first megabyte of each
/// connection is free.
async fn remember(
    reception: &Reception,
    session: &mut Session,
    memory: &mut Hold,
    peer: SocketAddr,
) {
    let megabytes = session.content_held() as u64 >> 20;
    if memory.is(megabytes) {
        return;
    }
    let began = reception.node.now();
    let there = memory.resize(megabytes, MEMORY_WAIT).await;
    if !there {
        let why = "too much mail is being received at the same time: this message is not accepted, its client is \
                   asked to try again";
        log_trouble(reception, peer, why);
        session.give_up_content();
        memory.resize(0, MEMORY_WAIT).await;
    }
    let now = reception.node.now();
    if now.since(began) > WAIT_NOTICED {
        session.kept_waiting(now);
    }
}

/// Has a client wait whose recipients are refused; whether it may go on. Who has lost its place by then is told no
/// more: otherwise places that are taken anew would buy answers without a wait.
async fn slow_down(reception: &Reception, guest: &Guest) -> bool {
    let wait = reception
        .harvest
        .refused(guest.peer.ip(), reception.node.now());
    if wait.is_zero() {
        return true;
    }
    guest.place.idle();
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        () = reception.node.stopping.cancelled() => true,
        () = guest.place.lost() => false,
    }
}

/// Writes what the session has to say. Who takes nothing in is idle, and its connection ends with its place: nobody
/// keeps a descriptor without one.
async fn say(session: &mut Session, link: &mut Link, guest: &Guest) -> Turn {
    guest.shows(session);
    let lost = async {
        guest.place.lost().await;
        tokio::time::sleep(LAST_WORDS_MAX).await;
    };
    tokio::select! {
        // Most of the time it is written at once, and nothing else is asked.
        biased;
        turn = link.flush(session) => turn,
        () = lost => Turn::Gone,
    }
}

/// Says the last words of a session that is closed, and ends its connection.
async fn part(session: &mut Session, mut link: Link, guest: &Guest) {
    let said = say(session, &mut link, guest);
    // Who does not take them in has gone, or pretends to.
    drop(tokio::time::timeout(CLOSING_MAX, said).await);
    link.shutdown().await;
}

async fn converse(
    reception: &Arc<Reception>,
    session: &mut Session,
    mut link: Link,
    guest: &Guest,
) {
    let peer = guest.peer;
    let mut told_to_stop = false;
    let origin = Origin::of(peer.ip());
    let holders = [
        Holder::Source(origin.source),
        Holder::Network(origin.network),
    ];
    let mut memory = reception.node.memory.hold(holders.into());
    let mut account = Account {
        attempt: None,
        user: None,
        changes: reception.node.users_changed.subscribe(),
    };
    loop {
        // What a refused recipient is answered waits for its time, and so does what was sent after it.
        let paused = session.take_pause();
        if paused && !slow_down(reception, guest).await {
            session.send_away(MADE_ROOM);
        }
        let full = session.is_full();
        let gone = say(session, &mut link, guest).await == Turn::Gone;
        log_events(reception, session, peer);
        if (paused || full) && !gone {
            link.again(session);
            if session.is_paused() || session.is_full() {
                continue;
            }
        }
        match session.poll_request() {
            Some(Request::Close) => return part(session, link, guest).await,
            Some(Request::StartTls) => {
                if !link.is_drained() {
                    link.again(session);
                    continue;
                }
                match start_tls(&reception.node, link, &guest.place).await {
                    Ok(secured) => link = secured,
                    Err(why) => return log_trouble(reception, peer, &why.to_string()),
                }
                session.bind(link.bindings().into_iter().next());
                session.tls_started(reception.node.now());
            }
            Some(request) => {
                guest.place.busy();
                let was_known = session.user().is_some();
                answer(reception, session, request, peer, &mut account).await;
                if let Some(user) = session.user().filter(|_| !was_known) {
                    guest.place.stands(Standing::Known);
                    memory.belongs_to(Holder::User(user.to_owned()));
                }
                link.again(session);
            }
            None if gone || session.is_closed() => return link.shutdown().await,
            None => {
                remember(reception, session, &mut memory, peer).await;
                hear(
                    reception,
                    session,
                    &mut link,
                    guest,
                    &mut account,
                    &mut told_to_stop,
                )
                .await;
            }
        }
    }
}

/// Waits for what the client says next, or for what ends the wait.
async fn hear(
    reception: &Reception,
    session: &mut Session,
    link: &mut Link,
    guest: &Guest,
    account: &mut Account,
    told_to_stop: &mut bool,
) {
    session.hurry(reception.places.is_crowded(&guest.room));
    if reception.node.instant().since(guest.since) > guest.age_max {
        session.end_soon("the session has reached its maximum duration: connect again");
    }
    // Whose content is coming in is not idle: it may be another server's mail to a local domain.
    let is_user = session.user().is_some();
    let known_by = guest.known_by.filter(|_| !is_user && session.is_idle());
    let too_late = async {
        match known_by {
            Some(known_by) => tokio::time::sleep_until(known_by).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = link.turn(session) => {}
        () = reception.node.stopping.cancelled(), if !*told_to_stop => {
            *told_to_stop = true;
            session.shutdown();
        }
        () = guest.place.lost() => session.send_away(MADE_ROOM),
        _ = account.changes.changed(), if is_user => {
            if !account.stands(&reception.node) {
                session.send_away("your account has been changed: log in again");
            }
        }
        () = too_late => {
            session.send_away("there are too many connections, and you have not logged in");
        }
    }
}

/// Does what a session asks for that needs no other connection.
async fn answer(
    reception: &Arc<Reception>,
    session: &mut Session,
    request: Request,
    peer: SocketAddr,
    account: &mut Account,
) {
    match request {
        Request::Accept(message) => {
            let result = accept(
                &reception.node,
                *message,
                session.rights(),
                None,
                Vec::new(),
            )
            .await;
            let now = reception.node.now();
            if result.is_ok() {
                let may_send = session.is_trusted();
                reception.harvest.taken(peer.ip(), may_send, now);
            }
            session.accepted(now, result);
        }
        Request::FetchKeys(user) => {
            account.attempt = begin(reception, peer.ip(), &user).await;
            let keys = match &account.attempt {
                Some(_) => fetch_keys(reception, user, peer.ip())
                    .await
                    .ok_or(NoKeys::Unavailable),
                None => Err(NoKeys::TooMany),
            };
            session.keys_fetched(reception.node.now(), keys);
        }
        Request::CheckLogin(login) => {
            let verdict = check_login(reception, login, peer.ip(), account).await;
            session.login_checked(reception.node.now(), verdict);
        }
        Request::CheckRecipient(address) => {
            let verdict = storing::knows(&reception.local, &address).await;
            session.recipient_checked(reception.node.now(), verdict);
        }
        Request::Close | Request::StartTls => {}
    }
}

fn log_events(reception: &Reception, session: &mut Session, peer: SocketAddr) {
    while let Some(event) = session.poll_event() {
        if let intake::Event::QuotaNear { id, what } = &event {
            quotas::near(&reception.node, *id, what);
            continue;
        }
        let is_detail = matches!(event, intake::Event::Command(_) | intake::Event::Reply(_));
        // Who may send is no stranger, and what was asked for in detail is told in full.
        if is_detail && session.is_trusted() {
            let line = reception.node.journal.line(reception.node.now(), "client");
            line.field("client", peer.ip())
                .maybe("user", session.user())
                .field("what", event)
                .send();
            continue;
        }
        let what = event.to_string();
        let fields = [("user", session.user()), ("what", Some(what.as_str()))];
        floods::tell(reception, peer.ip(), "client", &fields);
    }
}
