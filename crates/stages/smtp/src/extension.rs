//! The extensions that a server offers in its answer to EHLO (RFC 5321 §4.1.1.1).

use std::fmt;

use mail::{Reply, Timestamp};

/// One extension of SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// Commands may be sent without waiting for replies (RFC 2920).
    Pipelining,
    /// Sizes are declared (RFC 1870).
    Size,
    /// Content with the high bit set (RFC 6152).
    EightBitMime,
    /// Addresses and headers outside ASCII (RFC 6531).
    SmtpUtf8,
    /// Replies carry enhanced status codes (RFC 2034).
    EnhancedStatusCodes,
    /// BDAT (RFC 3030).
    Chunking,
    /// Content that is not made of lines (RFC 3030).
    BinaryMime,
    /// Delivery status notifications on request (RFC 3461).
    Dsn,
    /// TLS in mid-session (RFC 3207).
    StartTls,
    /// Logging in (RFC 4954).
    Auth,
    /// The server states its limits (RFC 9422).
    Limits,
    /// Delivery by a time (RFC 2852).
    DeliverBy,
    /// Priorities (RFC 6710).
    MtPriority,
    /// Delivery not before a time (RFC 4865).
    FutureRelease,
    /// Onward delivery only over TLS (RFC 8689).
    RequireTls,
}

impl Extension {
    /// Every extension that is known here, in the order in which they are written.
    pub const ALL: [Self; 15] = [
        Self::Pipelining,
        Self::Size,
        Self::Limits,
        Self::EightBitMime,
        Self::SmtpUtf8,
        Self::EnhancedStatusCodes,
        Self::Chunking,
        Self::BinaryMime,
        Self::Dsn,
        Self::RequireTls,
        Self::StartTls,
        Self::Auth,
        Self::DeliverBy,
        Self::MtPriority,
        Self::FutureRelease,
    ];

    /// The keyword in the answer to EHLO.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Pipelining => "PIPELINING",
            Self::Size => "SIZE",
            Self::EightBitMime => "8BITMIME",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Chunking => "CHUNKING",
            Self::BinaryMime => "BINARYMIME",
            Self::Dsn => "DSN",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Limits => "LIMITS",
            Self::DeliverBy => "DELIVERBY",
            Self::MtPriority => "MT-PRIORITY",
            Self::FutureRelease => "FUTURERELEASE",
            Self::RequireTls => "REQUIRETLS",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// What LIMITS says (RFC 9422 §4); a limit that is not stated is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// RCPTMAX: RCPT commands in one transaction.
    pub recipients_max: Option<u32>,
    /// MAILMAX: transactions in one session.
    pub mails_max: Option<u32>,
    /// RCPTDOMAINMAX: different domains among the recipients of one transaction.
    pub recipient_domains_max: Option<u32>,
}

/// The extensions of one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    offered: u16,
    /// The largest message in octets that SIZE declares; `Some(0)` says that there is no fixed
    /// limit, `None` that none was declared.
    pub size: Option<u64>,
    /// The mechanisms of AUTH in upper case, in the server's order.
    pub auth: Vec<String>,
    /// LIMITS.
    pub limits: Limits,
    /// The shortest time in seconds that DELIVERBY accepts, where stated.
    pub deliver_by_min_secs: Option<u64>,
    /// The name of the priority profile after MT-PRIORITY, where stated.
    pub priority_profile: Option<String>,
    /// The longest hold in seconds that FUTURERELEASE accepts, where stated.
    pub future_release_max_secs: Option<u64>,
    /// The latest time that FUTURERELEASE accepts, where stated.
    pub future_release_until: Option<Timestamp>,
}

