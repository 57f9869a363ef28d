//! What a message is called and labelled: for lists and searches, never for delivery.

use std::collections::BTreeMap;

use crate::QueueId;
use crate::header::Headers;

/// What is known of a message besides its envelope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// The Message-ID field's value, with its angle brackets (RFC 5322 §3.6.4), up to
    /// [`Labels::MESSAGE_ID_MAX`] octets.
    pub message_id: Option<String>,
    /// The Subject field's value, unfolded and not decoded, cut to [`Labels::SUBJECT_MAX`] octets.
    pub subject: Option<String>,
    /// Words by which its submitter counts and finds it.
    pub tags: Vec<String>,
    /// Names and values that its submitter gave it.
    pub metadata: BTreeMap<String, String>,
    /// The message that it reports on, where it is a report of ours (DSN).
    pub report_of: Option<QueueId>,
}

impl Labels {
    /// A longer Message-ID is none: a line holds no more.
    pub const MESSAGE_ID_MAX: usize = 996;
    /// Octets of a subject that are kept.
    pub const SUBJECT_MAX: usize = 512;
    /// Tags of one message; more are left out.
    pub const TAGS_MAX: usize = 32;
    /// Entries of metadata of one message; more are left out.
    pub const METADATA_MAX: usize = 32;
    /// Octets of a tag, of a name and of a value; longer ones are cut.
    pub const WORD_MAX: usize = 256;
    /// Octets of the name of an entry that a submitter gives.
    pub const NAME_MAX: usize = 64;

    /// What the header of a content says.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut labels = Self::default();
        for field in Headers::new(content) {
            if labels.message_id.is_none() && field.is("Message-ID") {
                let id = unfolded(field.value);
                labels.message_id =
                    Some(id).filter(|id| !id.is_empty() && id.len() <= Self::MESSAGE_ID_MAX);
            } else if labels.subject.is_none() && field.is("Subject") {
                let mut subject = unfolded(field.value);
                cut(&mut subject, Self::SUBJECT_MAX);
                labels.subject = Some(subject);
            }
            if labels.message_id.is_some() && labels.subject.is_some() {
                break;
            }
        }
        labels
    }

    /// Keeps the bounds that are said with each field.
    pub fn bound(&mut self) {
        if let Some(subject) = &mut self.subject {
            cut(subject, Self::SUBJECT_MAX);
        }
        self.message_id
            .take_if(|id| id.len() > Self::MESSAGE_ID_MAX);
        self.tags.truncate(Self::TAGS_MAX);
        self.tags
            .iter_mut()
            .for_each(|tag| cut(tag, Self::WORD_MAX));
        if self.metadata.len() > Self::METADATA_MAX
            || self
                .metadata
                .iter()
                .any(|(name, value)| name.len().max(value.len()) > Self::WORD_MAX)
        {
            let all = std::mem::take(&mut self.metadata).into_iter();
            self.metadata = all
                .take(Self::METADATA_MAX)
                .map(|(mut name, mut value)| {
                    cut(&mut name, Self::WORD_MAX);
                    cut(&mut value, Self::WORD_MAX);
                    (name, value)
                })
                .collect();
        }
    }

    /// Adds a tag that a submitter gives, unless the message has it already.
    ///
    /// # Errors
    /// What is wrong with it; nothing is added.
    pub fn add_tag(&mut self, tag: &str) -> Result<(), LabelError> {
        let tag = tag.trim();
        if !(1..=Self::WORD_MAX).contains(&tag.len())
            || tag.contains(|c: char| c == ',' || c.is_control())
        {
            return Err(LabelError::Tag);
        }
        if self.tags.iter().any(|known| known == tag) {
            return Ok(());
        }
        if self.tags.len() == Self::TAGS_MAX {
            return Err(LabelError::Tags);
        }
        self.tags.push(tag.to_owned());
        Ok(())
    }

    /// Adds an entry of metadata that a submitter gives. One name stands for one value, whatever its case.
    ///
    /// # Errors
    /// What is wrong with it; nothing is added.
    pub fn add_metadata(&mut self, name: &str, value: &str) -> Result<(), LabelError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !(1..=Self::NAME_MAX).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(LabelError::Name(shown(name)));
        }
        let value = value.trim();
        if value.len() > Self::WORD_MAX || value.contains(char::is_control) {
            return Err(LabelError::Value(name.to_owned()));
        }
        if self.metadata.keys().any(|n| n.eq_ignore_ascii_case(name)) {
            return Err(LabelError::Twice(name.to_owned()));
        }
        if self.metadata.len() == Self::METADATA_MAX {
            return Err(LabelError::Entries);
        }
        self.metadata.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Whether it has this tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }

    /// Whether its metadata has this value under this name, whatever the name's case.
    #[must_use]
    pub fn has_metadata(&self, name: &str, value: &str) -> bool {
        let mut entries = self.metadata.iter();
        entries.any(|(own, is)| own.eq_ignore_ascii_case(name) && is == value)
    }

    /// Whether all of it stands in its content.
    #[must_use]
    pub fn has_none_given(&self) -> bool {
        self.tags.is_empty() && self.metadata.is_empty() && self.report_of.is_none()
    }
}

