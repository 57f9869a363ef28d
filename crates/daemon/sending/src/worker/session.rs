//! The session that a batch goes by: one that is open and fits, or a new one.

use std::net::IpAddr;

use deliver::{Candidate, Protocol, SessionSettings, TlsMode, Way};
use mail::{Message, PeerHost};
use node::Settings;
use node::detail::is_detailed;
use node::figures::Figures;
use node::hop::Hop;
use route::Host;
use sources::leaving::{self, Unreached};
use tokio::net::TcpStream;

use super::{RATE_MIN, Worker};
use crate::opened::{Open, Opening, begin, greet, quit};
use crate::reach::{NoAddress, addresses, named_in_dns};
use crate::tls_seen::Seen;
use crate::tried::{Tried, ip_of};

impl Worker {
    /// Goes on with a session that can be used, if there is one.
    pub(super) async fn resume(
        &mut self,
        settings: &Settings,
        hop: &Hop,
        host: &Host,
        candidate: Candidate,
        tried: &Tried,
    ) -> bool {
        if let Some(open) = &self.sessions.open
            && self
                .serves(open, settings, hop, host, candidate, tried)
                .await
        {
            return true;
        }
        for place in 0..self.sessions.aside() {
            if let Some(open) = self.sessions.get(place)
                && self
                    .serves(open, settings, hop, host, candidate, tried)
                    .await
            {
                if let Some(gone) = self.sessions.take(place) {
                    quit(gone, self.sending.node.now()).await;
                }
                return true;
            }
        }
        false
    }

    /// Ends the session in use, or puts it aside where mail leaves from several addresses. A server that
    /// is configured may count all of ours as one client.
    pub(super) async fn make_way(&mut self, hop: &Hop) {
        let gone = match hop.next.configured {
            true => self.sessions.open.take(),
            false => self.sessions.put_aside(),
        };
        if let Some(gone) = gone {
            quit(gone, self.sending.node.now()).await;
        }
    }

    /// Whether a session can be used: it leads there, and is protected as these recipients want it.
    async fn serves(
        &self,
        open: &Open,
        settings: &Settings,
        hop: &Hop,
        host: &Host,
        candidate: Candidate,
        tried: &Tried,
    ) -> bool {
        let source = open.source.as_ref();
        if !open.leads_to(host, hop, candidate)
            || tried.was_given_up(candidate, ip_of(&open.host))
            || !tried.leaving.fits(&self.sending.sources, candidate, source)
        {
            return false;
        }
        if open.context == tried.context {
            return true;
        }
        let found = match hop.next.configured {
            true => named_in_dns(settings, hop.tls, host).await,
            false => Some(settings.dns.addresses(host.name.as_str()).await),
        };
        let wanted = tried
            .wanted(
                &self.sending.protection,
                settings,
                hop,
                host,
                found.as_ref(),
            )
            .await;
        wanted.is_ok_and(|wanted| wanted == open.wanted)
    }

