//! Connections: bounded in number and in time, in clear or under TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use net::{Place, Places, Room, Standing, Stream};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Peer;
use crate::backend::Backend;
use crate::router::router;

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

/// Answers at this listener until the server stops.
pub async fn serve(
    backend: Arc<dyn Backend>,
    listener: TcpListener,
    stopping: CancellationToken,
    tasks: TaskTracker,
) {
    let router = router(Arc::clone(&backend));
    let places = Arc::new(Places::default());
    loop {
        let (tcp, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stopping.cancelled() => return,
        };
        let settings = backend.settings();
        let room = room(settings.max_connections);
        let place = match places.enter(peer.ip(), Standing::Stranger, &room) {
            Ok(place) => Arc::new(place),
            Err(_) => {
                let why = "too many connections (console.max_connections)";
                backend.log_refused(peer.ip(), None, why);
                continue;
            }
        };
        let header_wait = match places.is_crowded(&room) {
            true => HEADER_WAIT_CROWDED,
            false => HEADER_WAIT,
        };
        let (router, backend) = (router.clone(), Arc::clone(&backend));
        let stopping = stopping.clone();
        tasks.spawn(async move {
            let held = Arc::clone(&place);
            let conversation = converse(tcp, peer, router, settings.tls, stopping, held, header_wait);
            let why = tokio::select! {
                done = conversation => done.err(),
                () = place.lost() => Some("too many connections (console.max_connections), and it was idle".to_owned()),
            };
            if let Some(why) = why {
                backend.log_refused(peer.ip(), None, &why);
            }
        });
    }
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

async fn converse(
    tcp: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<net::ServerTls>,
    stopping: CancellationToken,
    place: Arc<Place>,
    header_wait: Duration,
) -> Result<(), String> {
    // Without it an answer in two writes waits for an acknowledgement.
    tcp.set_nodelay(true).map_err(|e| e.to_string())?;
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(tls) => tls
            .handshake(tcp, HANDSHAKE_MAX)
            .await
            .map_err(|why| format!("TLS handshake failed: {why}"))?,
    };
    let peer = Peer(peer.ip().to_canonical());
    let routes = TowerToHyperService::new(router.layer(axum::Extension(peer)));
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
        .header_read_timeout(header_wait)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client that is gone or sends no HTTP is no error of ours: there is nobody to tell.
    let limit = tokio::select! {
        _ = connection.as_mut() => return Ok(()),
        () = tokio::time::sleep(CONNECTION_MAX) => CONNECTION_END,
        () = stopping.cancelled() => STOP_WITHIN,
    };
    connection.as_mut().graceful_shutdown();
    drop(tokio::time::timeout(limit, connection).await);
    Ok(())
}
