//! A release: the binary, one that is linked statically, the Debian package, a container image, a list of what is in
//! it (SBOM) and checksums. Two builds of one commit are equal, wherever they are made.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{install, run, say_step, target_directory};
use crate::{deb, image, sbom};

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
    fn name(&self, linking: Linking) -> String {
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
            .args(["build", "--locked", "--package", "server"])
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

/// Makes all of it, in `dist/` of the target directory.
pub(crate) fn make(root: &Path) -> Result<PathBuf> {
    let release = Release::of(root)?;
    let to = target_directory(root)?.join("dist");
    if to.exists() {
        fs::remove_dir_all(&to).context("removing the release of before")?;
    }
    fs::create_dir_all(&to).context("making the release's directory")?;
    let name = release.name(Linking::Dynamic);
    let dynamic = release.binary(Linking::Dynamic)?;
    let fixed = release.binary(Linking::Static)?;
    install(&dynamic, &to.join(&name), 0o755)?;
    install(&fixed, &to.join(release.name(Linking::Static)), 0o755)?;
    say_step("Debian package");
    let package = deb::pack(&release.root, &dynamic, Some(&release.epoch))?;
    let package_name = package.file_name().context("a package without a name")?;
    install(&package, &to.join(package_name), 0o644)?;
    say_step("list of contents (SBOM)");
    sbom::write(&release, &to.join(format!("{name}.cdx.json")))?;
    say_step("container image");
    image::make(&release, &fixed, &to)?;
    checksums(&to)?;
    Ok(to)
}

fn checksums(dir: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).context("the release")? {
        names.push(entry?.file_name());
    }
    names.sort();
    let said = run(Command::new("sha256sum").args(&names).current_dir(dir))?;
    fs::write(dir.join("SHA256SUMS"), said).context("SHA256SUMS")
}

/// Starts the binary on a queue of a million recipients.
fn try_large_queue(release: &Release, made: &Path) -> Result<()> {
    say_step("a queue of a million recipients");
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "spool",
        ])
        .args(["--example", "fill"])
        .current_dir(&release.root);
    run(&mut cargo)?;
    let fill = target_directory(&release.root)?.join("release/examples/fill");
    let name = release.name(Linking::Dynamic);
    let script = release.root.join("packaging/try-large-queue.sh");
    run(Command::new(script).arg(made.join(name)).arg(fill)).map(|said| crate::say(&said))
}

/// What takes too long for every change and must hold before a release: it can be made, twice with the same result from
/// different directories, and what it contains runs, with a queue of a million recipients too.
pub(crate) fn check(root: &Path) -> Result<()> {
    let release = Release::of(root)?;
    if release.commit.ends_with("-dirty") {
        bail!("a release is made of a commit: commit or stash the changes first");
    }
    let first = make(root)?;
    image::try_out(&release, &first)?;
    say_step("static binary, tried as several users");
    let name = release.name(Linking::Static);
    let script = root.join("packaging/try-static.sh");
    crate::say(&run(Command::new(script).arg(first.join(name)))?);
    say_step("package, tried in a clean system");
    let package = deb::name()?;
    run(Command::new(root.join("packaging/try-package.sh")).arg(first.join(package)))?;
    try_large_queue(&release, &first)?;
    // Elsewhere, and under another name.
    let copy = target_directory(root)?.join("dist-again");
    if copy.exists() {
        fs::remove_dir_all(&copy).context("removing the checkout of before")?;
    }
    run(Command::new("git")
        .args(["clone", "--quiet"])
        .arg(root)
        .arg(&copy))?;
    let second = Release::of(&copy)?;
    for linking in [Linking::Dynamic, Linking::Static] {
        let again = second.binary(linking)?;
        let kept = first.join(release.name(linking));
        let same = fs::read(&again).context("the second build")? == fs::read(&kept)?;
        if !same {
            bail!(
                "two builds of one commit differ: {} and {}",
                kept.display(),
                again.display()
            );
        }
    }
    fs::remove_dir_all(&copy).context("removing the second checkout")?;
    crate::say("release-check: made twice, with the same result; what it contains runs\n");
    Ok(())
}
