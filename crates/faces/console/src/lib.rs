//! The way in by HTTP: mail from programs, the administrator's verbs, and figures for those who
//! watch.
//!
//! Handlers are thin: they read the request, ask the [`Backend`], and show its answer. What a verb
//! does is in `ops` and the server; what makes a mail durable is the server's. Everything under
//! `/api/v1` needs a key, from loopback too, and each of its requests is checked for whom its Host header
//! names. Errors are `application/problem+json` (RFC 9457). The OpenAPI document is made from the
//! handlers.

mod access;
mod ask;
mod backend;
mod batch;
mod body;
mod code;
mod compose;
mod connection;
mod given;
mod health;
#[expect(
    unused_qualifications,
    reason = "written by the macro that makes the document"
)]
mod log;
mod messages;
mod metrics;
mod openapi;
#[expect(
    unused_qualifications,
    reason = "written by the macro that makes the document"
)]
mod orders;
#[expect(
    unused_qualifications,
    reason = "written by the macro that makes the document"
)]
mod over_time;
mod people;
mod problem;
mod proxies;
#[expect(
    unused_qualifications,
    reason = "written by the macro that makes the document"
)]
mod queue;
mod raw;
mod recipient;
mod replies;
mod router;
mod serve;
mod server;
mod state;
mod status;
#[expect(
    unused_qualifications,
    reason = "written by the macro that makes the document"
)]
mod suppressions;
#[expect(
    unused_qualifications,
    reason = "written by the macro that makes the document"
)]
mod tools;
mod turned_away;
mod turns;
mod webhooks;
mod words;

pub use backend::{Backend, HandedIn, Later, Settings};
pub use body::COPIES;
pub use connection::{Serves, Visitor};
pub use metrics::Figures;
pub use router::openapi;
pub use serve::{Listener, Socket, serve};