/// Why a tag or an entry of metadata is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// A tag that cannot be one.
    #[error(
        "a tag must have 1 to {max} octets, without commas and control characters",
        max = Labels::WORD_MAX
    )]
    Tag,
    /// Too many tags.
    #[error("a message can have at most {max} tags", max = Labels::TAGS_MAX)]
    Tags,
    /// A name that cannot be one.
    #[error(
        "`{0}` cannot be a name of metadata: a name must have 1 to {max} ASCII letters, digits and - _ .",
        max = Labels::NAME_MAX
    )]
    Name(String),
    /// A value that cannot be one.
    #[error(
        "the value of metadata `{0}` can have at most {max} octets, without control characters",
        max = Labels::WORD_MAX
    )]
    Value(String),
    /// The same name again.
    #[error("metadata `{0}` is given twice: upper and lower case do not make different names")]
    Twice(String),
    /// Too many entries.
    #[error("a message can have at most {max} entries of metadata", max = Labels::METADATA_MAX)]
    Entries,
}

/// A text of a stranger, as far as an error repeats it.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    start.escape_debug().to_string()
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
}

/// A field's value on one line.
fn unfolded(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value.trim_ascii());
    match text.contains(['\r', '\n']) {
        true => text.replace("\r\n", "").replace(['\r', '\n'], ""),
        false => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_a_message_is_called() {
        let content = b"Received: x\r\nsubject: a\r\n folded one\r\nMESSAGE-ID: <1@a.example>\r\n\r\nSubject: no\r\n";
        let labels = Labels::of(content);
        assert_eq!(labels.message_id.as_deref(), Some("<1@a.example>"));
        assert_eq!(labels.subject.as_deref(), Some("a folded one"));
        assert_eq!(Labels::of(b"\r\nSubject: body\r\n"), Labels::default());
        let long = format!(
            "Subject: {}\r\nMessage-ID: <{}>\r\n\r\n",
            "\u{fc}".repeat(400),
            "x".repeat(2000)
        );
        let labels = Labels::of(long.as_bytes());
        assert_eq!(labels.subject.map(|s| s.len()), Some(512));
        assert_eq!(labels.message_id, None);
    }

    #[test]
    fn a_submitter_s_tags_and_metadata_are_checked_one_by_one() {
        let mut labels = Labels::default();
        labels.add_tag(" news ").unwrap();
        labels.add_tag("news").unwrap();
        assert_eq!(labels.tags, ["news"]);
        for bad in ["", " ", "a,b", "a\nb", &"x".repeat(257)] {
            assert_eq!(labels.add_tag(bad), Err(LabelError::Tag), "{bad:?}");
        }
        for n in 1..Labels::TAGS_MAX {
            labels.add_tag(&n.to_string()).unwrap();
        }
        assert_eq!(labels.add_tag("one more"), Err(LabelError::Tags));
        labels.add_metadata("Order", " 7 ").unwrap();
        assert!(labels.has_metadata("order", "7") && !labels.has_metadata("order", "8"));
        let twice = labels.add_metadata("order", "8").unwrap_err();
        assert!(twice.to_string().contains("`order` is given twice"));
        for bad in ["", "a b", "a=b", "\u{fc}", &"x".repeat(65)] {
            let error = labels.add_metadata(bad, "v").unwrap_err();
            assert!(matches!(error, LabelError::Name(_)), "{bad:?}");
        }
        for bad in ["a\r\nBcc: x", &"x".repeat(257)] {
            let error = labels.add_metadata("name", bad).unwrap_err();
            assert_eq!(error, LabelError::Value("name".to_owned()));
        }
    }

    #[test]
    fn what_is_given_keeps_its_bounds() {
        let mut labels = Labels {
            tags: vec!["t".repeat(1000); 100],
            metadata: (0..100)
                .map(|n| (n.to_string(), "v".repeat(1000)))
                .collect(),
            ..Labels::default()
        };
        labels.bound();
        assert_eq!((labels.tags.len(), labels.metadata.len()), (32, 32));
        assert!(
            labels
                .tags
                .iter()
                .chain(labels.metadata.values())
                .all(|t| t.len() == 256)
        );
    }
}
