//! Messages of ours: what a sender hears of mail that failed, is late, or arrived.
//!
//! A report is a delivery status notification (RFC 3464 in RFC 6522): plain words first, then the
//! fields for machines, then the original or its header. It is a message like any other and enters
//! the queue through the spool; its reverse-path is null, so that nothing is ever reported of a
//! report.

mod explain;
pub mod read;
mod report;
mod text;
mod tls_report;

pub use explain::explain;
pub use report::{Kind, Reported, Reporter};
pub use tls_report::{
    ReportTo, TlsFailed, TlsPolicyKind, TlsReporter, TlsResult, TlsSession, report_to, tls_report,
};

#[cfg(test)]
mod tests;
