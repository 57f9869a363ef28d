//! Figures that the server counts and every way in shows alike.

/// Upper bounds, in seconds, of the buckets that delays are counted in.
pub const DELAY_BOUNDS: [u64; 9] = [1, 5, 30, 60, 300, 1800, 7200, 43_200, 172_800];
