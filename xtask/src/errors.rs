//! How functions of library crates say that something failed: by a type, and by none of an engine that only one
//! crate knows. A text as an error can only be shown, and whoever has to decide by it compares words.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use crate::tree::TextFile;

/// Functions that still fail by a text. They may only become fewer.
const LIST: &str = "xtask/errors.txt";
/// What only this directory may name, and who it is.
const ENGINE: (&str, &str) = ("rusqlite", "crates/stages/spool");
/// Where there is no library of the product's: tools of developers.
const TOOLS: &str = "crates/dev";

/// Functions that fail by a text and are not listed, entries of the list that have had their day, and an engine's
/// name where nobody may know it.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    let mut listed: BTreeSet<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| is_looked_at(file, root)) {
        let path = file.path.display();
        let tokens = TokenStream::from_str(file.production());
        let tokens = tokens.map_err(|error| anyhow!("{path}: {error}"))?;
        let mut seen = Seen::default();
        look(&tokens.into_iter().collect::<Vec<_>>(), &mut seen);
        for name in seen.by_text {
            if !listed.remove(format!("{path} {name}").as_str()) {
                found.push(format!(
                    "{path}: `{name}` fails by a text: make an error type"
                ));
            }
        }
        if seen.names_engine && !file.path.starts_with(ENGINE.1) {
            found.push(format!("{path}: only {} may name {}", ENGINE.1, ENGINE.0));
        }
    }
    let stale = listed.into_iter().filter(|entry| !entry.is_empty());
    found.extend(
        stale.map(|entry| format!("{LIST}: `{entry}` does not fail by a text: take it out")),
    );
    Ok(found)
}

/// Code of a library of the product.
fn is_looked_at(file: &TextFile, root: &Path) -> bool {
    let mut above = file.path.ancestors();
    let source = above.find(|path| path.ends_with("src"));
    file.is_rust()
        && !file.is_test()
        && file.path.starts_with("crates")
        && !file.path.starts_with(TOOLS)
        // The command line ends in words.
        && !file.path.starts_with("crates/faces/cli")
        && source.is_some_and(|source| root.join(source).join("lib.rs").exists())
}

/// What a file has.
#[derive(Default)]
struct Seen {
    /// The functions whose `Result` has a text as its error.
    by_text: Vec<String>,
    names_engine: bool,
}

fn look(tokens: &[TokenTree], seen: &mut Seen) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                look(&group.stream().into_iter().collect::<Vec<_>>(), seen);
            }
            TokenTree::Ident(word) if word == ENGINE.0 => seen.names_engine = true,
            TokenTree::Ident(word) if word == "fn" => {
                let rest = tokens.get(at + 1..).unwrap_or_default();
                if let Some(TokenTree::Ident(name)) = rest.first()
                    && fails_by_text(rest)
                {
                    seen.by_text.push(name.to_string());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether a signature, from the function's name on, has a `Result` with a text as its error.
fn fails_by_text(from_name: &[TokenTree]) -> bool {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == proc_macro2::Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let signature: TokenStream = from_name
        .iter()
        .take_while(|token| !ends(token))
        .cloned()
        .collect();
    let plain: String = signature.to_string().split_whitespace().collect();
    // Lists and strings of types end with `>`; the error is the last of a Result's two.
    plain.match_indices("Result<").any(|(at, start)| {
        let inside = plain.get(at + start.len()..).unwrap_or_default();
        error_of(inside).is_some_and(|error| error == "String" || error == "std::string::String")
    })
}

/// The second of two types in angle brackets, after the opening one.
fn error_of(inside: &str) -> Option<&str> {
    let (mut depth, mut comma) = (0_i32, None);
    let mut before = ' ';
    for (at, c) in inside.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // An arrow is no bracket.
            '>' if before == '-' => {}
            '>' if depth == 0 => return inside.get(comma? + 1..at),
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => comma = Some(at),
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_text(code: &str) -> Vec<String> {
        let tokens = TokenStream::from_str(code).expect("tokens");
        let mut seen = Seen::default();
        look(&tokens.into_iter().collect::<Vec<_>>(), &mut seen);
        seen.by_text
    }

    #[test]
    fn a_function_that_fails_by_a_text_is_found_wherever_it_stands() {
        assert_eq!(by_text("fn a() -> Result<(), String> {}"), ["a"]);
        let within =
            "impl X { pub async fn b(&self) -> std::result::Result<Vec<(u8, String)>, String>; }";
        assert_eq!(by_text(within), ["b"]);
        let later = "trait Y { fn c(&self) -> Later<'_, Result<Option<u8>, String>>; }";
        assert_eq!(by_text(later), ["c"]);
        let taken = "fn d(answer: &Result<u8, String>) -> String { String::new() }";
        assert_eq!(by_text(taken), ["d"]);
        let work = "fn e<T>(work: impl FnOnce(u8) -> Result<T, String> + Send) {}";
        assert_eq!(by_text(work), ["e"]);
    }

    #[test]
    fn a_text_that_is_no_error_is_not() {
        for code in [
            "fn a() -> Result<String, Error> {}",
            "fn b() -> Result<(String, String), Error> { let x: Result<u8, String> = y; }",
            "fn c() -> io::Result<String> {}",
            "fn d() -> Result<HashMap<u8, String>> {}",
        ] {
            assert!(by_text(code).is_empty(), "{code}");
        }
    }

    #[test]
    fn an_engine_is_found_by_its_name() {
        let mut seen = Seen::default();
        let tokens =
            TokenStream::from_str("pub fn f() -> rusqlite::Error { g() }").expect("tokens");
        look(&tokens.into_iter().collect::<Vec<_>>(), &mut seen);
        assert!(seen.names_engine);
    }
}
