//! MTA-STS: policies of domains, fetched over HTTPS, kept in memory and in files (RFC 8461).
//!
//! A policy that was fetched once holds for its time, whatever happens to its host or to DNS in the
//! meantime: that is what protects it from whoever controls these for an hour.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mail::{Domain, Timestamp};
use net::{Answer, HttpError, HttpRequest, NoAddresses, http};
use node::{Node, Settings};
use notify::{TlsFailed, TlsPolicyKind, TlsResult, TlsSession};
use route::{STS_POLICY_MAX, StsMode, StsPolicy, Unusable, sts_id};

use crate::Protection;

/// How long the policy's host may take (RFC 8461 §3.3 advises a minute).
const FETCH_WAIT: Duration = Duration::from_secs(30);
/// Behind a fetch that failed, the next waits this long (RFC 8461 §3.3).
const FAILED_WAIT: Duration = Duration::from_secs(300);
/// A policy is fetched anew after this time even if its id is the same, so that it is not near its
/// end when its host has a bad day.
const REFRESH_AFTER: Duration = Duration::from_secs(86_400);
/// Domains that are remembered, with or without a policy.
const KEPT_MAX: usize = 50_000;

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sts {
    /// What it says.
    pub policy: StsPolicy,
    /// The id of the domain's record when it was fetched.
    pub(crate) id: String,
}

/// A policy with its dates.
#[derive(Debug, Clone)]
struct Kept {
    sts: Arc<Sts>,
    fetched: Timestamp,
}

impl Kept {
    fn holds(&self, now: Timestamp) -> bool {
        now < self.fetched + self.sts.policy.max_age
    }
}

/// What is known of a domain.
#[derive(Debug, Default)]
struct Known {
    /// The file was looked for.
    read: bool,
    kept: Option<Kept>,
    /// The fetch for this id failed, at this time and for this reason.
    failed: Option<(String, Timestamp, String)>,
}

/// The policies of all domains.
#[derive(Debug)]
pub struct StsPolicies {
    directory: PathBuf,
    known: Mutex<HashMap<Domain, Arc<tokio::sync::Mutex<Known>>>>,
}

/// What a look at a domain's policy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has none.
    None,
    /// This one.
    Policy(Arc<Sts>),
    /// It says that it has one, which cannot be had.
    Failed(String),
}

impl StsPolicies {
    /// Policies are kept in this directory, which is made when there is one to keep.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            known: Mutex::default(),
        }
    }

    fn entry(&self, domain: &Domain) -> Arc<tokio::sync::Mutex<Known>> {
        let mut known = self.known.lock();
        if known.len() >= KEPT_MAX {
            // Those in use stay; the files have the others.
            known.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        Arc::clone(known.entry(domain.clone()).or_default())
    }

    /// The policy of a domain, fetched where that is due; and until when DNS need not be asked again.
    pub(crate) async fn policy(
        &self,
        protection: &Protection,
        settings: &Settings,
        domain: &Domain,
        now: Timestamp,
    ) -> (Found, Timestamp) {
        let Some(domain) = domain.to_ascii().filter(|d| d.literal().is_none()) else {
            return (Found::None, now + FAILED_WAIT);
        };
        let record = settings.dns.txt(&format!("_mta-sts.{domain}")).await;
        let id = match &record.answer {
            Answer::Found(texts) => sts_id(texts),
            Answer::NoData | Answer::NxDomain | Answer::Failed(_) => None,
        };
        // One fetch a domain at a time; the others wait for it.
        let entry = self.entry(&domain);
        let mut known = entry.lock().await;
        if !known.read {
            known.kept = self.read(&domain).await;
            known.read = true;
        }
        if known.kept.as_ref().is_some_and(|k| !k.holds(now)) {
            known.kept = None;
        }
        if let Some(id) = id
            && known.is_due(&id, now)
        {
            match fetch(settings, &domain).await {
                Ok(policy) => {
                    known.failed = None;
                    let sts = Arc::new(Sts { policy, id });
                    let kept = Kept { sts, fetched: now };
                    self.write(&protection.node, &domain, &kept).await;
                    log(
                        &protection.node,
                        &domain,
                        &format!("fetched, {}", kept.sts.words()),
                    );
                    known.kept = Some(kept);
                }
                Err((result, why)) => {
                    log(
                        &protection.node,
                        &domain,
                        &format!("cannot be fetched: {why}"),
                    );
                    report(protection, settings, &domain, result, &why, now);
                    known.failed = Some((id, now, why));
                }
            }
        }
        let found = match (&known.kept, &known.failed) {
            (Some(kept), _) if kept.sts.policy.mode == StsMode::None => Found::None,
            (Some(kept), _) => Found::Policy(Arc::clone(&kept.sts)),
            (None, Some((_, _, why))) => Found::Failed(why.clone()),
            (None, None) => Found::None,
        };
        (found, record.valid_until)
    }

    /// Removes the files of policies that do not hold any more; blocks. A file that is none of ours stays.
    pub fn sweep(&self, now: Timestamp) {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            let kept = std::fs::read(&path).ok().and_then(|text| parse(&text));
            if kept.is_some_and(|kept| !kept.holds(now)) {
                // It is looked at again in an hour.
                drop(std::fs::remove_file(path));
            }
        }
    }

    fn path(&self, domain: &Domain) -> PathBuf {
        self.directory.join(domain.as_str())
    }

    async fn read(&self, domain: &Domain) -> Option<Kept> {
        let path = self.path(domain);
        let text = tokio::fs::read(&path).await.ok()?;
        parse(&text)
    }

    async fn write(&self, node: &Node, domain: &Domain, kept: &Kept) {
        let (path, text) = (self.path(domain), kept.text());
        let written = tokio::task::spawn_blocking(move || net::write_private(&path, text)).await;
        let why = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        log(
            node,
            domain,
            &format!("is valid, but cannot be stored: {why}"),
        );
    }
}

