//! The command line's side of the admin socket: asks the running server and shows the answer.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use config::Config;
use ops::line::{self, Heard};
use ops::{
    ActedView, Ask, BackedUpView, Content, DomainView, Done, EventsView, Explanation, FinishedView,
    Healthy, HoldRuleView, MessageView, QueuedView, SitesView, SourceView, SummaryView,
    SuppressionsView, TraceView, VerbError, VerbErrorKind, WebhookTested, WebhookView,
};
use serde::Serialize;
use terminal::{print, print_cut};

/// The server does not answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "no server answers at {path}: is it running (`sendoff serve`), with the same data_dir, and are you allowed to \
     use its socket? ({why})",
    path = path.display()
)]
pub(crate) struct Unreachable {
    path: PathBuf,
    why: std::io::Error,
}

impl Unreachable {
    /// Whether there is one, which this user may not ask.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.why.kind() == std::io::ErrorKind::PermissionDenied
    }
}

/// Asks the server of this configuration.
///
/// # Errors
/// [`Unreachable`] when no server answers, and a [`VerbError`] when it was not done.
pub(crate) fn ask<A: Ask>(config: &Config, ask: A) -> Result<A::Answer> {
    ask_at(&config.data_dir, ask)
}

/// Asks the server that has this data directory.
pub(crate) fn ask_at<A: Ask>(data_dir: &Path, ask: A) -> Result<A::Answer> {
    let path = ops::admin_socket(data_dir);
    let unreachable = |why| Unreachable {
        path: path.clone(),
        why,
    };
    let mut stream = UnixStream::connect(&path).map_err(unreachable)?;
    let line = line::request_line(ask)?;
    stream.write_all(line.as_bytes()).map_err(unreachable)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut said = String::new();
        stream.read_line(&mut said).map_err(unreachable)?;
        match line::read_answer::<A>(&said)? {
            Heard::Progress { done, of } => show_progress(done, of),
            Heard::End(answer) => return answer.map_err(explained),
        }
    }
}

/// An error with what there is to do about it at the command line.
fn explained(error: VerbError) -> anyhow::Error {
    match error.kind() {
        VerbErrorKind::Beyond { .. } => anyhow!(
            "{error}; if the server's data was reset or restored, begin again with --after 0"
        ),
        VerbErrorKind::Malformed
        | VerbErrorKind::NotFound
        | VerbErrorKind::Conflict
        | VerbErrorKind::NotReloaded
        | VerbErrorKind::Unavailable
        | VerbErrorKind::Failed => error.into(),
    }
}

/// Says how far a long order is, to a person who waits for it.
fn show_progress(done: u64, of: u64) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() && of > 1000 {
        let end = if done >= of { "\n" } else { "" };
        // A terminal that is gone needs no progress.
        drop(write!(terminal, "\r{done} of {of}{end}"));
    }
}

/// Asks, and prints the answer.
pub(crate) fn show<A>(config: &Config, asked: A, json: bool) -> Result<()>
where
    A: Ask,
    A::Answer: Shown,
{
    print_answer(&ask(config, asked)?, json)
}

/// Prints an answer.
pub(crate) fn print_answer<T: Shown>(answer: &T, json: bool) -> Result<()> {
    if let Some(octets) = answer.octets() {
        return print_octets(&octets?);
    }
    match json {
        true => print(&as_json(answer)?),
        false if T::HAS_ROWS => print_cut(&answer.text()),
        false => print(&answer.text()),
    }
    Ok(())
}

/// Prints octets as they are, or readable on a terminal.
fn print_octets(octets: &[u8]) -> Result<()> {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        print(&String::from_utf8_lossy(octets).replace("\r\n", "\n"));
    } else {
        out.write_all(octets)?;
    }
    Ok(())
}

/// An answer for a program, with the names of its fields in their order.
fn as_json<T: Serialize>(answer: &T) -> Result<String> {
    let value = serde_json::to_value(answer)?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
}

/// How an answer is shown to people.
pub(crate) trait Shown: Serialize {
    /// It has rows, which are cut to the terminal.
    const HAS_ROWS: bool = false;

    /// Its text, with its end.
    fn text(&self) -> String;

