//! The shell in small: it answers a session's requests at once and keeps what was accepted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use intake::{
    AcceptFailure, Auth, Event, Listener, LocalDomains, LoginVerdict, NoKeys, Policy, Request,
    Senders, Session, Tls, User,
};
use mail::{Address, Domain, IdSource, Message, QueueId, Reply, Timestamp};
use smtp::machine::Machine;
use smtp::sasl::{Binding, Evidence, Keys};

pub(crate) const OUTSIDE: &str = "192.0.2.7:4000";
pub(crate) const INSIDE: &str = "10.0.0.5:4000";
/// `ann` with the password `secret`, for PLAIN.
pub(crate) const ANN: &str = "AGFubgBzZWNyZXQ=";

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// One listener with STARTTLS and voluntary login, the network 10/8, and `local.example`.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::new("mx.example", address("postmaster@local.example"));
    policy.tls_available = true;
    policy.listeners.push(Listener {
        tls: Tls::StartTls,
        auth: Auth::Optional,
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        proxies: Vec::new(),
        fix_ups: intake::FixUps::NONE,
    });
    policy.local = LocalDomains::new([Domain::parse("local.example").unwrap()], true);
    policy
}

pub(crate) struct Shell {
    pub(crate) session: Session,
    pub(crate) now: Timestamp,
    pub(crate) accepted: Vec<Message>,
    pub(crate) events: Vec<Event>,
    pub(crate) closed: bool,
    /// The answer to the next messages, in order; then all are saved.
    pub(crate) failures: Vec<AcceptFailure>,
    /// The handshake is due.
    pub(crate) handshake: bool,
    /// From where `ann` may send.
    pub(crate) senders: Senders,
    /// What logins can be bound to once TLS is on.
    pub(crate) binding: Option<Binding>,
    input: BytesMut,
    output: Vec<u8>,
}

impl Shell {
    pub(crate) fn new(policy: Policy, peer: &str) -> Self {
        Self::with_tls(policy, peer, false)
    }

    pub(crate) fn with_tls(policy: Policy, peer: &str, tls: bool) -> Self {
        let now = Timestamp::from_secs(1_795_359_059);
        let mut ids = IdSource::above(QueueId::from_u64(0));
        let peer: SocketAddr = peer.parse().unwrap();
        let next = Box::new(move |now| ids.next_id(now));
        let mut shell = Self {
            session: Session::new(Arc::new(policy), 0, peer, tls, next, now),
            now,
            accepted: Vec::new(),
            events: Vec::new(),
            closed: false,
            failures: Vec::new(),
            handshake: false,
            senders: Senders::any(),
            binding: None,
            input: BytesMut::new(),
            output: Vec::new(),
        };
        shell.run();
        shell
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.receive(self.now, &mut self.input);
        self.run();
    }

    /// Sends, and answers what the server said to it.
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.heard();
        self.send(text.as_bytes());
        self.heard()
    }

    /// All that the server said since the last time.
    pub(crate) fn heard(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.output)).unwrap()
    }

    /// The next line of the server, without its CRLF.
    pub(crate) fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.output.windows(2).position(|w| w == b"\r\n")?;
        let line = self.output.drain(..end + 2).take(end).collect();
        Some(line)
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn start_tls(&mut self) {
        assert!(std::mem::take(&mut self.handshake), "no handshake is due");
        self.session.bind(self.binding.clone());
        self.session.tls_started(self.now);
        self.run();
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        if self.session.deadline().is_some_and(|d| d.at <= self.now) {
            self.session.timeout(self.now);
        }
        self.run();
    }

    pub(crate) fn run(&mut self) {
        loop {
            while let Some(bytes) = self.session.poll_transmit() {
                self.output.extend_from_slice(&bytes);
            }
            while let Some(event) = self.session.poll_event() {
                self.events.push(event);
            }
            let Some(request) = self.session.poll_request() else {
                return;
            };
            match request {
                Request::StartTls => self.handshake = true,
                Request::Close => self.closed = true,
                Request::FetchKeys(user) => {
                    let keys = Keys {
                        salt: b"salt".to_vec(),
                        rounds: 4096,
                        stored_key: vec![0; 32],
                        server_key: vec![0; 32],
                        nonce: "nonce".to_owned(),
                    };
                    let keys = match user.as_str() {
                        "later" => Err(NoKeys::Unavailable),
                        "often" => Err(NoKeys::TooMany),
                        _ => Ok(keys),
                    };
                    self.session.keys_fetched(self.now, keys);
                }
                Request::CheckLogin(login) => {
                    let password = match &login.evidence {
                        Evidence::Password(password) => password.as_str(),
                        Evidence::Proof(_) => "",
                    };
                    let verdict = match (login.user.as_str(), password) {
                        ("ann", "secret") => LoginVerdict::Right(User {
                            name: login.user,
                            senders: self.senders.clone(),
                        }),
                        ("later", _) => LoginVerdict::Unavailable,
                        ("often", _) => LoginVerdict::TooMany,
                        _ => LoginVerdict::Wrong,
                    };
                    self.session.login_checked(self.now, verdict);
                }
                Request::CheckRecipient(address) => {
                    let verdict = match address.local() {
                        "unknown" => Err(Reply::new(550, None, "5.1.1 No such mailbox")),
                        _ => Ok(()),
                    };
                    self.session.recipient_checked(self.now, verdict);
                }
                Request::Accept(message) => {
                    let result = if self.failures.is_empty() {
                        self.accepted.push(*message);
                        Ok(())
                    } else {
                        Err(self.failures.remove(0))
                    };
                    self.session.accepted(self.now, result);
                }
            }
            self.session.receive(self.now, &mut self.input);
        }
    }
}

/// The content of a message after our Received field.
pub(crate) fn without_received(message: &Message) -> &[u8] {
    let first = mail::Headers::new(&message.content).next().unwrap();
    assert!(first.is("Received"));
    &message.content[first.raw.len()..]
}
