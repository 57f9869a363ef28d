//! The name of a TLS connection by its server's certificate: `tls-server-end-point` (RFC 5929 §4.1).
//!
//! Of the certificate only the signature's algorithm is read, which says how it is hashed. Whether the
//! certificate can be believed is decided elsewhere.

use aws_lc_rs::digest::{self, Algorithm, digest};

use crate::certificate::{SEQUENCE, expect};

const OBJECT_IDENTIFIER: u8 = 0x06;

/// 1.2.840.113549.1.1: RSA with the padding of PKCS #1 v1.5 (RFC 8017).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.3: ECDSA (RFC 5758).
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// 1.2.840.10045.4.1: ECDSA with SHA-1.
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];

/// The certificate's hash by its signature's hash function, or by SHA-256 where that is weaker; `None`
/// where the signature has no hash function of its own, or one not known here.
pub(crate) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = hash_of(certificate)?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

fn hash_of(mut certificate: &[u8]) -> Option<&'static Algorithm> {
    let mut whole = expect(&mut certificate, SEQUENCE)?.content;
    expect(&mut whole, SEQUENCE)?;
    let mut algorithm = expect(&mut whole, SEQUENCE)?.content;
    let identifier = expect(&mut algorithm, OBJECT_IDENTIFIER)?.content;
    if identifier == ECDSA_SHA1 {
        return Some(&digest::SHA256);
    }
    let (last, family) = identifier.split_last()?;
    Some(match (family, last) {
        // RSA with MD5, SHA-1 and SHA-256.
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => &digest::SHA256,
        (RSA, 12) | (ECDSA, 3) => &digest::SHA384,
        (RSA, 13) | (ECDSA, 4) => &digest::SHA512,
        // Ed25519 hashes in its own way; RSASSA-PSS names its hash elsewhere.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of which only the frame is real.
    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, inside: &[u8]| {
            let len = u16::try_from(inside.len()).unwrap().to_be_bytes();
            [&[tag, 0x82], &len[..], inside].concat()
        };
        let algorithm = wrap(SEQUENCE, &wrap(OBJECT_IDENTIFIER, identifier));
        let signed = wrap(SEQUENCE, &[0; 300]);
        wrap(SEQUENCE, &[signed, algorithm, vec![3, 1, 0]].concat())
    }

    #[test]
    fn the_signature_says_how_a_certificate_is_hashed() {
        let with = |family: &[u8], last: u8| [family, &[last]].concat();
        for (identifier, len) in [
            (with(RSA, 4), Some(32)),
            (with(RSA, 5), Some(32)),
            (with(RSA, 11), Some(32)),
            (with(RSA, 12), Some(48)),
            (with(RSA, 13), Some(64)),
            (ECDSA_SHA1.to_vec(), Some(32)),
            (with(ECDSA, 2), Some(32)),
            (with(ECDSA, 3), Some(48)),
            (with(ECDSA, 4), Some(64)),
            // RSASSA-PSS and Ed25519.
            (with(RSA, 10), None),
            (vec![0x2b, 0x65, 0x70], None),
            (Vec::new(), None),
        ] {
            let whole = certificate(&identifier);
            assert_eq!(end_point(&whole).map(|h| h.len()), len, "{identifier:?}");
            for cut in 0..whole.len() - 4 {
                drop(end_point(&whole[..cut]));
            }
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_name() {
        for der in [
            &b""[..],
            b"\x30",
            b"\x30\x84\0\0\0\0",
            b"\x31\0",
            b"\x30\x03\x30\x05\0",
        ] {
            assert_eq!(end_point(der), None);
        }
    }
}