    /// What is printed instead, as it is, to programs too.
    fn octets(&self) -> Option<Result<Vec<u8>>> {
        None
    }
}

impl Shown for Vec<QueuedView> {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        ops::queue_table(self)
    }
}

impl Shown for u64 {
    fn text(&self) -> String {
        format!("{self}\n")
    }
}

impl Shown for SummaryView {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        ops::summary_text(self)
    }
}

impl Shown for MessageView {
    fn text(&self) -> String {
        message(self)
    }
}

impl Shown for TraceView {
    fn text(&self) -> String {
        let later = self.message.as_ref().map(later).unwrap_or_default();
        let head = self.message.as_ref().map(message_head).unwrap_or_default();
        format!("{head}{}{later}", ops::attempts_table(&self.attempts))
    }
}

impl Shown for ActedView {
    fn text(&self) -> String {
        acted(self.changed, self.unchanged, self.in_flight)
    }
}

impl Shown for Content {
    fn text(&self) -> String {
        self.0.clone()
    }

    fn octets(&self) -> Option<Result<Vec<u8>>> {
        use base64::Engine;
        let octets = base64::engine::general_purpose::STANDARD.decode(&self.0);
        Some(octets.map_err(anyhow::Error::from))
    }
}

impl Shown for SitesView {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        let mut text = ops::sites_table(&self.sites);
        if !self.paused.is_empty() {
            text.push_str(&format!("Paused: {}\n", self.paused.join(", ")));
        }
        text
    }
}

impl Shown for Vec<SourceView> {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        ops::sources_table(self)
    }
}

impl Shown for Vec<HoldRuleView> {
    fn text(&self) -> String {
        if self.is_empty() {
            return "No rule holds new mail.\n".to_owned();
        }
        self.iter()
            .map(|rule| format!("{:<16} {}\n", rule.name, rule.filter))
            .collect()
    }
}

impl Shown for DomainView {
    fn text(&self) -> String {
        domain(self)
    }
}

impl Shown for Explanation {
    fn text(&self) -> String {
        self.text()
    }
}

impl Shown for Vec<FinishedView> {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        finished(self)
    }
}

impl Shown for SuppressionsView {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        ops::suppressions_table(&self.entries)
    }
}

impl Shown for Vec<WebhookView> {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        ops::webhooks_table(self)
    }
}

impl Shown for WebhookTested {
    fn text(&self) -> String {
        tested_text(self)
    }
}

impl Shown for EventsView {
    const HAS_ROWS: bool = true;

    fn text(&self) -> String {
        ops::events_table(&self.events)
    }
}

impl Shown for BackedUpView {
    fn text(&self) -> String {
        backed_up(self)
    }
}

impl Shown for serde_json::Map<String, serde_json::Value> {
    fn text(&self) -> String {
        self.iter()
            .map(|(name, value)| format!("{name:<24} {value}\n"))
            .collect()
    }
}

impl Shown for Healthy {
    fn text(&self) -> String {
        let faults = self.0.iter().map(|fault| format!("fault: {fault}\n"));
        format!(
            "ok: the server accepts mail\n{}",
            faults.collect::<String>()
        )
    }
}

impl Shown for Done {
    fn text(&self) -> String {
        format!("{}\n", self.0)
    }
}

fn backed_up(made: &BackedUpView) -> String {
    let BackedUpView {
        directory,
        waiting,
        bytes,
        unreadable,
    } = made;
    let mut text =
        format!("{directory}: {waiting} waiting recipients, {bytes} octets of the queue.\n");
    for part in unreadable {
        text.push_str(&format!(
            "The disk cannot read {part}: mail in it is lost, and is not in the backup.\n"
        ));
    }
    text
}

/// What a verb did.
fn acted(changed: u64, unchanged: u64, in_flight: u64) -> String {
    let word = |n: u64, one: &'static str, more: &'static str| if n == 1 { one } else { more };
    let mut text = format!(
        "{changed} {} changed",
        word(changed, "recipient", "recipients")
    );
    if unchanged > 0 {
        let (were, are) = (word(unchanged, "was", "were"), word(unchanged, "is", "are"));
        text.push_str(&format!(
            ", {unchanged} {were} already in that state or {are} being sent"
        ));
    }
    if in_flight > 0 {
        let (are, end) = (word(in_flight, "is", "are"), word(in_flight, "ends", "end"));
        text.push_str(&format!(
            ", {in_flight} {are} being sent right now and {end} with this attempt"
        ));
    }
    text.push_str(".\n");
    text
}

