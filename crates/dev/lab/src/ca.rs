//! A certificate authority of the lab's own, and the identities it issues.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

/// A certificate of X.509 version 1, for `old.example`, in PEM.
pub const VERSION_1: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBKDCBzwIUNAw3/O9iTlqMxqZ1EwfkdX3qFEMwCgYIKoZIzj0EAwIwFjEUMBIG\n\
    A1UEAwwLb2xkLmV4YW1wbGUwIBcNMjYxMTI2MTkyMTI2WhgPMjEyNjExMDIxOTIx\n\
    MjZaMBYxFDASBgNVBAMMC29sZC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
    AQcDQgAEaCiPT9sDfStbIza/SkWseG1QrevyKeRaQjF1BwkPdM9NxUl9aBTZ19lu\n\
    lYz5tno563xxCwwOgN3IGYDxwgwtRzAKBggqhkjOPQQDAgNIADBFAiAngiRLkqpl\n\
    nGemR4ZbZ4EwtLRFiMDEsJtcmFp7OTLUwQIhAOUOcXQ6YW7TyQOK381fWLXvidzG\n\
    wMbKduaU3V+Dr0wd\n\
    -----END CERTIFICATE-----\n";
const VERSION_1_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWQd+3zdbP2ALFuiY\n\
    9HhyGYUBJQ9MTXHBkSchDf1rCS2hRANCAARoKI9P2wN9K1sjNr9KRax4bVCt6/Ip\n\
    5FpCMXUHCQ90z03FSX1oFNnX2W6VjPm2ejnrfHELDA6A3cgZgPHCDC1H\n\
    -----END PRIVATE KEY-----\n";

/// A certificate authority.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

impl Ca {
    /// A new authority with a key of its own.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Sendoff lab CA");
        let key = KeyPair::generate().expect("random numbers for a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate of a CA");
        Self { issuer }
    }

    /// Issues a certificate for names and addresses.
    ///
    /// # Panics
    /// When a name cannot stand in a certificate.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        let key = KeyPair::generate().expect("random numbers for a key");
        let certificate = server_params(names)
            .signed_by(&key, &self.issuer)
            .expect("a certificate for the names");
        Identity::new(&certificate, key)
    }

    /// Issues a certificate that holds for a time: both ends in seconds since 1970.
    ///
    /// # Panics
    /// When a name cannot stand in a certificate.
    #[must_use]
    pub fn issue_within(&self, names: &[&str], from: u64, until: u64) -> Identity {
        let key = KeyPair::generate().expect("random numbers for a key");
        let mut params = server_params(names);
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(until);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate for the names");
        Identity::new(&certificate, key)
    }

    /// Issues a certificate, and sends the authority's along with it.
    ///
    /// # Panics
    /// When a name cannot stand in a certificate.
    #[must_use]
    pub fn issue_with_chain(&self, names: &[&str]) -> Identity {
        let mut identity = self.issue(names);
        identity.chain.push(self.der());
        identity
    }

    /// The data of a TLSA record about the authority.
    #[must_use]
    pub fn tlsa(&self, selector: u8, matching: u8) -> Vec<u8> {
        let key = self.issuer.key().subject_public_key_info();
        tlsa(self.issuer.der(), &key, selector, matching)
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's certificate in DER.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Writes the authority's certificate to `ca.pem` in a directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        let path = directory.join("ca.pem");
        fs::write(&path, self.pem())?;
        Ok(path)
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The key in PEM.
    pub key_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    public_key: Vec<u8>,
}

impl Identity {
    fn new(certificate: &rcgen::Certificate, key: KeyPair) -> Self {
        Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone()],
            public_key: key.subject_public_key_info(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    /// A certificate that no authority vouches for.
    ///
    /// # Panics
    /// When a name cannot stand in a certificate.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().expect("random numbers for a key");
        let certificate = server_params(names)
            .self_signed(&key)
            .expect("a certificate for the names");
        Self::new(&certificate, key)
    }

    /// A certificate that nobody vouches for, for another name, and expired long ago.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn worthless() -> Self {
        let key = KeyPair::generate().expect("random numbers for a key");
        let mut params = server_params(&["elsewhere.invalid"]);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self::new(&certificate, key)
    }

    /// A certificate of X.509 version 1, made by openssl (`x509 -req -signkey`), which has no room for
    /// names and which libraries refuse to read.
    ///
    /// # Panics
    /// Never: it is always the same.
    #[must_use]
    pub fn version_1() -> Self {
        let certificate = CertificateDer::from_pem_slice(VERSION_1.as_bytes());
        let key = KeyPair::from_pem(VERSION_1_KEY).expect("a key of our own");
        Self {
            certificate_pem: VERSION_1.to_owned(),
            key_pem: VERSION_1_KEY.to_owned(),
            chain: vec![certificate.expect("a certificate of our own")],
            public_key: key.subject_public_key_info(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    /// This certificate, shown by one who has another key.
    #[must_use]
    pub fn with_key_of(mut self, other: &Self) -> Self {
        self.key = other.key.clone_key();
        self
    }

    /// The data of a TLSA record about this certificate.
    ///
    /// # Panics
    /// Never: there is always a certificate.
    #[must_use]
    pub fn tlsa(&self, selector: u8, matching: u8) -> Vec<u8> {
        let certificate = self.chain.first().expect("a certificate");
        tlsa(certificate, &self.public_key, selector, matching)
    }

    /// Writes `STEM.pem` and `STEM.key` to a directory; the two paths in this order.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path, stem: &str) -> io::Result<(PathBuf, PathBuf)> {
        let certificate = directory.join(format!("{stem}.pem"));
        let key = directory.join(format!("{stem}.key"));
        fs::write(&certificate, &self.certificate_pem)?;
        fs::write(&key, &self.key_pem)?;
        Ok((certificate, key))
    }

    /// Accepts TLS as this identity.
    ///
    /// # Panics
    /// Never for identities made here.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor_of(ALL_VERSIONS)
    }

    /// The same by TLS 1.2 alone.
    ///
    /// # Panics
    /// Never for identities made here.
    #[must_use]
    pub fn acceptor_of_tls12(&self) -> TlsAcceptor {
        self.acceptor_of(&[&TLS12])
    }

    fn acceptor_of(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(self.key.clone_key());
        // Certificate and key are not compared: what is sent need not be readable.
        let pair = CertifiedKey::new(self.chain.clone(), key.expect("a key that was made"));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has the versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        TlsAcceptor::from(Arc::new(config))
    }
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names that can stand in a certificate");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn tlsa(certificate: &[u8], key: &[u8], selector: u8, matching: u8) -> Vec<u8> {
    let selected = if selector == 0 { certificate } else { key };
    match matching {
        0 => selected.to_vec(),
        1 => digest::digest(&digest::SHA256, selected).as_ref().to_vec(),
        _ => digest::digest(&digest::SHA512, selected).as_ref().to_vec(),
    }
}
