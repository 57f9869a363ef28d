//! TLS on both sides.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::stream::Stream;
use crate::tls_verifier::{AcceptAny, Verify};

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
    /// Certificate and key do not go together, or are of no use.
    #[error("certificate and private key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// TLS towards other servers.
#[derive(Clone)]
pub struct ClientTls {
    opportunistic: TlsConnector,
    verifying: TlsConnector,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Trusts the system's roots (the built-in ones where there are none) and those of the PEM
    /// files given.
    ///
    /// # Errors
    /// When a file given cannot be read.
    pub fn new(extra_roots: &[PathBuf]) -> Result<Self, TlsLoadError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
        };
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))?;
        let verifying = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verify::new(chains, given)))
            .with_no_client_auth();
        let opportunistic = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny::new(&provider)))
            .with_no_client_auth();
        Ok(Self {
            opportunistic: TlsConnector::from(Arc::new(opportunistic)),
            verifying: TlsConnector::from(Arc::new(verifying)),
        })
    }

    /// Shakes hands with the host called `name`, which proves its name when `verify`.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn handshake(
        &self,
        tcp: TcpStream,
        name: &str,
        verify: bool,
        limit: Duration,
    ) -> Result<Stream, String> {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_prefix("IPv6:").unwrap_or(name);
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` is no name for TLS"))?;
        let connector = if verify {
            &self.verifying
        } else {
            &self.opportunistic
        };
        match timeout(limit, connector.connect(server, tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::Client(Box::new(stream))),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "no end of the handshake within {} s",
                limit.as_secs()
            )),
        }
    }
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
        let key = PrivateKeyDer::from_pem_file(private_key).map_err(|e| TlsLoadError::File {
            path: private_key.to_owned(),
            what: "a private key",
            why: e.to_string(),
        })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn handshake(&self, tcp: TcpStream, limit: Duration) -> Result<Stream, String> {
        match timeout(limit, self.acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::Server(Box::new(stream))),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "no end of the handshake within {} s",
                limit.as_secs()
            )),
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsLoadError> {
    let wrong = |why: String| TlsLoadError::File {
        path: path.to_owned(),
        what: "PEM certificates",
        why,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(list) if list.is_empty() => Err(wrong("there is no certificate in it".to_owned())),
        Ok(list) => Ok(list),
        Err(error) => Err(wrong(error.to_string())),
    }
}