fn tested_text(tested: &WebhookTested) -> String {
    let status = tested.status.map(|status| format!("{status}, "));
    let status = status.unwrap_or_default();
    let (ms, id) = (tested.milliseconds, &tested.webhook_id);
    let taken = if tested.taken {
        "Accepted"
    } else {
        "Not accepted"
    };
    format!(
        "{taken}: {status}{ms} ms, webhook-id {id}\n{}\n",
        tested.text
    )
}

fn domain(view: &DomainView) -> String {
    let mut text = format!("{}: {} recipients wait", view.domain, view.waiting);
    if view.paused {
        text.push_str("; it is paused");
    }
    if let Some(limits) = &view.slowed {
        text.push_str(&format!("; it is slowed ({limits})"));
    }
    text.push_str(".\n");
    match &view.site {
        Some(site) => text.push_str(&ops::sites_table(std::slice::from_ref(site))),
        None => text.push_str(
            "Its mail hosts are not known at present: they are looked up when mail is due (`sendoff explain` looks \
             them up now).\n",
        ),
    }
    text
}

fn finished(rows: &[FinishedView]) -> String {
    if rows.is_empty() {
        return "No finished recipients match.\n".to_owned();
    }
    let line = |row: &FinishedView| {
        let sender = if row.sender.is_empty() {
            "<>"
        } else {
            &row.sender
        };
        let end = &row.end;
        let mut text = format!(
            "{} {} {:<9} {sender} -> {}: {}\n",
            end.at,
            row.id,
            end.outcome,
            end.recipient,
            mail::one_line(&end.reply)
        );
        if row.test {
            text.push_str("    Test: not delivered to anybody\n");
        }
        text.push_str(&ops::labels_lines(
            "    ",
            &row.tags,
            &row.metadata,
            row.report_of.as_deref(),
        ));
        for later in &row.later {
            text.push_str(&format!(
                "    {} {}: {}\n",
                later.at,
                later.event,
                mail::one_line(&later.text)
            ));
        }
        text
    };
    rows.iter().map(line).collect()
}

fn message_head(m: &MessageView) -> String {
    let sender = if m.sender.is_empty() { "<>" } else { &m.sender };
    let signed = match m.signatures.is_empty() {
        true => String::new(),
        false => format!("Signed    {}\n", m.signatures.join(", ")),
    };
    let mut labels = ops::labels_lines("", &m.tags, &m.metadata, m.report_of.as_deref());
    if m.test {
        labels.push_str("Test      not delivered to anybody; the result is simulated\n");
    }
    format!(
        "Message   {}\nAccepted  {}\nSender    {sender}\nSubject   {}\nSize      {} octets\nFrom      {}\n{labels}{signed}\n",
        m.id,
        m.accepted,
        mail::one_line(&m.subject),
        m.size,
        m.submitter
    )
}

/// What came to be known behind the end.
fn later(m: &MessageView) -> String {
    match m.later.is_empty() {
        true => String::new(),
        false => format!("\nReported later:\n{}", ops::later_table(&m.later)),
    }
}

fn message(m: &MessageView) -> String {
    let mut text = message_head(m);
    if !m.waiting.is_empty() {
        text.push_str(&ops::queue_table(&m.waiting));
    }
    if !m.finished.is_empty() {
        text.push_str("\nFinished:\n");
        text.push_str(&ops::attempts_table(&m.finished));
    }
    text.push_str(&later(m));
    text
}

/// Asks for the mail of whoever runs this program.
///
/// # Errors
/// When no server answers there.
pub(crate) fn own_mail(data_dir: &Path) -> std::io::Result<Result<Vec<QueuedView>, VerbError>> {
    let stream = UnixStream::connect(ops::own_mail_socket(data_dir))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match line::read_answer::<ops::List>(&line)? {
        Heard::End(answer) => Ok(answer),
        Heard::Progress { .. } => Err(std::io::Error::other("the answer is not a list")),
    }
}
