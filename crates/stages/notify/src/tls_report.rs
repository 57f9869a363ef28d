//! TLS-RPT: what came of TLS with a domain's hosts, told to the domain once a day (RFC 8460).

use std::collections::BTreeMap;

use mail::{Address, Timestamp};
use serde::{Deserialize, Serialize};

/// The most addresses that a report goes to.
const RUA_MAX: usize = 10;

/// What protects a domain's mail (RFC 8460 §4.4, `policy-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsPolicyKind {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// Neither.
    NoPolicyFound,
}

/// Why a session was not what the policy asks for (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsResult {
    /// The host does not offer STARTTLS, or refuses it.
    StarttlsNotSupported,
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// The certificate does not hold today.
    CertificateExpired,
    /// Nobody trusted vouches for the certificate.
    CertificateNotTrusted,
    /// Anything else about the session.
    ValidationFailure,
    /// The TLSA records do not match, or are of no use.
    TlsaInvalid,
    /// The records cannot be validated, or not be had.
    DnssecInvalid,
    /// The policy cannot be fetched.
    StsPolicyFetchError,
    /// What was fetched is not a policy.
    StsPolicyInvalid,
    /// The policy's host does not prove its name.
    StsWebpkiInvalid,
}

/// A failure, with whom it was between.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TlsFailed {
    /// What failed.
    pub result: TlsResult,
    /// Our address.
    pub from: Option<String>,
    /// The mail host.
    pub host: Option<String>,
    /// Its address.
    pub to: Option<String>,
    /// It in words, for whoever reads the report.
    pub why: String,
}

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TlsSession {
    /// The domain of the recipients.
    pub domain: String,
    /// What protects its mail.
    pub kind: TlsPolicyKind,
    /// The policy's lines, or the TLSA records.
    pub policy: Vec<String>,
    /// The patterns that the policy names hosts by.
    pub mx: Vec<String>,
    /// `None`: as the policy asks.
    pub failed: Option<TlsFailed>,
}

/// Where a domain wants its reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportTo {
    /// By mail.
    Mail(Address),
    /// By HTTPS: this URL.
    Web(String),
}

/// Reads the TXT records of `_smtp._tls.DOMAIN` (RFC 8460 §3): where reports go; empty when the
/// domain wants none, or has several records.
#[must_use]
pub fn report_to(texts: &[String]) -> Vec<ReportTo> {
    let mut records = texts.iter().filter_map(|text| {
        let rest = text.strip_prefix("v=TLSRPTv1")?.trim_start();
        rest.strip_prefix(';')
    });
    let (Some(record), None) = (records.next(), records.next()) else {
        return Vec::new();
    };
    let rua = record.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        (key.trim() == "rua").then(|| value.trim())
    });
    rua.unwrap_or_default()
        .split(',')
        .filter_map(|uri| target(uri.trim()))
        .take(RUA_MAX)
        .collect()
}

fn target(uri: &str) -> Option<ReportTo> {
    let is = |scheme: &str| {
        uri.get(..scheme.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(scheme))
    };
    if is("mailto:") {
        let address = uri.get("mailto:".len()..)?.split('?').next()?;
        // `!`, `,` and `;` stand encoded in the record (RFC 8460 §3).
        let address = address
            .replace("%21", "!")
            .replace("%2C", ",")
            .replace("%3B", ";");
        return Address::parse(&address).ok().map(ReportTo::Mail);
    }
    let clean = uri.bytes().all(|b| b.is_ascii_graphic());
    (is("https://") && clean).then(|| ReportTo::Web(uri.to_owned()))
}

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsReporter {
    /// The organisation's name.
    pub organization: String,
    /// Whom to ask about the report.
    pub contact: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    organization_name: &'a str,
    date_range: Range,
    contact_info: &'a str,
    report_id: &'a str,
    policies: Vec<Policy<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Range {
    start_datetime: String,
    end_datetime: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Policy<'a> {
    policy: PolicyOf<'a>,
    summary: Summary,
    failure_details: Vec<Detail<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PolicyOf<'a> {
    policy_type: TlsPolicyKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_string: Option<&'a [String]>,
    policy_domain: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    mx_host: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    total_successful_session_count: u64,
    total_failure_session_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Detail<'a> {
    result_type: TlsResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending_mta_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<&'a str>,
    failed_session_count: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    failure_reason_code: &'a str,
}

/// The report on one domain and day (RFC 8460 §4.4), in JSON.
///
/// # Errors
/// None is known: numbers and texts can always be written.
pub fn tls_report(
    reporter: &TlsReporter,
    id: &str,
    (begin, end): (Timestamp, Timestamp),
    counts: &BTreeMap<TlsSession, u64>,
) -> Result<String, serde_json::Error> {
    let mut policies: BTreeMap<_, Vec<(Option<&TlsFailed>, u64)>> = BTreeMap::new();
    for (session, count) in counts {
        let key = (&session.domain, session.kind, &session.policy, &session.mx);
        let seen = policies.entry(key).or_default();
        seen.push((session.failed.as_ref(), *count));
    }
    let policies = policies
        .into_iter()
        .map(|((domain, kind, strings, mx), seen)| {
            let total = |failed: bool| -> u64 {
                let of = seen.iter().filter(|(f, _)| f.is_some() == failed);
                of.map(|(_, count)| count).sum()
            };
            Policy {
                policy: PolicyOf {
                    policy_type: kind,
                    policy_string: (kind != TlsPolicyKind::NoPolicyFound).then_some(strings),
                    policy_domain: domain,
                    mx_host: mx,
                },
                summary: Summary {
                    total_successful_session_count: total(false),
                    total_failure_session_count: total(true),
                },
                failure_details: seen
                    .iter()
                    .filter_map(|(failed, count)| Some(detail((*failed)?, *count)))
                    .collect(),
            }
        });
    serde_json::to_string(&Report {
        organization_name: &reporter.organization,
        date_range: Range {
            start_datetime: seconds(begin),
            end_datetime: seconds(end),
        },
        contact_info: &reporter.contact,
        report_id: id,
        policies: policies.collect(),
    })
}

fn detail(failed: &TlsFailed, count: u64) -> Detail<'_> {
    Detail {
        result_type: failed.result,
        sending_mta_ip: failed.from.as_deref(),
        receiving_mx_hostname: failed.host.as_deref(),
        receiving_ip: failed.to.as_deref(),
        failed_session_count: count,
        failure_reason_code: &failed.why,
    }
}

