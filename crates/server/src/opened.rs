//! A session of a worker, from its connection to the point where transactions can begin.

use std::time::Instant;

use deliver::{
    Candidate, Event as SessionEvent, Failure, Session, SessionSettings, Stage, TlsMode,
};
use mail::{EnhancedCode, Message, PeerHost, Reply, TlsUsed};
use net::{Link, Stream};
use route::Host;
use tokio::net::TcpStream;

use crate::converse::{Fitted, log_said};
use crate::resolve::Hop;
use crate::shared::{Settings, Shared};

/// An open session and where it leads.
pub(crate) struct Open {
    pub(crate) session: Session,
    pub(crate) link: Link,
    pub(crate) host: PeerHost,
    pub(crate) name: String,
    pub(crate) since: Instant,
    /// What was wanted of TLS when it was opened.
    pub(crate) tls: TlsMode,
    /// The host has addresses of another family than the one connected to.
    pub(crate) other_family: bool,
    /// The last content that was converted for it.
    pub(crate) fitted: Option<Fitted>,
}

impl Open {
    /// Whether it can be used for a candidate of an attempt.
    pub(crate) fn serves(&self, host: &Host, hop: &Hop, candidate: Candidate) -> bool {
        let v6 = self.host.address.is_some_and(|a| a.is_ipv6());
        let family = match candidate.family {
            deliver::Family::Any => true,
            deliver::Family::V4 => !v6,
            deliver::Family::V6 => v6,
        };
        let protected = !matches!(self.session.tls(), TlsUsed::None | TlsUsed::FellBack);
        self.name == host.name.as_str()
            && self.tls == hop.tls
            && family
            && self.session.is_idle()
            && !(candidate.in_clear && protected)
    }
}

/// A session on a fresh connection, behind the handshake where TLS comes first.
pub(crate) async fn begin(
    settings: &Settings,
    hop: &Hop,
    candidate: Candidate,
    tcp: TcpStream,
    peer: &PeerHost,
    session: SessionSettings,
) -> Result<(Session, Link), Failure> {
    let failed = |why: String| {
        let text = format!("TLS handshake failed: {why}");
        let reply = Reply::own(EnhancedCode::new(4, 7, 5), text);
        Failure {
            stage: Stage::Tls,
            reply,
            retry_in_clear: false,
        }
    };
    if hop.tls == TlsMode::Implicit {
        let limit = session.timeouts.helo;
        let stream = settings
            .client_tls
            .handshake(tcp, &peer.name, true, limit)
            .await;
        let stream = stream.map_err(failed)?;
        return Ok((
            Session::new(session, TlsUsed::Verified, net::now()),
            Link::new(stream),
        ));
    }
    let tls = if candidate.in_clear {
        TlsUsed::FellBack
    } else {
        TlsUsed::None
    };
    Ok((
        Session::new(session, tls, net::now()),
        Link::new(Stream::Plain(tcp)),
    ))
}

/// From the greeting to the point where transactions can begin.
pub(crate) async fn greet(
    shared: &Shared,
    settings: &Settings,
    hop: &Hop,
    open: &mut Open,
    message: &Message,
) -> Result<(), Failure> {
    loop {
        while let Some(event) = open.session.poll_event() {
            match event {
                SessionEvent::Ready => return Ok(()),
                SessionEvent::Failed(failure) => return Err(failure),
                SessionEvent::StartTls => start_tls(settings, hop, open).await,
                SessionEvent::Said(ours, line) => {
                    log_said(shared, message, &open.host, ours, &line)
                }
                SessionEvent::Ended(_) => {}
                SessionEvent::Closed => return Err(lost()),
            }
        }
        open.link.turn(&mut open.session).await;
    }
}

/// The connection is gone.
pub(crate) fn lost() -> Failure {
    let reply = Reply::own(EnhancedCode::new(4, 4, 2), "the connection was lost");
    Failure {
        stage: Stage::Greeting,
        reply,
        retry_in_clear: false,
    }
}

async fn start_tls(settings: &Settings, hop: &Hop, open: &mut Open) {
    let verify = matches!(hop.tls, TlsMode::Verify | TlsMode::Implicit);
    let limit = settings.config.outgoing.timeouts.helo;
    // The connection is given away for the handshake; a failure ends it.
    let link = std::mem::replace(&mut open.link, Link::gone());
    let result = match link.into_stream() {
        Some(Stream::Plain(tcp)) => {
            settings
                .client_tls
                .handshake(tcp, &open.host.name, verify, limit)
                .await
        }
        Some(Stream::Client(_) | Stream::Server(_)) | None => Err("no connection".to_owned()),
    };
    match result {
        Ok(stream) => {
            open.link = Link::new(stream);
            let tls = if verify {
                TlsUsed::Verified
            } else {
                TlsUsed::Encrypted
            };
            open.session.tls_established(net::now(), tls);
        }
        Err(why) => open.session.tls_failed(&why),
    }
}
