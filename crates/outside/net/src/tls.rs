//! TLS on both sides.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mail::Tlsa;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::stream::Stream;
use crate::tls_verifier::{AcceptAny, Dane, Verify, is_no_match};

/// Why certificates or keys could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsLoadError {
    /// A file cannot be read, or holds no PEM of the kind wanted.
    #[error("{path} cannot be read as {what}: {why}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was expected in it.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The key is another certificate's.
    #[error(
        "{key} is not the private key of the certificate {certificate}: use the key that the certificate was \
         requested with, and the first certificate of the file must be this server's own, not an authority's",
        key = key.display(),
        certificate = certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// Certificate and key are of no use.
    // Not `source`: it would be said twice.
    #[error("certificate and private key cannot be used: {why}")]
    Pair {
        /// What is wrong.
        why: rustls::Error,
    },
}

impl TlsLoadError {
    /// The file that it is about.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Mismatch { key, .. } => Some(key),
            Self::Pair { .. } => None,
        }
    }

    /// Why this certificate and this key cannot be used together.
    fn pair(error: rustls::Error, certificate: &Path, key: &Path) -> Self {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            return Self::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            };
        }
        Self::Pair { why: error }
    }
}

impl From<rustls::Error> for TlsLoadError {
    fn from(why: rustls::Error) -> Self {
        Self::Pair { why }
    }
}

/// Whom a host must prove to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Nobody: encryption alone (RFC 7435).
    Anyone,
    /// The name that is connected to, by a chain to a trusted root.
    Roots,
    /// What the domain's TLSA records say (RFC 7672 §3).
    Dane {
        /// The usable records.
        records: Arc<[Tlsa]>,
        /// Names of which the certificate must bear one, where a record names an authority.
        names: Arc<[String]>,
    },
}

/// How large the first message of the handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hello {
    /// With a key exchange that holds against quantum computers: more than one packet.
    Full,
    /// In one packet, for hosts and firewalls that swallow the other.
    Small,
}

/// What went wrong, as far as it matters what is tried next or reported (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailureKind {
    /// The host said nothing, or closed: it may have choked on the first message.
    Silent,
    /// The certificate has no chain to a trusted root.
    Untrusted,
    /// The certificate has expired, or does not hold yet.
    Expired,
    /// The certificate is for other names.
    WrongName,
    /// No TLSA record matches.
    NoMatch,
    /// Anything else.
    Other,
}

/// A handshake that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct TlsFailure {
    /// What kind of failure.
    pub kind: TlsFailureKind,
    /// It in words.
    pub why: String,
}

impl TlsFailure {
    fn other(why: impl Into<String>) -> Self {
        Self {
            kind: TlsFailureKind::Other,
            why: why.into(),
        }
    }

    fn of(error: &rustls::Error) -> Self {
        use CertificateError as C;
        let kind = if let rustls::Error::InvalidCertificate(certificate) = error {
            if is_no_match(certificate) {
                TlsFailureKind::NoMatch
            } else if matches!(
                certificate,
                C::Expired
                    | C::ExpiredContext { .. }
                    | C::NotValidYet
                    | C::NotValidYetContext { .. }
            ) {
                TlsFailureKind::Expired
            } else if matches!(
                certificate,
                C::NotValidForName | C::NotValidForNameContext { .. }
            ) {
                TlsFailureKind::WrongName
            } else {
                TlsFailureKind::Untrusted
            }
        } else {
            TlsFailureKind::Other
        };
        let why = match kind {
            TlsFailureKind::NoMatch => {
                "the certificate matches none of the domain's TLSA records".to_owned()
            }
            TlsFailureKind::Expired => {
                format!("the certificate is expired or not yet valid ({error})")
            }
            TlsFailureKind::WrongName => {
                format!("the certificate is issued for another name ({error})")
            }
            TlsFailureKind::Untrusted => {
                format!("the certificate is not signed by a trusted authority ({error})")
            }
            TlsFailureKind::Silent | TlsFailureKind::Other => error.to_string(),
        };
        Self { kind, why }
    }

