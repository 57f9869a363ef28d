//! TLS-RPT: counts what came of TLS with the hosts of each domain, and tells the domains that ask
//! for it once a day (RFC 8460).
//!
//! Counts are added to a file a day, `tls-reports/DAY.jsonl` below the data directory, every few
//! seconds: a line each, which the report sums up, so nothing is read or changed for a count. What has
//! been sent is noted in `DAY.sent`, so that a restart sends no report twice; both files go when the
//! day is done with.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use intake::{Rights, Submission, Wanted};
use mail::{Address, Notify, Reply, Submitter, Terms, Timestamp};
use net::{Answer, HttpError, HttpRequest, ParseUrlError, WebUrl, http};
use node::hand_in::hand_in;
use node::{Node, Settings};
use notify::{ReportTo, TlsReporter, TlsSession, report_to, tls_report};
use serde::{Deserialize, Serialize};

use crate::Protection;
use crate::sts::{NoWebServer, web_addresses};

/// Counts are written after this time.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);
/// Different counts that are held in memory at the most; more are written at once.
const HELD_MAX: usize = 20_000;
/// Days are looked at this often.
const LOOKED_AT: Duration = Duration::from_secs(900);
/// A report that could not be handed over is given up after this time (RFC 8460 §5.5 asks for a day).
const GIVEN_UP: Duration = Duration::from_secs(2 * DAY.as_secs());
const DAY: Duration = Duration::from_secs(86_400);
/// How long the server that takes a report by HTTPS may need.
const WEB_WAIT: Duration = Duration::from_secs(60);

/// A line of a day's file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    session: TlsSession,
    count: u64,
}

/// Counts that are not written yet, by day.
#[derive(Debug)]
pub struct TlsReports {
    directory: PathBuf,
    held: Mutex<HashMap<(String, TlsSession), u64>>,
    full: tokio::sync::Notify,
}

