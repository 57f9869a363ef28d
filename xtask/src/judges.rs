//! What tests judge by that is not ours: Python packages from PyPI, in an environment of their own
//! in the target directory. Another interpreter that has them is named by `SENDOFF_PYTHON`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{root, say};

/// dkimpy verifies signatures of mail, PyNaCl gives it Ed25519; standardwebhooks those of events.
const PACKAGES: [&str; 4] = [
    "dkimpy==1.1.8",
    "pynacl==1.6.2",
    "dnspython==2.9.2",
    "standardwebhooks==1.1.0",
];
const MODULES: &str = "import dkim, nacl, dns, standardwebhooks";

/// Makes the environment where it is missing.
pub(crate) fn prepare() -> Result<()> {
    if let Some(python) = env::var_os("SENDOFF_PYTHON") {
        if has_modules(Path::new(&python)) {
            return Ok(());
        }
        bail!("SENDOFF_PYTHON: {python:?} does not run, or lacks {PACKAGES:?}");
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let home = root().join(target).join("judges");
    let python = home.join("bin/python");
    if has_modules(&python) {
        return Ok(());
    }
    say("== judges (from PyPI)\n");
    run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&home),
        "python3 -m venv failed: Debian has it in the package python3-venv",
    )?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    run(
        pip.args(PACKAGES),
        "dkimpy and standardwebhooks, which verify our signatures in the tests, could not be fetched \
         from PyPI. Without PyPI, install them and PyNaCl by other means, and name a Python that has \
         them in SENDOFF_PYTHON",
    )
}

fn has_modules(python: &Path) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", MODULES]);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn run(command: &mut Command, why: &'static str) -> Result<()> {
    let status = command.status().context(why)?;
    match status.success() {
        true => Ok(()),
        false => bail!(why),
    }
}
