//! A raw SMTP client for handing mails in. It blocks, sends what it is told to, and hides nothing.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::ca::Ca;
use crate::scram::{EXPORTED, Said, exported, field};

/// A server that says nothing for so long has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream inside TLS, and what names it.
type Secured = (Box<dyn Duplex>, Option<[u8; EXPORTED]>);

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A reply of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// Its lines, without the code.
    pub lines: Vec<String>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" | "))
    }
}

impl Reply {
    /// A line begins with this word.
    #[must_use]
    pub fn offers(&self, keyword: &str) -> bool {
        self.lines
            .iter()
            .any(|l| l.split(' ').next() == Some(keyword))
    }
}

/// A connection to a server.
pub struct Client {
    tcp: TcpStream,
    stream: Box<dyn Duplex>,
    input: Vec<u8>,
    /// What names the connection inside TLS.
    exported: Option<[u8; EXPORTED]>,
    /// The greeting.
    pub greeting: Reply,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// When there is no connection or no greeting.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Reads the greeting over a connection on which something may have been said already.
    ///
    /// # Errors
    /// When no greeting comes.
    pub fn over(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream: Box::new(tcp.try_clone()?),
            tcp,
            input: Vec::new(),
            exported: None,
            greeting: Reply {
                code: 0,
                lines: Vec::new(),
            },
        };
        client.greeting = client.reply()?;
        Ok(client)
    }

    /// Connects with TLS from the first octet on.
    ///
    /// # Errors
    /// When there is no connection, no handshake or no greeting.
    pub fn connect_tls(address: SocketAddr, name: &str, ca: &Ca) -> io::Result<Self> {
        let tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let (stream, exported) = tls(tcp.try_clone()?, name, ca)?;
        let mut client = Self {
            stream,
            tcp,
            input: Vec::new(),
            exported,
            greeting: Reply {
                code: 0,
                lines: Vec::new(),
            },
        };
        client.greeting = client.reply()?;
        Ok(client)
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_raw(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)?;
        self.stream.flush()
    }

    /// Sends a line.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.send_raw(format!("{line}\r\n").as_bytes())
    }

    /// Sends a line and reads the reply.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.send_line(line)?;
        self.reply()
    }

    /// Sends a line and reads a reply that must have this code.
    ///
    /// # Panics
    /// When the reply is another.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn expect(&mut self, line: &str, code: u16) -> io::Result<Reply> {
        let reply = self.command(line)?;
        assert_eq!(reply.code, code, "`{line}` was answered: {reply}");
        Ok(reply)
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// When the connection is gone, or what comes is no reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let code = line.get(..3).and_then(|c| c.parse().ok());
            let code = code.ok_or_else(|| io::Error::other(format!("no reply: `{line}`")))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// Says EHLO.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn ehlo(&mut self) -> io::Result<Reply> {
        self.command("EHLO client.lab")
    }

    /// Goes over to TLS and says EHLO again; the server must prove this name.
    ///
    /// # Errors
    /// When TLS is refused or fails.
    pub fn starttls(&mut self, name: &str, ca: &Ca) -> io::Result<Reply> {
        let reply = self.command("STARTTLS")?;
        if reply.code != 220 {
            return Err(io::Error::other(reply.to_string()));
        }
        (self.stream, self.exported) = tls(self.tcp.try_clone()?, name, ca)?;
        self.ehlo()
    }

    /// Logs in by PLAIN.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn auth_plain(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTH PLAIN {response}"))
    }

    /// Logs in by LOGIN.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn auth_login(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        for line in [
            "AUTH LOGIN".to_owned(),
            STANDARD.encode(user),
            STANDARD.encode(password),
        ] {
            let reply = self.command(&line)?;
            if reply.code != 334 {
                return Ok(reply);
            }
        }
        Err(io::Error::other("a third challenge of LOGIN"))
    }

    /// Logs in by SCRAM-SHA-256, bound to the connection where the flag is `p=tls-exporter`; the server
    /// must prove that it knows the password.
    ///
    /// # Errors
    /// When the connection is gone, or the server proves nothing.
    pub fn auth_scram(&mut self, user: &str, password: &str, flag: &str) -> io::Result<Reply> {
        self.auth_scram_after(user, password, flag, || {})
    }

    /// As [`auth_scram`](Self::auth_scram); something happens between the challenge and its answer.
    ///
    /// # Errors
    /// As there.
    pub fn auth_scram_after(
        &mut self,
        user: &str,
        password: &str,
        flag: &str,
        meanwhile: impl FnOnce(),
    ) -> io::Result<Reply> {
        let is_bound = flag.starts_with("p=");
        let plus = if is_bound { "-PLUS" } else { "" };
        let bare = format!("n={user},r=client{}", self.tcp.local_addr()?.port());
        let first = STANDARD.encode(format!("{flag},,{bare}"));
        let reply = self.command(&format!("AUTH SCRAM-SHA-256{plus} {first}"))?;
        let Some(challenge) = challenge(&reply) else {
            return Ok(reply);
        };
        let mut bound = format!("{flag},,").into_bytes();
        if is_bound {
            bound.extend(self.exported.iter().flatten());
        }
        let nonce = field(&challenge, 'r').unwrap_or_default();
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(bound));
        let said = Said {
            first: &bare,
            challenge: &challenge,
            without_proof: &without_proof,
        };
        let no_challenge = || io::Error::other(format!("no challenge: {challenge}"));
        let (proof, signature) = said.proofs(password).ok_or_else(no_challenge)?;
        meanwhile();
        let reply = self.command(&STANDARD.encode(format!("{without_proof},p={proof}")))?;
        match self::challenge(&reply) {
            None => Ok(reply),
            Some(proved) if proved == format!("v={signature}") => self.command(""),
            Some(other) => Err(io::Error::other(format!("no proof: {other}"))),
        }
    }

    /// Hands a mail in, one command after the other. The reply to the content, or the first
    /// refusal; after a refusal the mail is reset. The recipients are accepted or refused
    /// together.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_mail(
        &mut self,
        sender: &str,
        recipients: &[&str],
        content: &[u8],
    ) -> io::Result<Reply> {
        let mut commands = vec![format!("MAIL FROM:<{sender}>")];
        commands.extend(recipients.iter().map(|r| format!("RCPT TO:<{r}>")));
        commands.push("DATA".to_owned());
        for command in commands {
            let reply = self.command(&command)?;
            if reply.code >= 400 {
                self.command("RSET")?;
                return Ok(reply);
            }
        }
        self.content(content)
    }

    /// Sends the content after 354, with dots doubled and its end, and reads the reply. Line
    /// ends are sent as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn content(&mut self, content: &[u8]) -> io::Result<Reply> {
        let mut octets = Vec::with_capacity(content.len() + 16);
        let mut at_start = true;
        for &octet in content {
            if at_start && octet == b'.' {
                octets.push(b'.');
            }
            octets.push(octet);
            at_start = octet == b'\n';
        }
        if !octets.ends_with(b"\r\n") && !octets.is_empty() {
            octets.extend_from_slice(b"\r\n");
        }
        octets.extend_from_slice(b".\r\n");
        self.send_raw(&octets)?;
        self.reply()
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input
                .extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    }
}

/// What a server asks in the middle of a login.
fn challenge(reply: &Reply) -> Option<String> {
    let text = reply.lines.first().filter(|_| reply.code == 334)?;
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

fn tls(mut tcp: TcpStream, name: &str, ca: &Ca) -> io::Result<Secured> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut tcp)?;
    }
    let exported = exported(&session);
    Ok((Box::new(StreamOwned::new(session, tcp)), exported))
}
