//! What a release is built of, and its binaries.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{run, say_step, target_directory};

/// The platforms that a release is made for: by this computer's architecture.
const PLATFORMS: [&str; 2] = ["x86_64", "aarch64"];

/// How a binary is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linking {
    /// With the system's libc.
    Dynamic,
    /// With nothing.
    Static,
}

/// What is built, and of what.
#[derive(Debug)]
pub(crate) struct Release {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// `0.1.0`.
    pub(crate) version: String,
    /// The commit, as the version names it.
    pub(crate) commit: String,
    /// When it was committed, in seconds since 1970: the time in everything that has one.
    pub(crate) epoch: String,
    /// `x86_64` or `aarch64`.
    pub(crate) architecture: &'static str,
}

impl Release {
    /// Of what is checked out.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let git = |words: &[&str]| {
            let said = run(Command::new("git").args(words).current_dir(root))?;
            anyhow::Ok(said.trim().to_owned())
        };
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        if !git(&["status", "--porcelain"])?.is_empty() {
            commit.push_str("-dirty");
        }
        let architecture = PLATFORMS
            .into_iter()
            .find(|name| *name == env::consts::ARCH);
        Ok(Self {
            root: root.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit,
            epoch: git(&["log", "-1", "--format=%ct"])?,
            architecture: architecture
                .context("releases are made on x86-64 and on 64-bit ARM (aarch64)")?,
        })
    }

    /// The file name of a binary.
    pub(crate) fn name(&self, linking: Linking) -> String {
        let suffix = match linking {
            Linking::Dynamic => "",
            Linking::Static => "-static",
        };
        format!(
            "sendoff-{}-linux-{}{suffix}",
            self.version, self.architecture
        )
    }

    /// Builds the binary; its place.
    pub(crate) fn binary(&self, linking: Linking) -> Result<PathBuf> {
        let target = target_directory(&self.root)?.join(match linking {
            Linking::Dynamic => "dist-build/dynamic",
            Linking::Static => "dist-build/static",
        });
        let triple = format!("{}-unknown-linux-gnu", self.architecture);
        let (flags, c_flags) = self.flags(&target, linking)?;
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--locked", "--package", "sendoff"])
            // What is for whoever has the source: the demonstration.
            .arg("--no-default-features")
            .args(["--profile", "dist", "--target", &triple])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .env("CFLAGS", c_flags)
            .env("SENDOFF_COMMIT", &self.commit)
            .env("SOURCE_DATE_EPOCH", &self.epoch);
        say_step(&format!("{linking:?} binary"));
        let status = cargo.status().context("cargo")?;
        match status.success() {
            true => Ok(target.join(triple).join("dist/sendoff")),
            false => bail!("the binary could not be built"),
        }
    }

    /// Flags of both compilers: where things lie on this computer stays out of what they make.
    fn flags(&self, target: &Path, linking: Linking) -> Result<(String, String)> {
        let home = env::var_os("HOME").map(PathBuf::from);
        let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo = cargo.or_else(|| Some(home?.join(".cargo")));
        let cargo = cargo.context("neither CARGO_HOME nor HOME is set")?;
        // The last that fits counts.
        let places = [
            (cargo.as_path(), "/cargo"),
            (self.root.as_path(), "/sendoff"),
            (target, "/target"),
        ];
        let mut rust: Vec<String> = Vec::new();
        let mut c: Vec<String> = Vec::new();
        for (place, name) in places {
            rust.push(format!("--remap-path-prefix={}={name}", place.display()));
            c.push(format!("-ffile-prefix-map={}={name}", place.display()));
        }
        if linking == Linking::Static {
            rust.push("-Ctarget-feature=+crt-static".to_owned());
            // By the system call: without a library to look it up in, getrandom reads /dev/random instead, which the
            // sandbox denies.
            rust.push("--cfg=getrandom_backend=\"linux_getrandom\"".to_owned());
        }
        Ok((rust.join("\u{1f}"), c.join(" ")))
    }
}
