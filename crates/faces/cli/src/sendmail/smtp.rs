//! `-bs`: SMTP on standard input and output, each mail dropped when its content has ended.
//!
//! The session is intake's own; here are only its bytes, its deadlines, and what it asks. Rewriting
//! and local domains are the server's affair when it takes the drop.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use config::Config;
use drops::{self, DepositError, Drop, Sender, To};
use intake::{
    AcceptFailure, FixUps, Listener, LocalDomains, LoginVerdict, NoKeys, Policy, Request,
    Rewriting, Session,
};
use mail::{Address, Domain, Headers, IdSource, Message, QueueId, Ret};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smtp::machine::Machine;

use super::{Failure, Options, Settings, code};

/// Room made for each read.
const READ_AT_ONCE: usize = 64 * 1024;

/// Talks until the client ends it.
pub(super) fn converse(options: &Options, settings: &Settings) -> Result<(), Failure> {
    let policy = policy(settings.config.as_ref())?;
    let mut ids = IdSource::above(QueueId::from_u64(0));
    let next_id = Box::new(move |now| ids.next_id(now));
    // A program on this computer, trusted as one that connects from it.
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut session = Session::new(Arc::new(policy), 0, peer, false, next_id, net::now());
    let mut input = BytesMut::new();
    let broken = |error: io::Error| Failure::new(code::IOERR, format!("SMTP session: {error}"));
    loop {
        flush(&mut session).map_err(broken)?;
        while session.poll_event().is_some() {}
        match session.poll_request() {
            Some(Request::Accept(message)) => {
                let result = save(&settings.drop_dir, options, &message);
                session.accepted(net::now(), result);
                session.receive(net::now(), &mut input);
            }
            // None of these is offered, or asked without local domains.
            Some(Request::FetchKeys(_)) => {
                session.keys_fetched(net::now(), Err(NoKeys::Unavailable))
            }
            Some(Request::CheckLogin(_)) => {
                session.login_checked(net::now(), LoginVerdict::Unavailable);
            }
            Some(Request::CheckRecipient(_)) => session.recipient_checked(net::now(), Ok(())),
            Some(Request::StartTls) => return Ok(()),
            Some(Request::Close) => return flush(&mut session).map_err(broken),
            None if session.is_closed() => return Ok(()),
            None => hear(&mut session, &mut input).map_err(broken)?,
        }
    }
}

/// As the server's, as far as it can be read.
fn policy(config: Option<&Config>) -> Result<Policy, Failure> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let here = Domain::parse(&name).unwrap_or_else(|_| Domain::from_ip(Ipv4Addr::LOCALHOST.into()));
    let mut policy = match config {
        Some(config) => config.intake.clone(),
        None => {
            let postmaster = Address::new("postmaster", here.clone())
                .map_err(|error| Failure::new(code::OSERR, error.to_string()))?;
            Policy::new(here.as_str(), postmaster)
        }
    };
    policy.listeners = vec![Listener {
        // The rest is the server's, which knows its own name.
        fix_ups: FixUps {
            date: true,
            ..FixUps::NONE
        },
        ..Listener::loopback()
    }];
    policy.rewriting = Rewriting::default();
    policy.aliases = intake::Aliases::default();
    policy.local = LocalDomains::default();
    policy.tls_available = false;
    // The server encodes it.
    policy.nul = smtp::data::Nul::Keep;
    // The server tells its user by the drop's owner.
    policy.locals_log_in = false;
    Ok(policy)
}

fn flush(session: &mut Session) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    while let Some(octets) = session.poll_transmit() {
        stdout.write_all(&octets)?;
    }
    stdout.flush()?;
    session.flushed(net::now());
    Ok(())
}

/// Waits for input, for its end, or for the session's deadline.
fn hear(session: &mut Session, input: &mut BytesMut) -> io::Result<()> {
    let stdin = io::stdin();
    let wait = session.deadline().map(|d| d.at.since(net::now()));
    let wait = wait.and_then(|w| Timespec::try_from(w).ok());
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut fds, wait.as_ref()) {
        Ok(0) => {
            session.timeout(net::now());
            return Ok(());
        }
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let mut octets = vec![0; READ_AT_ONCE];
    let count = stdin.lock().read(&mut octets)?;
    match octets.get(..count) {
        Some([]) | None => session.closed(net::now()),
        Some(read) => {
            input.extend_from_slice(read);
            session.receive(net::now(), input);
        }
    }
    Ok(())
}

/// Drops a mail under the id that the client is told.
fn save(dir: &Path, options: &Options, message: &Message) -> Result<(), AcceptFailure> {
    let envelope = &message.envelope;
    let to = |recipient: &mail::Recipient| To {
        address: recipient.address.to_string(),
        notify: recipient.notify.bits(),
        orcpt: recipient.orcpt.clone(),
    };
    let random = drops::new_id(message.accepted).map_err(|_| AcceptFailure::Failed)?;
    let random = random.split_once('-').map_or("", |(_, random)| random);
    let drop = Drop {
        id: format!("{}-{random}", message.id),
        written: message.accepted.as_millis(),
        sender: match &envelope.reverse_path {
            Some(address) => Sender::Address(address.to_string()),
            None => Sender::Null,
        },
        full_name: options
            .full_name
            .clone()
            .or_else(drops::full_name_of_caller),
        recipients: envelope.recipients.iter().map(to).collect(),
        return_full: envelope.ret.map(|ret| ret == Ret::Full),
        env_id: envelope.env_id.clone(),
        asked: envelope.terms.into(),
    };
    // The session's Received field is in front. The server writes its own, by its own name.
    let field = Headers::new(&message.content).next();
    let behind = field.map_or(0, |f| f.raw.len());
    let content = message.content.slice(behind..);
    drops::deposit(dir, &drop, &content).map_err(|error| {
        // The client is told in SMTP, whoever runs it by standard error.
        terminal::complain(&error.to_string());
        match error {
            DepositError::Full(_) => AcceptFailure::Full,
            DepositError::Missing(_) | DepositError::Forbidden(_) | DepositError::Failed(..) => {
                AcceptFailure::Failed
            }
        }
    })
}
