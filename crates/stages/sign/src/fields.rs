//! Which header fields a signature covers (RFC 6376 §5.4).

/// Covered, and none may be added: what a reader sees and what decides how the body is read.
const SEALED: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// Covered where they are. Mailing lists add a Sender and their List- fields, and who sends a mail
/// on adds a block of Resent- fields, so that more of them are not a forgery; RFC 8058 §4 wants the two
/// of unsubscribing covered.
const COVERED: [&str; 17] = [
    "Sender",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Help",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "TLS-Required",
    "Auto-Submitted",
];
/// Changed or added on the way, or not to be seen: covering them breaks every signature.
const NEVER: [&str; 8] = [
    "Return-Path",
    "Received",
    "DKIM-Signature",
    "Authentication-Results",
    "Bcc",
    "Resent-Bcc",
    "Delivered-To",
    "X-Original-To",
];

/// The fields that a key's signatures cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    sealed: Vec<String>,
    covered: Vec<String>,
}

/// Why a list of fields is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// It is not a name of a field.
    #[error("`{0}` is not the name of a header field")]
    Name(String),
    /// Its signatures would not hold.
    #[error(
        "`{0}` is changed or removed on the way, so a signature that covers it would become invalid"
    )]
    Never(String),
    /// RFC 6376 §5.4.
    #[error("`From` is missing, and every signature must cover it (RFC 6376 section 5.4)")]
    NoFrom,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            sealed: SEALED.map(str::to_owned).to_vec(),
            covered: COVERED.map(str::to_owned).to_vec(),
        }
    }
}

impl Fields {
    /// The fields that are sealed: covered, and a further one breaks the signature; and those that
    /// are covered where they are. Without a list, the usual one.
    ///
    /// # Errors
    /// A name that is not one or cannot be covered, or From missing in the list of those sealed.
    pub fn new(
        sealed: Option<Vec<String>>,
        covered: Option<Vec<String>>,
    ) -> Result<Self, FieldError> {
        let usual = Self::default();
        let fields = Self {
            sealed: sealed.unwrap_or(usual.sealed),
            covered: covered.unwrap_or(usual.covered),
        };
        for name in fields.sealed.iter().chain(&fields.covered) {
            let is_name = !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && b != b':' && b != b';');
            if !is_name {
                return Err(FieldError::Name(name.clone()));
            }
            if NEVER.iter().any(|never| never.eq_ignore_ascii_case(name)) {
                return Err(FieldError::Never(name.clone()));
            }
        }
        let has_from = fields.sealed.iter().any(|n| n.eq_ignore_ascii_case("From"));
        if has_from {
            Ok(fields)
        } else {
            Err(FieldError::NoFrom)
        }
    }

    /// Every field once, and whether it is sealed.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, bool)> {
        let is_sealed = |name: &String| self.sealed.iter().any(|s| s.eq_ignore_ascii_case(name));
        let covered = self.covered.iter().filter(move |name| !is_sealed(name));
        let sealed = self.sealed.iter().map(|name| (name.as_str(), true));
        sealed.chain(covered.map(|name| (name.as_str(), false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_make_no_valid_signature_are_refused() {
        let list = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
        assert!(Fields::new(list(&["from", "X-Ours"]), list(&[])).is_ok());
        assert_eq!(
            Fields::new(list(&["To"]), list(&["From"])),
            Err(FieldError::NoFrom)
        );
        for name in ["received", "Return-Path", "bcc"] {
            let refused = Fields::new(None, list(&[name]));
            assert_eq!(refused, Err(FieldError::Never(name.to_owned())));
        }
        for name in ["", "a b", "a:b", "\u{fc}"] {
            let refused = Fields::new(None, list(&[name]));
            assert_eq!(refused, Err(FieldError::Name(name.to_owned())));
        }
    }
}
