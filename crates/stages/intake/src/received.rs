//! The Received field that is put in front of every mail (RFC 5321 §4.4).

use std::io::Write;
use std::net::IpAddr;

use mail::{Domain, Envelope, QueueId, Timestamp};
use smtp::server::Helo;

/// What the field says of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) helo: &'a Helo,
    pub(crate) peer: IpAddr,
    pub(crate) hostname: &'a str,
    pub(crate) tls: bool,
    pub(crate) logged_in: bool,
}

/// The field with its CRLF, in ASCII whatever the client called itself. Other recipients are named
/// to none: `for` stands there only when there is one.
pub(crate) fn field(
    arrival: Arrival<'_>,
    envelope: &Envelope,
    id: QueueId,
    now: Timestamp,
) -> Vec<u8> {
    let mut field = Vec::with_capacity(320);
    let recipient = named(envelope);
    let written = write!(
        field,
        "Received: from {} ({})\r\n\tby {} with {} id {id}{recipient};\r\n\t{}\r\n",
        shown(&arrival.helo.name),
        Domain::from_ip(arrival.peer),
        arrival.hostname,
        protocol(arrival, envelope.smtputf8),
        now.rfc5322(),
    );
    debug_assert!(written.is_ok(), "a Vec grows as needed");
    field
}

/// The same for a mail that was handed in whole: by HTTP, or by a program on this computer.
pub(crate) fn handed_in(
    hostname: &str,
    envelope: &Envelope,
    id: QueueId,
    now: Timestamp,
) -> Vec<u8> {
    let mut field = Vec::with_capacity(320);
    let submitter = &envelope.submitter;
    let peer = submitter
        .peer
        .map(|ip| format!("from {} ", Domain::from_ip(ip)));
    let (peer, via) = (peer.unwrap_or_default(), shown(&submitter.via));
    let recipient = named(envelope);
    let written = write!(
        field,
        "Received: {peer}by {hostname} ({via})\r\n\tid {id}{recipient};\r\n\t{}\r\n",
        now.rfc5322(),
    );
    debug_assert!(written.is_ok(), "a Vec grows as needed");
    field
}

/// The recipient, when there is only one.
fn named(envelope: &Envelope) -> String {
    let only = match envelope.recipients.as_slice() {
        [only] => only.given.as_ref().or(Some(&only.address)),
        _ => None,
    };
    only.filter(|address| address.is_ascii())
        .map(|address| format!("\r\n\tfor <{address}>"))
        .unwrap_or_default()
}

/// The names registered for `with` (RFC 3848, RFC 6531 §4.3).
const fn protocol(arrival: Arrival<'_>, smtputf8: bool) -> &'static str {
    match (smtputf8, arrival.tls, arrival.logged_in) {
        (true, false, false) => "UTF8SMTP",
        (true, true, false) => "UTF8SMTPS",
        (true, false, true) => "UTF8SMTPA",
        (true, true, true) => "UTF8SMTPSA",
        (false, false, false) if !arrival.helo.extended => "SMTP",
        (false, false, false) => "ESMTP",
        (false, true, false) => "ESMTPS",
        (false, false, true) => "ESMTPA",
        (false, true, true) => "ESMTPSA",
    }
}

/// The client's own name, without anything that could forge a part of the field.
fn shown(name: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if name.bytes().all(|b| is_plain(char::from(b))) {
        return name.to_owned();
    }
    name.chars()
        .map(|c| if is_plain(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{BodyType, Recipient, Submitter};

    fn written(name: &str, recipients: &[&str], tls: bool, logged_in: bool) -> String {
        let helo = Helo {
            name: name.into(),
            extended: true,
        };
        let arrival = Arrival {
            helo: &helo,
            peer: "2001:db8::1".parse().unwrap(),
            hostname: "mx.example",
            tls,
            logged_in,
        };
        let envelope = Envelope {
            reverse_path: None,
            recipients: recipients
                .iter()
                .map(|r| Recipient::new(r.parse().unwrap()))
                .collect(),
            body_type: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            env_id: None,
            terms: mail::Terms::default(),
            submitter: Submitter::default(),
        };
        let now = Timestamp::from_secs(1_795_359_059);
        let field = field(arrival, &envelope, QueueId::from_u64(1), now);
        String::from_utf8(field).unwrap()
    }

    #[test]
    fn the_field_says_from_whom_how_and_when() {
        assert_eq!(
            written("client.example", &["a@b.example"], true, true),
            "Received: from client.example ([IPv6:2001:db8::1])\r\n\
             \tby mx.example with ESMTPSA id 00000000001\r\n\
             \tfor <a@b.example>;\r\n\
             \tSun, 22 Nov 2026 14:50:59 +0000\r\n"
        );
    }

    #[test]
    fn several_recipients_are_not_told_of_each_other() {
        let field = written("c", &["a@b.example", "c@d.example"], false, false);
        assert!(!field.contains("for <") && field.contains("with ESMTP id"));
    }

    #[test]
    fn a_client_can_not_forge_the_field() {
        let field = written("x) by (y;\u{fc}", &["a@b.example"], false, false);
        assert!(field.starts_with("Received: from x??by??y?? ("), "{field}");
    }
}
