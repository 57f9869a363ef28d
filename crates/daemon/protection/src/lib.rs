//! Where a domain's mail goes, and how it is protected on the way: DANE, MTA-STS, reports on TLS. One domain's policy is
//! never another's.

mod domain_tls;
pub mod resolve;
mod sts;
pub mod tls_policy;
pub mod tls_reports;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use node::Node;

use crate::sts::StsPolicies;
use crate::tls_policy::TlsPolicies;
use crate::tls_reports::TlsReports;

/// The handle.
pub struct Protection {
    pub(crate) node: Arc<Node>,
    /// What domains ask for about TLS.
    pub policies: TlsPolicies,
    /// The policies that domains publish.
    pub sts: StsPolicies,
    /// What came of TLS, for the domains that want to know.
    pub reports: TlsReports,
}

impl Protection {
    /// With nothing known but what was kept on disk.
    pub fn new(node: &Arc<Node>) -> Self {
        let data_dir = &node.settings().config.data_dir;
        Self {
            node: Arc::clone(node),
            policies: TlsPolicies::default(),
            sts: StsPolicies::new(data_dir.join("mta-sts")),
            reports: TlsReports::new(data_dir.join("tls-reports")),
        }
    }
}