impl Extensions {
    /// No extension at all: what a server that knows only HELO offers.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the positive answer to EHLO. The first line is the server's greeting; keywords that
    /// are not known are passed over.
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut found = Self::default();
        for line in reply.text.split('\n').skip(1) {
            // Some servers still write the form of an early draft as well: `AUTH=LOGIN PLAIN`.
            let line = match line.get(..5) {
                Some(tag) if tag.eq_ignore_ascii_case("AUTH=") => &line.replacen('=', " ", 1),
                _ => line,
            };
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else {
                continue;
            };
            let known = Extension::ALL
                .into_iter()
                .find(|e| e.keyword().eq_ignore_ascii_case(keyword));
            if let Some(extension) = known {
                found.offered |= extension.bit();
                found.take_parameters(extension, words);
            }
        }
        found
    }

    fn take_parameters<'a>(
        &mut self,
        extension: Extension,
        mut words: impl Iterator<Item = &'a str>,
    ) {
        let number = |word: Option<&str>| word.and_then(|w| w.parse::<u64>().ok());
        match extension {
            Extension::Size => self.size = number(words.next()),
            Extension::DeliverBy => self.deliver_by_min_secs = number(words.next()),
            Extension::FutureRelease => {
                self.future_release_max_secs = number(words.next());
                self.future_release_until = words.next().and_then(Timestamp::parse_rfc3339);
            }
            Extension::MtPriority => self.priority_profile = words.next().map(str::to_owned),
            Extension::Auth => {
                for mechanism in words.map(str::to_ascii_uppercase) {
                    if !self.auth.contains(&mechanism) {
                        self.auth.push(mechanism);
                    }
                }
            }
            Extension::Limits => words.for_each(|word| self.limits.take(word)),
            Extension::Pipelining
            | Extension::EightBitMime
            | Extension::SmtpUtf8
            | Extension::EnhancedStatusCodes
            | Extension::Chunking
            | Extension::BinaryMime
            | Extension::Dsn
            | Extension::StartTls
            | Extension::RequireTls => {}
        }
    }

    /// Whether the extension is offered.
    #[must_use]
    pub const fn has(&self, extension: Extension) -> bool {
        self.offered & extension.bit() != 0
    }

    /// These extensions and one more.
    #[must_use]
    pub const fn with(mut self, extension: Extension) -> Self {
        self.offered |= extension.bit();
        self
    }

    /// These extensions but one.
    #[must_use]
    pub const fn without(mut self, extension: Extension) -> Self {
        self.offered &= !extension.bit();
        self
    }

    /// Whether AUTH offers this mechanism.
    #[must_use]
    pub fn has_auth(&self, mechanism: &str) -> bool {
        self.has(Extension::Auth) && self.auth.iter().any(|m| m.eq_ignore_ascii_case(mechanism))
    }

    /// The largest message that the server declares to take; `None` when it states no limit.
    #[must_use]
    pub fn size_limit(&self) -> Option<u64> {
        self.size
            .filter(|size| *size > 0 && self.has(Extension::Size))
    }
}

impl Limits {
    fn take(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        // A limit of 0 would forbid everything; RFC 9422 §4 gives it no meaning.
        let value = Some(value).filter(|v| *v > 0);
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.recipients_max = value,
            "MAILMAX" => self.mails_max = value,
            "RCPTDOMAINMAX" => self.recipient_domains_max = value,
            _ => {}
        }
    }
}

/// Each limit that is stated, with a space before it.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = [
            ("MAILMAX", self.mails_max),
            ("RCPTMAX", self.recipients_max),
            ("RCPTDOMAINMAX", self.recipient_domains_max),
        ];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                write!(f, " {name}={limit}")?;
            }
        }
        Ok(())
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, number: Option<u64>) -> fmt::Result {
    number.map_or(Ok(()), |n| write!(f, " {n}"))
}

