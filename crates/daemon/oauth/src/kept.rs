//! What is kept of tokens: a file that its owner alone reads, replaced as a whole.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mail::Timestamp;
use serde::{Deserialize, Serialize};

use super::flows::Got;

/// The file.
pub fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("relay-token.json")
}

/// What is known of the token of a relay.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Kept {
    /// Whom and what it is for.
    pub subject: String,
    /// The token, where there is one.
    pub access: Option<Access>,
    /// By this the next one is got (RFC 6749 §1.5).
    pub refresh: Option<String>,
    /// The last refusal, of the token or by the relay.
    pub refused: Option<Refused>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// A token that mail is sent by.
#[derive(Clone, Serialize, Deserialize)]
pub struct Access {
    /// The login's secret.
    pub token: String,
    /// When it was given out, in milliseconds since 1970.
    obtained: u64,
    /// How long it holds, in milliseconds.
    life: u64,
}

impl Access {
    /// When it was got.
    pub fn obtained(&self) -> Timestamp {
        Timestamp::from_millis(self.obtained)
    }

    /// Until when it holds.
    pub fn expires(&self) -> Timestamp {
        self.obtained() + Duration::from_millis(self.life)
    }

    /// When the next is asked for: four fifths of its life are over.
    pub fn renewed_at(&self) -> Timestamp {
        self.obtained() + Duration::from_millis(self.life / 5 * 4)
    }
}

/// A refusal, in words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refused {
    at: u64,
    /// In the provider's words, or ours.
    pub why: String,
}

impl Refused {
    /// A refusal at this time.
    pub fn new(at: Timestamp, why: &str) -> Self {
        Self {
            at: at.as_millis(),
            why: why.to_owned(),
        }
    }

    /// When it was refused.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }
}

impl Kept {
    /// What the file says of this subject; nothing, where it is of another, or none.
    pub fn read(file: &Path, subject: &str) -> Self {
        let text = std::fs::read(file).ok();
        let kept = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        let fitting = kept.filter(|kept| kept.subject == subject);
        fitting.unwrap_or_else(|| Self {
            subject: subject.to_owned(),
            ..Self::default()
        })
    }

    /// Takes what was given out. A refresh token stays until there is another (RFC 6749 §6).
    pub fn take(&mut self, got: Got, now: Timestamp) {
        self.access = Some(Access {
            token: got.access,
            obtained: now.as_millis(),
            life: u64::try_from(got.life.as_millis()).unwrap_or(u64::MAX),
        });
        self.refresh = got.refresh.or_else(|| self.refresh.take());
    }

    /// Replaces the file.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        net::write_private(file, serde_json::to_string(self)?)
    }
}
