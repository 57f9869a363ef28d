//! What domains publish about TLS: policies and records.

use mail::Domain;
use notify::{ReportTo, report_to};
use route::{STS_POLICY_MAX, StsMode, StsPolicy, sts_id};

/// Any octets are a policy that means what it says, or none; a record leads to places that can be
/// reached, or to none.
pub(crate) fn published(octets: &[u8]) {
    if let Ok(policy) = StsPolicy::parse(octets) {
        assert!(octets.len() <= STS_POLICY_MAX);
        assert!(policy.mode == StsMode::None || !policy.mx.is_empty());
        for pattern in &policy.mx {
            let host = pattern.replacen("*.", "one.", 1);
            // With a label in front it may be longer than a name can be.
            let Ok(host) = Domain::parse(&host) else {
                continue;
            };
            assert!(policy.names(&host), "{pattern} names {host}");
            if let Some(below) = pattern.strip_prefix("*.") {
                let two = Domain::parse(&format!("two.labels.{below}"));
                let exact = two.is_ok_and(|two| policy.mx.contains(&two.to_string()));
                assert!(!exact || policy.mx.len() > 1);
            }
        }
    }
    let text = String::from_utf8_lossy(octets);
    let texts: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Some(id) = sts_id(&texts) {
        assert!((1..=32).contains(&id.len()));
    }
    for place in report_to(&texts) {
        if let ReportTo::Web(url) = place {
            assert!(url.is_ascii() && !url.contains(['\r', '\n', ' ']));
        }
    }
}
