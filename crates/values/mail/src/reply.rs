//! SMTP replies and enhanced status codes (RFC 5321 §4.2, RFC 3463).

use std::fmt;
use std::str::FromStr;

/// An enhanced status code such as 5.1.1 (RFC 3463 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedCode {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What the code speaks of: 1 address, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content,
    /// 7 policy.
    pub subject: u16,
    /// The detail within the subject.
    pub detail: u16,
}

/// Why a text is not an enhanced status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an enhanced status code such as 5.1.1")]
pub struct ParseEnhancedCodeError(String);

impl EnhancedCode {
    /// The code `class.subject.detail`.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }
}

/// The numbers that nearly every code is made of, as text.
const DIGITS: &str = "0123456789";

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (gap, number) in [
            ("", u16::from(self.class)),
            (".", self.subject),
            (".", self.detail),
        ] {
            f.write_str(gap)?;
            match DIGITS.get(usize::from(number)..=usize::from(number)) {
                Some(digit) => f.write_str(digit)?,
                None => write!(f, "{number}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EnhancedCode {
    type Err = ParseEnhancedCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut rest = text.as_bytes();
            let class = number(&mut rest, Some(b'.'))?;
            let subject = number(&mut rest, Some(b'.'))?;
            let detail = number(&mut rest, None)?;
            matches!(class, 2 | 4 | 5).then_some(Self {
                class: u8::try_from(class).ok()?,
                subject,
                detail,
            })
        };
        read().ok_or_else(|| ParseEnhancedCodeError(text.to_owned()))
    }
}

/// Takes a number of one to three digits with what must stand after it, `None` being the end.
fn number(rest: &mut &[u8], end: Option<u8>) -> Option<u16> {
    let mut number = 0;
    for digits in 0..=3 {
        let (next, after) = match rest.split_first() {
            Some((next, after)) => (Some(*next), after),
            None => (None, *rest),
        };
        match next {
            Some(digit @ b'0'..=b'9') if digits < 3 => {
                number = number * 10 + u16::from(digit - b'0')
            }
            _ if next == end && digits > 0 => {
                *rest = after;
                return Some(number);
            }
            _ => return None,
        }
        *rest = after;
    }
    None
}

/// One reply of an SMTP server, or one of ours in the same form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code; 0 where no server said anything and the text is our own account.
    pub code: u16,
    /// The enhanced code in front of the text, where one was given.
    pub enhanced: Option<EnhancedCode>,
    /// The text, lines joined by `\n`, without codes; never with a CR or another control character.
    pub text: String,
}

impl Reply {
    /// A reply; control characters in the text, which could forge lines in logs and reports, are
    /// shown as `?`.
    #[must_use]
    pub fn new(code: u16, enhanced: Option<EnhancedCode>, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        // Nearly every text is printable ASCII.
        let is_plain = text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n'));
        if !is_plain && text.contains(|c: char| c.is_control() && c != '\n') {
            text = text.replace(|c: char| c.is_control() && c != '\n', "?");
        }
        Self {
            code,
            enhanced,
            text,
        }
    }

    /// Our own account of a failure that no server answered for (connection refused, DNS, …).
    #[must_use]
    pub fn own(enhanced: EnhancedCode, text: impl Into<String>) -> Self {
        Self::new(0, Some(enhanced), text)
    }

    /// The reply with no more than about `octets` of its text: what is kept, a host may not make
    /// as long as it likes.
    #[must_use]
    pub fn shortened(mut self, octets: usize) -> Self {
        if self.text.len() > octets {
            let end = (0..=octets)
                .rev()
                .find(|n| self.text.is_char_boundary(*n))
                .unwrap_or(0);
            self.text.truncate(end);
            self.text.push('…');
        }
        self
    }

    /// 2yz: done.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        matches!(self.code, 200..=299)
    }

    /// 4yz, or our own account with class 4: may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.code, 400..=499)
            || self.code == 0 && self.enhanced.is_some_and(|e| e.class == 4)
    }

    /// 5yz, or our own account with class 5: final.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self.code, 500..=599)
            || self.code == 0 && self.enhanced.is_some_and(|e| e.class == 5)
    }

    /// The status for a delivery report: the enhanced code given, else x.0.0 of the reply's class
    /// (RFC 3464 §2.3.4).
    #[must_use]
    pub fn status(&self) -> EnhancedCode {
        let class = match self.code {
            200..=299 => 2,
            500..=599 => 5,
            0 => self.enhanced.map_or(4, |e| e.class),
            _ => 4,
        };
        match self.enhanced {
            Some(e) if e.class == class => e,
            Some(_) | None => EnhancedCode::new(class, 0, 0),
        }
    }
}

/// The reply on one line, lines joined by a space.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        if self.code != 0 {
            write!(f, "{}", self.code)?;
            gap = " ";
        }
        if let Some(enhanced) = self.enhanced {
            f.write_str(gap)?;
            fmt::Display::fmt(&enhanced, f)?;
            gap = " ";
        }
        for line in self.text.split('\n') {
            f.write_str(gap)?;
            f.write_str(line)?;
            gap = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_read_strictly() {
        assert_eq!("5.1.10".parse(), Ok(EnhancedCode::new(5, 1, 10)));
        assert_eq!("4.123.999".parse(), Ok(EnhancedCode::new(4, 123, 999)));
        assert_eq!(EnhancedCode::new(4, 123, 9).to_string(), "4.123.9");
        for bad in [
            "3.0.0", "5.1", "5.1.1.1", "5.1.", "5.1234.1", "x.y.z", "5.+1.1", "+5.1.1", "5..1", "",
            ".", "5", "5.1.1 ", "258.1.1",
        ] {
            assert!(bad.parse::<EnhancedCode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reply_without_or_with_a_contradicting_enhanced_code_has_the_status_of_its_class() {
        let e = EnhancedCode::new(4, 7, 1);
        assert_eq!(
            Reply::new(550, None, "no").status(),
            EnhancedCode::new(5, 0, 0)
        );
        assert_eq!(
            Reply::new(550, Some(e), "no").status(),
            EnhancedCode::new(5, 0, 0)
        );
        assert_eq!(Reply::new(450, Some(e), "no").status(), e);
        assert_eq!(Reply::own(e, "down").status(), e);
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        assert_eq!(
            Reply::new(550, None, "a\r\u{1b}[2Jb\nc").to_string(),
            "550 a??[2Jb c"
        );
    }
}
