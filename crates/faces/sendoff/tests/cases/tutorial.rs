//! The tutorial's blocks, put into the package's file in their order, as their first lines say.

use std::fs;
use std::path::Path;
use std::process::Command;

use lab::Scratch;

use crate::scene::BINARY;

const TUTORIAL: &str = include_str!("../../../../../docs/tutorial.md");
const PACKAGED: &str = include_str!("../../../../../packaging/sendoff.toml");

/// Each block with what stands above it.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let parts = TUTORIAL.split("```toml\n").skip(1);
    let block = |part: &'static str| part.split_once("\n```").expect("a block ends").0;
    let first = |block: &'static str| block.split_once('\n').expect("a block has lines");
    parts.map(|part| first(block(part))).collect()
}

/// The key of a line `key = …`, also where it stands behind a `#`.
fn key(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(['#', ' ']);
    let (key, _) = line.split_once(" = ")?;
    key.bytes()
        .all(|b| b.is_ascii_lowercase() || b == b'_')
        .then_some(key)
}

/// Sets keys in a section, or above all sections.
fn set(file: &str, section: Option<&str>, keys: &str) -> String {
    let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
    for new in keys.lines().filter(|line| key(line).is_some()) {
        let start = section.map_or(0, |name| {
            let at = lines.iter().position(|line| line == name);
            at.expect("the section is there") + 1
        });
        let is_section = |line: &String| line.trim_start_matches(['#', ' ']).starts_with('[');
        let end = lines.iter().skip(start).position(is_section);
        let end = end.map_or(lines.len(), |n| start + n);
        let mut section = lines.iter_mut().take(end).skip(start);
        match section.find(|line| key(line) == key(new)) {
            Some(line) => new.clone_into(line),
            None => lines.insert(start, new.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

fn check(file: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(file);
    let output = command.args(["check", "--without-secrets"]).output();
    let output = output.expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn every_block_fits_the_packages_file() {
    let scratch = Scratch::new();
    let path = scratch.path().join("sendoff.toml");
    let mut file = PACKAGED.to_owned();
    let all = blocks();
    assert!(all.len() > 15, "{}", all.len());
    for (place, block) in all {
        file = match place {
            "# add" => format!("{file}\n{block}\n"),
            "# set at the top of the file" => set(&file, None, block),
            "# set in [outgoing]" => set(&file, Some("[outgoing]"), block),
            other => panic!("nobody knows where this belongs: {other}\n{block}"),
        };
        fs::write(&path, &file).expect("a file");
        let (code, said) = check(&path);
        assert_eq!(code, Some(0), "{place}\n{block}\n{said}\n{file}");
        assert!(!said.contains("error:"), "{block}\n{said}");
    }
    for line in [
        "hostname = \"mail.example.com\"",
        "[outgoing.relay]",
        "[srs]",
    ] {
        assert_eq!(
            file.lines().filter(|l| *l == line).count(),
            1,
            "{line}\n{file}"
        );
    }
}
