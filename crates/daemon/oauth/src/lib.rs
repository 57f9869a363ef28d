//! OAuth 2 for the login at a relay: how a token is asked for, what is kept of it, and what a refusal means.

pub mod flows;
pub mod kept;
pub mod words;