impl TlsReports {
    /// The files are in this directory, which is made when there is something to count.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            held: Mutex::default(),
            full: tokio::sync::Notify::new(),
        }
    }

    /// Counts a session.
    pub fn count(&self, session: TlsSession, now: Timestamp) {
        let mut held = self.held.lock();
        *held.entry((now.day(), session)).or_default() += 1;
        if held.len() >= HELD_MAX {
            self.full.notify_one();
        }
    }

    /// Writes what was counted; blocks.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        let held = std::mem::take(&mut *self.held.lock());
        let mut days: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for ((day, session), count) in held {
            let text = days.entry(day).or_default();
            serde_json::to_writer(&mut *text, &Line { session, count })?;
            text.push(b'\n');
        }
        for (day, text) in days {
            net::make_dir(&self.directory, 0o700)?;
            append(&self.file(&day, "jsonl"), &text)?;
        }
        Ok(())
    }

    fn file(&self, day: &str, kind: &str) -> PathBuf {
        self.directory.join(format!("{day}.{kind}"))
    }

    /// Days with counts that are over.
    fn over(&self, now: Timestamp) -> Vec<String> {
        let today = now.day();
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
        let mut days: Vec<String> = names
            .filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned()))
            .filter(|day| *day < today)
            .collect();
        days.sort();
        days
    }

    /// What was counted on a day, by domain. A line that a crash cut off is passed over.
    fn counts(&self, day: &str) -> std::io::Result<BTreeMap<String, BTreeMap<TlsSession, u64>>> {
        let file = BufReader::new(std::fs::File::open(self.file(day, "jsonl"))?);
        let mut domains: BTreeMap<String, BTreeMap<TlsSession, u64>> = BTreeMap::new();
        for line in file.lines() {
            if let Ok(Line { session, count }) = serde_json::from_str(&line?) {
                let of = domains.entry(session.domain.clone()).or_default();
                *of.entry(session).or_default() += count;
            }
        }
        Ok(domains)
    }

    /// What has been sent for a day, a line each.
    fn sent(&self, day: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.file(day, "sent")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn note_sent(&self, day: &str, what: &str) -> std::io::Result<()> {
        append(&self.file(day, "sent"), format!("{what}\n").as_bytes())
    }

    fn forget(&self, day: &str) -> std::io::Result<()> {
        std::fs::remove_file(self.file(day, "jsonl"))?;
        match std::fs::remove_file(self.file(day, "sent")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// One write, on the disk. Where a crash has cut off the last line, it begins on a line of its own.
fn append(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let begin: &[u8] = if is_torn(path) { b"\n" } else { b"" };
    let mut file = net::open_appending(path, 0o600)?;
    file.write_all(&[begin, text].concat())?;
    file.sync_data()
}

/// Whether a file ends within a line; one that cannot be read, or is empty, does not.
fn is_torn(path: &Path) -> bool {
    let last = || {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok::<_, std::io::Error>(last)
    };
    last().is_ok_and(|last| last != *b"\n")
}

/// Writes counts down until the server stops, and then once more.
pub async fn keep(protection: Arc<Protection>) {
    loop {
        let stopping = tokio::select! {
            () = protection.node.stopping.cancelled() => true,
            () = protection.reports.full.notified() => false,
            () = tokio::time::sleep(WRITTEN_EVERY) => false,
        };
        let handles = Arc::clone(&protection);
        let written = tokio::task::spawn_blocking(move || handles.reports.write()).await;
        if let Ok(Err(error)) = written {
            trouble(&protection.node, "some counts are lost", &error.to_string());
        }
        if stopping {
            return;
        }
    }
}

/// Sends the reports of days that are over, each at a time of its own behind the day's end, so that
/// the whole world does not report at midnight.
pub async fn send(protection: Arc<Protection>) {
    // Domains that are done with, so that the next look at a day asks only for the others.
    let mut done: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    loop {
        let settings = protection.node.settings();
        let now = protection.node.now();
        let days = protection.reports.over(now);
        done.retain(|day, _| days.contains(day));
        for day in days {
            let Some(begin) = Timestamp::parse_rfc3339(&format!("{day}T00:00:00Z")) else {
                continue;
            };
            let delay = settings.config.tls_reports.delay;
            if !settings.config.tls_reports.enabled {
                drop(protection.reports.forget(&day));
            } else if now.since(begin + DAY) >= spread(&settings, delay)
                && let Err(error) = report_day(
                    &protection,
                    &settings,
                    &day,
                    begin,
                    done.entry(day.clone()).or_default(),
                )
                .await
            {
                trouble(&protection.node, &day, &error.to_string());
            }
        }
        tokio::select! {
            () = protection.node.stopping.cancelled() => return,
            () = tokio::time::sleep(LOOKED_AT) => {}
        }
    }
}

/// A part of the delay that is this server's own.
fn spread(settings: &Settings, delay: Duration) -> Duration {
    let name = settings.config.hostname.as_str();
    let sum = name.bytes().fold(0u32, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u32::from(b))
    });
    delay * (sum % 1000) / 1000
}

async fn report_day(
    protection: &Arc<Protection>,
    settings: &Settings,
    day: &str,
    begin: Timestamp,
    done: &mut BTreeSet<String>,
) -> std::io::Result<()> {
    let handles = Arc::clone(protection);
    let name = day.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let reports = &handles.reports;
        reports.counts(&name).map(|c| (c, reports.sent(&name)))
    });
    let (domains, sent) = read.await.map_err(std::io::Error::other)??;
    let too_late = protection.node.now().since(begin + DAY) > GIVEN_UP;
    let mut open = false;
    for (domain, counts) in domains {
        if done.contains(&domain) {
            continue;
        }
        let record = settings.dns.txt(&format!("_smtp._tls.{domain}")).await;
        let targets = match &record.answer {
            Answer::Found(texts) => report_to(texts),
            Answer::NoData | Answer::NxDomain => {
                done.insert(domain);
                continue;
            }
            Answer::Failed(_) => {
                open = true;
                continue;
            }
        };
        let mut all = true;
        for target in targets {
            let report = Report::new(settings, day, &domain, target);
            if sent.contains(&report.what) {
                continue;
            }
            let line = protection
                .node
                .journal
                .line(protection.node.now(), "tls-report");
            let line = line.field("domain", &domain).field("day", day);
            match report
                .send(&protection.node, settings, begin, &counts)
                .await
            {
                Ok(done) => {
                    let (handles, day) = (Arc::clone(protection), day.to_owned());
                    let noted = tokio::task::spawn_blocking(move || {
                        handles.reports.note_sent(&day, &report.what)
                    });
                    noted.await.map_err(std::io::Error::other)??;
                    line.field("what", done).send();
                }
                Err(why) => {
                    (open, all) = (true, false);
                    let what = format!("not delivered to {}: {why}", report.name());
                    line.field("what", what).send();
                }
            }
        }
        if all {
            done.insert(domain);
        }
    }
    match open && !too_late {
        true => Ok(()),
        false => protection.reports.forget(day),
    }
}

/// One report to one place.
struct Report {
    domain: String,
    target: ReportTo,
    /// Equal for the same report to the same place.
    what: String,
    id: String,
    file: String,
}

impl Report {
    fn new(settings: &Settings, day: &str, domain: &str, target: ReportTo) -> Self {
        let hostname = &settings.config.hostname;
        let begin = Timestamp::parse_rfc3339(&format!("{day}T00:00:00Z"));
        let begin = begin.map_or(0, |at| at.as_millis() / 1000);
        let end = begin + DAY.as_secs() - 1;
        let mut report = Self {
            domain: domain.to_owned(),
            what: String::new(),
            id: format!("{day}.{domain}@{hostname}"),
            file: format!("{hostname}!{domain}!{begin}!{end}.json.gz"),
            target,
        };
        report.what = format!("{domain} {}", report.name());
        report
    }

    fn name(&self) -> String {
        match &self.target {
            ReportTo::Mail(address) => address.to_string(),
            ReportTo::Web(url) => url.clone(),
        }
    }

