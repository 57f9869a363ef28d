//! The verifiers of certificates. That of opportunistic TLS accepts every one (RFC 7435); that of
//! `verify` asks for a chain to a trusted root, or for a certificate that the administrator has
//! given itself. That of DANE asks for what the domain's TLSA records say.
//!
//! Encryption without authentication protects from the listener on the line. Since nobody is
//! authenticated, signatures are not checked either: hosts with keys that are too old for the
//! library would otherwise get their mail in the clear.

use std::sync::Arc;

use aws_lc_rs::digest;
use mail::Tlsa;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use crate::certificate::{Certificate, key_content};

#[derive(Debug)]
pub(crate) struct AcceptAny {
    schemes: Vec<SignatureScheme>,
}

impl AcceptAny {
    pub(crate) fn new(provider: &CryptoProvider) -> Self {
        let mut schemes = provider
            .signature_verification_algorithms
            .supported_schemes();
        schemes.push(SignatureScheme::RSA_PKCS1_SHA1);
        schemes.push(SignatureScheme::ECDSA_SHA1_Legacy);
        Self { schemes }
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Asks for a chain to a trusted root. A certificate that stands among the administrator's own
/// needs none: one that a server has signed for itself says that it is an authority, which no chain
/// allows at its end; what it must do is bear the server's name.
#[derive(Debug)]
pub(crate) struct Verify {
    chains: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl Verify {
    pub(crate) const fn new(
        chains: Arc<WebPkiServerVerifier>,
        given: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { chains, given }
    }
}

impl ServerCertVerifier for Verify {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.given.iter().any(|own| own == end_entity) {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.chains
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Asks for a certificate that one of the TLSA records matches (RFC 7672 §3.1, RFC 7671 §5).
#[derive(Debug)]
pub(crate) struct Dane {
    records: Arc<[Tlsa]>,
    names: Arc<[String]>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// No record matches.
#[derive(Debug, thiserror::Error)]
#[error("the certificate matches none of the domain's TLSA records")]
struct NoMatch;

fn no_match() -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NoMatch))))
}

/// Whether it was DANE that refused.
pub(crate) fn is_no_match(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(OtherError(why)) if why.is::<NoMatch>())
}

impl Dane {
    pub(crate) const fn new(
        records: Arc<[Tlsa]>,
        names: Arc<[String]>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            records,
            names,
            algorithms,
        }
    }

    /// A chain to the authority that a record names; the certificate then also bears the host's
    /// name, and holds today.
    fn verify_chain(
        &self,
        record: &Tlsa,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        for certificate in others.iter().filter(|c| matches(record, c)) {
            // One that is no authority is of no use as a root, and no reason to give up.
            if roots.add(certificate.clone().into_owned()).is_err()
                && let Some(read) = Certificate::read(certificate)
            {
                roots.roots.push(anchor(read.subject, read.key_content));
            }
        }
        if (record.selector, record.matching) == (0, 0) {
            // The whole certificate stands in DNS: the host need not send it.
            drop(roots.add(CertificateDer::from(record.data.clone())));
        }
        if (record.selector, record.matching) == (1, 0)
            && let Some(key) = key_content(&record.data)
        {
            // The whole key does: whoever is named as the issuer in what was sent is its owner if the key has
            // signed (RFC 7671 §5.2.1).
            let sent = std::iter::once(leaf).chain(others);
            let issuers = sent.filter_map(|c| Certificate::read(c));
            roots
                .roots
                .extend(issuers.map(|read| anchor(read.issuer, key)));
        }
        if roots.is_empty() {
            return Err(no_match());
        }
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, others, now, algorithms)?;
        let bears = |name: &String| {
            ServerName::try_from(name.as_str())
                .is_ok_and(|n| verify_server_name(&parsed, &n).is_ok())
        };
        match self.names.iter().any(bears) {
            true => Ok(()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }
}

fn anchor(subject: &[u8], key: &[u8]) -> TrustAnchor<'static> {
    TrustAnchor {
        subject: subject.to_vec().into(),
        subject_public_key_info: key.to_vec().into(),
        name_constraints: None,
    }
}

