//! The pages of the console: HTML over the same verbs as the API.
//!
//! A page asks verbs ([`ops::Ask`]) and shows their answers; it decides nothing, and nothing is on a page that the API cannot
//! tell. Who asks is known by a session ([`accounts::ConsoleAccounts`]); what its role may do is checked for each verb.
//! Every page works without script: forms are sent and answered with a redirect. What others wrote is escaped by the
//! templates, and nothing is loaded from elsewhere (Content-Security-Policy).

mod answers;
mod asked;
mod assets;
mod audit;
mod chart;
mod docs;
mod error;
mod fields;
mod filters;
mod finished;
mod form;
mod frame;
mod help;
mod kept;
mod live;
mod log;
mod login;
mod message;
mod overview;
mod paging;
mod people;
mod queue;
mod reports;
mod router;
mod sent;
mod session;
mod shell;
mod sites;
mod sources;
mod state;
mod summaries;
mod suppressions;
mod tools;
mod webhooks;
mod when;

pub use router::pages;
