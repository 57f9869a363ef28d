//! Lines of more than 998 octets (RFC 5322 §2.1.1): what of a mail stays as it is though it has some, and which
//! refusals are about them.

use mail::Reply;

use super::parameters::ContentType;

/// Whether an entity is left alone: a message within, what is signed or encrypted as a part, and what
/// cannot be taken apart.
pub(super) fn stays(kind: &ContentType, encoding: &str) -> bool {
    match kind.main.as_str() {
        "message" => true,
        "multipart" => {
            matches!(kind.sub.as_str(), "signed" | "encrypted")
                || kind.boundary.as_ref().is_none_or(Vec::is_empty)
        }
        _ => !matches!(
            encoding,
            "" | "7bit" | "8bit" | "binary" | "quoted-printable" | "base64"
        ),
    }
}

/// Whether a final refusal is about the length of lines: `550 maximum allowed line length is 998 octets`
/// (Exim), `554 5.6.0 Lines in message were longer than user-supplied maximum`, `500 Line too long`.
#[must_use]
pub fn is_about_line_length(reply: &Reply) -> bool {
    if !reply.is_permanent() {
        return false;
    }
    let text = reply.text.to_ascii_lowercase();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let of_lines = words.any(|word| matches!(word, "line" | "lines" | "linelength"));
    let length = [
        "length", "long", "limit", "exceed", "maximum", "998", "1000",
    ];
    of_lines && length.iter().any(|word| text.contains(word))
}
