//! Lists on a terminal: what is said below them, and where there is nothing to list.

use anyhow::Result;
use config::Config;
use ops::{Answer, Request, Selection, grouped};
use terminal::print_cut;

use crate::ask;

/// Beyond the page that is shown, as many finished recipients are counted.
const COUNTED: u64 = 100_000;

/// Whether an answer has rows, which are cut to the terminal.
pub(crate) const fn is_list(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Queue(_)
            | Answer::Summary(_)
            | Answer::Sites { .. }
            | Answer::Sources(_)
            | Answer::History(_)
            | Answer::Suppressions { .. }
            | Answer::Webhooks(_)
            | Answer::Events { .. }
    )
}

/// Asks for a list, and prints it with a line below that says how many of how many these are.
pub(crate) fn show(config: &Config, request: &Request, json: bool) -> Result<()> {
    let answer = ask::ask(config, request)?;
    if json {
        return ask::print_answer(answer, json);
    }
    let below = below(config, request, &answer)?;
    let Some(below) = below else {
        return ask::print_answer(answer, json);
    };
    let mut text = match below.instead {
        true => String::new(),
        false => ask::as_text(answer),
    };
    text.push_str(&below.text);
    print_cut(&text);
    Ok(())
}

fn below(config: &Config, request: &Request, answer: &Answer) -> Result<Option<Below>> {
    if let Answer::Queue(rows) = answer {
        return of_queue(config, request, rows.len() as u64);
    }
    if let Answer::History(rows) = answer {
        return of_history(config, request, rows.len() as u64);
    }
    if let Answer::Suppressions { entries, matching } = answer {
        let shown = entries.len() as u64;
        return Ok(Some(of_suppressions(request, shown, *matching)));
    }
    if let Answer::Events { events, last } = answer {
        return Ok(Some(of_events(request, events.len() as u64, *last)));
    }
    if let Answer::Sites { sites, .. } = answer
        && !sites.is_empty()
    {
        let number = sites.len() as u64;
        return Ok(Some(Below::after(number, number, "site")));
    }
    Ok(None)
}

/// What stands below a list, or instead of it.
struct Below {
    text: String,
    instead: bool,
}

impl Below {
    fn instead(text: &str) -> Self {
        Self {
            text: format!("{text}\n"),
            instead: true,
        }
    }

    fn after(shown: u64, total: u64, what: &str) -> Self {
        let plural = if total == 1 { "" } else { "s" };
        let text = match shown == total {
            true => format!("{} {what}{plural}.\n", grouped(total)),
            false => format!(
                "{} of {} {what}{plural} (--limit, --offset).\n",
                grouped(shown),
                grouped(total)
            ),
        };
        Self {
            text,
            instead: shown == 0,
        }
    }
}

/// How many there are: counted only where the page that is shown is not the last.
fn total(shown: u64, limit: u64, offset: u64, count: impl Fn() -> Result<u64>) -> Result<u64> {
    match shown < limit && (shown > 0 || offset == 0) {
        true => Ok(offset + shown),
        false => count(),
    }
}

fn of_queue(config: &Config, request: &Request, shown: u64) -> Result<Option<Below>> {
    let Request::List {
        selection,
        limit,
        offset,
        ..
    } = request
    else {
        return Ok(None);
    };
    let is_all = matches!(selection, Selection::All);
    let total = total(shown, *limit, *offset, || ask::count(config, selection))?;
    Ok(Some(match (total, is_all) {
        (0, true) => Below::instead("The queue is empty."),
        (0, false) => Below::instead("Nothing in the queue matches."),
        _ => Below::after(shown, total, "recipient"),
    }))
}

fn of_history(config: &Config, request: &Request, shown: u64) -> Result<Option<Below>> {
    let Request::History {
        selection,
        limit,
        offset,
    } = request
    else {
        return Ok(None);
    };
    let most = offset.saturating_add(*limit).saturating_add(COUNTED);
    let total = total(shown, *limit, *offset, || {
        ask::number(config, &Request::HistoryCount(selection.clone(), most))
    })?;
    if total == 0 {
        return Ok(Some(Below::instead(
            match *selection == ops::HistorySelection::default() {
                true => "The history is empty: nothing has finished yet.",
                false => "Nothing in the history matches.",
            },
        )));
    }
    if total == most {
        let (shown, total) = (grouped(shown), grouped(total));
        let text =
            format!("{shown} of more than {total} finished recipients (--limit, --offset).\n");
        let instead = false;
        return Ok(Some(Below { text, instead }));
    }
    Ok(Some(Below::after(shown, total, "finished recipient")))
}

fn of_suppressions(request: &Request, shown: u64, matching: u64) -> Below {
    let is_all = matches!(request, Request::Suppressions { selection, .. }
        if *selection == ops::SuppressionSelection::default());
    match (matching, is_all) {
        (0, true) => Below::instead("The suppression list is empty."),
        (0, false) => Below::instead("Nothing on the suppression list matches."),
        _ => Below::after(shown, matching, "suppression"),
    }
}

fn of_events(request: &Request, shown: u64, last: u64) -> Below {
    let Request::Events(selection) = request else {
        return Below::after(shown, shown, "event");
    };
    if shown == 0 {
        return Below::instead("No events match.");
    }
    let mut below = Below::after(shown, shown, "event");
    if shown >= selection.limit {
        let shown = grouped(shown);
        below.text = format!("{shown} events; there may be more: --after {last}.\n");
    }
    below
}