impl Known {
    /// Whether the policy is fetched now.
    fn is_due(&self, id: &str, now: Timestamp) -> bool {
        let lately =
            |(of, at, _): &(String, Timestamp, String)| of == id && now.since(*at) < FAILED_WAIT;
        if self.failed.as_ref().is_some_and(lately) {
            return false;
        }
        self.kept.as_ref().is_none_or(|kept| {
            kept.sts.id != id
                || now.since(kept.fetched) > REFRESH_AFTER.min(kept.sts.policy.max_age / 2)
        })
    }
}

impl Sts {
    /// It in words.
    pub fn words(&self) -> String {
        format!(
            "mode {}, mx {}, for {}",
            self.policy.mode.word(),
            self.policy.mx.join(" "),
            mail::format_duration(self.policy.max_age)
        )
    }

    /// The policy's lines, as reports want them (RFC 8460 §4.2).
    pub fn lines(&self) -> Vec<String> {
        let policy = &self.policy;
        let mut lines = vec![
            "version: STSv1".to_owned(),
            format!("mode: {}", policy.mode.word()),
        ];
        lines.extend(policy.mx.iter().map(|mx| format!("mx: {mx}")));
        lines.push(format!("max_age: {}", policy.max_age.as_secs()));
        lines
    }
}

impl Kept {
    /// The file: two lines of ours, and the policy.
    fn text(&self) -> String {
        format!(
            "id: {}\nfetched: {}\n{}\n",
            self.sts.id,
            self.fetched,
            self.sts.lines().join("\n")
        )
    }
}

fn parse(text: &[u8]) -> Option<Kept> {
    let lines = std::str::from_utf8(text).ok()?;
    let ours = |key: &str| {
        let mut lines = lines.lines().take(2);
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    };
    let (id, fetched) = (ours("id")?, ours("fetched")?);
    let policy = StsPolicy::parse(text).ok()?;
    Some(Kept {
        fetched: Timestamp::parse_rfc3339(fetched)?,
        sts: Arc::new(Sts {
            policy,
            id: id.to_owned(),
        }),
    })
}

/// Fetches the policy (RFC 8461 §3.3): HTTPS with a certificate for the policy's host, no redirect.
async fn fetch(settings: &Settings, domain: &Domain) -> Result<StsPolicy, (TlsResult, String)> {
    let host = format!("mta-sts.{domain}");
    let not_had = |why: String| (TlsResult::StsPolicyFetchError, why);
    let addresses = web_addresses(settings, &host).await;
    let addresses = addresses.map_err(|why| not_had(why.to_string()))?;
    let request = HttpRequest {
        host: &host,
        port: settings.config.outgoing.published.mta_sts_port,
        tls: true,
        path: "/.well-known/mta-sts.txt",
        content: None,
        headers: Vec::new(),
        answer_max: STS_POLICY_MAX,
    };
    let answer = http(&settings.client_tls, &addresses, request, FETCH_WAIT).await;
    let answer = answer.map_err(|why| match matches!(why, HttpError::Tls(_)) {
        true => (TlsResult::StsWebpkiInvalid, why.to_string()),
        false => not_had(why.to_string()),
    })?;
    if answer.status != 200 {
        return Err(not_had(format!("{host} answered {}", answer.status)));
    }
    if answer.content_type != "text/plain" {
        let why = format!("{host} sent `{}`, not text/plain", answer.content_type);
        return Err((TlsResult::StsPolicyInvalid, why));
    }
    StsPolicy::parse(&answer.content).map_err(|e| (TlsResult::StsPolicyInvalid, e.to_string()))
}

