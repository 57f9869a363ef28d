//! How much memory contents may take, by setting or by what the machine has.

use std::path::Path;

use super::error::{ConfigError, Place};
use super::raw::Text;
use super::values::size;

/// The least that is of use.
const LEAST: u64 = 16 << 20;
/// Bounds of the default.
const DEFAULT: (u64, u64) = (64 << 20, 4 << 30);
/// The default is such a part of the machine's memory.
const PART: u64 = 8;

pub(super) fn setting(text: &Text, place: &Place<'_>) -> Result<u64, ConfigError> {
    match (size(text, place, "outgoing.memory")?, text) {
        (Some(octets), _) if octets >= LEAST => Ok(octets),
        (Some(_), Some(text)) => {
            Err(place.key(text.span(), "outgoing.memory", "a size of at least 16MiB"))
        }
        _ => Ok((available() / PART).clamp(DEFAULT.0, DEFAULT.1)),
    }
}

/// The memory that this process may use: the machine's, or less where its control group is bounded.
fn available() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.saturating_mul(u64::from(info.mem_unit));
    group_limit(Path::new("/sys/fs/cgroup")).map_or(machine, |limit| limit.min(machine))
}

/// The smallest limit of the control group and those above it (version 2).
fn group_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut dir = root.join(own.trim());
    let mut limits = Vec::new();
    loop {
        let limit = std::fs::read_to_string(dir.join("memory.max"));
        limits.extend(limit.ok().and_then(|text| text.trim().parse::<u64>().ok()));
        if dir == root || !dir.pop() {
            return limits.into_iter().min();
        }
    }
}
