//! A session of a worker, from its connection to the point where transactions can begin.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::sources::Source;
use deliver::{
    Candidate, Derivation, Event as SessionEvent, Failure, Session, SessionSettings, Stage,
    TlsMode, Way,
};
use mail::{EnhancedCode, Message, PeerHost, Reply, Timestamp, TlsUsed};
use net::{Hello, Link, Shaken, Stream, TlsFailure, TlsFailureKind, Trust};
use node::Settings;
use node::detail::log_said;
use node::figures::Figures;
use node::hop::Hop;
use protection::tls_policy::{By, Context, Wanted};
use route::Host;
use tokio::net::TcpStream;

use crate::fitted::{Fitted, Rewritten};
use crate::{Sending, token};

/// How long the usual first message of TLS may be met with silence.
const FULL_HELLO_WAIT: Duration = Duration::from_secs(30);

/// How long it takes at most to read what is there already.
const LOOK: Duration = Duration::from_millis(50);

/// An open session and where it leads.
pub(crate) struct Open {
    pub(crate) session: Session,
    pub(crate) link: Link,
    pub(crate) host: PeerHost,
    pub(crate) name: String,
    pub(crate) since: world::Instant,
    /// What the site's settings said of TLS when it was opened.
    pub(crate) mode: TlsMode,
    /// The administrator named the host.
    pub(crate) configured: bool,
    /// It is the relay's.
    pub(crate) relay: bool,
    /// For whom it was opened, and what was wanted for them.
    pub(crate) context: Context,
    pub(crate) wanted: Wanted,
    pub(crate) way: Way,
    /// Our address.
    pub(crate) from: Option<IpAddr>,
    /// Why the handshake failed.
    pub(crate) tls_failure: Option<TlsFailure>,
    /// Whether the host could have proved its name, where a policy in testing wants to know.
    pub(crate) proof: Option<Result<(), TlsFailure>>,
    /// The host's addresses that may be connected to.
    pub(crate) addresses: Vec<IpAddr>,
    /// The address of ours that it was opened from, where that was chosen.
    pub(crate) source: Option<Arc<Source>>,
    /// The last content that was converted for it.
    pub(crate) fitted: Option<Fitted>,
    /// The last content that got other senders for it.
    pub(crate) rewritten: Option<Rewritten>,
    /// The token that is logged in by.
    token: Option<String>,
}

/// Where a connection leads, and how it is to be protected.
pub(crate) struct Opening {
    pub(crate) peer: PeerHost,
    pub(crate) name: String,
    pub(crate) from: Option<IpAddr>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mode: TlsMode,
    /// The administrator named the host.
    pub(crate) configured: bool,
    /// It is the relay's.
    pub(crate) relay: bool,
    pub(crate) context: Context,
    pub(crate) wanted: Wanted,
    pub(crate) way: Way,
    pub(crate) source: Option<Arc<Source>>,
}

impl Open {
    /// Where its host could be tried when it has ended; nowhere while it has not.
    pub(crate) fn addresses_after(&self) -> Vec<IpAddr> {
        match self.session.is_idle() {
            true => Vec::new(),
            false => self.addresses.clone(),
        }
    }

    /// Whether transactions can still begin.
    pub(crate) async fn is_of_use(&mut self) -> bool {
        if self.session.is_idle() && !self.link.is_quiet() {
            // With TLS it may have been something of the connection's own.
            drop(tokio::time::timeout(LOOK, self.link.turn(&mut self.session)).await);
        }
        self.session.is_idle()
    }

    /// Whether the host has addresses of another family than the one connected to.
    pub(crate) fn has_other_family(&self) -> bool {
        let is_v6 = self.host.address.is_some_and(|a| a.is_ipv6());
        self.addresses.iter().any(|ip| ip.is_ipv6() != is_v6)
    }

