//! Reports to senders, made of what strangers said.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use mail::{
    Address, Class, EnhancedCode, Envelope, Headers, Message, Notify, Outcome, PeerHost, QueueId,
    Recipient, Reply, Ret, Timestamp, Verdict, body_offset,
};
use notify::{Kind, Reported, Reporter};

use crate::octets::Octets;

const HEADER: [&str; 10] = [
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
];
const PER_MESSAGE: [&str; 3] = ["Reporting-MTA", "Original-Envelope-Id", "Arrival-Date"];
const PER_RECIPIENT: [&str; 8] = [
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Will-Retry-Until",
];

/// Whatever hosts, senders and mails say: a report has its three parts and its own fields only, in
/// lines of a lawful length, and goes to the sender alone with a null reverse-path.
pub(crate) fn report(input: &[u8]) {
    let mut octets = Octets::new(input);
    let reporter = Reporter {
        hostname: "mail.example".to_owned(),
        postmaster: address("postmaster@mail.example"),
        original_max: usize::from(octets.octet()) * 16,
    };
    let kind = match octets.octet() % 4 {
        0 => Kind::Failed,
        1 => Kind::Delayed,
        2 => Kind::Relayed,
        _ => Kind::Delivered,
    };
    let sender = Address::parse(&octets.text()).ok();
    let env_id = Some(octets.text()).filter(|id| !id.is_empty());
    let ret = match octets.octet() % 3 {
        0 => None,
        1 => Some(Ret::Full),
        _ => Some(Ret::Headers),
    };
    let count = usize::from(octets.octet() % 3) + 1;
    let told: Vec<(Recipient, Verdict)> = (0..count)
        .map(|_| (recipient(&mut octets), verdict(&mut octets)))
        .collect();
    let content = smtp::dot_stuffing::canonical(&Bytes::copy_from_slice(octets.rest()));
    let original = Message {
        id: QueueId::from_u64(7 << 40),
        accepted: Timestamp::from_secs(1_800_000_000),
        envelope: Envelope {
            reverse_path: sender,
            recipients: told.iter().map(|(r, _)| r.clone()).collect(),
            ret,
            env_id,
            ..Envelope::default()
        },
        labels: mail::Labels::of(&content),
        content,
    };
    let reported: Vec<Reported<'_>> = told
        .iter()
        .map(|(recipient, verdict)| Reported {
            passed_on: false,
            recipient,
            verdict,
            attempts: 3,
            retry_until: Some(Timestamp::from_secs(1_800_900_000)),
        })
        .collect();
    let now = Timestamp::from_secs(1_800_000_900);
    let wanted = told.iter().filter(|(r, _)| kind.wanted(r.notify)).count();
    let made = reporter.report(kind, &original, &reported, QueueId::from_u64(9 << 40), now);
    let Some(sender) = &original.envelope.reverse_path else {
        assert!(made.is_none(), "a report about a report");
        return;
    };
    assert_eq!(made.is_some(), wanted > 0);
    if let Some(made) = made {
        assert_eq!(made.envelope.reverse_path, None);
        let [to] = made.envelope.recipients.as_slice() else {
            panic!("{:?}", made.envelope.recipients);
        };
        assert_eq!((&to.address, to.notify), (sender, Notify::NEVER));
        let said: usize = input.len() * 12 + 8000;
        assert!(made.content.len() <= said, "{} octets", made.content.len());
        parts(&made.content, wanted);
    }
}

