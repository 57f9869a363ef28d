//! What `check` has found, in words and as JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::ConfigError;
use config::judged::Spot;
use doubts::Doubt;
use serde::Serialize;

/// Words that a piece of advice begins with.
const ADVICE: [&str; 33] = [
    "add",
    "change",
    "check",
    "chmod",
    "chown",
    "declare",
    "free",
    "get",
    "give",
    "install",
    "leave",
    "let",
    "list",
    "make",
    "name",
    "open",
    "put",
    "remove",
    "renew",
    "run",
    "say",
    "set",
    "start",
    "stop",
    "take",
    "try",
    "use",
    "wait",
    "write",
    "declare",
    "`systemctl",
    "choose",
    "did",
];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// The server does not start, or refuses to reload.
    Error,
    /// The server starts, and something will hurt.
    Warning,
    /// A proposal.
    Note,
}

impl Severity {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// The file that it is in; the configuration's where it is about a key that is set nowhere.
    pub(super) file: String,
    /// Where it is in the file, from 1.
    pub(super) line: Option<usize>,
    /// The whole name of the key.
    pub(super) key: Option<String>,
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) remedy: Option<String>,
    /// The whole sentence, for people.
    #[serde(skip)]
    text: String,
}

/// Where findings belong: a file and the lines of its keys.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) lines: BTreeMap<String, Spot>,
}

impl Source {
    pub(super) fn error(&self, error: &ConfigError) -> Finding {
        match error {
            ConfigError::Read { path, why } => {
                let text = format!("it cannot be read: {why}");
                Finding::new(Severity::Error, path, None, None, &text)
            }
            ConfigError::Wrong {
                path,
                line,
                key,
                message,
                ..
            } => Finding::new(Severity::Error, path, Some(*line), key.as_deref(), message),
        }
    }

    /// Something about a key, or about the one that the sentence names.
    pub(super) fn finding(&self, severity: Severity, key: Option<&str>, text: &str) -> Finding {
        let key = key.map(str::to_owned).or_else(|| self.named(text));
        let spot = key.as_ref().and_then(|key| {
            let of_value = self.of_value(key, text);
            of_value.or_else(|| self.lines.get(key))
        });
        let path = spot.map_or(&self.path, |spot| &spot.path);
        let line = spot.map(|spot| spot.line);
        Finding::new(severity, path, line, key.as_deref(), text)
    }

    /// Where the key has a value that the sentence names: of several sections, the one that is meant.
    fn of_value(&self, key: &str, text: &str) -> Option<&Spot> {
        let beginning = format!("{key}=");
        let values = self.lines.range(beginning.clone()..);
        let values = values.map_while(|(name, spot)| Some((name.strip_prefix(&beginning)?, spot)));
        let named = values.filter(|(value, _)| !value.is_empty() && text.contains(value));
        named
            .max_by_key(|(value, _)| value.len())
            .map(|(_, spot)| spot)
    }

    pub(super) fn doubt(&self, severity: Severity, doubt: &Doubt) -> Finding {
        self.finding(severity, doubt.key, &doubt.what)
    }

    /// The first key that a sentence names: one of a section, or one that is set.
    fn named(&self, text: &str) -> Option<String> {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.'));
        let is_key = |word: &str| {
            let section = word.split_once('.').map(|(section, _)| section);
            self.lines.contains_key(word)
                && (section.is_some() || word == "hostname" || word == "postmaster")
        };
        words
            .find(|word| is_key(word.trim_matches('.')))
            .map(|word| word.trim_matches('.').to_owned())
    }
}

impl Finding {
    fn new(
        severity: Severity,
        file: &Path,
        line: Option<usize>,
        key: Option<&str>,
        text: &str,
    ) -> Self {
        let text = text.trim_end_matches('.');
        let without_key = key.and_then(|key| text.strip_prefix(key)?.strip_prefix(": "));
        let (message, remedy) = split(without_key.unwrap_or(text));
        Self {
            severity,
            file: file.display().to_string(),
            line,
            key: key.map(str::to_owned),
            message: message.to_owned(),
            remedy: remedy.map(str::to_owned),
            text: text.to_owned(),
        }
    }

    /// As people read it: `error: FILE:LINE: KEY: what is wrong: what to do.`
    pub(super) fn text(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let key = match &self.key {
            Some(key) if !self.text.contains(key) && !self.text.starts_with("unknown key") => {
                format!("{key}: ")
            }
            Some(_) | None => String::new(),
        };
        let word = self.severity.word();
        format!("{word}: {}{line}: {key}{}.\n", self.file, self.text)
    }
}

/// Parts a sentence into what is wrong and what to do.
fn split(text: &str) -> (&str, Option<&str>) {
    let ends = text.match_indices([':', ';', '.']);
    for (at, _) in ends {
        let rest = text.get(at + 1..).unwrap_or_default();
        let Some(advice) = rest.strip_prefix(' ') else {
            continue;
        };
        let first = advice.split([' ', '`']).next().unwrap_or_default();
        let quoted = advice.split(' ').next().unwrap_or_default();
        let is_advice = |word: &str| ADVICE.contains(&word.to_ascii_lowercase().as_str());
        if is_advice(first) || is_advice(quoted) {
            return (text.get(..at).unwrap_or(text), Some(advice));
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_parted_into_what_is_wrong_and_what_to_do() {
        for (text, wrong, remedy) in [
            (
                "`5x` is not a size: write a number and a unit, such as \"50MB\"",
                "`5x` is not a size",
                Some("write a number and a unit, such as \"50MB\""),
            ),
            (
                "/x cannot be read: Permission denied (os error 13)",
                "/x cannot be read: Permission denied (os error 13)",
                None,
            ),
            (
                "unknown key `hostnam`. Did you mean `hostname`? Possible: `user`",
                "unknown key `hostnam`",
                Some("Did you mean `hostname`? Possible: `user`"),
            ),
        ] {
            assert_eq!(split(text), (wrong, remedy));
        }
    }

    #[test]
    fn a_warning_has_the_line_of_the_key_that_it_names() {
        let at = |path: &str, line| Spot {
            path: path.into(),
            line,
        };
        let lines = [
            ("outgoing.relay.tls".to_owned(), at("c.toml", 7)),
            ("listener.address".to_owned(), at("c.toml", 10)),
            ("listener.address=127.0.0.1:25".to_owned(), at("c.toml", 10)),
            (
                "listener.address=127.0.0.1:2525".to_owned(),
                at("c.toml", 20),
            ),
            ("user".to_owned(), at("c.toml", 1)),
        ];
        let source = Source {
            path: "c.toml".into(),
            lines: lines.into_iter().collect(),
        };
        let text = "the user may not know outgoing.relay.tls = \"require\": set it";
        let found = source.finding(Severity::Warning, None, text);
        assert_eq!(found.line, Some(7));
        assert_eq!(found.text(), format!("warning: c.toml:7: {text}.\n"));
        for (text, line) in [
            ("another program listens at 127.0.0.1:2525: stop it", 20),
            ("another program listens at 127.0.0.1:25: stop it", 10),
            ("the networks of it are too wide", 10),
        ] {
            let found = source.finding(Severity::Error, Some("listener.address"), text);
            assert_eq!(found.line, Some(line), "{text}");
        }
        let about = source.finding(Severity::Error, Some("data_dir"), "it is gone");
        assert_eq!(about.text(), "error: c.toml: data_dir: it is gone.\n");
    }
}
