//! Connections: bounded in number and in time, in clear or under TLS.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use net::{HandshakeError, Place, Places, Room, Standing, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::Backend;
use crate::connection::{Connection, Serves};
use crate::router::router;
use crate::turned_away::TurnedAway;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// How long a request's header may take, and how long an idle connection is kept.
const HEADER_WAIT: Duration = Duration::from_secs(30);
/// The same where more than half of the places are taken.
const HEADER_WAIT_CROWDED: Duration = Duration::from_secs(5);
/// Who is idle for less than this is not sent away for another.
const PATIENCE: Duration = Duration::from_millis(500);
/// Octets of a request's header, and of what is read in advance.
const HEADER_MAX: usize = 64 << 10;
/// Behind this time a connection ends with its next answer,
const CONNECTION_MAX: Duration = Duration::from_secs(900);
/// and behind this one it ends, for its client takes nothing in.
const CONNECTION_END: Duration = Duration::from_secs(600);
/// How long requests may take when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// The pause behind an error of accepting, such as having no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address where HTTP is answered.
#[derive(Debug)]
pub struct Listener {
    /// Its socket.
    pub socket: Socket,
    /// What is answered there.
    pub serves: Serves,
    /// Whether HTTPS is spoken; it is not at a unix socket.
    pub is_tls: bool,
}

/// Where it listens.
#[derive(Debug)]
pub enum Socket {
    /// At an address and port.
    Tcp(TcpListener),
    /// At a unix socket.
    Unix(UnixListener),
}

/// A connection that was accepted.
enum Accepted {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Socket {
    async fn accept(&self) -> std::io::Result<Accepted> {
        match self {
            Self::Tcp(socket) => {
                let (tcp, peer) = socket.accept().await?;
                Ok(Accepted::Tcp(tcp, peer.ip().to_canonical()))
            }
            Self::Unix(socket) => Ok(Accepted::Unix(socket.accept().await?.0)),
        }
    }
}

/// Answers at these addresses until the server stops, the console's pages among it. Limits are for all of them together.
pub fn serve(
    backend: Arc<dyn Backend>,
    pages: Router,
    listeners: Vec<Listener>,
    stopping: &CancellationToken,
    tasks: &TaskTracker,
) {
    let server = Server {
        router: router(Arc::clone(&backend), pages),
        backend,
        places: Arc::default(),
        turned_away: TurnedAway::default(),
        stopping: stopping.clone(),
        tasks: tasks.clone(),
    };
    let server = Arc::new(server);
    for listener in listeners {
        tokio::spawn(listen(Arc::clone(&server), listener));
    }
}

/// What all addresses have in common.
struct Server {
    backend: Arc<dyn Backend>,
    router: Router,
    places: Arc<Places>,
    turned_away: TurnedAway,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

async fn listen(server: Arc<Server>, listener: Listener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = server.stopping.cancelled() => return,
        };
        match accepted {
            Ok(accepted) => take(&server, &listener, accepted),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Gives a connection its place, and begins to answer it.
fn take(server: &Arc<Server>, listener: &Listener, accepted: Accepted) {
    let (peer, is_unix) = match &accepted {
        Accepted::Tcp(_, peer) => (*peer, false),
        Accepted::Unix(_) => (Ipv4Addr::LOCALHOST.into(), true),
    };
    let settings = server.backend.settings();
    let room = room(settings.max_connections);
    let Ok(place) = server.places.enter(peer, Standing::Stranger, &room) else {
        let why = "too many connections (console.max_connections)";
        server.backend.log_refused(peer, None, why);
        match accepted {
            // To say it under TLS would cost a handshake.
            Accepted::Tcp(_, _) if listener.is_tls => {}
            Accepted::Tcp(tcp, _) => server.turned_away.answer(tcp),
            Accepted::Unix(stream) => server.turned_away.answer(stream),
        }
        return;
    };
    let place = Arc::new(place);
    let conversation = Conversation {
        server: Arc::clone(server),
        connection: Connection {
            is_tls: listener.is_tls,
            peer,
            is_unix,
            serves: listener.serves,
        },
        place: Arc::clone(&place),
        header_wait: match server.places.is_crowded(&room) {
            true => HEADER_WAIT_CROWDED,
            false => HEADER_WAIT,
        },
    };
    let tls = settings.tls.filter(|_| listener.is_tls);
    let needs_tls = listener.is_tls;
    let backend = Arc::clone(&server.backend);
    server.tasks.spawn(async move {
        let conversation = async {
            match (accepted, tls) {
                (Accepted::Tcp(_, _), None) if needs_tls => Err(NotBegun::NoCertificate),
                (Accepted::Tcp(tcp, _), tls) => conversation.begin(tcp, tls).await,
                (Accepted::Unix(stream), _) => {
                    conversation.go_on(stream).await;
                    Ok(())
                }
            }
        };
        let why = tokio::select! {
            done = conversation => done.err().map(|why| why.to_string()),
            () = place.lost() => Some("too many connections (console.max_connections), and it was idle".to_owned()),
        };
        if let Some(why) = why {
            backend.log_refused(peer, None, &why);
        }
    });
}

/// Nobody has all places: some are left for who watches, and who steers, from elsewhere.
fn room(all: usize) -> Room {
    let share = all - (all / 8).max(1).min(all / 2);
    Room {
        all,
        per_source: share,
        per_network: share,
        patience: PATIENCE,
    }
}

/// A connection, and what it needs to be answered.
struct Conversation {
    server: Arc<Server>,
    connection: Connection,
    place: Arc<Place>,
    header_wait: Duration,
}

/// Why nothing was asked over a connection.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("TLS handshake failed: {0}")]
    Tls(HandshakeError),
    #[error("no TLS certificate is configured")]
    NoCertificate,
}

impl Conversation {
    async fn begin(self, tcp: TcpStream, tls: Option<net::ServerTls>) -> Result<(), NotBegun> {
        // Without it an answer in two writes waits for an acknowledgement.
        tcp.set_nodelay(true)?;
        let stream = match tls {
            None => Stream::Plain(tcp),
            Some(tls) => tls
                .handshake(tcp, HANDSHAKE_MAX)
                .await
                .map_err(NotBegun::Tls)?,
        };
        self.go_on(stream).await;
        Ok(())
    }

    async fn go_on(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let place = self.place;
        let router = self.server.router.clone();
        let routes = TowerToHyperService::new(router.layer(axum::Extension(self.connection)));
        // Who has asked something keeps the place until it is answered; a request that is not there
        // whole, and a connection that is only kept, make room for others.
        let service = service_fn(move |request: Request<Incoming>| {
            place.busy();
            let (answer, place) = (routes.call(request), Arc::clone(&place));
            async move {
                let answer = answer.await;
                place.idle();
                answer
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_wait)
            .max_buf_size(HEADER_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // A client that is gone or sends no HTTP is no error of ours: there is nobody to tell.
        let limit = tokio::select! {
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(CONNECTION_MAX) => CONNECTION_END,
            () = self.server.stopping.cancelled() => STOP_WITHIN,
        };
        connection.as_mut().graceful_shutdown();
        drop(tokio::time::timeout(limit, connection).await);
    }
}
