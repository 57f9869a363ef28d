//! Which files of a crate import which: `use` trees and paths that begin with `crate`, `self` or `super`, as
//! they stand in the code. What a module passes on (`pub use`) leads to where it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::tree::TextFile;

/// A module by its names, from the crate's root, which is empty.
pub(crate) type Module = Vec<String>;

/// Names that are followed from one `use` to the next; more are a circle of their own.
const PASSED_ON_MAX: usize = 8;

/// What one file says.
#[derive(Default)]
struct Said {
    /// Paths as they are written; `*` for a glob.
    paths: Vec<Vec<String>>,
    /// The names that `use` brings in, and where they come from.
    names: BTreeMap<String, Vec<String>>,
}

/// The files of a crate by the modules that they are, and the modules that each imports from. Tests are left out.
pub(crate) fn edges(src: &Path, files: &[TextFile]) -> Result<BTreeMap<Module, BTreeSet<Module>>> {
    let mut said = BTreeMap::new();
    for file in files.iter().filter(|f| f.is_rust() && !f.is_test()) {
        let Ok(inside) = file.path.strip_prefix(src) else {
            continue;
        };
        let Some(module) = module_of(inside) else {
            continue;
        };
        let tokens = TokenStream::from_str(&file.text)
            .map_err(|error| anyhow!("{}: {error}", file.path.display()))?;
        let mut found = Said::default();
        read(&tokens.into_iter().collect::<Vec<_>>(), &mut found);
        said.insert(module, found);
    }
    let mut edges = BTreeMap::new();
    for (module, found) in &said {
        let targets = found.paths.iter();
        let targets = targets.filter_map(|path| resolve(module, path, &said, PASSED_ON_MAX));
        let targets: BTreeSet<Module> = targets.filter(|target| target != module).collect();
        edges.insert(module.clone(), targets);
    }
    Ok(edges)
}

/// The module that a file is; `None` for another program of the same crate.
fn module_of(inside: &Path) -> Option<Module> {
    let mut names: Module = inside
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if names.first().is_some_and(|first| first == "bin") {
        return None;
    }
    if names == ["lib"] || names == ["main"] {
        names.clear();
    }
    Some(names)
}

/// Reads items and expressions; what is compiled for tests only is passed over.
fn read(tokens: &[TokenTree], found: &mut Said) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if is_test_only(tokens, at) {
            at = item_end(tokens, at + 2);
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                read(&group.stream().into_iter().collect::<Vec<_>>(), found);
                at += 1;
            }
            TokenTree::Ident(word) if word == "use" => {
                let end = item_end(tokens, at);
                let tree = tokens.get(at + 1..end - 1).unwrap_or_default();
                read_tree(tree, &[], found);
                at = end;
            }
            TokenTree::Ident(word) if is_anchor(&word.to_string()) => {
                at = read_path(tokens, at, found);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

fn is_anchor(word: &str) -> bool {
    matches!(word, "crate" | "self" | "super")
}

fn is_punct(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// Whether `#[cfg(test)]` stands here.
fn is_test_only(tokens: &[TokenTree], at: usize) -> bool {
    let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) else {
        return false;
    };
    is_punct(tokens.get(at), '#') && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// The place after the item that begins here: its semicolon, or its body.
fn item_end(tokens: &[TokenTree], from: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let is_use = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word == "use");
    let rest = tokens.get(from..).unwrap_or_default();
    // The braces of a `use` are not its end.
    let uses = rest.iter().take(4).any(is_use);
    let end = rest
        .iter()
        .position(|t| is_end(t) && !(uses && matches!(t, TokenTree::Group(_))));
    end.map_or(tokens.len(), |end| from + end + 1)
}

/// A path in an expression or a type; where it ends.
fn read_path(tokens: &[TokenTree], from: usize, found: &mut Said) -> usize {
    let mut path = Vec::new();
    let mut at = from;
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        path.push(word.to_string());
        at += 1;
        if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
            break;
        }
        at += 2;
    }
    if path.len() > 1 {
        found.paths.push(path);
    }
    at.max(from + 1)
}

