//! Tags and metadata that a submitter gives in the header: `X-Sendoff-Tag` and `X-Sendoff-Meta-NAME`.
//!
//! The fields are taken out of every mail, whoever sent it. From those who may submit they are what the mail is
//! labelled with. From anybody else they mean nothing, and if they stayed in a mail that a program here sends on,
//! such as a forwarder, they would be read as that program's own.

use bytes::Bytes;
use mail::{EnhancedCode, Header, Headers, LabelError, Labels, Reply};
use mail_parser::parsers::MessageStream;

use crate::Rights;

/// What the names of all these fields begin with.
const PREFIX: &[u8] = b"X-Sendoff-";
const TAG: &[u8] = b"Tag";
const META: &[u8] = b"Meta-";

/// What a field is for.
enum Meaning<'a> {
    Tags,
    /// This name's value.
    Metadata(&'a [u8]),
}

fn meaning<'a>(field: &Header<'a>) -> Option<Meaning<'a>> {
    let (prefix, rest) = field.name.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    if rest.eq_ignore_ascii_case(TAG) {
        return Some(Meaning::Tags);
    }
    let (meta, name) = rest.split_at_checked(META.len())?;
    meta.eq_ignore_ascii_case(META)
        .then_some(Meaning::Metadata(name))
}

/// Whether a field labels its mail.
pub(crate) fn is_label(field: &Header<'_>) -> bool {
    meaning(field).is_some()
}

/// Takes these fields out of a content, and adds what they say to `labels` where its submitter may label.
///
/// # Errors
/// What is wrong in one of them: a mail that its submitter would not find again is refused, as by HTTP.
pub(crate) fn take(content: &Bytes, rights: &Rights, labels: &mut Labels) -> Result<Bytes, Reply> {
    let mut out = Vec::with_capacity(content.len());
    let mut fields = Headers::new(content);
    for field in fields.by_ref() {
        let Some(meaning) = meaning(&field) else {
            out.extend_from_slice(field.raw);
            continue;
        };
        if *rights == Rights::None {
            continue;
        }
        let added = match meaning {
            Meaning::Tags => add_tags(labels, &text(field.value)),
            Meaning::Metadata(name) => {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                labels.add_metadata(&name, &text(field.value))
            }
        };
        added.map_err(|why| refusal(&field, &why))?;
    }
    let behind = content.len() - fields.left();
    out.extend_from_slice(content.get(behind..).unwrap_or_default());
    Ok(out.into())
}

fn add_tags(labels: &mut Labels, list: &str) -> Result<(), LabelError> {
    let tags = list.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty())
        .try_for_each(|tag| labels.add_tag(tag))
}

/// A field's value without its folds, its encoded words decoded (RFC 2047): programs that follow the standards write
/// nothing but ASCII.
fn text(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if text.contains("=?") {
        let line = format!("{text}\r\n");
        let mut stream = MessageStream::new(line.as_bytes());
        return stream.parse_unstructured().unwrap_text().into_owned();
    }
    match text.contains(['\r', '\n']) {
        true => text.replace("\r\n", ""),
        false => text.into_owned(),
    }
}

fn refusal(field: &Header<'_>, why: &LabelError) -> Reply {
    let name = String::from_utf8_lossy(field.name);
    let name: String = name.chars().take(80).collect();
    let text = format!("The header field {name} is not accepted: {why}");
    Reply::new(554, Some(EnhancedCode::new(5, 6, 0)), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "Received: x\r\nX-Sendoff-Tag: news,\r\n weekly ,\r\nSubject: s\r\n\
        x-sendoff-meta-Order-Id: 7\r\nX-Sendoff-TAG: news\r\nX-Sendoff-Tags: stays\r\n\r\nX-Sendoff-Tag: body\r\n";

    fn taken(mail: &str, rights: &Rights) -> Result<(String, Labels), Reply> {
        let mut labels = Labels::default();
        let content = take(&Bytes::from(mail.to_owned()), rights, &mut labels)?;
        Ok((String::from_utf8_lossy(&content).into_owned(), labels))
    }

    #[test]
    fn the_fields_of_a_submitter_label_its_mail_and_do_not_go_out() {
        let (left, labels) = taken(MAIL, &Rights::Any).unwrap();
        assert_eq!(
            left,
            "Received: x\r\nSubject: s\r\nX-Sendoff-Tags: stays\r\n\r\nX-Sendoff-Tag: body\r\n"
        );
        assert_eq!(labels.tags, ["news", "weekly"]);
        assert_eq!(labels.metadata.get("order-id").unwrap(), "7");
    }

    #[test]
    fn encoded_words_are_decoded_and_cannot_smuggle_a_line() {
        let mail = "X-Sendoff-Meta-Name: =?utf-8?q?M=C3=BCller?= =?utf-8?b?IMOc?=\r\n\
            X-Sendoff-Tag: =?iso-8859-1?q?gr=FCn=2C_rot?=,\r\n =?utf-8?q?blau?=\r\n\
            X-Sendoff-Meta-Other: 2 =? 3\r\n\r\n";
        let (_, labels) = taken(mail, &Rights::Any).unwrap();
        assert_eq!(labels.metadata.get("name").unwrap(), "M\u{fc}ller \u{dc}");
        assert_eq!(labels.metadata.get("other").unwrap(), "2 =? 3");
        assert_eq!(labels.tags, ["gr\u{fc}n", "rot", "blau"]);
        let mail = "X-Sendoff-Meta-A: =?utf-8?q?a=0D=0ABcc:_x?=\r\n\r\n";
        let refused = taken(mail, &Rights::Any).unwrap_err();
        assert!(
            refused.text.contains("control characters"),
            "{}",
            refused.text
        );
    }

    #[test]
    fn the_fields_of_a_stranger_are_taken_out_and_mean_nothing() {
        let (left, labels) = taken(MAIL, &Rights::None).unwrap();
        assert!(!left.contains("X-Sendoff-Tag: news"), "{left}");
        assert_eq!(labels, Labels::default());
        let bad = format!("X-Sendoff-Tag: {}\r\n\r\n", "x".repeat(300));
        assert!(taken(&bad, &Rights::None).is_ok(), "{bad}");
    }

    #[test]
    fn a_field_that_cannot_be_kept_is_refused_by_its_name() {
        let long = "x".repeat(300);
        for (field, why) in [
            (
                format!("X-Sendoff-Tag: {long}"),
                "a tag must have 1 to 256 octets",
            ),
            (
                format!("X-Sendoff-Meta-A: {long}"),
                "metadata `a` can have at most 256",
            ),
            (
                "X-Sendoff-Meta-: v".to_owned(),
                "cannot be a name of metadata",
            ),
            (
                "X-Sendoff-Meta-A: v\r\nX-Sendoff-Meta-a: w".to_owned(),
                "given twice",
            ),
        ] {
            let refused = taken(&format!("{field}\r\n\r\n"), &Rights::Any).unwrap_err();
            assert_eq!(refused.code, 554);
            assert!(refused.text.contains(why), "{}", refused.text);
        }
    }
}
