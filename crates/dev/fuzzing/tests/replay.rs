//! Every kept input once more: the seeds, and what a fuzzer ever found. A directory of seeds without
//! a target, and a target without seeds or without a binary of its own, are errors too.

use std::path::{Path, PathBuf};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../fuzz")
        .join(name)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_still_holds() {
    for (target, run) in fuzzing::TARGETS {
        let seeds = files(&directory("seeds").join(target));
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            let input = std::fs::read(&seed).unwrap();
            let name = seed.display();
            let held = std::panic::catch_unwind(|| run(&input));
            assert!(held.is_ok(), "{name}: see above");
        }
    }
}

#[test]
fn no_short_input_breaks_a_promise() {
    for (target, run) in fuzzing::TARGETS {
        run(&[]);
        for octet in 0..=255 {
            run(&[octet]);
            run(&[octet; 40]);
        }
        assert!(fuzzing::run(target, b"\n"));
    }
}

#[test]
fn targets_seeds_and_binaries_are_the_same() {
    let mut targets: Vec<String> = fuzzing::TARGETS.map(|(name, _)| name.to_owned()).into();
    targets.sort();
    let stems = |name: &str| -> Vec<String> {
        let files = files(&directory(name)).into_iter();
        let stem = |path: PathBuf| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        };
        files.map(stem).collect()
    };
    assert_eq!(stems("seeds"), targets);
    assert_eq!(stems("fuzz_targets"), targets);
}
