//! What people must know of the certificates that they use: for which names, and how long they hold.

use std::path::Path;

use mail::Timestamp;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};

use crate::certificate::Certificate;
use crate::tls::{TlsLoadError, certificates};

/// The first certificate of a PEM file: the server's own.
#[derive(Debug, Clone)]
pub struct CertificateFile {
    der: CertificateDer<'static>,
    /// From when it holds.
    pub not_before: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
}

impl CertificateFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When the file cannot be read, or no dates are found in its first certificate.
    pub fn read(path: &Path) -> Result<Self, TlsLoadError> {
        let der = certificates(path)?.into_iter().next();
        let wrong = || TlsLoadError::File {
            path: path.to_owned(),
            what: "PEM certificates",
            why: "the validity dates of its first certificate cannot be read".to_owned(),
        };
        let der = der.ok_or_else(wrong)?;
        let dates = Certificate::read(&der).and_then(|read| read.holds());
        let (not_before, not_after) = dates.ok_or_else(wrong)?;
        Ok(Self {
            der,
            not_before,
            not_after,
        })
    }

    /// Whether it is for a server of this name (RFC 9525); for which it is instead, otherwise.
    ///
    /// # Errors
    /// The names that it is for.
    pub fn is_for(&self, name: &str) -> Result<(), Vec<String>> {
        let parsed = ParsedCertificate::try_from(&self.der).map_err(|_| Vec::new())?;
        let name = ServerName::try_from(name.trim_matches(['[', ']'])).map_err(|_| Vec::new())?;
        let Err(error) = verify_server_name(&parsed, &name) else {
            return Ok(());
        };
        let names = if let Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        }) = error
        {
            presented.iter().map(|name| bare(name)).collect()
        } else {
            Vec::new()
        };
        Err(names)
    }
}

/// A name of a certificate, as the library writes it: `DnsName("a.example")`.
fn bare(name: &str) -> String {
    let quoted = name
        .split_once('"')
        .and_then(|(_, rest)| rest.rsplit_once('"'));
    quoted.map_or(name, |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_of_a_certificate_are_known() {
        let dir = lab::Scratch::new();
        let ca = lab::Ca::new();
        let identity = ca.issue(&["mail.a.example", "*.b.example"]);
        let path = dir.path().join("certificate.pem");
        std::fs::write(&path, &identity.certificate_pem).unwrap();
        let read = CertificateFile::read(&path).unwrap();
        assert!(read.not_before < crate::now() && crate::now() < read.not_after);
        assert_eq!(read.is_for("mail.a.example"), Ok(()));
        assert_eq!(read.is_for("mx.b.example"), Ok(()));
        let names = ["mail.a.example", "*.b.example"].map(str::to_owned);
        assert_eq!(read.is_for("mail.c.example"), Err(names.to_vec()));
    }
}
