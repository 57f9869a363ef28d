//! Lists on a terminal: what is said below them, and where there is nothing to list.

use anyhow::Result;
use config::Config;
use ops::{
    Ask, Count, Events, EventsView, FinishedView, History, HistoryCount, HistorySelection, List,
    QueuedView, Selection, Sites, SitesView, SuppressionSelection, Suppressions, SuppressionsView,
    grouped,
};
use terminal::print_cut;

use crate::ask::{self, Shown};

/// Beyond the page that is shown, as many finished recipients are counted.
const COUNTED: u64 = 100_000;

/// A verb that asks for a list.
pub(crate) trait Listed: Ask + Clone
where
    Self::Answer: Shown,
{
    /// What is said below what is answered, if anything.
    ///
    /// # Errors
    /// When the server is to be asked once more, and does not answer.
    fn below(&self, config: &Config, answer: &Self::Answer) -> Result<Option<Below>>;
}

/// Asks for a list, and prints it with a line below that says how many of how many these are.
pub(crate) fn show<A: Listed>(config: &Config, asked: &A, json: bool) -> Result<()>
where
    A::Answer: Shown,
{
    let answer = ask::ask(config, asked.clone())?;
    if json {
        return ask::print_answer(&answer, json);
    }
    let Some(below) = asked.below(config, &answer)? else {
        return ask::print_answer(&answer, json);
    };
    let mut text = match below.instead {
        true => String::new(),
        false => answer.text(),
    };
    text.push_str(&below.text);
    print_cut(&text);
    Ok(())
}

/// What stands below a list, or instead of it.
pub(crate) struct Below {
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

impl Listed for List {
    fn below(&self, config: &Config, rows: &Vec<QueuedView>) -> Result<Option<Below>> {
        let shown = rows.len() as u64;
        let is_all = matches!(self.selection, Selection::All);
        let total = total(shown, self.limit, self.offset, || {
            ask::ask(config, Count(self.selection.clone()))
        })?;
        Ok(Some(match (total, is_all) {
            (0, true) => Below::instead("The queue is empty."),
            (0, false) => Below::instead("Nothing in the queue matches."),
            _ => Below::after(shown, total, "recipient"),
        }))
    }
}

impl Listed for Sites {
    fn below(&self, _: &Config, answer: &SitesView) -> Result<Option<Below>> {
        let number = answer.sites.len() as u64;
        Ok((number > 0).then(|| Below::after(number, number, "site")))
    }
}

impl Listed for History {
    fn below(&self, config: &Config, rows: &Vec<FinishedView>) -> Result<Option<Below>> {
        let shown = rows.len() as u64;
        let most = self.offset.saturating_add(self.limit);
        let most = most.saturating_add(COUNTED);
        let selection = &self.selection;
        let total = total(shown, self.limit, self.offset, || {
            let selection = selection.clone();
            ask::ask(config, HistoryCount { selection, most })
        })?;
        if total == 0 {
            return Ok(Some(Below::instead(
                match *selection == HistorySelection::default() {
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
}

impl Listed for Suppressions {
    fn below(&self, _: &Config, answer: &SuppressionsView) -> Result<Option<Below>> {
        let is_all = self.selection == SuppressionSelection::default();
        Ok(Some(match (answer.matching, is_all) {
            (0, true) => Below::instead("The suppression list is empty."),
            (0, false) => Below::instead("Nothing on the suppression list matches."),
            (matching, _) => Below::after(answer.entries.len() as u64, matching, "suppression"),
        }))
    }
}

impl Listed for Events {
    fn below(&self, _: &Config, answer: &EventsView) -> Result<Option<Below>> {
        let shown = answer.events.len() as u64;
        if shown == 0 {
            return Ok(Some(Below::instead("No events match.")));
        }
        let mut below = Below::after(shown, shown, "event");
        if shown >= self.0.limit {
            let (shown, last) = (grouped(shown), answer.last);
            below.text = format!("{shown} events; there may be more: --after {last}.\n");
        }
        Ok(Some(below))
    }
}
