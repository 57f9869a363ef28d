//! What came of TLS with a host, as TLS-RPT counts it: once for each session, for each domain whose
//! mail it was opened for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use deliver::{Failure, Stage, Way};
use mail::{Message, PeerHost, TlsUsed};
use net::{TlsFailure, TlsFailureKind, Trust};
use notify::{TlsFailed, TlsPolicyKind, TlsResult, TlsSession};
use protection::tls_policy::{By, Context, RuledOut, Wanted, failed_for};
use route::StsMode;

use crate::Sending;
use crate::opened::Open;

/// Domains of one message for which a session is counted.
const DOMAINS_MAX: usize = 20;

/// For whom a session is, and between whom.
pub(crate) struct Seen<'a> {
    pub(crate) sending: &'a Sending,
    pub(crate) message: &'a Message,
    pub(crate) numbers: &'a [u32],
    pub(crate) context: &'a Context,
    pub(crate) host: &'a PeerHost,
    pub(crate) from: Option<IpAddr>,
}

impl Seen<'_> {
    /// A host was not connected to, because a policy rules it out.
    pub(crate) fn ruled_out(&self, ruled: &RuledOut) {
        if ruled.known {
            return;
        }
        let result = match ruled.by {
            By::Dane => TlsResult::DnssecInvalid,
            By::Sts | By::Settings | By::RequireTls => TlsResult::ValidationFailure,
        };
        let policy = match ruled.by {
            By::Dane => (TlsPolicyKind::Tlsa, Vec::new(), Vec::new()),
            By::Sts | By::Settings | By::RequireTls => self.policy(None),
        };
        self.count(policy, Some((result, ruled.reply.text.clone())));
    }

    /// A session was opened.
    pub(crate) fn opened(&self, open: &Open) {
        let failed = match open.session.tls() {
            // The handshake that failed was counted before.
            TlsUsed::FellBack => return,
            TlsUsed::None => Some((
                TlsResult::StarttlsNotSupported,
                "STARTTLS is not offered".to_owned(),
            )),
            TlsUsed::Encrypted | TlsUsed::Verified | TlsUsed::Dane => self.untested(open),
        };
        self.count(self.policy(Some(&open.wanted)), failed);
    }

    /// A session ended before it could be used.
    pub(crate) fn failed(&self, open: &Open, failure: &Failure) {
        let of_tls = matches!(failure.stage, Stage::Tls | Stage::Policy);
        if !of_tls || failure.retry == Some(Way::SmallHello) {
            return;
        }
        let by_domain = matches!(open.wanted.by, By::Dane | By::Sts);
        if let (Stage::Policy, true, Some(domain)) =
            (failure.stage, by_domain, &self.context.domain)
        {
            let until = self.sending.node.now() + failed_for(&self.sending.node.settings());
            let tls = &self.sending.protection.policies;
            tls.failed(&domain.domain, &open.name, &failure.reply, until);
        }
        let failed = match &open.tls_failure {
            Some(error) => (result_of(error), error.why.clone()),
            None => (TlsResult::StarttlsNotSupported, failure.reply.text.clone()),
        };
        self.count(self.policy(Some(&open.wanted)), Some(failed));
    }

    /// What a policy in testing would have found wrong.
    fn untested(&self, open: &Open) -> Option<(TlsResult, String)> {
        let sts = self.context.domain.as_ref()?.sts.as_ref()?;
        if sts.policy.mode != StsMode::Testing || open.wanted.by == By::Dane {
            return None;
        }
        let host = mail::Domain::parse(&open.name).ok()?;
        if !sts.policy.names(&host) {
            let why = "the policy does not name this host".to_owned();
            return Some((TlsResult::ValidationFailure, why));
        }
        let error = open.proof.as_ref()?.as_ref().err()?;
        Some((result_of(error), error.why.clone()))
    }

    /// The policy that the session is counted under.
    fn policy(&self, wanted: Option<&Wanted>) -> (TlsPolicyKind, Vec<String>, Vec<String>) {
        if let Some(wanted) = wanted.filter(|w| w.by == By::Dane) {
            let records = match &wanted.trust {
                Trust::Dane { records, .. } => records.iter().map(record).collect(),
                Trust::Anyone | Trust::Roots => Vec::new(),
            };
            return (TlsPolicyKind::Tlsa, records, Vec::new());
        }
        let domain = self.context.domain.as_ref();
        match domain.and_then(|d| d.sts.as_ref()) {
            Some(sts) => (TlsPolicyKind::Sts, sts.lines(), sts.policy.mx.clone()),
            None => (TlsPolicyKind::NoPolicyFound, Vec::new(), Vec::new()),
        }
    }

    fn count(
        &self,
        (kind, policy, mx): (TlsPolicyKind, Vec<String>, Vec<String>),
        failed: Option<(TlsResult, String)>,
    ) {
        if !self.sending.node.settings().config.tls_reports.enabled {
            return;
        }
        let failed = failed.map(|(result, why)| TlsFailed {
            result,
            from: self.from.map(|ip| ip.to_string()),
            host: Some(self.host.name.clone()),
            to: self.host.address.map(|a| a.ip().to_string()),
            why,
        });
        for domain in self.domains() {
            let session = TlsSession {
                domain,
                kind,
                policy: policy.clone(),
                mx: mx.clone(),
                failed: failed.clone(),
            };
            self.sending
                .protection
                .reports
                .count(session, self.sending.node.now());
        }
    }

    fn domains(&self) -> BTreeSet<String> {
        let ascii = |domain: &mail::Domain| domain.to_ascii().map(|d| d.to_string());
        if let Some(domain) = &self.context.domain {
            return ascii(&domain.domain).into_iter().collect();
        }
        let recipients = &self.message.envelope.recipients;
        let of = |number: &u32| recipients.get(*number as usize).map(|r| r.address.domain());
        let domains = self.numbers.iter().filter_map(of);
        domains
            .filter(|d| d.literal().is_none())
            .filter_map(ascii)
            .take(DOMAINS_MAX)
            .collect()
    }
}

fn record(tlsa: &mail::Tlsa) -> String {
    let data: String = tlsa.data.iter().map(|b| format!("{b:02x}")).collect();
    format!("{} {} {} {data}", tlsa.usage, tlsa.selector, tlsa.matching)
}

fn result_of(error: &TlsFailure) -> TlsResult {
    match error.kind {
        TlsFailureKind::NoMatch => TlsResult::TlsaInvalid,
        TlsFailureKind::Expired => TlsResult::CertificateExpired,
        TlsFailureKind::WrongName => TlsResult::CertificateHostMismatch,
        TlsFailureKind::Untrusted => TlsResult::CertificateNotTrusted,
        TlsFailureKind::Silent | TlsFailureKind::Other => TlsResult::ValidationFailure,
    }
}
