//! How a recipient ended, and what was said in the attempt that led there.

use std::sync::Arc;
use std::time::Duration;

use mail::{RecipientKey, Verdict};
use ops::VerbError;
use tokio::sync::oneshot;

/// The pause before what the full disk refused is written again.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A recipient's end.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) key: RecipientKey,
    pub(crate) verdict: Verdict,
    pub(crate) attempts: u32,
    /// Its sender is not to hear of it.
    pub(crate) silent: bool,
    /// That it was passed on is told, whatever its NOTIFY says but NEVER (RFC 2852 §4.1.4).
    pub(crate) passed_on: bool,
}

/// What was said in the attempt that led here.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) transcript: Option<String>,
    /// Recipients (by number) whose host took the delivery reports over (RFC 3461).
    pub(crate) reports_taken: Vec<u32>,
    /// Recipients (by number) of which it is to be told that their mail was passed on (RFC 2852).
    pub(crate) passed_on: Vec<u32>,
    /// The sources that recipients (by number) were tried from, where one was chosen.
    pub(crate) sources: Vec<(u32, Arc<str>)>,
}

/// An administrator who waits for it, and the counts to answer with.
pub(crate) type Waiting = (oneshot::Sender<Result<[u64; 3], VerbError>>, [u64; 3]);