/// The lines of an answer to EHLO after its first, joined by `\n`.
impl fmt::Display for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for extension in Extension::ALL.into_iter().filter(|e| self.has(*e)) {
            write!(f, "{gap}{}", extension.keyword())?;
            gap = "\n";
            match extension {
                Extension::Size => write_number(f, self.size)?,
                Extension::Auth => write!(f, " {}", self.auth.join(" "))?,
                Extension::DeliverBy => write_number(f, self.deliver_by_min_secs)?,
                Extension::FutureRelease => {
                    write_number(f, self.future_release_max_secs)?;
                    if let Some(until) = self.future_release_until {
                        // Without parts of a second (RFC 4865 §4).
                        let text = until.to_string();
                        let (seconds, _) = text.split_once('.').unwrap_or((&text, ""));
                        write!(f, " {}Z", seconds.trim_end_matches('Z'))?;
                    }
                }
                Extension::MtPriority => {
                    if let Some(profile) = &self.priority_profile {
                        write!(f, " {profile}")?;
                    }
                }
                Extension::Pipelining
                | Extension::EightBitMime
                | Extension::SmtpUtf8
                | Extension::EnhancedStatusCodes
                | Extension::Chunking
                | Extension::BinaryMime
                | Extension::Dsn
                | Extension::StartTls
                | Extension::RequireTls => {}
                Extension::Limits => write!(f, "{}", self.limits)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Extensions {
        Extensions::parse(&Reply::new(250, None, lines))
    }

    #[test]
    fn every_keyword_is_known_and_case_does_not_matter() {
        for extension in Extension::ALL {
            let keyword = extension.keyword().to_ascii_lowercase();
            let found = parse(&format!("mx.example\n{keyword}"));
            assert!(found.has(extension), "{keyword}");
            assert_eq!(found.without(extension).offered, 0);
        }
        assert_eq!(parse("PIPELINING is my greeting"), Extensions::none());
        assert_eq!(parse("mx\nX-UNKNOWN 1\n\n"), Extensions::none());
    }

    #[test]
    fn parameters_are_kept() {
        let found = parse(
            "mx\nSIZE 1000\nAUTH plain LOGIN\nAUTH=LOGIN XOAUTH2\n\
             LIMITS RCPTMAX=20 mailmax=5 RCPTDOMAINMAX=0 OTHER=7\nDELIVERBY 240\n\
             MT-PRIORITY MIXER\nFUTURERELEASE 604800 2026-12-31T00:00:00Z",
        );
        assert_eq!(found.size_limit(), Some(1000));
        assert_eq!(found.auth, ["PLAIN", "LOGIN", "XOAUTH2"]);
        assert!(found.has_auth("login") && !found.has_auth("CRAM-MD5"));
        assert_eq!(found.limits.recipients_max, Some(20));
        assert_eq!(found.limits.mails_max, Some(5));
        assert_eq!(found.limits.recipient_domains_max, None);
        assert_eq!(found.deliver_by_min_secs, Some(240));
        assert_eq!(found.priority_profile.as_deref(), Some("MIXER"));
        assert_eq!(found.future_release_max_secs, Some(604_800));
    }

    #[test]
    fn a_size_of_zero_or_none_is_no_limit() {
        assert_eq!(parse("mx\nSIZE 0").size_limit(), None);
        assert_eq!(parse("mx\nSIZE").size_limit(), None);
        assert_eq!(parse("mx\nSIZE many").size_limit(), None);
        assert!(parse("mx\nSIZE").has(Extension::Size));
    }

    #[test]
    fn what_is_offered_is_read_back() {
        let mut offered = Extensions::none()
            .with(Extension::Pipelining)
            .with(Extension::Size)
            .with(Extension::Auth)
            .with(Extension::Limits);
        offered.limits.recipients_max = Some(1000);
        offered.limits.mails_max = Some(5);
        offered.size = Some(5000);
        offered.auth = vec!["PLAIN".into(), "LOGIN".into()];
        assert_eq!(
            offered.to_string(),
            "PIPELINING\nSIZE 5000\nLIMITS MAILMAX=5 RCPTMAX=1000\nAUTH PLAIN LOGIN"
        );
        assert_eq!(parse(&format!("mx\n{offered}")), offered);
    }
}
