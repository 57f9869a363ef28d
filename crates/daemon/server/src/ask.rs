//! The command line's side of the admin socket: asks the running server and shows the answer.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use config::Config;
use ops::{Answer, Request, Selection};
use terminal::{print, print_cut};

use crate::admin::socket_path;
use crate::cli::lists;

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

pub(crate) fn ask(config: &Config, request: &Request) -> Result<Answer> {
    ask_at(&config.data_dir, request)
}

/// Asks the server that has this data directory.
pub(crate) fn ask_at(data_dir: &Path, request: &Request) -> Result<Answer> {
    let path = socket_path(data_dir);
    let unreachable = |why| Unreachable {
        path: path.clone(),
        why,
    };
    let mut stream = UnixStream::connect(&path).map_err(unreachable)?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(unreachable)?;
    let mut stream = BufReader::new(stream);
    let answer = loop {
        let mut answer = String::new();
        stream.read_line(&mut answer).map_err(unreachable)?;
        let answer = serde_json::from_str(&answer)?;
        if let Answer::Progress { done, of } = answer {
            show_progress(done, of);
        } else {
            break answer;
        }
    };
    if let Answer::Beyond { last } = answer {
        return Err(anyhow!(beyond(last)));
    }
    if let Answer::Error(why) | Answer::Refused(why) | Answer::Unknown(why) = answer {
        return Err(anyhow!(why));
    }
    Ok(answer)
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

/// How many waiting recipients a selection means.
pub(crate) fn count(config: &Config, selection: &Selection) -> Result<u64> {
    number(config, &Request::Count(selection.clone()))
}

/// What is answered to a question for a number.
pub(crate) fn number(config: &Config, request: &Request) -> Result<u64> {
    let answer = ask(config, request)?;
    let Answer::Count(n) = answer else {
        return Err(anyhow!("internal error: unexpected answer of the server"));
    };
    Ok(n)
}

/// Asks, and prints the answer.
pub(crate) fn show(config: &Config, request: &Request, json: bool) -> Result<()> {
    print_answer(ask(config, request)?, json)
}

/// Prints an answer.
pub(crate) fn print_answer(answer: Answer, json: bool) -> Result<()> {
    let text = match (json, answer) {
        (false, answer) if lists::is_list(&answer) => {
            print_cut(&as_text(answer));
            return Ok(());
        }
        (_, Answer::Content(encoded)) => {
            use base64::Engine;
            let content = base64::engine::general_purpose::STANDARD.decode(encoded)?;
            let mut out = std::io::stdout();
            if out.is_terminal() {
                print(&String::from_utf8_lossy(&content).replace("\r\n", "\n"));
            } else {
                out.write_all(&content)?;
            }
            return Ok(());
        }
        (true, answer) => as_json(&answer)?,
        (false, answer) => as_text(answer),
    };
    print(&text);
    Ok(())
}

/// The inside of an answer, without the name of its kind.
fn as_json(answer: &Answer) -> Result<String> {
    let value = serde_json::to_value(answer)?;
    let inner = value
        .as_object()
        .filter(|map| map.len() == 1)
        .and_then(|map| map.values().next());
    Ok(format!(
        "{}\n",
        serde_json::to_string_pretty(inner.unwrap_or(&value))?
    ))
}

fn backed_up(directory: &str, waiting: u64, bytes: u64, unreadable: &[String]) -> String {
    let mut text =
        format!("{directory}: {waiting} waiting recipients, {bytes} octets of the queue.\n");
    for part in unreadable {
        text.push_str(&format!(
            "The disk cannot read {part}: mail in it is lost, and is not in the backup.\n"
        ));
    }
    text
}

pub(crate) fn as_text(answer: Answer) -> String {
    match answer {
        Answer::Beyond { last } => beyond(last),
        Answer::Queue(rows) => ops::queue_table(&rows),
        Answer::Count(n) => format!("{n}\n"),
        Answer::Summary(view) => ops::summary_text(&view),
        Answer::Message(m) => message(&m),
        Answer::Trace(trace) => {
            let later = trace.message.as_ref().map(later).unwrap_or_default();
            let head = trace.message.map(|m| message_head(&m)).unwrap_or_default();
            format!("{head}{}{later}", ops::attempts_table(&trace.attempts))
        }
        Answer::Acted {
            changed,
            unchanged,
            in_flight,
        } => acted(changed, unchanged, in_flight),
        Answer::Sites { sites, paused } => {
            let mut text = ops::sites_table(&sites);
            if !paused.is_empty() {
                text.push_str(&format!("Paused: {}\n", paused.join(", ")));
            }
            text
        }
        Answer::Sources(sources) => ops::sources_table(&sources),
        Answer::HoldRules(rules) if rules.is_empty() => "No rule holds new mail.\n".to_owned(),
        Answer::HoldRules(rules) => rules
            .iter()
            .map(|rule| format!("{:<16} {}\n", rule.name, rule.filter))
            .collect(),
        Answer::Site(view) => domain(&view),
        Answer::Explained(explanation) => explanation.text(),
        Answer::History(rows) => finished(&rows),
        Answer::Suppressions { entries, .. } => ops::suppressions_table(&entries),
        Answer::Webhooks(hooks) => ops::webhooks_table(&hooks),
        Answer::WebhookTested(tested) => tested_text(&tested),
        Answer::Events { events, .. } => ops::events_table(&events),
        Answer::Progress { done, of } => format!("{done} of {of}\n"),
        Answer::BackedUp {
            directory,
            waiting,
            bytes,
            unreadable,
        } => backed_up(&directory, waiting, bytes, &unreadable),
        Answer::Stats(figures) => figures
            .iter()
            .map(|(name, value)| format!("{name:<24} {value}\n"))
            .collect(),
        Answer::Healthy(faults) => {
            let faults = faults.iter().map(|fault| format!("fault: {fault}\n"));
            format!(
                "ok: the server accepts mail\n{}",
                faults.collect::<String>()
            )
        }
        Answer::Listening(addresses) => addresses.iter().map(|a| format!("{a}\n")).collect(),
        Answer::Done(text) => format!("{text}\n"),
        Answer::Content(text)
        | Answer::Unknown(text)
        | Answer::Refused(text)
        | Answer::Error(text) => text,
    }
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

fn tested_text(tested: &ops::WebhookTested) -> String {
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

fn domain(view: &ops::DomainView) -> String {
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

fn finished(rows: &[ops::FinishedView]) -> String {
    if rows.is_empty() {
        return "No finished recipients match.\n".to_owned();
    }
    let line = |row: &ops::FinishedView| {
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

fn message_head(m: &ops::MessageView) -> String {
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
fn later(m: &ops::MessageView) -> String {
    match m.later.is_empty() {
        true => String::new(),
        false => format!("\nReported later:\n{}", ops::later_table(&m.later)),
    }
}

fn message(m: &ops::MessageView) -> String {
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

fn beyond(last: u64) -> String {
    format!(
        "there is no such place: the last event has place {last}; if the server's data was reset or restored, begin \
         again with --after 0"
    )
}