    fn of_io(error: &io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref()) {
            return Self::of(tls);
        }
        let silent = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionAborted,
        ];
        match silent.contains(&error.kind()) {
            true => Self {
                kind: TlsFailureKind::Silent,
                why: "the host closed the connection during the handshake".to_owned(),
            },
            false => Self::other(error.to_string()),
        }
    }
}

/// What a handshake led to.
#[derive(Debug)]
pub struct Shaken {
    /// The connection.
    pub stream: Stream,
    /// The session was resumed: keys and certificates of an earlier one were used.
    pub resumed: bool,
    /// Version and cipher suite, as they are written in logs.
    pub cipher: String,
}

/// TLS towards other servers.
pub struct ClientTls {
    chains: Arc<Verify>,
    provider: Arc<CryptoProvider>,
    small: Arc<CryptoProvider>,
    identity: Option<Identity>,
    /// What was set up for each trust, with its store of sessions to resume: a session is never
    /// resumed under another trust than that under which it began.
    set_up: Mutex<HashMap<(Trust, Hello), TlsConnector>>,
}

/// A certificate of ours with its key, for hosts that ask for one.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Sets of TLSA records that are remembered, with the sessions that can be resumed under them.
const SET_UP_MAX: usize = 4096;
/// Sessions that can be resumed, for each trust without records.
const SESSIONS_MAX: usize = 16_384;
/// And for each set of records, which is of one host.
const SESSIONS_OF_HOST: usize = 8;

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Trusts the system's roots (the built-in ones where there are none) and those of the PEM
    /// files given. `identity`: certificate chain and key, shown to hosts that ask.
    ///
    /// # Errors
    /// When a file given cannot be read.
    pub fn new(
        extra_roots: &[PathBuf],
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self, TlsLoadError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let small = CryptoProvider {
            kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
            ..provider.clone()
        };
        let provider = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let mut given = Vec::new();
        for path in extra_roots {
            for certificate in certificates(path)? {
                roots.add(certificate.clone())?;
                given.push(certificate);
            }
        }
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))?;
        let files = identity;
        let identity = match identity {
            Some((certificate, key)) => Some((certificates(certificate)?, private_key(key)?)),
            None => None,
        };
        let tls = Self {
            chains: Arc::new(Verify::new(chains, given)),
            provider,
            small: Arc::new(small),
            identity,
            set_up: Mutex::new(HashMap::new()),
        };
        // Certificate and key that do not go together are an error now, not at the first mail.
        let set_up = tls.set_up(&Trust::Roots, Hello::Full);
        set_up.map_err(|error| match files {
            Some((certificate, key)) => TlsLoadError::pair(error, certificate, key),
            None => error.into(),
        })?;
        Ok(tls)
    }

    /// Shakes hands with the host called `name`, which is also asked for by that name (SNI).
    ///
    /// # Errors
    /// What went wrong.
    pub async fn handshake(
        &self,
        tcp: TcpStream,
        name: &str,
        trust: &Trust,
        hello: Hello,
        limit: Duration,
    ) -> Result<Shaken, TlsFailure> {
        let server = server_name(name)?;
        let connector = self
            .connector(trust, hello)
            .map_err(|e| TlsFailure::other(e.to_string()))?;
        let stream = match timeout(limit, connector.connect(server, tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(TlsFailure::of_io(&error)),
            Err(_) => {
                return Err(TlsFailure {
                    kind: TlsFailureKind::Silent,
                    why: format!("the handshake timed out after {} s", limit.as_secs()),
                });
            }
        };
        let session = stream.get_ref().1;
        let version = session.protocol_version().and_then(|v| v.as_str());
        let suite = session.negotiated_cipher_suite();
        let suite = suite.and_then(|s| s.suite().as_str());
        Ok(Shaken {
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            cipher: format!(
                "{} {}",
                version.unwrap_or_default(),
                suite.unwrap_or_default()
            ),
            stream: Stream::Client(Box::new(stream)),
        })
    }

    /// Whether the host of a connection that was made without proof could have proved its name by a
    /// chain to a trusted root.
    ///
    /// # Errors
    /// Why not.
    pub fn would_prove(&self, stream: &Stream, name: &str) -> Result<(), TlsFailure> {
        let Stream::Client(stream) = stream else {
            return Err(TlsFailure::other("the connection is not encrypted"));
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some((leaf, others)) = certificates.split_first() else {
            return Err(TlsFailure::other("the host presented no certificate"));
        };
        let name = server_name(name)?;
        self.chains
            .verify_server_cert(leaf, others, &name, &[], UnixTime::now())
            .map(drop)
            .map_err(|e| TlsFailure::of(&e))
    }

    fn connector(&self, trust: &Trust, hello: Hello) -> Result<TlsConnector, rustls::Error> {
        let key = (trust.clone(), hello);
        let known = self.set_up.lock();
        if let Some(connector) = known.get(&key) {
            return Ok(connector.clone());
        }
        drop(known);
        let connector = self.set_up(trust, hello)?;
        let mut known = self.set_up.lock();
        if known.len() >= SET_UP_MAX {
            known.clear();
        }
        Ok(known.entry(key).or_insert(connector).clone())
    }

    fn set_up(&self, trust: &Trust, hello: Hello) -> Result<TlsConnector, rustls::Error> {
        let provider = match hello {
            Hello::Full => &self.provider,
            Hello::Small => &self.small,
        };
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::Anyone => Arc::new(AcceptAny::new(provider)),
            Trust::Roots => Arc::clone(&self.chains) as Arc<dyn ServerCertVerifier>,
            Trust::Dane { records, names } => Arc::new(Dane::new(
                Arc::clone(records),
                Arc::clone(names),
                provider.signature_verification_algorithms,
            )),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(match trust {
            Trust::Anyone | Trust::Roots => SESSIONS_MAX,
            Trust::Dane { .. } => SESSIONS_OF_HOST,
        });
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsFailure> {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.strip_prefix("IPv6:").unwrap_or(name);
    ServerName::try_from(name.to_owned())
        .map_err(|_| TlsFailure::other(format!("`{name}` is not a valid host name for TLS")))
}

/// TLS towards our clients.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// With the certificate chain and the key of two PEM files.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not go together.
    pub fn load(certificate: &Path, private_key: &Path) -> Result<Self, TlsLoadError> {
        let chain = certificates(certificate)?;
        let key = self::private_key(private_key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| TlsLoadError::pair(error, certificate, private_key))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// When it failed, or took longer than `limit`.
    pub async fn handshake(
        &self,
        tcp: TcpStream,
        limit: Duration,
    ) -> Result<Stream, HandshakeError> {
        match timeout(limit, self.acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::Server(Box::new(stream))),
            Ok(Err(error)) => Err(HandshakeError::Failed(error)),
            Err(_) => Err(HandshakeError::Late(limit)),
        }
    }
}

/// Why a client's connection is not secured.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The two do not agree, or the connection has ended.
    #[error(transparent)]
    Failed(io::Error),
    /// It took longer than this.
    #[error("the handshake timed out after {} s", .0.as_secs())]
    Late(Duration),
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsLoadError> {
    let wrong = |why: String| TlsLoadError::File {
        path: path.to_owned(),
        what: "PEM certificates",
        why,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(list) if list.is_empty() => Err(wrong("it contains no certificate".to_owned())),
        Ok(list) => Ok(list),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsLoadError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| TlsLoadError::File {
        path: path.to_owned(),
        what: "a private key",
        why: e.to_string(),
    })
}