    /// Connects to a host; tells the attempt what went wrong otherwise.
    async fn connect(
        &self,
        settings: &Settings,
        hop: &Hop,
        host: &Host,
        candidate: Candidate,
        message: &Message,
        tried: &mut Tried,
    ) -> Option<(TcpStream, Opening)> {
        let mut peer = PeerHost {
            name: host.name.to_string(),
            address: None,
        };
        let (addresses, found) = match addresses(&self.sending.node, settings, hop, host).await {
            Ok(found) => found,
            Err(NoAddress::Ourselves) => {
                tried.led_here(host, peer);
                return None;
            }
            Err(NoAddress::Because(reply, why)) => {
                tried.note(&peer, &reply);
                tried
                    .attempt
                    .skipped(&reply, peer, why, self.sending.node.now());
                return None;
            }
        };
        let wanted = tried
            .wanted(
                &self.sending.protection,
                settings,
                hop,
                host,
                found.as_ref(),
            )
            .await;
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(ruled) => {
                self.seen(message, tried, &peer, None).ruled_out(&ruled);
                tried.note(&peer, &ruled.reply);
                tried
                    .attempt
                    .withheld(&ruled.reply, peer, self.sending.node.now());
                return None;
            }
        };
        let usable = tried.to(candidate, &addresses);
        Figures::count(&self.sending.node.figures.connections_out);
        let limit = settings.config.outgoing.timeouts.connect;
        let leaving = &mut tried.leaving;
        let reached = leaving.connect(&self.sending.sources, candidate, &usable, host.port, limit);
        let reached = reached.await;
        peer.address = match &reached {
            Ok(reached) => reached.peer,
            Err(unreached) => unreached.address(),
        };
        if let Err(Unreached::Host(_, why)) = &reached {
            self.log_connect(message, &peer, why);
        }
        let reached = tried.reached(settings, hop, host, &peer, reached)?;
        self.log_connect(message, &peer, "connected");
        let opening = Opening {
            peer,
            name: host.name.to_string(),
            from: reached.local(),
            addresses,
            mode: hop.tls,
            configured: hop.next.configured,
            relay: hop.next.relay,
            context: tried.context.clone(),
            wanted,
            way: candidate.way,
            source: reached.source,
        };
        Some((reached.tcp, opening))
    }

    pub(super) async fn open_session(
        &self,
        settings: &Settings,
        hop: &Hop,
        host: &Host,
        candidate: Candidate,
        message: &Message,
        tried: &mut Tried,
    ) -> Option<Open> {
        let (tcp, opening) = self
            .connect(settings, hop, host, candidate, message, tried)
            .await?;
        let session_settings = SessionSettings {
            protocol: Protocol::Smtp,
            ehlo_name: match &opening.source {
                Some(source) => source.ehlo.to_string(),
                None => settings.config.hostname.to_string(),
            },
            tls: match candidate.way {
                // A policy that has come up since the handshake failed forbids clear text.
                Way::Clear if !opening.wanted.mode.is_mandatory() => TlsMode::None,
                Way::Clear | Way::Usual | Way::SmallHello => opening.wanted.mode,
            },
            credentials: hop.credentials.clone(),
            timeouts: settings.config.outgoing.timeouts,
            rate_min: RATE_MIN,
            ignore: hop.ignored(self.sending.no_chunking.has(host.name.as_str())),
            detailed: is_detailed(&self.sending.node, message),
        };
        let (peer, addresses) = (opening.peer.clone(), opening.addresses.clone());
        let begun = begin(&self.sending, settings, tcp, opening, session_settings).await;
        let mut open = match begun {
            Ok(open) => open,
            Err(failure) => {
                tried.note(&peer, &failure.reply);
                tried.failed(&failure, candidate, peer, &addresses);
                return None;
            }
        };
        let greeted = greet(&self.sending, settings, &mut open, message).await;
        let from = leaving::words(open.source.as_ref());
        tried.transcript += &format!("= {}{from}\n", open.host);
        tried.transcript.push_str(&open.session.take_transcript());
        let reported = !hop.next.configured && hop.tls != TlsMode::None;
        let seen = self.seen(message, tried, &open.host, open.from);
        match &greeted {
            Ok(()) if reported => seen.opened(&open),
            Err(failure) if reported => seen.failed(&open, failure),
            Ok(()) | Err(_) => {}
        }
        match greeted {
            Ok(()) => {
                tried.opened = true;
                Some(open)
            }
            Err(failure) => {
                if failure.retry == Some(Way::Clear) {
                    Figures::count(&self.sending.node.figures.clear_after_tls);
                }
                open.link.flush(&mut open.session).await;
                tried.failed(&failure, candidate, peer, &addresses);
                None
            }
        }
    }

    /// For the reports on TLS.
    fn seen<'a>(
        &'a self,
        message: &'a Message,
        tried: &'a Tried,
        host: &'a PeerHost,
        from: Option<IpAddr>,
    ) -> Seen<'a> {
        Seen {
            sending: &self.sending,
            message,
            numbers: &tried.numbers,
            context: &tried.context,
            host,
            from,
        }
    }

    fn log_connect(&self, message: &Message, peer: &PeerHost, what: &str) {
        if is_detailed(&self.sending.node, message) {
            let line = self
                .sending
                .node
                .journal
                .line(self.sending.node.now(), "connect")
                .field("id", message.id);
            line.field("host", peer).field("what", what).send();
        }
    }
}
