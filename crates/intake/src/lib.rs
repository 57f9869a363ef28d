//! What this server accepts, from whom, and within which limits.