    async fn send(
        &self,
        node: &Arc<Node>,
        settings: &Settings,
        begin: Timestamp,
        counts: &BTreeMap<TlsSession, u64>,
    ) -> Result<String, ReportError> {
        let own = &settings.config.tls_reports;
        let reporter = TlsReporter {
            organization: own.organization.clone(),
            contact: own.contact.clone(),
        };
        let end = begin + (DAY - Duration::from_secs(1));
        let (id, counts) = (self.id.clone(), counts.clone());
        let made = tokio::task::spawn_blocking(move || {
            let text = tls_report(&reporter, &id, (begin, end), &counts)?;
            Ok::<_, ReportError>(gzip(text.as_bytes())?)
        });
        let content = made.await??;
        match &self.target {
            ReportTo::Mail(address) => {
                let mail = self.mail(settings, address, &content);
                let submission = Submission {
                    is_part: false,
                    body_type: mail::BodyType::SevenBit,
                    reverse_path: Some(own.from.clone()),
                    recipients: vec![Wanted {
                        address: address.clone(),
                        // A report that does not arrive is nobody's loss.
                        notify: Notify::NEVER,
                        orcpt: None,
                    }],
                    content: Bytes::from(mail),
                    ret: None,
                    env_id: None,
                    terms: Terms::default(),
                    is_test: false,
                    labels: mail::Labels::default(),
                    submitter: Submitter {
                        user: None,
                        peer: None,
                        via: "tls-report".to_owned(),
                    },
                    rights: Rights::Any,
                };
                let token = format!("tls-report {} {}", self.id, self.what);
                let taken = hand_in(node, submission, Some(token)).await;
                let taken = taken.map_err(|refusal| ReportError::Refused(refusal.reply))?;
                match taken.recipients.into_iter().next() {
                    Some(Err(refusal)) => Err(ReportError::Refused(refusal.reply)),
                    Some(Ok(())) | None => Ok(format!("to {address}, as {}", taken.id)),
                }
            }
            ReportTo::Web(url) => {
                post(settings, url, content).await?;
                Ok(format!("to {url}"))
            }
        }
    }

    /// The mail (RFC 8460 §5.3). It goes also where TLS fails: that is what it is about.
    fn mail(&self, settings: &Settings, to: &Address, content: &[u8]) -> String {
        use base64::Engine;
        let (domain, host, id) = (&self.domain, &settings.config.hostname, &self.id);
        let from = &settings.config.tls_reports.from;
        let encoded = base64::engine::general_purpose::STANDARD.encode(content);
        let mut lines = String::with_capacity(encoded.len() + encoded.len() / 38 + 2);
        for chunk in encoded.as_bytes().chunks(76) {
            lines.push_str(&String::from_utf8_lossy(chunk));
            lines.push_str("\r\n");
        }
        let boundary = "=_tls-report";
        let file = &self.file;
        format!(
            "From: <{from}>\r\n\
             To: <{to}>\r\n\
             Subject: Report Domain: {domain}\r\n Submitter: {host}\r\n Report-ID: <{id}>\r\n\
             TLS-Report-Domain: {domain}\r\n\
             TLS-Report-Submitter: {host}\r\n\
             TLS-Required: No\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{boundary}\"\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\
             \r\n\
             This is a TLS report (RFC 8460) of {host}\r\n\
             about the mail hosts of {domain}, in machine-readable form.\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: application/tlsrpt+gzip\r\n\
             Content-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\
             \r\n\
             {lines}\
             --{boundary}--\r\n"
        )
    }
}

fn gzip(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content)?;
    encoder.finish()
}

/// Why a report was not handed over.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    /// It cannot be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It cannot be compressed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Work of ours ended too early.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
    /// The queue has not taken it.
    #[error("{0}")]
    Refused(Reply),
    /// The domain names no URL of the web.
    #[error(transparent)]
    Url(#[from] ParseUrlError),
    /// Its server cannot be asked.
    #[error(transparent)]
    Server(#[from] NoWebServer),
    /// Its server gave no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Its server has not taken it.
    #[error("the server answered {0}")]
    Status(u16),
}

/// Hands a report over by HTTPS (RFC 8460 §5.4). The certificate counts: the URL says who is meant.
async fn post(settings: &Settings, url: &str, content: Vec<u8>) -> Result<(), ReportError> {
    let url = WebUrl::parse(url)?;
    let addresses = web_addresses(settings, &url.host).await?;
    let request = HttpRequest {
        host: &url.host,
        port: url.port,
        tls: url.tls,
        path: &url.path,
        content: Some(("application/tlsrpt+gzip", Bytes::from(content))),
        headers: Vec::new(),
        answer_max: 64 * 1024,
    };
    let answer = http(&settings.client_tls, &addresses, request, WEB_WAIT).await?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(ReportError::Status(status)),
    }
}

fn trouble(node: &Node, what: &str, why: &str) {
    let line = node.journal.line(node.now(), "error");
    line.field("what", format!("TLS reports: {what}"))
        .field("why", why)
        .send();
}
