//! A plain HTTP client for the cases: one request a connection, nothing hidden.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lab::{Config, Sendoff};
use serde_json::Value;

use crate::scene::{BINARY, Scene};

/// A server under test answers within this time.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let field = |line: &'_ str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        let line = self.head.lines().find(|line| field(line))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {} {}", self.head, self.text()))
    }

    /// It has this status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        self
    }

    /// It is an error in the one form of errors, with this status and code.
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/problem+json"));
        let json = answer.json();
        let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(text("code"), code, "{json}");
        assert_eq!(json.get("status"), Some(&status.into()));
        assert_ne!(text("detail"), "");
        json
    }
}

/// A server that answers HTTP, and who asks it.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    address: SocketAddr,
    key: Option<String>,
    headers: Vec<(String, String)>,
}

impl Web {
    /// Starts a server that answers HTTP; nobody asks yet.
    pub(crate) fn start(scene: &Scene, config: Config) -> (Sendoff, Self) {
        let address = scene.world.console();
        let server = Sendoff::start(BINARY, config.set("console.address", address.to_string()));
        (server, Self::at(address))
    }

    /// Asks a server that answers HTTP there.
    pub(crate) const fn at(address: SocketAddr) -> Self {
        Self {
            address,
            key: None,
            headers: Vec::new(),
        }
    }

    /// Asks as before, at another of the server's addresses.
    pub(crate) fn at_address(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    /// Where it answers.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks with a new key of these scopes and further options.
    pub(crate) fn with_key(&self, server: &Sendoff, scopes: &str, more: &[&str]) -> Self {
        let name = format!("key-{}", scopes.replace(',', "-"));
        let arguments = [&["key", "add", &name, "--scope", scopes], more].concat();
        let secret = server.run(&arguments).trim().to_owned();
        self.with_secret(&secret)
    }

    pub(crate) fn with_secret(&self, secret: &str) -> Self {
        Self {
            key: Some(secret.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.push((name.to_owned(), value.to_owned()));
        other
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", b"").expect("the server answers")
    }

    pub(crate) fn post(&self, path: &str, kind: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, kind, body)
            .expect("the server answers")
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string().as_bytes())
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let mut field = |name: &str, value: &str| {
            write!(head, "{name}: {value}\r\n").expect("a string takes everything");
        };
        if !self.headers.iter().any(|(name, _)| name == "Host") {
            field("Host", &self.address.to_string());
        }
        if let Some(key) = &self.key {
            field("Authorization", &format!("Bearer {key}"));
        }
        if !kind.is_empty() {
            field("Content-Type", kind);
        }
        for (name, value) in &self.headers {
            field(name, value);
        }
        if !self
            .headers
            .iter()
            .any(|(name, _)| name == "Content-Length")
        {
            field("Content-Length", &body.len().to_string());
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(head.as_bytes())?;
        // A server that has refused may not read the rest.
        drop(stream.write_all(body));
        let mut octets = Vec::new();
        let mut part = [0u8; 8192];
        let answer = loop {
            if let Some(answer) = whole(&octets) {
                break answer;
            }
            match stream.read(&mut part)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => octets.extend(part.iter().take(n)),
            }
        };
        Ok(answer)
    }
}

/// The answer, when all of it is there.
fn whole(octets: &[u8]) -> Option<Answer> {
    let end = octets.windows(4).position(|w| w == b"\r\n\r\n")?;
    let (head, body) = octets.split_at(end);
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = body.iter().skip(4).copied().collect();
    let answer = Answer { status, head, body };
    let length: usize = answer.header("content-length")?.parse().ok()?;
    (answer.body.len() >= length).then_some(answer)
}