    /// A failure of TLS in the light of who wants it: a domain's policy says nothing about the host's
    /// other mail.
    fn by_policy(&self, mut failure: Failure) -> Failure {
        if failure.stage != Stage::Tls {
            return failure;
        }
        let error = self.tls_failure.as_ref();
        if error.is_some_and(|error| swallowed(error, self.way)) {
            failure.retry = Some(Way::SmallHello);
        }
        failure.ours |= error.is_some_and(|error| is_refused(error, self.configured));
        if self.wanted.by != By::Settings {
            failure.stage = Stage::Policy;
            failure.reply.text = format!("{}: {}", self.wanted.by.word(), failure.reply.text);
            // A host that has no TLS, or another name, stays like that; a lost connection does not.
            let lasting = match error.map(|error| error.kind) {
                Some(
                    TlsFailureKind::Untrusted
                    | TlsFailureKind::Expired
                    | TlsFailureKind::WrongName
                    | TlsFailureKind::NoMatch,
                ) => true,
                Some(TlsFailureKind::Silent | TlsFailureKind::Other) => false,
                None => {
                    let not_offered = EnhancedCode::new(4, 7, 4);
                    failure.reply.enhanced == Some(not_offered) || failure.reply.is_permanent()
                }
            };
            let code = match self.wanted.by == By::RequireTls && lasting {
                true => EnhancedCode::new(5, 7, 30),
                false => EnhancedCode::new(4, 7, 5),
            };
            // A policy makes mail wait, also where the host's own answer is final.
            failure.reply = Reply::own(code, std::mem::take(&mut failure.reply.text));
        }
        failure
    }

    /// Whether it leads where a candidate of an attempt is tried.
    pub(crate) fn leads_to(&self, host: &Host, hop: &Hop, candidate: Candidate) -> bool {
        let v6 = self.host.address.is_some_and(|a| a.is_ipv6());
        let family = match candidate.family {
            deliver::Family::Any => true,
            deliver::Family::V4 => !v6,
            deliver::Family::V6 => v6,
        };
        let protected = !matches!(self.session.tls(), TlsUsed::None | TlsUsed::FellBack);
        self.name == host.name.as_str()
            && self.mode == hop.tls
            && family
            && self.session.is_idle()
            && !(candidate.way == Way::Clear && protected)
    }
}

/// A session on a fresh connection, behind the handshake where TLS comes first.
pub(crate) async fn begin(
    sending: &Sending,
    settings: &Settings,
    tcp: TcpStream,
    opening: Opening,
    mut session: SessionSettings,
) -> Result<Open, Failure> {
    let token = token::fill(sending, settings, session.credentials.as_mut()).await?;
    let mut tls = match opening.way {
        Way::Clear if !opening.wanted.mode.is_mandatory() => TlsUsed::FellBack,
        Way::Clear | Way::Usual | Way::SmallHello => TlsUsed::None,
    };
    let mut stream = Stream::Plain(tcp);
    if opening.wanted.mode == TlsMode::Implicit
        && let Stream::Plain(tcp) = stream
    {
        let shaken = handshake(sending, settings, tcp, &opening.wanted, opening.way).await;
        let shaken = shaken.map_err(|error| {
            let text = format!("TLS handshake failed: {error}");
            Failure {
                tls: TlsUsed::None,
                stage: Stage::Tls,
                reply: Reply::own(EnhancedCode::new(4, 7, 5), text),
                retry: swallowed(&error, opening.way).then_some(Way::SmallHello),
                ours: is_refused(&error, opening.configured),
            }
        })?;
        tls = TlsUsed::Verified;
        stream = shaken.stream;
    }
    let mut session = Session::new(session, tls, sending.node.now());
    if tls == TlsUsed::Verified {
        let nonce = nonce().map_err(|error| Failure {
            tls: TlsUsed::None,
            stage: Stage::Login,
            reply: Reply::own(EnhancedCode::new(4, 3, 0), error.to_string()),
            retry: None,
            ours: true,
        })?;
        session.bind(stream.bindings(), nonce);
    }
    Ok(Open {
        session,
        link: Link::new(stream, sending.node.clock.handle().clone()),
        host: opening.peer,
        name: opening.name,
        since: sending.node.instant(),
        mode: opening.mode,
        configured: opening.configured,
        relay: opening.relay,
        context: opening.context,
        wanted: opening.wanted,
        way: opening.way,
        from: opening.from,
        tls_failure: None,
        proof: None,
        addresses: opening.addresses,
        source: opening.source,
        fitted: None,
        rewritten: None,
        token,
    })
}

/// Whether a server that the administrator named does not prove to be it. What is wrong there or here must be
/// mended by people, and no mail is to bounce until then.
const fn is_refused(error: &TlsFailure, configured: bool) -> bool {
    let refused = matches!(
        error.kind,
        TlsFailureKind::Untrusted
            | TlsFailureKind::Expired
            | TlsFailureKind::WrongName
            | TlsFailureKind::NoMatch
    );
    configured && refused
}

/// Whether the same host deserves a try with a smaller first message.
fn swallowed(error: &TlsFailure, way: Way) -> bool {
    error.kind == TlsFailureKind::Silent && way == Way::Usual
}