/// Takes a report apart as any mail program would.
fn parts(report: &[u8], recipients: usize) {
    assert!(smtp::dot_stuffing::is_canonical(report));
    let body = body_offset(report);
    names(report.get(..body).unwrap_or_default(), &HEADER, &[]);
    let kind = mail::find_header(report, "Content-Type").expect("a Content-Type");
    let kind = String::from_utf8_lossy(kind.value).into_owned();
    let boundary = kind.split('"').nth(1).expect("a boundary");
    let (between, end) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    let mut ended = false;
    for line in report
        .get(body..)
        .unwrap_or_default()
        .split_inclusive(|b| *b == b'\n')
    {
        assert!(!ended, "there is something behind the end");
        let bare = line.strip_suffix(b"\r\n").unwrap_or(line);
        if bare == between.as_bytes() {
            parts.push(Vec::new());
        } else if bare == end.as_bytes() {
            ended = true;
        } else if let Some(part) = parts.last_mut() {
            part.extend_from_slice(line);
        }
    }
    assert!(ended, "the report has no end");
    let [_, words, fields, _] = parts.as_slice() else {
        panic!(
            "{} parts:\n{}",
            parts.len() - 1,
            String::from_utf8_lossy(report)
        );
    };
    for part in [words, fields] {
        assert!(part.is_ascii());
        let lines = part.split(|b| *b == b'\n');
        assert!(
            lines.into_iter().all(|line| line.len() <= 999),
            "a long line"
        );
    }
    // The part's own header, the fields of the message, and those of each recipient.
    let mut groups = fields
        .strip_suffix(b"\r\n")
        .map(|fields| split(fields, b"\r\n\r\n"))
        .unwrap_or_default()
        .into_iter();
    names(groups.next().unwrap_or_default(), &["Content-Type"], &[]);
    names(
        groups.next().unwrap_or_default(),
        &PER_MESSAGE,
        &["Reporting-MTA"],
    );
    let groups: Vec<&[u8]> = groups.filter(|g| !g.is_empty()).collect();
    assert_eq!(groups.len(), recipients);
    for group in groups {
        names(
            group,
            &PER_RECIPIENT,
            &["Final-Recipient", "Action", "Status"],
        );
    }
}

fn split<'a>(text: &'a [u8], gap: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for at in memchr::memmem::find_iter(text, gap) {
        parts.push(text.get(from..at).unwrap_or_default());
        from = at + gap.len();
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

/// The block has these fields only, each once, and those that it must have.
fn names(block: &[u8], allowed: &[&str], needed: &[&str]) {
    let block = [block, b"\r\n"].concat();
    let mut seen = Vec::new();
    let mut length = 0;
    for field in Headers::new(&block) {
        let name = String::from_utf8_lossy(field.name).into_owned();
        assert!(allowed.contains(&name.as_str()), "a forged field {name}");
        assert!(!seen.contains(&name), "{name} stands twice");
        assert!(field.raw.is_ascii());
        assert!(
            field.raw.split(|b| *b == b'\n').all(|l| l.len() <= 999),
            "a long line"
        );
        length += field.raw.len();
        seen.push(name);
    }
    let rest = block.get(length..).unwrap_or_default();
    assert!(
        rest.iter().all(|b| matches!(b, b'\r' | b'\n')),
        "not all are fields"
    );
    assert!(needed.iter().all(|n| seen.iter().any(|s| s == n)));
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn recipient(octets: &mut Octets<'_>) -> Recipient {
    let given = Address::parse(&octets.text()).ok();
    let fallback = || address("someone@example.net");
    Recipient {
        given,
        // The form of ORCPT that a command must have; what stands in it is the client's.
        orcpt: Some(octets.text()).filter(|o| o.contains(';') && !o.contains(char::is_control)),
        notify: Notify::from_bits(octets.octet()),
        ..Recipient::new(Address::parse(&octets.text()).unwrap_or_else(|_| fallback()))
    }
}

fn verdict(octets: &mut Octets<'_>) -> Verdict {
    let (code, subject, detail) = (octets.word() % 600, octets.octet(), octets.octet());
    let enhanced = EnhancedCode::new(5, u16::from(subject), u16::from(detail));
    let enhanced = Some(enhanced).filter(|_| octets.bit());
    // A reply has lines, as the parser joins them.
    let text = octets.text().replace('|', "\n");
    let class = match octets.octet() % 5 {
        0 => Class::Host,
        1 => Class::Message,
        2 => Class::Recipient,
        3 => Class::Policy,
        _ => Class::Dns,
    };
    let name = octets.text();
    let at = Timestamp::from_secs(1_800_000_600);
    let host = (!name.is_empty()).then(|| PeerHost {
        name,
        address: Some(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 25))),
    });
    Verdict {
        host,
        ..Verdict::own(Outcome::Failed, class, Reply::new(code, enhanced, text), at)
    }
}
