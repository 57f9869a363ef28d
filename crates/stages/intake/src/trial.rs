//! Addresses of a reserved domain (RFC 6761 §6.2: no `.test` is in DNS) by which a test says what is to happen.

use mail::{Address, EnhancedCode, Reply};

use crate::refusal::{Reason, Refusal};

/// Whose local parts say what is to happen to a test.
pub const TEST_DOMAIN: &str = "sendoff.test";
/// What they may be; what follows a `+` is the tester's own.
pub const TEST_NAMES: [&str; 5] = ["delivered", "deferred", "failed", "bounced", "complained"];

/// The name by which an address says what is to happen, in lower case; `None` for addresses of other domains.
#[must_use]
pub fn test_name(address: &Address) -> Option<String> {
    let local = address.local();
    let name = local.split_once('+').map_or(local, |(name, _)| name);
    let is_there = address.domain().as_str().eq_ignore_ascii_case(TEST_DOMAIN);
    is_there.then(|| name.to_ascii_lowercase())
}

/// Whether a test may be for this address.
///
/// # Errors
/// The refusal of one at the domain of tests that says nothing.
pub(crate) fn check(address: &Address) -> Result<(), Refusal> {
    match test_name(address) {
        Some(name) if !TEST_NAMES.contains(&name.as_str()) => {
            let text = format!(
                "{address} is not a test address: at {TEST_DOMAIN} there are {}",
                TEST_NAMES.join(", ")
            );
            let reply = Reply::new(550, Some(EnhancedCode::new(5, 1, 1)), text);
            Err(Refusal::new(Reason::UnknownTest, reply))
        }
        Some(_) | None => Ok(()),
    }
}
