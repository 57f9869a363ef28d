//! File descriptors: as many as the system allows, divided so that clients never take those that the queue
//! needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Config;

/// More than this is of no use, and some systems know no bound.
const LIMIT_MAX: u64 = 1 << 20;
/// What is assumed where the system tells no limit.
const UNKNOWN: u64 = 4096;

/// How many connections there may be at once, by the limit on open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Of clients, by SMTP.
    pub(crate) intake: usize,
    /// To other servers.
    pub(crate) outgoing: u32,
    /// By HTTP.
    pub(crate) console: usize,
}

impl Shares {
    /// The shares of `limit` descriptors: a quarter is the queue's (its files, index and history), the log's and
    /// everything else's, 64 at least and 1024 at most; of the rest half is for clients, two fifths for
    /// deliveries, a tenth for HTTP.
    pub(crate) fn of(limit: u64) -> Self {
        let kept = (limit / 4).clamp(64, 1024).min(limit / 2);
        let rest = usize::try_from(limit - kept).unwrap_or(usize::MAX);
        Self {
            intake: (rest / 2).max(4),
            outgoing: u32::try_from(rest / 5 * 2).unwrap_or(u32::MAX).max(4),
            console: (rest / 10).max(4),
        }
    }

    /// Those of this process.
    pub(crate) fn current() -> Self {
        Self::of(limit())
    }
}

/// How many files this process may have open.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNKNOWN)
}

/// Raises that to what the system allows; what it was stays where that is refused.
pub fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    if now.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: now.maximum,
        };
        setrlimit(Resource::Nofile, raised).unwrap_or_default();
    }
}

/// Brings the connections that are set down to what the limit on open files has room for, and says so.
pub(crate) fn bound(config: &mut Config, limit: u64) {
    let shares = Shares::of(limit);
    let warnings = &mut config.warnings;
    let mut bound = |key: &str, wanted: usize, share: usize| {
        if wanted > share {
            warnings.push(format!(
                "{key} is {wanted}, but only {share} are used: this process may open {limit} files, and some are \
                 reserved for the queue. Raise LimitNOFILE= of the unit, or `ulimit -Hn`"
            ));
        }
        wanted.min(share)
    };
    let connections = &mut config.connections.all;
    *connections = bound("intake.max_connections", *connections, shares.intake);
    let console = &mut config.console.max_connections;
    *console = bound("console.max_connections", *console, shares.console);
    let outgoing = &mut config.outgoing.max_connections;
    let wanted = usize::try_from(*outgoing).unwrap_or(usize::MAX);
    let share = usize::try_from(shares.outgoing).unwrap_or(usize::MAX);
    let bounded = bound("outgoing.max_connections", wanted, share);
    *outgoing = u32::try_from(bounded).unwrap_or(u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_queue_under_every_limit() {
        for limit in [64, 128, 256, 1024, 4096, 65_536, 1 << 20] {
            let shares = Shares::of(limit);
            let all = shares.intake + shares.outgoing as usize + shares.console;
            let left = limit as usize - all;
            assert!(
                left >= 32.min(limit as usize / 2),
                "{limit}: {left} are left"
            );
            assert!(shares.intake > 0 && shares.outgoing > 0 && shares.console > 0);
        }
        assert_eq!(Shares::of(256).intake, 96);
    }
}
