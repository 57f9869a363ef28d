//! docs/configuration.md, made from the comments of the configuration's raw form.
//!
//! The generator reads lines, not Rust: a structure is its `struct` line and the fields below it,
//! a field is one line with its comment above.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const SOURCE: &str = "crates/daemon/config/src/raw.rs";
/// Where the structures stand that the first file has no room for.
const MORE: &str = "crates/daemon/config/src/raw";
/// Files with further structures.
const FURTHER: [&str; 2] = [
    "crates/daemon/config/src/relay.rs",
    "crates/daemon/config/src/oauth.rs",
];
const PAGE: &str = "docs/configuration.md";
/// What stands above the generated part.
const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the code by `cargo xtask docs`. Do not edit. -->

One TOML file, named by `--config` or `SENDOFF_CONFIG`, `/etc/sendoff/sendoff.toml` else. Every key
has a default; an empty file is a working server on loopback. `sendoff check` finds unknown keys,
wrong types and combinations that cannot be meant, all of them at once, with file, line, key and what is allowed, and
warns of what the server takes and will cause trouble; the server logs the same warnings when it starts.
`sendoff reload`, or SIGHUP, puts a changed file in force without dropping connections.

## Several files

`include = [\"conf.d/*.toml\"]`, above the first section, adds the text of other files: a name, or a pattern with `*`,
`?`, `[…]` and `**`, relative to the directory of the first file. Files of a pattern are read in lexical order, those with a
dot in front are left out, and no file is read twice. A pattern may match nothing; a name must be there. Tables merge
(`[outgoing]` in two files is one section), lists of sections append (`[[listener]]`, `[[domain]]` …), and everything else
is set in one place: a key that is set twice is an error that names both. Relative paths in an included file are below the
directory of the first file too. Included files include no others.

`sendoff reload` reads all of them again, new ones too; `sendoff backup` copies them (`included`).

## Values from outside

`${NAME}` in a text is the value of the environment variable `NAME`; `$${` stands for the characters `${`. A variable
that is not set is an error that names it. Only texts are filled in, and what a variable holds is not read again: it can
add no keys. `include` and the files that the configuration names (rules, users, keys) have no variables. A reload reads
the environment that the server was started with. Commands that ask the server, such as `sendoff queue list`, do not need
the variables, unless they say where the server is (`data_dir`, `users.file` …).

`credential:NAME`, for a key that names a file which is read (`password_file`, `private_key`, `secret_file` …), is a
credential of systemd (`LoadCredential=NAME:…`, `LoadCredentialEncrypted=`): the file `NAME` in
`$CREDENTIALS_DIRECTORY`, or in `/run/credentials/sendoff.service` for commands that systemd did not start.

    [outgoing.relay]
    host = \"${RELAY_HOST}\"
    username = \"${RELAY_USER}\"
    password_file = \"credential:relay-password\"

## Values

Times are written `30s`, `5m`, `4h`, `5d`; sizes `512KB`, `50MB`. A number without a unit is seconds or octets:
`resend_wait = 300` is 5 minutes. Relative paths are below the
directory of the first file.
";

/// A field of a structure.
#[derive(Debug, Default, Clone)]
struct Field {
    name: String,
    kind: String,
    comment: String,
}

/// Structures by their names.
type Structures = BTreeMap<String, Vec<Field>>;

/// Writes the page.
pub(crate) fn write(root: &Path) -> Result<()> {
    let page = page(root)?;
    fs::create_dir_all(root.join("docs"))?;
    fs::write(root.join(PAGE), page).context(PAGE)
}

/// Whether the page is what the code says.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let is = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    let page = page(root)?;
    let mut found = Vec::new();
    if is != page {
        found.push(format!(
            "{PAGE}: is not what {SOURCE} says; run `cargo xtask docs`"
        ));
    }
    let silent = page.lines().filter(|l| l.ends_with("|  |"));
    found.extend(silent.map(|l| format!("{SOURCE}: a key without its comment: {l}")));
    Ok(found)
}

fn page(root: &Path) -> Result<String> {
    let mut source = String::new();
    for file in std::iter::once(SOURCE).chain(FURTHER) {
        source += &fs::read_to_string(root.join(file)).context(file)?;
    }
    for entry in fs::read_dir(root.join(MORE)).context(MORE)? {
        source += &fs::read_to_string(entry?.path()).context(MORE)?;
    }
    Ok(format!("{INTRODUCTION}{}", render(&structures(&source))))
}