/// Counts a policy that could not be had, for the report to its domain.
fn report(
    protection: &Protection,
    settings: &Settings,
    domain: &Domain,
    result: TlsResult,
    why: &str,
    now: Timestamp,
) {
    if settings.config.tls_reports.enabled {
        let session = TlsSession {
            domain: domain.to_string(),
            kind: TlsPolicyKind::Sts,
            policy: Vec::new(),
            mx: Vec::new(),
            failed: Some(TlsFailed {
                result,
                from: None,
                host: None,
                to: None,
                why: why.to_owned(),
            }),
        };
        protection.reports.count(session, now);
    }
}

/// Why a web server that a stranger names is not asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWebServer {
    /// It has no address.
    #[error(transparent)]
    NoAddresses(#[from] NoAddresses),
    /// It leads where names of strangers must not.
    #[error("{host}: {why}")]
    Unusable { host: String, why: Unusable },
}

/// The addresses of a web server whose name a stranger publishes, but for those that it may not lead to.
pub(crate) async fn web_addresses(
    settings: &Settings,
    host: &str,
) -> Result<Vec<IpAddr>, NoWebServer> {
    match settings.dns.addresses(host).await.answer {
        Answer::Found(list) => {
            let allowed = settings.config.routing.fetchable(&list);
            allowed.map_err(|why| NoWebServer::Unusable {
                host: host.to_owned(),
                why,
            })
        }
        Answer::NoData | Answer::NxDomain => Err(NoAddresses::None(host.to_owned()).into()),
        Answer::Failed(why) => Err(NoWebServer::NoAddresses(NoAddresses::LookUp {
            host: host.to_owned(),
            why,
        })),
    }
}

fn log(node: &Node, domain: &Domain, what: &str) {
    let line = node.journal.line(node.now(), "mta-sts");
    line.field("domain", domain).field("what", what).send();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_in_a_file_is_the_policy_that_was_fetched() {
        let text =
            b"version: STSv1\nmode: enforce\nmx: *.example.net\nmx: a.example\nmax_age: 86400\n";
        let kept = Kept {
            sts: Arc::new(Sts {
                policy: StsPolicy::parse(text).unwrap(),
                id: "20261122T1".to_owned(),
            }),
            fetched: Timestamp::from_secs(1_800_000_000),
        };
        let read = parse(kept.text().as_bytes()).unwrap();
        assert_eq!((read.fetched, &read.sts), (kept.fetched, &kept.sts));
        assert!(parse(b"id: 1\nfetched: never\nversion: STSv1\n").is_none());
        let (begin, end) = (kept.fetched, kept.fetched + Duration::from_secs(86_400));
        assert!(kept.holds(begin) && !kept.holds(end));
        let scratch = lab::Scratch::new();
        let (ours, other) = (
            scratch.path().join("a.example"),
            scratch.path().join("note"),
        );
        std::fs::write(&ours, kept.text()).unwrap();
        std::fs::write(&other, "no policy").unwrap();
        let policies = StsPolicies::new(scratch.path().to_owned());
        policies.sweep(begin);
        assert!(ours.exists());
        policies.sweep(end);
        assert!(!ours.exists() && other.exists());
    }

    #[test]
    fn a_policy_is_fetched_for_a_new_id_or_once_a_day_and_not_while_fetching_it_has_just_failed() {
        let text = b"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 604800\n";
        let now = Timestamp::from_secs(1_800_000_000);
        let mut known = Known::default();
        assert!(known.is_due("1", now));
        known.failed = Some(("1".to_owned(), now, "no answer".to_owned()));
        assert!(!known.is_due("1", now + FAILED_WAIT - Duration::from_secs(1)));
        assert!(known.is_due("1", now + FAILED_WAIT));
        assert!(known.is_due("2", now), "it may be mended");
        let sts = Arc::new(Sts {
            policy: StsPolicy::parse(text).unwrap(),
            id: "1".to_owned(),
        });
        known = Known {
            read: true,
            kept: Some(Kept { sts, fetched: now }),
            failed: None,
        };
        assert!(!known.is_due("1", now + REFRESH_AFTER));
        assert!(known.is_due("1", now + REFRESH_AFTER + Duration::from_secs(1)));
        assert!(known.is_due("2", now));
    }
}