/// RFC 3339 without fractions.
fn seconds(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(texts: &[&str]) -> Vec<ReportTo> {
        let texts: Vec<String> = texts.iter().map(|&t| t.to_owned()).collect();
        report_to(&texts)
    }

    #[test]
    fn a_record_says_where_reports_go() {
        let mail = |a: &str| ReportTo::Mail(Address::parse(a).unwrap());
        assert_eq!(
            to(&["v=TLSRPTv1; rua=mailto:tls@example.com,https://report.example.com/v1/tlsrpt"]),
            [
                mail("tls@example.com"),
                ReportTo::Web("https://report.example.com/v1/tlsrpt".to_owned())
            ]
        );
        assert_eq!(
            to(&["other", "v=TLSRPTv1;rua=mailto:a%21b@example.com?subject=x"]),
            [mail("a!b@example.com")]
        );
        assert_eq!(
            to(&["v=TLSRPTv1; rua=http://example.com/,mailto:nobody"]),
            []
        );
        assert_eq!(
            to(&["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1;"]),
            []
        );
        assert_eq!(to(&["v=TLSRPTv2; rua=mailto:a@b.example"]), []);
    }

    #[test]
    fn a_report_counts_by_policy_and_failure() {
        let good = TlsSession {
            domain: "example.com".to_owned(),
            kind: TlsPolicyKind::Sts,
            policy: vec!["version: STSv1".to_owned()],
            mx: vec!["*.example.com".to_owned()],
            failed: None,
        };
        let bad = TlsSession {
            failed: Some(TlsFailed {
                result: TlsResult::CertificateExpired,
                from: Some("192.0.2.1".to_owned()),
                host: Some("mx.example.com".to_owned()),
                to: None,
                why: "it is expired or not yet valid".to_owned(),
            }),
            ..good.clone()
        };
        let none = TlsSession {
            kind: TlsPolicyKind::NoPolicyFound,
            policy: Vec::new(),
            mx: Vec::new(),
            ..good.clone()
        };
        let counts = BTreeMap::from([(good, 7), (bad, 2), (none, 1)]);
        let reporter = TlsReporter {
            organization: "Example Org".to_owned(),
            contact: "postmaster@example.org".to_owned(),
        };
        let day = Timestamp::parse_rfc3339("2026-11-21T00:00:00Z").unwrap();
        let end = Timestamp::parse_rfc3339("2026-11-21T23:59:59Z").unwrap();
        let report = tls_report(&reporter, "id-1", (day, end), &counts).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(
            report["date-range"]["start-datetime"],
            "2026-11-21T00:00:00Z"
        );
        let policies = report["policies"].as_array().unwrap();
        assert_eq!(policies.len(), 2);
        let sts = &policies[0];
        assert_eq!(sts["policy"]["policy-type"], "sts");
        assert_eq!(
            sts["policy"]["mx-host"],
            serde_json::json!(["*.example.com"])
        );
        assert_eq!(sts["summary"]["total-successful-session-count"], 7);
        assert_eq!(sts["summary"]["total-failure-session-count"], 2);
        let detail = &sts["failure-details"][0];
        assert_eq!(detail["result-type"], "certificate-expired");
        assert_eq!(detail["failed-session-count"], 2);
        assert_eq!(detail["receiving-mx-hostname"], "mx.example.com");
        assert_eq!(policies[1]["policy"]["policy-type"], "no-policy-found");
        assert!(policies[1]["policy"].get("policy-string").is_none());
    }
}
