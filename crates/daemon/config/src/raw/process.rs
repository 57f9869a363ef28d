//! The section about the process.

use serde::Deserialize;

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sandbox {
    /// The process can access only the files that it needs (sandbox by Landlock, Linux 5.19 or later): it writes in `data_dir`, in the
    /// directories of drops, log, `return_path.secrets_file` and Maildirs, and reads the configuration's directory and
    /// those of files that it names, `/etc` and `/usr`. Default: true.
    pub(crate) enabled: Option<bool>,
    /// Further directories that it may write to: for Maildirs that are links elsewhere (`sendoff check` finds them), and
    /// for backups. Default: none.
    pub(crate) paths: Vec<String>,
}
