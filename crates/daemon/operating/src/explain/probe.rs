//! A probe: the mail host is asked up to RCPT.

use std::time::Duration;

use bytes::BytesMut;
use deliver::{Credentials, LogIn, LoginStep, Masked, TlsMode, nothing_in_common, shown_reply};
use mail::{Address, Reply};
use net::{Hello, Stream};
use node::Settings;
use ops::Explanation;
use sending::{opened, token};
use smtp::extension::{Extension, Extensions};
use smtp::reply::ReplyParser;
use sources::{Sources, leaving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Reachable;
use crate::Operating;

/// Each step of a probe is waited for this long.
const PROBE_WAIT: Duration = Duration::from_secs(30);

/// Talks to the host up to RCPT, and says goodbye.
pub(super) async fn run_probe(
    operating: &Operating,
    settings: &Settings,
    reachable: &Reachable,
    mut login: Option<Credentials>,
    recipient: &Address,
    found: &mut Explanation,
) {
    if let Err(failure) = token::fill(&operating.sending, settings, login.as_mut()).await {
        return found.step("probe", failure.reply.to_string());
    }
    let mut said = Vec::new();
    let login = login.as_ref();
    let result = probe(
        &operating.sources,
        settings,
        reachable,
        login,
        recipient,
        &mut said,
    )
    .await;
    for line in said {
        found.step("probe", line);
    }
    let masked = Masked::login(login);
    let result = result.map(|reply| masked.reply(&reply).into_owned());
    match result {
        Ok(reply) if reply.is_positive() => {
            found.step("probe", "the host accepts mail for this address");
        }
        Ok(reply) => found.step("probe", format!("the host does not accept it: {reply}")),
        Err(why) => found.step("probe", format!("the probe ended: {why}")),
    }
}

async fn probe(
    sources: &Sources,
    settings: &Settings,
    (host, addresses, wanted): &Reachable,
    login: Option<&Credentials>,
    recipient: &Address,
    said: &mut Vec<String>,
) -> Result<Reply, String> {
    let config = &settings.config;
    let domain = recipient.domain();
    let reached = leaving::connect_for(sources, config, domain, addresses, host.port).await?;
    let peer = reached
        .peer
        .map_or_else(String::new, |peer| format!(" to {peer}"));
    let from = leaving::words(reached.source.as_ref());
    said.push(format!("connected{peer}{from}"));
    let tcp = reached.tcp;
    let tls = wanted.mode;
    let masked = Masked::login(login);
    let shake = async |tcp| {
        let shaken = settings
            .client_tls
            .handshake(tcp, &wanted.name, &wanted.trust, Hello::Full, PROBE_WAIT)
            .await;
        shaken.map_err(|e| e.to_string())
    };
    let mut talk = match tls {
        TlsMode::Implicit => Talk::new(shake(tcp).await?.stream, masked),
        TlsMode::None | TlsMode::Opportunistic | TlsMode::Require | TlsMode::Verify => {
            Talk::new(Stream::Plain(tcp), masked)
        }
    };
    let greeting = talk.read(said).await?;
    if !greeting.is_positive() {
        return Ok(greeting);
    }
    let name = reached.source.as_ref().map(|source| &source.ehlo);
    let ehlo = format!("EHLO {}", name.unwrap_or(&config.hostname));
    let mut offered = Extensions::parse(&talk.ask(&ehlo, said).await?);
    let by_command = !matches!(tls, TlsMode::None | TlsMode::Implicit);
    if by_command && offered.has(Extension::StartTls) {
        let reply = talk.ask("STARTTLS", said).await?;
        if let (true, Stream::Plain(tcp)) = (reply.is_positive(), talk.stream) {
            let shaken = shake(tcp).await?;
            said.push(format!("TLS is active: {}", shaken.cipher));
            talk = Talk::new(shaken.stream, talk.masked);
            offered = Extensions::parse(&talk.ask(&ehlo, said).await?);
        } else {
            return Err("STARTTLS was offered, but refused".to_owned());
        }
    } else if matches!(tls, TlsMode::Require | TlsMode::Verify) {
        return Err("TLS is required, but the host does not offer it".to_owned());
    }
    if let Some(login) = login
        && let Some(refusal) = talk.log_in(login, &offered, said).await?
    {
        return Ok(refusal);
    }
    let utf8 = match !recipient.is_ascii() && offered.has(Extension::SmtpUtf8) {
        true => " SMTPUTF8",
        false => "",
    };
    let shown = match utf8.is_empty() {
        true => recipient.to_ascii().unwrap_or_else(|| recipient.clone()),
        false => recipient.clone(),
    };
    let sender = &config.postmaster;
    let reply = talk
        .ask(&format!("MAIL FROM:<{sender}>{utf8}"), said)
        .await?;
    if !reply.is_positive() {
        return Ok(reply);
    }
    let reply = talk.ask(&format!("RCPT TO:<{shown}>"), said).await?;
    // The answer is known; whether the goodbye is heard makes no difference.
    drop(talk.ask("QUIT", said).await);
    Ok(reply)
}

pub(crate) struct Talk {
    pub(crate) stream: Stream,
    input: BytesMut,
    masked: Masked,
}

impl Talk {
    pub(crate) fn new(stream: Stream, masked: Masked) -> Self {
        Self {
            masked,
            stream,
            input: BytesMut::new(),
        }
    }

    /// Logs in at a relay, which takes nothing otherwise; never in clear. What comes back is why it failed.
    async fn log_in(
        &mut self,
        login: &Credentials,
        offered: &Extensions,
        said: &mut Vec<String>,
    ) -> Result<Option<Reply>, String> {
        if matches!(self.stream, Stream::Plain(_)) {
            return Err(
                "a login is configured, but the relay offers no TLS: passwords are never sent unencrypted"
                    .to_owned(),
            );
        }
        let nonce = opened::nonce().map_err(|e| e.to_string())?;
        let bindings = self.stream.bindings();
        let mut login = LogIn::new(login.clone(), offered, &bindings, nonce);
        let mut step = login
            .begin()
            .unwrap_or_else(|| LoginStep::Failed(nothing_in_common(offered)));
        loop {
            step = match step {
                LoginStep::Say(line) => {
                    said.push(format!("> {}", login.shown(&line)));
                    self.masked.said(&line, login.username());
                    self.write(&line).await?;
                    login.answer(&self.read(said).await?)
                }
                LoginStep::Derive(derivation) => login.derived(&opened::derive(derivation).await),
                LoginStep::Done => return Ok(None),
                LoginStep::Failed(reply) => {
                    return Ok(Some(self.masked.reply(&reply).into_owned()));
                }
            };
        }
    }

    pub(crate) async fn ask(
        &mut self,
        command: &str,
        said: &mut Vec<String>,
    ) -> Result<Reply, String> {
        said.push(format!("> {command}"));
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.read(said).await
    }

    async fn write(&mut self, line: &[u8]) -> Result<(), String> {
        let written = self.stream.write_all(line).await;
        written.map_err(|e| e.to_string())?;
        self.stream.flush().await.map_err(|e| e.to_string())
    }

    pub(crate) async fn read(&mut self, said: &mut Vec<String>) -> Result<Reply, String> {
        let mut parser = ReplyParser::new();
        loop {
            let fed = parser.feed(&mut self.input);
            if let Some(reply) = fed.map_err(|e| e.to_string())? {
                let masked = self.masked.reply(&reply);
                let shown = shown_reply(&masked).to_string();
                said.push(format!("< {}", shown.replace('\n', " / ")));
                return Ok(reply);
            }
            let read = self.stream.read_buf(&mut self.input);
            match tokio::time::timeout(PROBE_WAIT, read).await {
                Ok(Ok(0)) => return Err("the host closed the connection".to_owned()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => {
                    return Err(format!(
                        "the host did not answer within {} s",
                        PROBE_WAIT.as_secs()
                    ));
                }
            }
        }
    }
}