async fn handshake(
    sending: &Sending,
    settings: &Settings,
    tcp: TcpStream,
    wanted: &Wanted,
    way: Way,
) -> Result<Shaken, TlsFailure> {
    let known = sending
        .protection
        .policies
        .hello(&wanted.name, sending.node.now());
    let hello = match way {
        Way::SmallHello => Hello::Small,
        Way::Usual | Way::Clear => known,
    };
    let helo = settings.config.outgoing.timeouts.helo;
    // Who swallows the usual first message is silent for ever; a small one gets all the time.
    let limit = match hello {
        Hello::Full => helo.min(FULL_HELLO_WAIT),
        Hello::Small => helo,
    };
    let tls = &settings.client_tls;
    let shaken = tls
        .handshake(tcp, &wanted.name, &wanted.trust, hello, limit)
        .await?;
    let figures = &sending.node.figures;
    Figures::count(match shaken.resumed {
        true => &figures.resumptions,
        false => &figures.handshakes,
    });
    if hello == Hello::Small {
        Figures::count(&figures.small_hellos);
        sending
            .protection
            .policies
            .needs_small_hello(&wanted.name, sending.node.now());
    }
    Ok(shaken)
}

/// From the greeting to the point where transactions can begin.
pub(crate) async fn greet(
    sending: &Sending,
    settings: &Settings,
    open: &mut Open,
    message: &Message,
) -> Result<(), Failure> {
    loop {
        while let Some(event) = open.session.poll_event() {
            match event {
                SessionEvent::Ready => {
                    token::accepted(sending, open.token.as_deref()).await;
                    return Ok(());
                }
                SessionEvent::Failed(failure) => {
                    let failure = open.by_policy(failure);
                    return Err(token::refused(sending, open.token.as_deref(), failure).await);
                }
                SessionEvent::StartTls => start_tls(sending, settings, open).await,
                SessionEvent::Derive(derivation) => {
                    let key = derive(derivation).await;
                    open.session.derived(sending.node.now(), &key);
                    open.link.again(&mut open.session);
                }
                SessionEvent::Said(ours, line) => {
                    log_said(&sending.node, message, &open.host, ours, &line)
                }
                SessionEvent::Ended(_) | SessionEvent::Asked(..) => {}
                SessionEvent::Closed => return Err(lost()),
            }
        }
        open.link.turn(&mut open.session).await;
    }
}

/// A nonce for a login, which is never used twice.
pub fn nonce() -> std::io::Result<String> {
    let mut random = [0; 18];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| std::io::Error::other("the system has no random numbers"))?;
    Ok(STANDARD.encode(random))
}

/// The key for a login, on a thread that may block: a relay decides how long it takes.
pub async fn derive(derivation: Derivation) -> Vec<u8> {
    match tokio::task::spawn_blocking(move || derivation.key()).await {
        Ok(key) => key,
        // As if it had happened here: the batch is deferred, and it is logged.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The connection is gone.
pub(crate) fn lost() -> Failure {
    let reply = Reply::own(EnhancedCode::new(4, 4, 2), "the connection was lost");
    Failure {
        tls: TlsUsed::None,
        stage: Stage::Greeting,
        reply,
        retry: None,
        ours: false,
    }
}

async fn start_tls(sending: &Sending, settings: &Settings, open: &mut Open) {
    // The connection is given away for the handshake; a failure ends it.
    let Some(Stream::Plain(tcp)) = open.link.take_stream() else {
        return open.session.tls_failed("no connection");
    };
    let nonce = match nonce() {
        Ok(nonce) => nonce,
        Err(error) => return open.session.tls_failed(&error.to_string()),
    };
    match handshake(sending, settings, tcp, &open.wanted, open.way).await {
        Ok(shaken) => {
            if open.context.is_tested() {
                let tls = &settings.client_tls;
                open.proof = Some(tls.would_prove(&shaken.stream, &open.wanted.name));
            }
            open.session.bind(shaken.stream.bindings(), nonce);
            open.link = Link::new(shaken.stream, sending.node.clock.handle().clone());
            let tls = match open.wanted.trust {
                Trust::Anyone => TlsUsed::Encrypted,
                Trust::Roots => TlsUsed::Verified,
                Trust::Dane { .. } => TlsUsed::Dane,
            };
            open.session.tls_established(sending.node.now(), tls);
        }
        Err(error) => {
            open.session.tls_failed(&error.why);
            open.tls_failure = Some(error);
        }
    }
}

/// Says goodbye at `now`, without making anybody wait for it.
pub(crate) async fn quit(mut open: Open, now: Timestamp) {
    open.session.quit(now);
    open.link.flush(&mut open.session).await;
}
