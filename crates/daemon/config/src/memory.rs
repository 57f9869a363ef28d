//! How much memory contents may take, by setting or by what the machine has.

use std::path::Path;

use super::error::{ConfigError, Place};
use super::raw::Quantity;
use super::values::size;

/// The least that is of use.
const LEAST: u64 = 16 << 20;

/// A default: such a part of the machine's memory, within bounds.
struct Usual {
    part: u64,
    least: u64,
    most: u64,
}

/// For contents that are read back to be sent.
const SENDING: Usual = Usual {
    part: 8,
    least: 64 << 20,
    most: 4 << 30,
};
/// For contents that are being received.
const RECEIVING: Usual = Usual {
    part: 4,
    least: 128 << 20,
    most: 1 << 30,
};

pub(super) fn sending(text: &Quantity, place: &Place<'_>) -> Result<u64, ConfigError> {
    setting(text, place, "outgoing.memory", &SENDING)
}

pub(super) fn receiving(text: &Quantity, place: &Place<'_>) -> Result<u64, ConfigError> {
    setting(text, place, "intake.memory", &RECEIVING)
}

fn setting(
    text: &Quantity,
    place: &Place<'_>,
    key: &str,
    usual: &Usual,
) -> Result<u64, ConfigError> {
    match (size(text, place, key)?, text) {
        (Some(octets), _) if octets >= LEAST => Ok(octets),
        (Some(_), Some(text)) => Err(place.key(text.span(), key, "a size of at least 16MiB")),
        _ => Ok((available() / usual.part).clamp(usual.least, usual.most)),
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
