//! A verdict in plain words, for somebody who has never seen an SMTP reply.

use mail::{Class, Outcome, Verdict};

/// What happened, and what the sender can do about it.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one table of texts")]
pub fn explain(verdict: &Verdict) -> (&'static str, &'static str) {
    let status = verdict.reply.status();
    if verdict.host.is_none() && verdict.class == Class::Policy && status.subject == 7 {
        return (
            "The administrator of your mail server ended the delivery.",
            "Ask your administrator if you do not know why.",
        );
    }
    let by_code = match (status.subject, status.detail) {
        (1, 1 | 6) => (
            "There is no such mailbox at that domain.",
            "Check the address for typing errors, or ask the recipient for the right one.",
        ),
        (1, 2) => (
            "The domain of the address does not exist.",
            "Check the part after the @ for typing errors.",
        ),
        (1, 10) => (
            "The domain of the address says that it receives no mail at all.",
            "Ask the recipient for another address.",
        ),
        (1, _) => (
            "The address was not accepted.",
            "Check the address for typing errors.",
        ),
        (2, 1) => (
            "The mailbox exists, but receives no mail at present.",
            "Reach the recipient in another way, or try again some days later.",
        ),
        (2, 2) => (
            "The recipient's mailbox is full.",
            "Tell the recipient in another way, and send again when there is room.",
        ),
        (2, 3) | (3, 4) => (
            "The message is larger than the other side accepts.",
            "Send it without, or with smaller, attachments.",
        ),
        (4, 4) => (
            "The domain of the address has no mail server.",
            "Check the part after the @ for typing errors.",
        ),
        (4, 6) => (
            "The mail would have come back to this server in a circle.",
            "Tell your administrator: a domain's mail servers and this server's local domains do \
             not agree.",
        ),
        (4, 3) => (
            "DNS gave no usable answer about the domain of the address.",
            "Check the part after the @; if it is right, try again later.",
        ),
        (4, _) if verdict.class != Class::Recipient => (
            "The recipient's mail server could not be reached, or broke off.",
            "Nothing is wrong with your message. Try again later, or tell the recipient in \
             another way.",
        ),
        (6, _) => (
            "The other side cannot take a message of this form.",
            "Send it in a simpler form: plain text, and addresses without special characters.",
        ),
        (7, 4 | 5) => (
            "The message may only be sent encrypted, and no encrypted connection was possible.",
            "Tell your administrator; the message was not sent in the clear.",
        ),
        (7, _) => (
            "The other side refused the message by its own rules.",
            "Its answer below may say why. Your administrator can help if it names this server.",
        ),
        _ => ("", ""),
    };
    if !by_code.0.is_empty() {
        return by_code;
    }
    match (verdict.outcome, verdict.class) {
        (Outcome::Expired, _) => (
            "The message could not be delivered within the time set for it.",
            "Try again later, or reach the recipient in another way.",
        ),
        (_, Class::Recipient) if verdict.reply.is_permanent() => (
            "The recipient's mail server refused the address.",
            "Check the address; its answer below may say more.",
        ),
        (_, Class::Host | Class::Dns) => (
            "The recipient's mail server could not be reached.",
            "Nothing is wrong with your message. Try again later.",
        ),
        (_, Class::Recipient | Class::Message | Class::Policy) if verdict.reply.is_permanent() => (
            "The recipient's mail server refused the message.",
            "Its answer below may say why.",
        ),
        (_, Class::Recipient | Class::Message | Class::Policy) => (
            "The recipient's mail server did not accept the message, and asked to try later, each \
             time it was tried.",
            "Try again later, or reach the recipient in another way.",
        ),
    }
}
