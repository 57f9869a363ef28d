//! The few fields of an X.509 certificate that DANE speaks of, and its dates, read from DER (RFC 5280 §4.1) without regard to
//! what else is in it: certificates of version 1, and others that the library refuses, have a key as well.
//!
//! Nothing is verified here but one thing: a signature made with that key.

use mail::Timestamp;
use rustls::pki_types::SignatureVerificationAlgorithm;

/// Constructed SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// The version, where it is not 1.
const VERSION: u8 = 0xa0;

/// A time until 2049, and from 2050 on.
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// One element of DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    tag: u8,
    /// With tag and length.
    whole: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// Takes an element off the input.
fn take<'a>(input: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x83 => {
            let count = usize::from(first & 0x7f);
            let octets = rest.get(..count)?;
            let length = octets.iter().fold(0, |n, b| n << 8 | usize::from(*b));
            (length, 2 + count)
        }
        _ => return None,
    };
    let (whole, behind) = input.split_at_checked(header + length)?;
    let content = whole.get(header..)?;
    *input = behind;
    Some(Element {
        tag,
        whole,
        content,
    })
}

/// Takes an element of this type off the input.
pub(crate) fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    take(input).filter(|element| element.tag == tag)
}

/// Takes a time off the input. One before 1970 is of no use to anybody.
fn time(input: &mut &[u8]) -> Option<Timestamp> {
    let element = take(input)?;
    let text = std::str::from_utf8(element.content).ok()?;
    let whole = match element.tag {
        // Two digits of the year: from 50 on the last century's.
        UTC_TIME if text >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| whole.get(from..to);
    let written = format!(
        "{}-{}-{}T{}:{}:{}{}",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?,
        part(14, whole.len())?,
    );
    Timestamp::parse_rfc3339(&written)
}

/// What is read of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Certificate<'a> {
    /// The content of the issuer's name.
    pub(crate) issuer: &'a [u8],
    /// The content of the name of its owner.
    pub(crate) subject: &'a [u8],
    /// The content of its validity: from when and until when it holds.
    pub(crate) validity: &'a [u8],
    /// The SubjectPublicKeyInfo, with tag and length.
    pub(crate) key_info: &'a [u8],
    /// The content of the same.
    pub(crate) key_content: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(crate) fn read(mut der: &'a [u8]) -> Option<Self> {
        let mut outer = expect(&mut der, SEQUENCE)?.content;
        let mut signed = expect(&mut outer, SEQUENCE)?.content;
        let mut serial = take(&mut signed)?;
        if serial.tag == VERSION {
            serial = take(&mut signed)?;
        }
        if serial.tag != INTEGER {
            return None;
        }
        expect(&mut signed, SEQUENCE)?;
        let issuer = expect(&mut signed, SEQUENCE)?.content;
        let validity = expect(&mut signed, SEQUENCE)?.content;
        let subject = expect(&mut signed, SEQUENCE)?.content;
        let key = expect(&mut signed, SEQUENCE)?;
        Some(Self {
            issuer,
            subject,
            validity,
            key_info: key.whole,
            key_content: key.content,
        })
    }

    /// From when and until when it holds; nothing where that is not as RFC 5280 §4.1.2.5 has it.
    pub(crate) fn holds(&self) -> Option<(Timestamp, Timestamp)> {
        let mut rest = self.validity;
        Some((time(&mut rest)?, time(&mut rest)?))
    }

    /// Whether one of these algorithms finds a signature made with the certificate's key.
    pub(crate) fn has_signed(
        &self,
        message: &[u8],
        signature: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let mut rest = self.key_content;
        let Some(algorithm) = expect(&mut rest, SEQUENCE) else {
            return false;
        };
        // The first octet of a bit string says how many bits of the last one are none.
        let Some((0, key)) = expect(&mut rest, BIT_STRING)
            .and_then(|bits| bits.content.split_first())
            .map(|(unused, key)| (*unused, key))
        else {
            return false;
        };
        algorithms.iter().any(|a| {
            a.public_key_alg_id().as_ref() == algorithm.content
                && a.verify_signature(key, message, signature).is_ok()
        })
    }
}

/// The content of a SubjectPublicKeyInfo that is one, whole.
pub(crate) fn key_content(mut key_info: &[u8]) -> Option<&[u8]> {
    let key = expect(&mut key_info, SEQUENCE)?;
    key_info.is_empty().then_some(key.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::VERSION_1;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::ParsedCertificate;

    #[test]
    fn the_key_is_what_the_library_finds_and_is_found_in_version_1_too() {
        let ca = lab::Ca::new();
        let ours = ca.der();
        let parsed = ParsedCertificate::try_from(&ours).unwrap();
        let read = Certificate::read(&ours).unwrap();
        assert_eq!(read.key_info, &*parsed.subject_public_key_info());
        assert_eq!(read.issuer, read.subject);
        let old = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
        assert!(
            ParsedCertificate::try_from(&old).is_err(),
            "it is of version 1"
        );
        let read = Certificate::read(&old).unwrap();
        assert_eq!(key_content(read.key_info), Some(read.key_content));
        assert_eq!(read.key_info.len(), 91);
    }

    #[test]
    fn dates_are_read_in_both_ways_of_writing_them() {
        let dates = |from: (u8, &str), until: (u8, &str)| {
            let element = |(tag, text): (u8, &str)| {
                let length = u8::try_from(text.len()).unwrap();
                [&[tag, length], text.as_bytes()].concat()
            };
            let validity = [element(from), element(until)].concat();
            let (issuer, key) = ([].as_slice(), [].as_slice());
            let certificate = Certificate {
                issuer,
                subject: issuer,
                validity: &validity,
                key_info: key,
                key_content: key,
            };
            let (from, until) = certificate.holds()?;
            Some((from.to_string(), until.to_string()))
        };
        let read = dates(
            (UTC_TIME, "700102030405Z"),
            (GENERALIZED_TIME, "20500102030405Z"),
        );
        let (from, until) = read.unwrap();
        assert!(from.starts_with("1970-01-02T03:04:05"), "{from}");
        assert!(until.starts_with("2050-01-02T03:04:05"), "{until}");
        for wrong in ["", "26", "261301000000Z", "2601010000Z", "26é101000000Z"] {
            let read = dates((UTC_TIME, wrong), (UTC_TIME, "270101000000Z"));
            assert_eq!(read, None, "{wrong}");
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_is_read_within_its_bounds() {
        let whole = lab::Ca::new().der().to_vec();
        for end in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            for octet in [0, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[at] = octet;
                if let Some(read) = Certificate::read(&changed) {
                    assert!(read.key_info.len() < whole.len());
                    read.has_signed(b"x", b"y", &[]);
                    read.holds();
                }
            }
        }
    }
}
