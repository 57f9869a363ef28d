//! Mails to hand in.

use bytes::Bytes;
use intake::{Rights, Submission, Wanted};
use mail::{Address, BodyType, Labels, Submitter, Terms};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// The content of a mail with a subject, from an author.
#[must_use]
pub fn content(from: &str, subject: &str) -> Bytes {
    let text = format!("From: <{from}>\r\nSubject: {subject}\r\n\r\nHello.\r\n");
    Bytes::from(text)
}

/// A mail from one address to others, by somebody who may write as everybody. An empty address is the null
/// reverse-path.
///
/// # Panics
/// When an address is none.
#[must_use]
pub fn submission(from: &str, to: &[&str]) -> Submission {
    let author = match from {
        "" => "postmaster@sendoff.lab",
        from => from,
    };
    Submission {
        reverse_path: (!from.is_empty()).then(|| address(from)),
        recipients: to.iter().map(|to| Wanted::from(address(to))).collect(),
        is_part: false,
        content: content(author, "test"),
        body_type: BodyType::SevenBit,
        ret: None,
        env_id: None,
        terms: Terms::default(),
        is_test: false,
        labels: Labels::default(),
        submitter: Submitter {
            user: Some("ann".to_owned()),
            peer: None,
            via: "test".to_owned(),
        },
        rights: Rights::Any,
    }
}
