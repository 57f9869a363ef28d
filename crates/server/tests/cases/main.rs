//! The cases of outgoing mail, each with the real server, real sockets, a real resolver and hosts
//! that misbehave as the case wants. A test's name begins with the number of its case.

mod backup;
mod binary;
mod conversion;
mod dane;
mod dialogue;
mod dkim;
mod durable;
mod future;
mod hosts;
mod http;
mod load;
mod local;
mod long_lines;
mod lookups;
mod oauth;
mod old_tls;
mod relay;
mod replies;
mod reports;
mod require_tls;
mod resends;
mod returns;
mod scene;
mod sendmail;
mod service;
mod sources;
mod sts;
mod tls;
mod tls_reports;
mod told;
mod verbs;
mod warm_up;
mod ways_in;
mod web;
mod webhooks;
