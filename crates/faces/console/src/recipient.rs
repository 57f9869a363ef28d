//! What became of a recipient of a submitted mail.

use intake::Refusal;
use mail::Address;
use serde::Serialize;
use utoipa::ToSchema;

/// The result for a recipient.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RecipientResult {
    /// The address.
    address: String,
    /// Whether the mail is in the queue for it.
    accepted: bool,
    /// The code that refuses it, as SMTP has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    /// Why it is refused, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Why it is refused, for programs: `suppressed`, `bad-address`, `no-mailboxes`, `too-many`, … or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    refusal: Option<&'static str>,
}

impl RecipientResult {
    pub(crate) fn new(address: &Address, result: &Result<(), Refusal>) -> Self {
        let refused = result.as_ref().err();
        Self::of(address, refused)
    }

    pub(crate) fn of(address: &Address, refused: Option<&Refusal>) -> Self {
        Self {
            address: address.to_string(),
            accepted: refused.is_none(),
            code: refused.map(|r| r.reply.code),
            reason: refused.map(|r| r.text().to_owned()),
            refusal: refused.map(|r| r.reason.word()),
        }
    }
}
