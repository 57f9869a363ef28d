//! The Debian package: the binary, what `packaging/` has for it, and every page of `docs/`, as a tree that
//! `dpkg-deb` packs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::configuration;
use crate::shell::{install, parents, run, target_directory};

/// Files of `packaging/`, and of the project, with their places in the system.
const FILES: [(&str, &str); 12] = [
    ("packaging/sendoff.toml", "usr/share/sendoff/sendoff.toml"),
    (
        "packaging/sendoff.service",
        "usr/lib/systemd/system/sendoff.service",
    ),
    (
        "packaging/sendoff.socket",
        "usr/lib/systemd/system/sendoff.socket",
    ),
    ("packaging/sysusers.conf", "usr/lib/sysusers.d/sendoff.conf"),
    ("packaging/tmpfiles.conf", "usr/lib/tmpfiles.d/sendoff.conf"),
    (
        "packaging/deploy-certificate.sh",
        "usr/share/doc/sendoff/deploy-certificate.sh",
    ),
    (
        "packaging/monitoring/alerts.yml",
        "usr/share/sendoff/monitoring/alerts.yml",
    ),
    (
        "packaging/monitoring/grafana.json",
        "usr/share/sendoff/monitoring/grafana.json",
    ),
    ("LICENSE-MIT", "usr/share/doc/sendoff/copyright"),
    ("packaging/man/sendmail.8", "usr/share/man/man8/sendmail.8"),
    ("packaging/man/mailq.1", "usr/share/man/man1/mailq.1"),
    (
        "packaging/man/newaliases.1",
        "usr/share/man/man1/newaliases.1",
    ),
];
/// Names that other programs know, and what they lead to.
const LINKS: [(&str, &str); 4] = [
    ("usr/sbin/sendmail", "../bin/sendoff"),
    ("usr/lib/sendmail", "../sbin/sendmail"),
    ("usr/bin/mailq", "sendoff"),
    ("usr/bin/newaliases", "sendoff"),
];
/// Shells, with the places of their completions.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/sendoff"),
    ("zsh", "usr/share/zsh/vendor-completions/_sendoff"),
    ("fish", "usr/share/fish/vendor_completions.d/sendoff.fish"),
];

/// Builds the package, of the release build or of the debug build; returns its place.
pub(crate) fn build(root: &Path, release: bool) -> Result<PathBuf> {
    let mut words = vec!["build", "--locked", "--package", "sendoff"];
    words.extend(release.then_some("--release"));
    crate::cargo(&words)?;
    let built = target_directory(root)?.join(if release { "release" } else { "debug" });
    pack(root, &built.join("sendoff"), None)
}

/// Packs a binary; everything in the package has the time `epoch`, where it is given.
pub(crate) fn pack(root: &Path, built: &Path, epoch: Option<&str>) -> Result<PathBuf> {
    let target = target_directory(root)?;
    let tree = target.join("deb/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("removing the tree of before")?;
    }
    let binary = tree.join("usr/bin/sendoff");
    install(built, &binary, 0o755)?;
    run(Command::new("strip").arg("--strip-unneeded").arg(&binary))?;
    for (from, to) in FILES {
        install(&root.join(from), &tree.join(to), 0o644)?;
    }
    pages(root, &tree.join("usr/share/doc/sendoff"))?;
    for (name, to) in LINKS {
        let name = tree.join(name);
        parents(&name)?;
        symlink(to, &name).with_context(|| name.display().to_string())?;
    }
    generated(root, &binary, &tree)?;
    control(root, &tree, &binary)?;
    let package = target.join("deb").join(name()?);
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zxz", "-z6", "--build"]);
    pack.args([&tree, &package]);
    if let Some(epoch) = epoch {
        pack.env("SOURCE_DATE_EPOCH", epoch);
    }
    run(&mut pack)?;
    Ok(package)
}

/// The package's file name.
pub(crate) fn name() -> Result<String> {
    Ok(format!("sendoff_{}_{}.deb", version(), architecture()?))
}

/// All documents, so that each link in them leads somewhere.
fn pages(root: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(root.join("docs")).context("docs")? {
        let path = entry?.path();
        // README's pictures are for those who look before they install.
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().context("a page without a name")?;
        install(&path, &to.join(name), 0o644)?;
    }
    let news = fs::read_to_string(root.join("CHANGELOG.md")).context("CHANGELOG.md")?;
    fs::write(to.join("NEWS"), news.replace("](docs/", "](")).context("NEWS")
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn architecture() -> Result<String> {
    let output = run(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(output.trim().to_owned())
}

/// What the binary writes about itself, and the reference of the configuration: man pages and completions.
fn generated(root: &Path, binary: &Path, tree: &Path) -> Result<()> {
    let pages = tree.join("usr/share/man/man1");
    fs::create_dir_all(&pages).context("making the directory for man pages")?;
    run(Command::new(binary).arg("man").arg(&pages))?;
    let page = tree.join("usr/share/man/man5/sendoff.toml.5");
    parents(&page)?;
    fs::write(&page, configuration::man(root)?).context("sendoff.toml(5)")?;
    for (shell, to) in SHELLS {
        let text = run(Command::new(binary).args(["completions", shell]))?;
        let to = tree.join(to);
        parents(&to)?;
        fs::write(&to, text).with_context(|| to.display().to_string())?;
    }
    Ok(())
}

/// The package's own files: what it is, what it needs, and what is done when it comes and goes.
fn control(root: &Path, tree: &Path, binary: &Path) -> Result<()> {
    let source = root.join("packaging/debian");
    let text = fs::read_to_string(source.join("control")).context("packaging/debian/control")?;
    let size = run(Command::new("du")
        .args(["-sk", "--apparent-size"])
        .arg(tree))?;
    let size = size.split_ascii_whitespace().next().unwrap_or("0");
    let text = text
        .replace("@version@", &version())
        .replace("@architecture@", &architecture()?)
        .replace("@size@", size)
        .replace("@depends@", &depends(binary)?);
    let to = tree.join("DEBIAN");
    fs::create_dir_all(&to).context("DEBIAN")?;
    fs::write(to.join("control"), text).context("DEBIAN/control")?;
    install(&source.join("templates"), &to.join("templates"), 0o644)?;
    for script in ["config", "postinst", "prerm", "postrm"] {
        install(&source.join(script), &to.join(script), 0o755)?;
    }
    Ok(())
}

/// The libraries that the binary is linked with, and the oldest libc that has what it calls.
fn depends(binary: &Path) -> Result<String> {
    let symbols = run(Command::new("objdump").arg("-T").arg(binary))?;
    let newest = newest_glibc(&symbols).context("the binary calls no libc")?;
    Ok(format!("libc6 (>= {}.{}), libgcc-s1", newest.0, newest.1))
}

fn newest_glibc(symbols: &str) -> Option<(u32, u32)> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (major, minor) = rest.get(..end?)?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_libc_counts() {
        let symbols = "0 DF *UND* 0 (GLIBC_2.2.5) read\n0 DF *UND* 0 (GLIBC_2.34) x\n\
                       0 DF *UND* 0 (GLIBC_2.9) y\n";
        assert_eq!(newest_glibc(symbols), Some((2, 34)));
        assert_eq!(newest_glibc("nothing"), None);
    }
}
