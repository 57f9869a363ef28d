//! What a host can take: size, 8-bit content, addresses outside ASCII.
//!
//! Content is converted before (`convert`); what a host cannot take even so is refused here with the
//! right code and never sent raw (RFC 1870 §6.1, RFC 6152 §3, RFC 6531 §3.2).

use std::time::Duration;

use mail::{Address, BodyType, ByMode, EnhancedCode, Reply};
use smtp::extension::{Extension, Extensions};

use crate::convert::takes_binary;
use crate::protocol::Protocol;
use crate::transaction::Transaction;

/// Why the whole transaction cannot be given to a host with these extensions.
pub(crate) fn refusal(
    transaction: &Transaction,
    host: &Extensions,
    protocol: Protocol,
) -> Option<Reply> {
    let own = |detail: (u16, u16), text: String| {
        Some(Reply::own(EnhancedCode::new(5, detail.0, detail.1), text))
    };
    if transaction.require_tls && !host.has(Extension::RequireTls) {
        let text = "the message requires TLS on its entire way (REQUIRETLS), which the host does not support";
        return own((7, 30), text.to_owned());
    }
    if let Some(by) = transaction
        .deliver_by
        .filter(|by| by.mode == ByMode::Return)
        && host.has(Extension::DeliverBy)
        && !promises(host, Duration::from_secs(by.seconds.unsigned_abs()))
    {
        let least = host.deliver_by_min_secs.unwrap_or_default();
        let text = format!(
            "the message must be delivered within {} s, but the host requires at least {least} s (DELIVERBY)",
            by.seconds
        );
        return own((4, 7), text);
    }
    let size = transaction.content.len();
    if let Some(limit) = host.size_limit()
        && size as u64 > limit
    {
        let text =
            format!("the message has {size} octets, but the host accepts at most {limit} (SIZE)");
        return own((3, 4), text);
    }
    if transaction.body == BodyType::BinaryMime && !takes_binary(host) {
        let text = "the message has a binary body, which the host does not accept (no BINARYMIME)";
        return own((6, 3), with_obstacle(transaction, text));
    }
    if !protocol.needs_extensions() {
        return None;
    }
    if transaction.body == BodyType::EightBitMime && !host.has(Extension::EightBitMime) {
        let text = "the message has 8-bit content, which the host does not accept (no 8BITMIME)";
        return own((6, 3), with_obstacle(transaction, text));
    }
    let utf8 = host.has(Extension::SmtpUtf8);
    if transaction.utf8_header && !utf8 {
        let text = "the message has a header with non-ASCII characters, which the host does not accept (no \
                    SMTPUTF8)";
        return own((6, 7), with_obstacle(transaction, text));
    }
    let sender = transaction.reverse_path.as_ref();
    if !utf8 && sender.is_some_and(|a| a.to_ascii().is_none()) {
        let text = "the sender's address has non-ASCII characters, which the host does not accept (no SMTPUTF8)";
        return own((6, 7), text.to_owned());
    }
    None
}

/// Whether a host takes a mail that is to be delivered within a time: it offers DELIVERBY, and no longer time
/// than this is its least (RFC 2852 §4).
#[must_use]
pub fn promises(host: &Extensions, within: Duration) -> bool {
    let least = host.deliver_by_min_secs.unwrap_or_default();
    host.has(Extension::DeliverBy) && within.as_secs() >= least
}

fn with_obstacle(transaction: &Transaction, text: &str) -> String {
    match &transaction.conversion {
        Some(Err(obstacle)) => format!("{text}, and it cannot be converted: {obstacle}"),
        Some(Ok(_)) | None => text.to_owned(),
    }
}

/// The address in the form that the host understands.
///
/// # Errors
/// The refusal, when it has no such form.
pub(crate) fn address(
    address: &Address,
    host: &Extensions,
    protocol: Protocol,
) -> Result<Address, Reply> {
    let may_be_utf8 = host.has(Extension::SmtpUtf8) || !protocol.needs_extensions();
    if address.is_ascii() || may_be_utf8 {
        return Ok(address.clone());
    }
    address.to_ascii().ok_or_else(|| {
        let text = "the recipient's address has non-ASCII characters, which the host does not accept (no SMTPUTF8)";
        Reply::own(EnhancedCode::new(5, 6, 7), text)
    })
}