/// The page as a man page, `sendoff.toml(5)`.
pub(crate) fn man(root: &Path) -> Result<String> {
    let mut text = String::from(
        ".TH SENDOFF.TOML 5 \"\" \"Sendoff\" \"File Formats\"\n.SH NAME\n\
         sendoff.toml \\- configuration of the Sendoff mail server\n.SH DESCRIPTION\n",
    );
    let mut in_row = false;
    for line in page(root)?.lines() {
        if line.starts_with("# ") || line.starts_with("<!--") || line.starts_with("|---") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').splitn(3, " | ").collect();
        match (line.strip_prefix("## "), &cells[..]) {
            (Some(section), _) => text += &format!(".SH {}\n", roff(section)),
            (None, ["key" | " key", ..]) => {}
            (None, [key, kind, meaning]) if line.starts_with('|') => {
                let meaning = meaning.trim().replace("\\|", "|");
                let (key, kind) = (roff(key.trim()), roff(kind.trim()));
                text += &format!(".TP\n.BR {key} \" ({kind})\"\n{}\n", roff(&meaning));
            }
            (None, _) if line.is_empty() => text += if in_row { "" } else { ".PP\n" },
            (None, _) => text += &format!("{}\n", roff(line)),
        }
        in_row = line.starts_with('|');
    }
    text += ".SH SEE ALSO\n.BR sendoff (1),\n.I /usr/share/doc/sendoff/configuration.md\n";
    Ok(text)
}

/// Text as troff takes it.
fn roff(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('`', "");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn structures(source: &str) -> Structures {
    let mut structures = Structures::new();
    let mut current: Option<(String, Vec<Field>)> = None;
    let mut field = Field::default();
    for line in source.lines().map(str::trim) {
        if let Some(name) = between(line, "pub(crate) struct ", " {") {
            current = Some((name.to_owned(), Vec::new()));
            field = Field::default();
        } else if line == "}" {
            structures.extend(current.take());
        } else if let Some(comment) = line.strip_prefix("///") {
            let space = if field.comment.is_empty() { "" } else { " " };
            field.comment += &format!("{space}{}", comment.trim());
        } else if let Some(name) = between(line, "#[serde(rename = \"", "\")]") {
            name.clone_into(&mut field.name);
        } else if let (Some((_, fields)), Some(declared)) =
            (&mut current, between(line, "pub(crate) ", ","))
            && let Some((name, kind)) = declared.split_once(": ")
        {
            if field.name.is_empty() {
                name.clone_into(&mut field.name);
            }
            kind.clone_into(&mut field.kind);
            fields.push(std::mem::take(&mut field));
        }
    }
    structures
}

fn between<'a>(line: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    line.strip_prefix(before)?.strip_suffix(behind)
}

fn render(structures: &Structures) -> String {
    let mut text = String::new();
    section(structures, "Raw", "", "", &mut text);
    text
}

/// A section: its own keys, then the sections within it.
fn section(structures: &Structures, name: &str, path: &str, comment: &str, text: &mut String) {
    let fields = structures.get(name).map(Vec::as_slice).unwrap_or_default();
    let inner = |field: &Field| {
        let kind = structures
            .keys()
            .find(|s| bare(&field.kind) == s.as_str())
            .cloned();
        kind.map(|kind| (field.clone(), kind))
    };
    let keys: Vec<&Field> = fields.iter().filter(|f| inner(f).is_none()).collect();
    if !path.is_empty() {
        *text += &format!("\n## `{path}`\n");
        if !comment.is_empty() {
            *text += &format!("\n{comment}\n");
        }
    }
    if !keys.is_empty() {
        *text += "\n| key | type | meaning |\n|---|---|---|\n";
    }
    for key in keys {
        let comment = key.comment.replace('|', "\\|");
        *text += &format!("| `{}` | {} | {comment} |\n", key.name, type_of(&key.kind));
    }
    for (field, kind) in fields.iter().filter_map(inner) {
        let many = field.kind.contains("Vec<");
        let outer = path.trim_matches(['[', ']']);
        let dotted = match outer {
            "" => field.name.clone(),
            outer => format!("{outer}.{}", field.name),
        };
        let path = match many {
            true => format!("[[{dotted}]]"),
            false => format!("[{dotted}]"),
        };
        section(structures, &kind, &path, &field.comment, text);
    }
}

/// The innermost name of a type.
fn bare(kind: &str) -> &str {
    let inner = kind.rsplit('<').next().unwrap_or(kind);
    inner.trim_end_matches('>')
}

/// What a value looks like in the file.
fn type_of(kind: &str) -> &'static str {
    let inner = bare(kind);
    match inner {
        _ if kind.starts_with("BTreeMap<") => "section",
        "bool" => "true or false",
        "PlanText" | "OneOrMany" => "text or list",
        "NumberOrText" | "Quantity" => "number or text",
        "Number" | "u16" | "u32" | "u64" | "usize" => "number",
        _ if kind.contains("Vec<") => "list of texts",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_comments_are_found() {
        let source = "pub(crate) struct Raw {\n    /// The name.\n    /// Default: none.\n    \
            pub(crate) hostname: Text,\n    /// Rules.\n    \
            pub(crate) domain: Vec<Spanned<Rule>>,\n}\n\
            pub(crate) struct Rule {\n    /// Which.\n    #[serde(rename = \"match\")]\n    \
            pub(crate) matching: Text,\n    pub(crate) max: Number,\n}\n";
        let expected = "\n| key | type | meaning |\n|---|---|---|\n\
            | `hostname` | text | The name. Default: none. |\n\n## `[[domain]]`\n\nRules.\n\n\
            | key | type | meaning |\n|---|---|---|\n| `match` | text | Which. |\n\
            | `max` | number |  |\n";
        assert_eq!(render(&structures(source)), expected);
    }
}
