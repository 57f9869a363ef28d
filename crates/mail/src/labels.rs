//! What a message is called and labelled: for lists and searches, never for delivery.

use std::collections::BTreeMap;

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

    /// Whether its submitter gave it none.
    #[must_use]
    pub fn has_none_given(&self) -> bool {
        self.tags.is_empty() && self.metadata.is_empty()
    }
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
