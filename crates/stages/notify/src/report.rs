//! Building a report.

use bytes::Bytes;
use mail::{
    Address, BodyType, Envelope, Message, Notify, QueueId, Recipient, Ret, Submitter, Terms,
    Timestamp, Verdict, body_offset, find_header, format_duration, quoted_printable, utf8_xtext,
};

use crate::explain::explain;
use crate::text::{field, from_xtext, paragraph, printable};

/// What a report says of its recipients (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They will not get the message.
    Failed,
    /// They have not got it yet; it is tried on.
    Delayed,
    /// It was handed to a server that sends no such reports itself.
    Relayed,
    /// It is in the local mailbox.
    Delivered,
}

impl Kind {
    const fn action(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
        }
    }

    /// Whether a recipient's NOTIFY asks for it.
    #[must_use]
    pub fn wanted(self, notify: Notify) -> bool {
        match self {
            Self::Failed => notify.on_failure(),
            Self::Delayed => notify.on_delay(),
            Self::Relayed | Self::Delivered => notify.on_success(),
        }
    }
}

/// One recipient of a report.
#[derive(Debug, Clone)]
pub struct Reported<'a> {
    /// Who.
    pub recipient: &'a Recipient,
    /// The last verdict.
    pub verdict: &'a Verdict,
    /// After how many attempts.
    pub attempts: u32,
    /// Until when it is tried, where it is.
    pub retry_until: Option<Timestamp>,
    /// That it was relayed is told, whatever NOTIFY says but NEVER (RFC 2852 §4.1.4).
    pub passed_on: bool,
}

impl Reported<'_> {
    fn is_wanted(&self, kind: Kind) -> bool {
        let notify = self.recipient.notify;
        let passed_on = self.passed_on && kind == Kind::Relayed && notify != Notify::NEVER;
        kind.wanted(notify) || passed_on
    }
}

/// Who reports.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// Our name.
    pub hostname: String,
    /// Whom senders can write to about it.
    pub postmaster: Address,
    /// An original larger than this is returned as its header only, in octets.
    pub original_max: usize,
}

impl Reporter {
    /// The report of `kind` on these recipients of `original`; `None` when nobody is to hear of it:
    /// the reverse-path is null, or NOTIFY says so.
    #[must_use]
    pub fn report(
        &self,
        kind: Kind,
        original: &Message,
        recipients: &[Reported<'_>],
        id: QueueId,
        now: Timestamp,
    ) -> Option<Message> {
        let sender = original.envelope.reverse_path.clone()?;
        let wanted: Vec<&Reported<'_>> = recipients.iter().filter(|r| r.is_wanted(kind)).collect();
        if wanted.is_empty() {
            return None;
        }
        let boundary = self.boundary(original, id);
        let mut text = String::with_capacity(4096);
        self.write_header(&mut text, kind, original, &sender, id, now, &boundary);
        text.push_str(&format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        ));
        let mut words = String::new();
        self.write_words(&mut words, kind, original, &wanted, now);
        part(&mut text, &words);
        text.push_str(&format!(
            "--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n"
        ));
        self.write_fields(&mut text, kind, original, &wanted);
        text.push_str(&format!("--{boundary}\r\n"));
        let mut content = text.into_bytes();
        let eight_bit = self.append_original(&mut content, kind, original);
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let recipient = Recipient {
            notify: Notify::NEVER,
            ..Recipient::new(sender)
        };
        Some(Message {
            id,
            accepted: now,
            envelope: Envelope {
                reverse_path: None,
                recipients: vec![recipient],
                body_type: if eight_bit {
                    BodyType::EightBitMime
                } else {
                    BodyType::SevenBit
                },
                smtputf8: false,
                ret: None,
                env_id: None,
                terms: Terms {
                    // What says so much about a protected mail is protected as well (RFC 8689 §5).
                    require_tls: original.envelope.terms.require_tls,
                    ..Terms::default()
                },
                submitter: Submitter {
                    via: "notify".to_owned(),
                    ..Submitter::default()
                },
            },
            labels: mail::Labels {
                report_of: Some(original.id),
                ..mail::Labels::of(&content)
            },
            content: Bytes::from(content),
        })
    }

