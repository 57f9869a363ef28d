//! Who reports to senders.

use notify::Reporter;

use crate::Node;

/// The original is returned whole up to this size, in octets.
const ORIGINAL_MAX: usize = 50_000;

/// Who reports, and whether failures are reported.
pub fn reporter(node: &Node) -> (Reporter, bool) {
    let settings = node.settings();
    let config = &settings.config;
    let reporter = Reporter {
        hostname: config.hostname.to_string(),
        postmaster: config.postmaster.clone(),
        original_max: ORIGINAL_MAX,
    };
    (reporter, config.outgoing.failure_messages)
}
