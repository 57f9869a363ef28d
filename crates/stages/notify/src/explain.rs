//! A verdict in plain words, for somebody who has never seen an SMTP reply.

use mail::{Class, Outcome, Verdict};

/// What happened, and what the sender can do about it.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one table of texts")]
pub fn explain(verdict: &Verdict) -> (&'static str, &'static str) {
    let status = verdict.reply.status();
    if verdict.host.is_none() && verdict.class == Class::Policy && status.subject == 7 {
        return (
            "The administrator of your mail server stopped the delivery.",
            "Please ask your administrator for the reason.",
        );
    }
    let by_code = match (status.subject, status.detail) {
        (1, 1 | 6) => (
            "This email address does not exist.",
            "Check it for typing errors, or ask the recipient for the correct address.",
        ),
        (1, 2) => (
            "The domain of this address (the part after the @) does not exist.",
            "Check it for typing errors.",
        ),
        (1, 10) => (
            "The domain of this address does not accept email.",
            "Ask the recipient for another address.",
        ),
        (1, _) => (
            "The recipient's mail server rejected this address.",
            "Check it for typing errors.",
        ),
        (2, 1) => (
            "This mailbox exists, but does not accept mail at the moment.",
            "Contact the recipient in another way, or send the message again in a few days.",
        ),
        (2, 2) => (
            "The recipient's mailbox is full.",
            "Contact the recipient in another way, or send the message again later.",
        ),
        (2, 3) | (3, 4) => (
            "The message is too large for the recipient's mail server.",
            "Send it without attachments, or with smaller ones.",
        ),
        (4, 4) => (
            "The domain of this address (the part after the @) has no mail server.",
            "Check it for typing errors.",
        ),
        (4, 6) => (
            "The message would have come back to your mail server in a loop.",
            "This is a configuration error. Please contact your administrator.",
        ),
        (4, 3) => (
            "The domain name system (DNS) gave no usable answer for the domain of this address.",
            "Check the part after the @. If it is right, send the message again later.",
        ),
        (4, _) if verdict.class != Class::Recipient => (
            "The recipient's mail server could not be reached, or the connection was lost.",
            "Your message is fine. Send it again later, or contact the recipient in another way.",
        ),
        (6, _) => (
            "The recipient's mail server does not support the format of this message.",
            "Send it as plain text, to addresses without special characters.",
        ),
        (7, 4 | 5) => (
            "This message may only be sent over an encrypted connection, and that was not possible.",
            "Please contact your administrator. The message was not sent unencrypted.",
        ),
        (7, _) => (
            "The recipient's mail server rejected the message because of its rules, for example against spam.",
            "Its answer below may give the reason. If it mentions your mail server, contact your administrator.",
        ),
        _ => ("", ""),
    };
    if !by_code.0.is_empty() {
        return by_code;
    }
    match (verdict.outcome, verdict.class) {
        (Outcome::Expired, _) => (
            "The message could not be delivered in time.",
            "Send it again later, or contact the recipient in another way.",
        ),
        (_, Class::Recipient) if verdict.reply.is_permanent() => (
            "The recipient's mail server rejected this address.",
            "Check the address. The server's answer below may say more.",
        ),
        (_, Class::Host | Class::Dns) => (
            "The recipient's mail server could not be reached.",
            "Your message is fine. Send it again later.",
        ),
        (_, Class::Recipient | Class::Message | Class::Policy) if verdict.reply.is_permanent() => (
            "The recipient's mail server rejected the message.",
            "Its answer below may give the reason.",
        ),
        (_, Class::Recipient | Class::Message | Class::Policy) => (
            "The recipient's mail server did not accept the message at any attempt, and asked to try again later.",
            "Send it again later, or contact the recipient in another way.",
        ),
    }
}