/// A tree of `use`, below a prefix.
fn read_tree(tokens: &[TokenTree], prefix: &[String], found: &mut Said) {
    for branch in tokens.split(|token| is_punct(Some(token), ',')) {
        let mut path = prefix.to_vec();
        let mut words = branch.iter().peekable();
        let mut name = None;
        while let Some(token) = words.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    name = words.next().map(ToString::to_string);
                }
                // `self` at the end of a branch is the prefix itself.
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    read_tree(&inner, &path, found);
                    path.clear();
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".to_owned()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if let Some(last) = path.last() {
            let name = name.unwrap_or_else(|| last.clone());
            found.names.insert(name, path.clone());
            found.paths.push(path);
        }
    }
}

/// The file that a path leads to, when it is one of this crate's.
fn resolve(
    from: &[String],
    path: &[String],
    said: &BTreeMap<Module, Said>,
    more: usize,
) -> Option<Module> {
    let mut names = path.iter().peekable();
    let mut module = match names.peek()?.as_str() {
        "crate" => {
            names.next();
            Module::new()
        }
        _ => from.to_vec(),
    };
    while let Some(name) = names.peek() {
        match name.as_str() {
            "self" => {}
            "super" => drop(module.pop()),
            _ => break,
        }
        names.next();
    }
    let is_anchored = is_anchor(path.first()?);
    let mut is_ours = is_anchored;
    while let Some(name) = names.peek() {
        module.push((*name).clone());
        if !said.contains_key(&module) {
            module.pop();
            break;
        }
        is_ours = true;
        names.next();
    }
    // Another crate's, or a name that an import of this file brought in.
    if !is_ours {
        return None;
    }
    let rest: Vec<String> = names.cloned().collect();
    let passed_on = rest
        .first()
        .and_then(|name| said.get(&module)?.names.get(name));
    match passed_on {
        Some(origin) if more > 0 && module != from => {
            let origin = [origin.as_slice(), rest.get(1..).unwrap_or_default()].concat();
            Some(resolve(&module, &origin, said, more - 1).unwrap_or(module))
        }
        _ => Some(module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let files: Vec<TextFile> = files
            .iter()
            .map(|(name, text)| TextFile {
                path: format!("c/src/{name}").into(),
                text: (*text).to_owned(),
            })
            .collect();
        let edges = edges(Path::new("c/src"), &files).expect("the files can be read");
        let joined = |module: &Module| module.join("::");
        edges
            .iter()
            .map(|(module, targets)| (joined(module), targets.iter().map(joined).collect()))
            .collect()
    }

    #[test]
    fn trees_and_paths_lead_to_files() {
        let edges = found(&[
            ("lib.rs", "mod a; mod b; mod c; pub use b::Thing;"),
            (
                "a.rs",
                "use crate::{b::{self, Other as Mine}, c};\nuse std::fmt;",
            ),
            (
                "b.rs",
                "fn f() { crate::c::g(super::a::X); let x = [self::h()]; }",
            ),
            ("c.rs", "mod d; mod e; use d::Y;"),
            ("c/d.rs", "use super::super::a; use super::e::Z;"),
            ("c/e.rs", "fn f() -> crate::Thing { todo!() }"),
        ]);
        let of = |module: &str| edges.get(module).map(|e| e.join(" ")).unwrap_or_default();
        assert_eq!(of(""), "b");
        assert_eq!(of("a"), "b c");
        assert_eq!(of("b"), "a c");
        assert_eq!(of("c"), "c::d");
        assert_eq!(of("c::d"), "a c::e");
        assert_eq!(
            of("c::e"),
            "b",
            "what the root passes on is where it comes from"
        );
    }

    #[test]
    fn what_is_compiled_for_tests_only_does_not_count() {
        let edges = found(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "#[cfg(test)]\nmod tests { use crate::b::X; }\n#[cfg(test)]\nuse crate::{b};\nfn f() {}",
            ),
            ("b.rs", "#[cfg(test)]\nmod tests;\nuse crate::a::Y;"),
            ("b/tests.rs", "use crate::b::X;"),
        ]);
        assert_eq!(edges.get("a").map(Vec::len), Some(0));
        assert_eq!(edges.get("b"), Some(&vec!["a".to_owned()]));
        assert!(!edges.contains_key("b::tests"));
    }

    #[test]
    fn names_that_lead_in_a_circle_end() {
        let edges = found(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "pub use crate::b::X;"),
            ("b.rs", "pub use crate::a::X;"),
            ("c.rs", "use crate::a::X;"),
        ]);
        assert_eq!(edges.get("c").map(Vec::len), Some(1));
    }
}
