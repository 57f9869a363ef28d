//! What must hold for any octets at all, as one function per parser: each takes the fuzzer's input
//! and panics where a promise is broken. The binaries in `fuzz/` search for such inputs; the test of
//! this crate runs every kept input again, without a fuzzer.
//!
//! Nothing here only waits for a crash: what is read is written and read again, what is cut in
//! pieces reads as the whole does, and what is made stays within its bounds.

mod convert;
mod dkim;
mod drop_file;
mod filter;
mod login;
mod octets;
mod paths;
mod protocol;
mod published;
mod queue;
mod relay_login;
mod replies;
mod report;
mod settings;
mod text;

/// A target: its name, which is that of its directory of seeds and of its binary, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 21] = [
    ("address", text::address),
    ("address_list", drop_file::address_list),
    ("command", protocol::command),
    ("configuration", settings::configuration),
    ("convert", convert::converted),
    ("data", protocol::data),
    ("dkim", dkim::signed),
    ("drop_file", drop_file::drop_file),
    ("filter", filter::filter),
    ("frames", queue::frames),
    ("header", text::header),
    ("login", login::login),
    ("paths", paths::paths_target),
    ("published", published::published),
    ("record", queue::record),
    ("relay_login", relay_login::relay_login),
    ("replies", replies::replies),
    ("reply", protocol::reply),
    ("report", report::report),
    ("returned", paths::returned),
    ("sendmail_text", drop_file::sendmail_text),
];

/// Runs the target of this name on one input; `false` when there is none of this name.
#[must_use]
pub fn run(target: &str, input: &[u8]) -> bool {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    if let Some((_, run)) = found {
        run(input);
    }
    found.is_some()
}
