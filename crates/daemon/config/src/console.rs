//! `[console]` and `[[http]]`: where HTTP is answered, to whom.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::values::networks;
use super::{TlsFiles, raw};

/// Where HTTP is answered unless it is said.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8025);
/// Connections at once unless it is said.
const MAX_CONNECTIONS: usize = 100;

/// What a client of a unix socket is called in `console.proxies`.
const UNIX: &str = "unix:";

/// The settings of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// None: HTTP is switched off.
    pub listeners: Vec<HttpListener>,
    /// Names, besides the server's, that requests may be addressed to.
    pub hosts: Vec<String>,
    /// The keys' file.
    pub keys: PathBuf,
    /// Networks that may read `/metrics` without a key.
    pub metrics_networks: Vec<IpNet>,
    /// Networks whose word about a request's client is believed.
    pub proxies: Vec<IpNet>,
    /// Whether that of clients of unix sockets is believed.
    pub unix_proxies: bool,
    /// Connections at once.
    pub max_connections: usize,
}

/// An address where HTTP is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    /// The key that names it.
    pub key: &'static str,
    /// Where it listens.
    pub address: HttpAddress,
    /// Whether `/api/v1` is answered.
    pub api: bool,
    /// Whether `/metrics` is answered.
    pub metrics: bool,
    /// Whether the console's pages are answered.
    pub pages: bool,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl HttpAddress {
    /// Whether only this computer reaches it.
    fn is_near(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The IP address and port, where it is one.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path of the unix socket, where it is one.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl HttpListener {
    /// As it is written in the address bar of a browser; what a unix socket is asked by.
    pub fn url(&self) -> String {
        match (&self.address, self.tls) {
            (HttpAddress::Unix(_), _) => self.address.to_string(),
            (HttpAddress::Tcp(address), true) => format!("https://{address}/"),
            (HttpAddress::Tcp(address), false) => format!("http://{address}/"),
        }
    }

    /// Where a browser finds the console; `None` where it does not.
    #[must_use]
    pub fn console_url(&self, hostname: &str) -> Option<String> {
        let HttpAddress::Tcp(address) = &self.address else {
            return None;
        };
        // A certificate is for a name.
        let by_name = self.tls || address.ip().is_unspecified();
        let scheme = if self.tls { "https" } else { "http" };
        self.pages.then(|| match by_name {
            true => format!("{scheme}://{hostname}:{}", address.port()),
            false => format!("{scheme}://{address}"),
        })
    }
}

/// The settings, from both sections.
pub(super) fn console(
    raw: &raw::Raw,
    place: &Place<'_>,
    tls: &TlsFiles,
    data_dir: &Path,
    base: &Path,
) -> Result<ConsoleSettings, ConfigError> {
    let console = &raw.console;
    let metrics_networks = match &console.metrics_networks {
        Some(list) => networks(list, place, "console.metrics_networks")?,
        None => ["127.0.0.0/8", "::1/128"]
            .iter()
            .filter_map(|net| net.parse().ok())
            .collect(),
    };
    let (unix, proxies): (Vec<_>, Vec<_>) = console
        .proxies
        .iter()
        .cloned()
        .partition(|text| text.get_ref() == UNIX);
    Ok(ConsoleSettings {
        listeners: listeners(raw, place, tls, base)?,
        hosts: console.hosts.clone(),
        keys: match &console.keys {
            Some(text) => base.join(text.get_ref()),
            None => data_dir.join("keys.toml"),
        },
        metrics_networks,
        proxies: networks(&proxies, place, "console.proxies")?,
        unix_proxies: !unix.is_empty(),
        max_connections: console.max_connections.unwrap_or(MAX_CONNECTIONS),
    })
}

/// `console.address` and each `[[http]]`. The default address is for who names none.
fn listeners(
    raw: &raw::Raw,
    place: &Place<'_>,
    tls: &TlsFiles,
    base: &Path,
) -> Result<Vec<HttpListener>, ConfigError> {
    let has_certificate = tls.certificate.is_some();
    let mut found = Vec::new();
    match &raw.console.address {
        None if raw.http.is_empty() => found.push(everything(SocketAddr::from(ADDRESS))),
        Some(text) if !text.get_ref().is_empty() => {
            let address = tcp(
                text,
                place,
                "console.address",
                "\"127.0.0.1:8025\", or \"\" for none",
            )?;
            let listener = everything(address);
            if listener.tls && !has_certificate {
                let why = "addresses other than loopback require TLS, which protects keys and mail: set \
                           tls.certificate and tls.private_key, or use a loopback address";
                return Err(place.key(text.span(), "console.address", why));
            }
            found.push(listener);
        }
        None | Some(_) => {}
    }
    for entry in &raw.http {
        let listener = listener(entry, place, has_certificate, base)?;
        let is_same = |other: &&HttpListener| {
            let port = listener.address.tcp().map(|address| address.port());
            other.address == listener.address && port != Some(0)
        };
        if let Some(other) = found.iter().find(is_same) {
            let why = format!("{} is already configured ({})", listener.address, other.key);
            return Err(place.key(entry.span(), "http.address", why));
        }
        found.push(listener);
    }
    Ok(found)
}

/// `console.address` answers all, over TLS where others can read along.
const fn everything(address: SocketAddr) -> HttpListener {
    HttpListener {
        key: "console.address",
        address: HttpAddress::Tcp(address),
        api: true,
        metrics: true,
        pages: true,
        tls: !address.ip().is_loopback(),
    }
}

fn listener(
    entry: &Spanned<raw::Http>,
    place: &Place<'_>,
    has_certificate: bool,
    base: &Path,
) -> Result<HttpListener, ConfigError> {
    let raw = entry.get_ref();
    let Some(text) = &raw.address else {
        let why = "needed: write \"127.0.0.1:8025\", or \"unix:/run/sendoff/http.sock\"";
        return Err(place.key(entry.span(), "http.address", why));
    };
    let address = match text.get_ref().strip_prefix(UNIX) {
        Some("") => {
            let why = "the path is missing: write \"unix:/run/sendoff/http.sock\"";
            return Err(place.key(text.span(), "http.address", why));
        }
        Some(path) => HttpAddress::Unix(base.join(path)),
        None => {
            let example = "\"127.0.0.1:8025\", or \"unix:/run/sendoff/http.sock\"";
            HttpAddress::Tcp(tcp(text, place, "http.address", example)?)
        }
    };
    let serves = serves(raw, entry, place)?;
    let wrong = |why: &str| {
        let span = raw.tls.as_ref().map_or_else(|| text.span(), Spanned::span);
        Err(place.key(span, "http.tls", why))
    };
    let tls = match raw.tls.as_ref().map(Spanned::get_ref) {
        Some(true) if address.unix().is_some() => {
            return wrong("a unix socket is local and has no TLS: leave tls out");
        }
        Some(false) if !address.is_near() => {
            return wrong(
                "addresses other than loopback require TLS, because others could read keys and mail. Leave tls \
                 out, or use a loopback address or a unix socket, behind a reverse proxy on this computer",
            );
        }
        Some(tls) => *tls,
        None => !address.is_near(),
    };
    if tls && !has_certificate {
        return wrong(
            "TLS needs a certificate: set tls.certificate and tls.private_key, or use a loopback address or a unix \
             socket without TLS",
        );
    }
    Ok(HttpListener {
        key: "http.address",
        address,
        api: serves.api,
        metrics: serves.metrics,
        pages: serves.pages,
        tls,
    })
}

/// What an address answers.
struct Serves {
    api: bool,
    metrics: bool,
    pages: bool,
}

fn serves(
    raw: &raw::Http,
    entry: &Spanned<raw::Http>,
    place: &Place<'_>,
) -> Result<Serves, ConfigError> {
    let all = raw.serves.is_none();
    let mut serves = Serves {
        api: all,
        metrics: all,
        pages: all,
    };
    for word in raw.serves.iter().flatten() {
        match word.get_ref().as_str() {
            "api" => serves.api = true,
            "metrics" => serves.metrics = true,
            "console" => serves.pages = true,
            given => {
                let why = format!("`{given}` is not one of \"api\", \"console\", \"metrics\"");
                return Err(place.key(word.span(), "http.serves", why));
            }
        }
    }
    if !serves.api && !serves.metrics && !serves.pages {
        let why = "it serves nothing: write some of [\"api\", \"console\", \"metrics\"], or remove the section";
        return Err(place.key(entry.span(), "http.serves", why));
    }
    Ok(serves)
}

fn tcp(
    text: &Spanned<String>,
    place: &Place<'_>,
    key: &str,
    example: &str,
) -> Result<SocketAddr, ConfigError> {
    let given = text.get_ref();
    given.parse().map_err(|_| {
        let why = format!("`{given}` is not an address with a port: write {example}");
        place.key(text.span(), key, why)
    })
}
