//! The version that the server tells.

/// In release builds with the commit that it was built from: `0.1.0 (1a2b3c4d5e6f)`.
pub const VERSION: &str = env!("SENDOFF_VERSION");