/// Whether a record speaks of this certificate.
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected: &[u8] = match record.selector {
        0 => certificate,
        _ => match Certificate::read(certificate) {
            Some(read) => read.key_info,
            None => return false,
        },
    };
    match record.matching {
        0 => record.data == selected,
        1 => record.data == digest::digest(&digest::SHA256, selected).as_ref(),
        2 => record.data == digest::digest(&digest::SHA512, selected).as_ref(),
        _ => false,
    }
}

impl ServerCertVerifier for Dane {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Neither name nor date counts where the record speaks of the host's own certificate
        // (RFC 7671 §5.1).
        let own = |r: &Tlsa| r.usage == 3 && matches(r, end_entity);
        if self.records.iter().any(own) {
            return Ok(ServerCertVerified::assertion());
        }
        let mut why = no_match();
        for record in self.records.iter().filter(|r| r.usage == 2) {
            match self.verify_chain(record, end_entity, intermediates, now) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let why = match verify_tls12_signature(message, cert, dss, &self.algorithms) {
            Ok(valid) => return Ok(valid),
            Err(why) => why,
        };
        // A record may name a certificate that the library does not read, of version 1.
        let read = Certificate::read(cert).filter(|_| ParsedCertificate::try_from(cert).is_err());
        let schemes = self.algorithms.mapping.iter();
        let algorithms = schemes
            .filter(|(scheme, _)| *scheme == dss.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter().copied());
        let algorithms: Vec<_> = algorithms.collect();
        match read.is_some_and(|c| c.has_signed(message, dss.signature(), &algorithms)) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(why),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let why = match verify_tls13_signature(message, cert, dss, &self.algorithms) {
            Ok(valid) => return Ok(valid),
            Err(why) => why,
        };
        match Certificate::read(cert).filter(|_| ParsedCertificate::try_from(cert).is_err()) {
            Some(read) => {
                let key = SubjectPublicKeyInfoDer::from(read.key_info);
                verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
            }
            None => Err(why),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::pem::PemObject;

    /// As `openssl req -x509` makes them: an authority that signs itself, and is used by a server.
    const SELF_SIGNED: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBoTCCAUegAwIBAgIUOwvcSWGuE6CtX8hIrPcmJukrhUEwCgYIKoZIzj0EAwIw\n\
        GDEWMBQGA1UEAwwNcmVsYXkuZXhhbXBsZTAgFw0yNjExMjIyMDI3MDdaGA8yMTI2\n\
        MTAyOTIwMjcwN1owGDEWMBQGA1UEAwwNcmVsYXkuZXhhbXBsZTBZMBMGByqGSM49\n\
        AgEGCCqGSM49AwEHA0IABNz/ctMI/CR1B+hK3dOTOqjPc1AMDTbuIMRO3S6Xj6b1\n\
        4hGgwqmfmaP9gg3VEFZkKLkLfoWBlLCdTUUaQnzCkAajbTBrMB0GA1UdDgQWBBQW\n\
        B5UzFTbDvLnNN++VGN1aqq4DljAfBgNVHSMEGDAWgBQWB5UzFTbDvLnNN++VGN1a\n\
        qq4DljAPBgNVHRMBAf8EBTADAQH/MBgGA1UdEQQRMA+CDXJlbGF5LmV4YW1wbGUw\n\
        CgYIKoZIzj0EAwIDSAAwRQIgXfukhp7yhLRf4qkdrp85lCNBFQPm3TNN4fgAns5C\n\
        tWMCIQDTEEajfIm6yCqp1+DQYi+nWN7RmajdsrEQIqHmIJ6y1A==\n\
        -----END CERTIFICATE-----\n";

    #[test]
    fn a_given_certificate_is_believed_for_its_own_name_and_no_other() {
        let certificate = CertificateDer::from_pem_slice(SELF_SIGNED.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let chains = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(default_provider()),
        );
        let chains = chains.build().unwrap();
        let now = UnixTime::now();
        let check = |given: Vec<CertificateDer<'static>>, name: &'static str| {
            let verify = Verify::new(Arc::clone(&chains), given);
            let name = ServerName::try_from(name).unwrap();
            verify.verify_server_cert(&certificate, &[], &name, &[], now)
        };
        assert!(check(Vec::new(), "relay.example").is_err());
        assert!(check(vec![certificate.clone()], "relay.example").is_ok());
        assert!(check(vec![certificate.clone()], "other.example").is_err());
    }
}
