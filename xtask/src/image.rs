//! The container image: the static binary, the authorities that certificates are checked by, a user and a configuration,
//! and nothing else. Made by `buildah`, which needs no daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::release::Release;
use crate::shell::{install, run, say_step, target_directory};

/// The user in the image; a number, so that `runAsNonRoot` can be seen to hold.
const USER: &str = "10025";
/// Where Debian keeps the authorities, here and in the image.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// What an image is started with where nothing else is mounted.
const CONFIGURATION: &str = "packaging/container/sendoff.toml";

/// Makes the image, as an archive for `docker load` and `podman load`.
pub(crate) fn make(release: &Release, binary: &Path, to: &Path) -> Result<PathBuf> {
    let tree = tree(release, binary)?;
    let name = format!(
        "sendoff-{}-image-{}.tar",
        release.version, release.architecture
    );
    let archive = to.join(name);
    let buildah = |words: &[&str]| {
        let mut command = Command::new("buildah");
        // No kernel modules and no name spaces are needed for what only copies files.
        command.args(["--storage-driver", "vfs"]).args(words);
        run(&mut command).context("the image is made by buildah (Debian: apt install buildah)")
    };
    let container = buildah(&["from", "scratch"])?;
    let container = container.trim();
    let made = (|| {
        let source = tree.display().to_string();
        buildah(&["copy", "--quiet", container, &source, "/"])?;
        let data = format!("{}/var/lib/sendoff", tree.display());
        let owner = format!("{USER}:{USER}");
        buildah(&[
            "copy",
            "--quiet",
            "--chown",
            &owner,
            container,
            &data,
            "/var/lib/sendoff",
        ])?;
        let created = format!("org.opencontainers.image.revision={}", release.commit);
        let version = format!("org.opencontainers.image.version={}", release.version);
        buildah(&[
            "config",
            "--user",
            &owner,
            "--entrypoint",
            "[\"/usr/bin/sendoff\"]",
            "--cmd",
            "serve",
            "--volume",
            "/var/lib/sendoff",
            "--port",
            "2525/tcp",
            "--stop-signal",
            "SIGTERM",
            "--healthcheck",
            "CMD /usr/bin/sendoff health",
            "--healthcheck-interval",
            "30s",
            "--label",
            &created,
            "--label",
            &version,
            container,
        ])?;
        // Docker's form: OCI's has no place for the check.
        let image = format!("sendoff:{}", release.version);
        let timestamp = [
            "commit",
            "--format",
            "docker",
            "--timestamp",
            &release.epoch,
        ];
        buildah(&[&timestamp[..], &["--quiet", container, &image]].concat())?;
        let place = format!("docker-archive:{}:{image}", archive.display());
        buildah(&["push", "--quiet", &image, &place])?;
        buildah(&["rmi", &image])
    })();
    buildah(&["rm", container])?;
    made.map(|_| archive)
}

/// What the image contains.
fn tree(release: &Release, binary: &Path) -> Result<PathBuf> {
    let tree = target_directory(&release.root)?.join("image/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("removing the tree of before")?;
    }
    install(binary, &tree.join("usr/bin/sendoff"), 0o755)?;
    install(
        &release.root.join(CONFIGURATION),
        &tree.join("etc/sendoff/sendoff.toml"),
        0o644,
    )?;
    let authorities = Path::new("/").join(AUTHORITIES);
    install(&authorities, &tree.join(AUTHORITIES), 0o644).context("apt install ca-certificates")?;
    let passwd = format!("sendoff:x:{USER}:{USER}:Sendoff:/var/lib/sendoff:/usr/bin/sendoff\n");
    fs::write(tree.join("etc/passwd"), passwd).context("etc/passwd")?;
    fs::write(tree.join("etc/group"), format!("sendoff:x:{USER}:\n")).context("etc/group")?;
    fs::create_dir_all(tree.join("var/lib/sendoff")).context("var/lib/sendoff")?;
    fs::create_dir_all(tree.join("tmp")).context("tmp")?;
    Ok(tree)
}

/// Starts what the image contains as a container would, where no engine runs: as its user, with its files as the root
/// directory; asks it by its own check, and sends it a mail.
pub(crate) fn try_out(release: &Release, made: &Path) -> Result<()> {
    say_step("image, tried by chroot");
    let tree = target_directory(&release.root)?.join("image/tree");
    if !made.exists() || !tree.exists() {
        bail!("the image has not been made");
    }
    let script = release.root.join("packaging/container/try-image.sh");
    run(Command::new(script).arg(&tree).arg(USER)).map(|said| crate::say(&said))
}
