//! Text made safe for headers and reports: ASCII, no forged lines, folded.

/// Field values are folded after this many octets where there is a space.
const FOLD_AT: usize = 76;

/// A field `name: value`, folded (RFC 5322 §2.2.3); what is not printable ASCII becomes `?`.
pub(crate) fn field(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    for word in printable(value).split(' ').filter(|w| !w.is_empty()) {
        // A word that is longer than any line may be is cut where it must be.
        for (n, part) in chunks(word, 900).enumerate() {
            if n > 0 || column + 1 + part.len() > FOLD_AT && column > name.len() + 1 {
                out.push_str("\r\n");
                column = 0;
            }
            out.push(' ');
            out.push_str(part);
            column += 1 + part.len();
        }
    }
    out.push_str("\r\n");
}

fn chunks(word: &str, size: usize) -> impl Iterator<Item = &str> {
    // The word is ASCII by now, so every place is a boundary.
    (0..word.len())
        .step_by(size)
        .filter_map(move |at| word.get(at..word.len().min(at + size)))
}

/// The text with everything that is not printable ASCII shown as `?`, line ends as spaces.
pub(crate) fn printable(text: &str) -> String {
    let safe = |c: char| match c {
        '\n' | '\t' => ' ',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(safe).collect()
}

/// A paragraph of the human part, wrapped, each line after `indent`.
pub(crate) fn paragraph(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.len() > 72 {
            out.push_str("\r\n");
            column = 0;
        }
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        let mut parts = chunks(word, 900).peekable();
        while let Some(part) = parts.next() {
            out.push_str(part);
            column += part.len();
            if parts.peek().is_some() {
                // After the indent here too: no word of a stranger begins a line, as a boundary does.
                out.push_str(&format!("\r\n{indent}"));
            }
        }
    }
    out.push_str("\r\n");
}

/// Decodes xtext (RFC 3461 §4); what is not xtext is taken as it is.
pub(crate) fn from_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('+') {
        out.push_str(before);
        let digits = behind.get(..2);
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                out.push('+');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}
