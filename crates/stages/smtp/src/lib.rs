//! SMTP without sockets: commands, replies, extensions, dot-stuffing and the server's side of a
//! session, all as values and functions over bytes (RFC 5321).
//!
//! There is no I/O here, no clock and no policy: who may send what to whom is decided by the
//! crate that drives the session, and the time is an argument.

pub mod command;
pub mod data;
pub mod dialog;
pub mod dot_stuffing;
pub mod extension;
pub mod line;
pub mod machine;
pub mod reply;
pub mod sasl;
pub mod server;
