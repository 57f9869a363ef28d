//! A release: the binary, one that is linked statically, the Debian package, a container image, a list of what is in
//! it (SBOM) and checksums. Two builds of one commit are equal, wherever they are made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::release::{Linking, Release};
use crate::shell::{install, run, say_step, target_directory};
use crate::{deb, image, sbom};

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
