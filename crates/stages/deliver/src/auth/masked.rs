//! What proves us to a relay, taken out of what the relay says: some repeat in their reply what they were told, and
//! replies go to transcripts, the log, failure messages and receivers of events.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::Reply;

use super::{Credentials, Secret};

/// So many octets of a secret in a row are taken out, wherever they stand: a relay may cut what it repeats.
const WINDOW: usize = 8;
const MASK: &str = "***";

/// Secrets that are not shown.
#[derive(Clone, Default)]
pub struct Masked {
    windows: HashSet<[u8; WINDOW]>,
    /// Those that are shorter, which count as words of their own.
    short: Vec<String>,
}

impl std::fmt::Debug for Masked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masked")
    }
}

impl Masked {
    /// These secrets, and what base 64 makes of them.
    pub fn of<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let mut masked = Self::default();
        for secret in secrets {
            masked.hide(secret);
            for before in 0..3 {
                masked.hide(&encoded(secret, before));
            }
        }
        masked
    }

    /// What a login is made with.
    #[must_use]
    pub fn login(credentials: Option<&Credentials>) -> Self {
        let secret = credentials.map(|credentials| match &credentials.secret {
            Secret::Password(secret) | Secret::Token(secret) => secret.as_str(),
        });
        Self::of(secret)
    }

    /// A line of a login, as it is sent: what it says by base 64 is hidden too, but for the user's name.
    pub fn said(&mut self, line: &[u8], username: &str) {
        let text = String::from_utf8_lossy(line);
        let Some(word) = text.split_ascii_whitespace().next_back() else {
            return;
        };
        let Ok(octets) = STANDARD.decode(word) else {
            return;
        };
        let decoded = String::from_utf8_lossy(&octets);
        if decoded == username {
            return;
        }
        self.hide(word.trim_end_matches('='));
        for part in decoded.split(['\0', '\u{1}', ' ', ',']) {
            if part.len() >= WINDOW && !part.contains(username) {
                self.hide(part);
            }
        }
    }

    fn hide(&mut self, secret: &str) {
        let secret = secret.to_ascii_lowercase();
        if secret.len() < WINDOW {
            self.short.extend(Some(secret).filter(|s| !s.is_empty()));
            return;
        }
        let windows = secret.as_bytes().windows(WINDOW);
        self.windows
            .extend(windows.filter_map(|w| <[u8; WINDOW]>::try_from(w).ok()));
    }

    /// The reply without them.
    #[must_use]
    pub fn reply<'r>(&self, reply: &'r Reply) -> Cow<'r, Reply> {
        match self.text(&reply.text) {
            Cow::Borrowed(_) => Cow::Borrowed(reply),
            Cow::Owned(text) => Cow::Owned(Reply {
                text,
                ..reply.clone()
            }),
        }
    }

    /// The text without them.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.windows.is_empty() && self.short.is_empty() {
            return Cow::Borrowed(text);
        }
        let lower = text.to_ascii_lowercase();
        let mut hidden = vec![false; lower.len()];
        for (at, window) in lower.as_bytes().windows(WINDOW).enumerate() {
            if self.windows.contains(window) {
                mark(&mut hidden, at, WINDOW);
            }
        }
        for secret in &self.short {
            for (at, found) in lower.match_indices(secret.as_str()) {
                let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                let before = lower.get(..at).and_then(|t| t.chars().next_back());
                let behind = lower.get(at + found.len()..).and_then(|t| t.chars().next());
                if !is_word(before) && !is_word(behind) {
                    mark(&mut hidden, at, found.len());
                }
            }
        }
        if !hidden.contains(&true) {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut within = false;
        for (at, c) in text.char_indices() {
            let octets = hidden.get(at..at + c.len_utf8()).unwrap_or_default();
            let is_hidden = octets.contains(&true);
            match (is_hidden, within) {
                (true, false) => out.push_str(MASK),
                (true, true) => {}
                (false, _) => out.push(c),
            }
            within = is_hidden;
        }
        Cow::Owned(out)
    }
}

/// What base 64 makes of a secret that so many octets (of three) stand before.
fn encoded(secret: &str, before: usize) -> String {
    let octets = [vec![0; before], secret.as_bytes().to_vec()].concat();
    let text = STANDARD.encode(octets);
    // The digits that are of the secret alone: six bits each.
    let own = text.get((before * 8).div_ceil(6)..).unwrap_or_default();
    own.trim_end_matches('=').to_owned()
}

fn mark(hidden: &mut [bool], at: usize, length: usize) {
    let octets = hidden.iter_mut().skip(at).take(length);
    octets.for_each(|octet| *octet = true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_however_a_relay_repeats_it() {
        let masked = Masked::of(["Tr0ub4dor&3 \u{fc}"]);
        let encoded = STANDARD.encode("Tr0ub4dor&3 \u{fc}");
        for (said, shown) in [
            ("wrong password Tr0ub4dor&3 \u{fc}!", "wrong password ***!"),
            ("no 'tr0ub4dor&3'", "no '***'"),
            ("cut Tr0ub4do", "cut ***"),
            (&format!("cannot take {encoded}"), "cannot take ***"),
            (
                &format!("got {}", STANDARD.encode("\0\0Tr0ub4dor&3 \u{fc}")),
                "got AAB***",
            ),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(masked.text(said).trim_end_matches('='), shown, "{said}");
        }
        let short = Masked::of(["ab1"]);
        assert_eq!(short.text("ab1 xab1 (ab1)"), "*** xab1 (***)");
        assert_eq!(Masked::default().text("a"), "a");
    }

    #[test]
    fn what_was_said_in_a_login_is_taken_out_but_for_the_user() {
        let mut masked = Masked::default();
        let line = format!(
            "AUTH PLAIN {}\r\n",
            STANDARD.encode("\0ann@x.example\0long secret")
        );
        masked.said(line.as_bytes(), "ann@x.example");
        masked.said(
            format!("{}\r\n", STANDARD.encode("ann@x.example")).as_bytes(),
            "ann@x.example",
        );
        masked.said(b"AUTH LOGIN\r\n", "ann@x.example");
        let word = STANDARD.encode("\0ann@x.example\0long secret");
        assert_eq!(
            masked
                .text(&format!("501 {word} of ann@x.example by LOGIN"))
                .matches("***")
                .count(),
            1
        );
        assert!(masked.text("ann@x.example").contains("ann"));
        masked.said(
            format!(
                "{}\r\n",
                STANDARD.encode("c=biws,r=nonce,p=cHJvb2Zwcm9vZg==")
            )
            .as_bytes(),
            "ann",
        );
        assert_eq!(masked.text("bad p=cHJvb2Zwcm9vZg=="), "bad ***");
    }
}