    /// A boundary that the original does not contain.
    fn boundary(&self, original: &Message, id: QueueId) -> String {
        let mut n = 0u32;
        loop {
            let boundary = format!("=_{id}.{n}/{}", self.hostname);
            let boundary: String = boundary.chars().take(70).collect();
            if !original
                .content
                .windows(boundary.len())
                .any(|w| w == boundary.as_bytes())
            {
                return boundary;
            }
            n += 1;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it stands in one header")]
    fn write_header(
        &self,
        out: &mut String,
        kind: Kind,
        original: &Message,
        sender: &Address,
        id: QueueId,
        now: Timestamp,
        boundary: &str,
    ) {
        let subject = match kind {
            Kind::Failed => "Mail could not be delivered",
            Kind::Delayed => "Mail is delayed",
            Kind::Relayed | Kind::Delivered => "Mail was delivered",
        };
        // Unfolded: of a fold's CR nothing may stay (long ids are folded by many).
        let header = |name| {
            let field = find_header(&original.content, name)?;
            Some(String::from_utf8_lossy(field.value).replace("\r\n", ""))
        };
        let theirs = header("Subject");
        let subject = match theirs.as_deref().map(str::trim).filter(|s| !s.is_empty()) {
            Some(theirs) => format!("{subject}: {theirs}"),
            None => subject.to_owned(),
        };
        field(out, "Date", &now.rfc5322());
        field(
            out,
            "From",
            &format!("Mail Delivery System <MAILER-DAEMON@{}>", self.hostname),
        );
        let ascii = sender.to_ascii();
        field(
            out,
            "To",
            &format!("<{}>", ascii.as_ref().unwrap_or(sender)),
        );
        field(out, "Subject", &subject);
        field(out, "Message-ID", &format!("<{id}@{}>", self.hostname));
        if let Some(theirs) = header("Message-ID") {
            field(out, "In-Reply-To", &theirs);
            field(out, "References", &theirs);
        }
        field(out, "Auto-Submitted", "auto-replied");
        field(out, "MIME-Version", "1.0");
        out.push_str(&format!("Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n"));
        out.push_str("This is a report about your message, in MIME format.\r\n\r\n");
    }

    fn write_words(
        &self,
        out: &mut String,
        kind: Kind,
        original: &Message,
        recipients: &[&Reported<'_>],
        now: Timestamp,
    ) {
        let age = format_duration(now.since(original.accepted));
        let line = match kind {
            Kind::Failed => {
                "Your message could not be delivered to the recipients below. No further attempts \
                 will be made."
                    .to_owned()
            }
            Kind::Delayed => format!(
                "Your message has not been delivered to the recipients below for {age}. Your mail server \
                 keeps trying: you do not need to do anything, and do not need to send it again."
            ),
            Kind::Relayed => "Your message was passed on to the mail server of the recipients below. That server \
                              does not report whether it was delivered."
                .to_owned(),
            Kind::Delivered => "Your message was delivered to the recipients below.".to_owned(),
        };
        paragraph(out, "", &line);
        for r in recipients {
            out.push_str("\r\n");
            let address = r.recipient.given.as_ref().unwrap_or(&r.recipient.address);
            out.push_str(&format!("  {address}\r\n"));
            if matches!(kind, Kind::Failed | Kind::Delayed) {
                let (what, advice) = explain(r.verdict);
                paragraph(out, "    ", what);
                if kind == Kind::Failed {
                    paragraph(out, "    ", advice);
                    if r.attempts > 1 {
                        paragraph(out, "    ", &format!("{} attempts were made.", r.attempts));
                    }
                }
                if let Some(until) = r.retry_until {
                    paragraph(
                        out,
                        "    ",
                        &format!("Attempts continue until {}.", until.rfc5322()),
                    );
                }
            }
            let said = match (&r.verdict.host, r.verdict.reply.code) {
                (Some(host), 0) => format!("At {host}: {}", r.verdict.reply),
                (Some(host), _) => format!("{host} answered: {}", r.verdict.reply),
                (None, _) => format!("The reason: {}", r.verdict.reply),
            };
            paragraph(out, "    ", &printable(&said));
        }
        out.push_str("\r\n");
        let id = original.id;
        paragraph(
            out,
            "",
            &format!(
                "Questions? Write to {} and name the message {id}. This report was sent by {}.",
                self.postmaster, self.hostname
            ),
        );
    }

    fn write_fields(
        &self,
        out: &mut String,
        kind: Kind,
        original: &Message,
        recipients: &[&Reported<'_>],
    ) {
        field(out, "Reporting-MTA", &format!("dns; {}", self.hostname));
        if let Some(id) = &original.envelope.env_id {
            field(out, "Original-Envelope-Id", &from_xtext(id));
        }
        field(out, "Arrival-Date", &original.accepted.rfc5322());
        for r in recipients {
            out.push_str("\r\n");
            let given = r.recipient.given.as_ref().map(typed);
            let orcpt = r.recipient.orcpt.as_ref().map(|o| match o.split_once(';') {
                Some((kind, address)) => format!("{kind}; {}", from_xtext(address)),
                None => o.clone(),
            });
            if let Some(first) = orcpt.or(given) {
                field(out, "Original-Recipient", &first);
            }
            field(out, "Final-Recipient", &typed(&r.recipient.address));
            field(out, "Action", kind.action());
            field(out, "Status", &r.verdict.reply.status().to_string());
            if let Some(host) = &r.verdict.host {
                field(out, "Remote-MTA", &format!("dns; {}", host.name));
            }
            let tag = if r.verdict.reply.code == 0 {
                "x-sendoff"
            } else {
                "smtp"
            };
            field(
                out,
                "Diagnostic-Code",
                &format!("{tag}; {}", r.verdict.reply),
            );
            field(out, "Last-Attempt-Date", &r.verdict.at.rfc5322());
            if let Some(until) = r.retry_until {
                field(out, "Will-Retry-Until", &until.rfc5322());
            }
        }
        out.push_str("\r\n");
    }

    /// The third part: the original, or its header. Whether it has octets above 127.
    fn append_original(&self, out: &mut Vec<u8>, kind: Kind, original: &Message) -> bool {
        let content = &original.content;
        let ascii = content.is_ascii();
        let full = kind == Kind::Failed
            // What is not made of lines can stand in no report.
            && original.envelope.body_type != BodyType::BinaryMime
            && content.len() <= self.original_max
            // Whoever refused it for its lines would refuse the report too.
            && !mail::has_long_line(content)
            // Of a protected mail the header is enough (RFC 8689 §5).
            && !original.envelope.terms.require_tls
            && match original.envelope.ret {
                Some(Ret::Full) => true,
                Some(Ret::Headers) => false,
                // Unasked, what some server on the way back could not carry is not returned whole.
                None => ascii,
            };
        if full {
            let encoding = if ascii { "7bit" } else { "8bit" };
            out.extend_from_slice(
                format!(
                    "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
                )
                .as_bytes(),
            );
            out.extend_from_slice(content);
            return !ascii;
        }
        let header = content.get(..body_offset(content)).unwrap_or_default();
        let header = match header.get(..self.original_max) {
            // Whole lines only: a CR that lost its LF would stand alone.
            Some(begin) => {
                let end = begin.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
                begin.get(..end).unwrap_or_default()
            }
            None => header,
        };
        let header = mail::folded(header);
        out.extend_from_slice(b"Content-Type: text/rfc822-headers; charset=utf-8\r\n");
        // A line that cannot be folded stays whole after the encoding.
        if header.is_ascii() && !mail::has_long_line(&header) {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&header);
        } else {
            out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
            out.extend_from_slice(&quoted_printable(&header));
        }
        false
    }
}

/// An address with its type; one that has no form in ASCII is of the type `utf-8` (RFC 6533 §3).
fn typed(address: &Address) -> String {
    match address.to_ascii() {
        Some(ascii) => format!("rfc822; {ascii}"),
        None => format!("utf-8; {}", utf8_xtext(address)),
    }
}

/// The body of a text part, encoded when it is not ASCII.
fn part(out: &mut String, words: &str) {
    if words.is_ascii() {
        out.push_str("\r\n");
        out.push_str(words);
    } else {
        out.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        out.push_str(&String::from_utf8_lossy(&quoted_printable(
            words.as_bytes(),
        )));
    }
    out.push_str("\r\n");
}
