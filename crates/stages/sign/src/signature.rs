//! Making the DKIM-Signature field, and finding those that were made here.

use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::{Domain, Header, Headers, Timestamp, body_offset};

use crate::canonical::{BodyCanonicalizer, Canonicalization, header_field};
use crate::fields::Fields;
use crate::key::PrivateKey;
use crate::selector::Selector;

const NAME: &str = "DKIM-Signature";
/// Columns that a line of the field fills at most, where its words allow it.
const COLUMNS: usize = 76;

/// A key with all that its signatures say.
#[derive(Debug)]
pub struct Signer {
    /// The domain that signs (`d=`), in the form of DNS.
    pub domain: Domain,
    /// Its key's name (`s=`).
    pub selector: Selector,
    /// The key.
    pub key: PrivateKey,
    /// How header fields are hashed.
    pub header: Canonicalization,
    /// How the body is hashed.
    pub body: Canonicalization,
    /// The fields that are covered.
    pub fields: Fields,
    /// How long a signature holds (`x=`); `None`: as long as its key.
    pub lifetime: Option<Duration>,
    /// It also signs for subdomains that have no key.
    pub subdomains: bool,
    /// It signs from then on.
    pub from: Option<Timestamp>,
    /// It signs until then.
    pub until: Option<Timestamp>,
}

/// The library could not sign: never seen, but for want of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key {domain}/{selector} does not sign")]
pub struct SignError {
    domain: Domain,
    selector: Selector,
}

impl Signer {
    /// Whether it signs at this time.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// Its name, `domain/selector`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.selector)
    }

    /// Where its public key stands in DNS.
    #[must_use]
    pub fn record_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// The field with the value of `b=` missing, and what is signed but for it.
    fn prepare(
        &self,
        header: &[Header<'_>],
        body_hash: &[u8],
        now: Timestamp,
    ) -> (String, Vec<u8>) {
        let mut signed = Vec::with_capacity(2048);
        let mut names: Vec<&str> = Vec::with_capacity(32);
        for (name, is_sealed) in self.fields.all() {
            // The last first (RFC 6376 §5.4.2).
            for field in header.iter().rev().filter(|field| field.is(name)) {
                header_field(self.header, field, &mut signed);
                names.push(name);
            }
            if is_sealed {
                names.push(name);
            }
        }
        let mut field = Folded::new();
        field.word("v=1;");
        field.word(&format!("a={};", self.key.algorithm().word()));
        field.word(&format!("c={}/{};", self.header.word(), self.body.word()));
        field.word(&format!("d={};", self.domain));
        field.word(&format!("s={};", self.selector));
        field.word(&format!("t={};", now.as_secs()));
        if let Some(lifetime) = self.lifetime {
            field.word(&format!("x={};", (now + lifetime).as_secs()));
        }
        let mut front = "h=";
        let last = names.len().saturating_sub(1);
        for (name, number) in names.iter().zip(0..) {
            let end = if number == last { ';' } else { ':' };
            let text = format!("{front}{name}{end}");
            match number {
                0 => field.word(&text),
                _ => field.more(&text),
            }
            front = "";
        }
        field.word(&format!("bh={};", STANDARD.encode(body_hash)));
        field.line("b=");
        (field.text, signed)
    }

    fn field(
        &self,
        header: &[Header<'_>],
        body_hash: &[u8],
        now: Timestamp,
    ) -> Result<String, SignError> {
        let (unsigned, mut signed) = self.prepare(header, body_hash, now);
        for own in Headers::new(unsigned.as_bytes()) {
            header_field(self.header, &own, &mut signed);
        }
        // The field itself is hashed without its line's end, which the relaxed form has made.
        if signed.ends_with(b"\r\n") {
            signed.truncate(signed.len() - 2);
        }
        let signature = self.key.sign(&signed).ok_or_else(|| SignError {
            domain: self.domain.clone(),
            selector: self.selector.clone(),
        })?;
        let mut field = Folded::after(unsigned);
        let base64 = STANDARD.encode(signature);
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let room = COLUMNS.saturating_sub(field.column).max(1);
            let (part, behind) = rest.split_at(room.min(rest.len()));
            field.text.push_str(part);
            field.column += part.len();
            rest = behind;
            if !rest.is_empty() {
                field.line("");
            }
        }
        field.text.push_str("\r\n");
        Ok(field.text)
    }
}

/// A field's text with its folds.
struct Folded {
    text: String,
    column: usize,
}

impl Folded {
    fn new() -> Self {
        Self::after(format!("{NAME}:"))
    }

    fn after(text: String) -> Self {
        let line = text.rsplit('\n').next().unwrap_or_default();
        Self {
            column: line.len(),
            text,
        }
    }

    /// A word after a blank or a fold.
    fn word(&mut self, word: &str) {
        match self.column + 1 + word.len() > COLUMNS {
            true => self.line(word),
            false => {
                self.text.push(' ');
                self.text.push_str(word);
                self.column += 1 + word.len();
            }
        }
    }

    /// What goes on without a blank.
    fn more(&mut self, text: &str) {
        match self.column + text.len() > COLUMNS {
            true => self.line(text),
            false => {
                self.text.push_str(text);
                self.column += text.len();
            }
        }
    }

    /// A line of its own.
    fn line(&mut self, text: &str) {
        self.text.push_str("\r\n\t");
        self.text.push_str(text);
        self.column = 1 + text.len();
    }
}

/// The signatures of a mail by these keys, as the fields to put in front of it. The body is read
/// once for each way of hashing it.
///
/// # Errors
/// When the library fails.
pub fn sign(content: &[u8], signers: &[&Signer], now: Timestamp) -> Result<String, SignError> {
    let header: Vec<Header<'_>> = Headers::new(content).collect();
    let body = content.get(body_offset(content)..).unwrap_or_default();
    let mut hashes: [Option<[u8; 32]>; 2] = [None; 2];
    let mut fields = String::with_capacity(signers.len() * 1024);
    for signer in signers {
        let [simple, relaxed] = &mut hashes;
        let known = match signer.body {
            Canonicalization::Simple => simple,
            Canonicalization::Relaxed => relaxed,
        };
        let hash = known.get_or_insert_with(|| body_hash(signer.body, body));
        fields.push_str(&signer.field(&header, hash, now)?);
    }
    Ok(fields)
}

fn body_hash(how: Canonicalization, body: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    let mut canonical = BodyCanonicalizer::new(how);
    canonical.update(body, &mut |part| context.update(part));
    canonical.finish(&mut |part| context.update(part));
    let mut hash = [0; 32];
    let digest = context.finish();
    hash.iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    hash
}

/// A signature that stands in front of a mail, above our own Received: it was made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFront<'a> {
    /// `d=`.
    pub domain: &'a str,
    /// `s=`.
    pub selector: &'a str,
    /// Octets of the field with its line's end.
    pub length: usize,
}

/// The signatures in front of a mail.
pub fn in_front(content: &[u8]) -> impl Iterator<Item = InFront<'_>> {
    Headers::new(content)
        .take_while(|field| field.is(NAME))
        .map_while(|field| {
            let text = std::str::from_utf8(field.value).ok()?;
            let tag = |name: &str| {
                let mut tags = text.split(';').filter_map(|tag| tag.split_once('='));
                tags.find(|(tag, _)| tag.trim() == name)
                    .map(|(_, value)| value.trim())
            };
            Some(InFront {
                domain: tag("d")?,
                selector: tag("s")?,
                length: field.raw.len(),
            })
        })
}

#[cfg(test)]
mod tests;
