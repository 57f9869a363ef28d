//! Warm-up: a new address sends each site only so much a day, as its plan says; what is more leaves from
//! the older addresses of its pool, or waits for the next day where there is none.
//!
//! What has left is counted in memory. A file, `warm-up/DAY.jsonl` below the data directory, holds how far
//! the counts may have come: it is written ahead in steps, so that neither a mail costs a write nor a
//! crash lets more leave than the plan allows. An end in order writes what it really was.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use config::sources::Source;
use config::warm_up::{WarmDay, end_of_day};
use mail::Timestamp;
use node::Node;
use ops::{WarmSiteView, WarmUpView};
use serde::{Deserialize, Serialize};

use crate::Sources;
use crate::leaving::{Choice, Later, SourceStates};

/// A day's count is written ahead by this part of what the day allows.
const AHEAD: u32 = 20;
/// Sites shown for an address at the most.
const SITES_SHOWN: usize = 10;

/// What has left from the addresses that are in their warm-up, today.
#[derive(Debug)]
pub struct WarmUps {
    directory: PathBuf,
    today: Mutex<Today>,
}

#[derive(Debug, Default)]
struct Today {
    day: String,
    /// By source and site.
    counts: HashMap<(Arc<str>, Arc<str>), Count>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    /// Taken by hosts of the site.
    sent: u32,
    /// Given to attempts that are under way.
    given: u32,
    /// What the file says: never less than the two above.
    noted: u32,
    /// That the day's mails are used up was said.
    told: bool,
}

impl Today {
    fn used(&self, source: &Source, site: &Arc<str>) -> u32 {
        let key = (Arc::clone(&source.name), Arc::clone(site));
        self.counts.get(&key).map_or(0, |c| c.sent + c.given)
    }

    /// Gives an attempt `count` mails; what the file must say then, where it does not.
    fn give(&mut self, source: &Source, site: &Arc<str>, limit: u32, count: u32) -> Option<Line> {
        let key = (Arc::clone(&source.name), Arc::clone(site));
        let entry = self.counts.entry(key).or_default();
        entry.given += count;
        let needed = entry.sent + entry.given;
        (needed > entry.noted).then(|| Line {
            source: source.name.to_string(),
            site: site.to_string(),
            count: (needed + limit / AHEAD).min(limit).max(needed),
        })
    }
}

/// A line of a day's file: the highest count of a source and site is in force.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    source: String,
    site: String,
    count: u32,
}

/// Recipients that leave together, or wait.
#[derive(Debug)]
pub enum Share {
    /// From one of these.
    Go(Option<Choice>, Given, Vec<u32>),
    /// Every address has sent what its plan allows.
    Wait(Later, Vec<u32>),
}

/// What plans gave to an attempt; `WarmUps::settle` wants it back.
#[derive(Debug, Default)]
pub struct Given {
    sources: Vec<Arc<Source>>,
    site: Option<Arc<str>>,
    day: String,
    count: u32,
}

/// What the plans let leave at once.
#[derive(Debug, Default)]
struct Allowance {
    order: Vec<Arc<Source>>,
    /// Those of them that are warming up; the first of their family each.
    warm: Vec<(Arc<Source>, WarmDay)>,
    /// So many mails.
    count: u32,
    /// Of this day.
    day: String,
    /// One that would have been used if its day's mails were not used up.
    used_up: Option<(Arc<Source>, WarmDay)>,
    /// What the file must say before they leave.
    lines: Vec<Line>,
}

impl WarmUps {
    /// The files are in this directory, which is made when there is something to count.
    pub(crate) fn new(directory: PathBuf) -> Self {
        let today = Mutex::default();
        Self { directory, today }
    }

    fn today(&self) -> MutexGuard<'_, Today> {
        self.today.lock()
    }

    fn file(&self, day: &str) -> PathBuf {
        self.directory.join(format!("{day}.jsonl"))
    }

    /// Reads what has left today already, and forgets days that are over; blocks.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    fn load(&self, now: Timestamp) -> std::io::Result<()> {
        let name = now.day();
        let text = match std::fs::read_to_string(self.file(&name)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut counts: HashMap<_, Count> = HashMap::new();
        // A line that a crash cut off was not relied on.
        for line in text
            .lines()
            .filter_map(|l| serde_json::from_str::<Line>(l).ok())
        {
            let count = counts
                .entry((line.source.into(), line.site.into()))
                .or_default();
            count.noted = count.noted.max(line.count);
            count.sent = count.noted;
        }
        *self.today() = Today {
            day: name.clone(),
            counts,
        };
        self.forget_all_but(&name);
        Ok(())
    }

    fn forget_all_but(&self, today: &str) {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return;
        };
        let keep = format!("{today}.jsonl");
        for entry in entries.flatten().filter(|e| e.file_name() != keep.as_str()) {
            // What stays is a small file that nobody reads.
            drop(std::fs::remove_file(entry.path()));
        }
    }

    /// Writes what has really left; blocks.
    ///
    /// # Errors
    /// Those of the file system.
    fn save(&self) -> std::io::Result<()> {
        let today = self.today();
        if today.counts.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for ((source, site), count) in &today.counts {
            let line = Line {
                source: source.to_string(),
                site: site.to_string(),
                count: count.sent + count.given,
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        net::write_private(&self.file(&today.day), text)
    }

    /// Begins another day where it is time.
    fn turn(&self, now: Timestamp) -> MutexGuard<'_, Today> {
        let mut today = self.today();
        let name = now.day();
        if today.day < name {
            today.counts.clear();
            today.day = name;
        }
        today
    }

    /// Gives as many of `wanted` mails as may leave at once, from the addresses that may be used.
    fn allow(
        &self,
        states: &SourceStates,
        choice: &Choice,
        site: &Arc<str>,
        wanted: u32,
        now: Timestamp,
    ) -> Allowance {
        let mut today = self.turn(now);
        let mut allowed = Allowance {
            count: wanted,
            day: today.day.clone(),
            ..Allowance::default()
        };
        for v6 in [false, true] {
            let first = allowed.order.len();
            let mut troubled = Vec::new();
            for source in choice.order().iter().filter(|s| s.address.is_ipv6() == v6) {
                let Some(day) = source.warm_day(now) else {
                    allowed.order.push(Arc::clone(source));
                    continue;
                };
                // A new address stands in front or nowhere: no older one overflows to it.
                if allowed.order.len() > first {
                    continue;
                }
                if states.trouble(source, now).is_some() {
                    // It is the reason where none is left; back in service, it is a try of another day.
                    troubled.push(Arc::clone(source));
                    continue;
                }
                match day.limit.saturating_sub(today.used(source, site)) {
                    0 => allowed.used_up = Some((Arc::clone(source), day)),
                    left => {
                        allowed.count = allowed.count.min(left);
                        allowed.order.push(Arc::clone(source));
                        allowed.warm.push((Arc::clone(source), day));
                    }
                }
            }
            allowed.order.extend(troubled);
        }
        for (source, day) in &allowed.warm {
            let line = today.give(source, site, day.limit, allowed.count);
            allowed.lines.extend(line);
        }
        allowed
    }

    /// Writes a line down, and relies on it; blocks.
    fn note(&self, day: &str, line: Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let path = self.file(day);
        if !path.exists() {
            net::make_dir(&self.directory, 0o700)?;
            self.forget_all_but(day);
        }
        let mut file = net::open_appending(&path, 0o600)?;
        file.write_all(&text)?;
        file.sync_data()?;
        let mut today = self.today();
        if today.day == day
            && let Some(count) = today
                .counts
                .get_mut(&(line.source.into(), line.site.into()))
        {
            count.noted = count.noted.max(line.count);
        }
        Ok(())
    }

    /// An attempt is over: hosts took so many from each of these sources; the rest is given back.
    pub fn settle(&self, given: &Given, sent: &[(Arc<str>, u32)]) {
        let Some(site) = &given.site else { return };
        let mut today = self.today();
        if today.day != given.day {
            return;
        }
        for source in &given.sources {
            let key = (Arc::clone(&source.name), Arc::clone(site));
            if let Some(count) = today.counts.get_mut(&key) {
                let of_it = sent.iter().filter(|(name, _)| *name == source.name);
                count.given = count.given.saturating_sub(given.count);
                count.sent += of_it.map(|(_, n)| n).sum::<u32>();
            }
        }
    }

    /// For the first time today.
    fn is_news(&self, source: &Source, site: &Arc<str>) -> bool {
        let mut today = self.today();
        let key = (Arc::clone(&source.name), Arc::clone(site));
        let count = today.counts.entry(key).or_default();
        !std::mem::replace(&mut count.told, true)
    }

    /// How an address fares in its warm-up; none: it has no plan, or the plan is over.
    pub(crate) fn view(&self, source: &Source, now: Timestamp) -> Option<WarmUpView> {
        let day = source.warm_day(now)?;
        let today = self.turn(now);
        let of_it = today
            .counts
            .iter()
            .filter(|((name, _), _)| *name == source.name);
        let mut sites: Vec<WarmSiteView> = of_it
            .map(|((_, site), count)| WarmSiteView {
                site: site.to_string(),
                sent: count.sent,
            })
            .filter(|view| view.sent > 0)
            .collect();
        sites.sort_by(|a, b| b.sent.cmp(&a.sent).then_with(|| a.site.cmp(&b.site)));
        sites.truncate(SITES_SHOWN);
        Some(WarmUpView {
            day: day.number,
            of: day.of,
            limit: day.limit,
            sites,
        })
    }
}

/// Divides recipients of a message among the addresses of their pool, as far as plans say how many may
/// leave from which. Where no address of the pool is in its warm-up, that is one share.
pub async fn shares(
    sources: &Arc<Sources>,
    choice: Option<&Choice>,
    site: impl FnOnce() -> Arc<str>,
    mut numbers: Vec<u32>,
) -> Vec<Share> {
    let now = sources.node.now();
    let warming = choice.filter(|c| c.order().iter().any(|s| s.warm_day(now).is_some()));
    let Some(choice) = warming else {
        return vec![Share::Go(choice.cloned(), Given::default(), numbers)];
    };
    let site = site();
    let mut shares = Vec::new();
    while !numbers.is_empty() {
        let wanted = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let (states, now) = (&sources.states, sources.node.now());
        let allowed = sources.warm_ups.allow(states, choice, &site, wanted, now);
        let used_up = allowed.used_up.as_ref();
        let later = used_up.map(|(source, day)| later(sources, source, *day, &site));
        if let Some(later) = &later
            && allowed.order.is_empty()
        {
            shares.push(Share::Wait(later.clone(), numbers));
            break;
        }
        for line in allowed.lines {
            write_ahead(sources, allowed.day.clone(), line).await;
        }
        let given = Given {
            sources: allowed.warm.into_iter().map(|(source, _)| source).collect(),
            site: Some(Arc::clone(&site)),
            day: allowed.day,
            count: allowed.count,
        };
        let rest = numbers.split_off(numbers.len().min(allowed.count as usize));
        let choice = choice.only(allowed.order, later);
        shares.push(Share::Go(Some(choice), given, numbers));
        numbers = rest;
    }
    shares
}

/// A disk that refuses this must not stop the mail: then a crash may forget what has left.
async fn write_ahead(sources: &Arc<Sources>, day: String, line: Line) {
    let handles = Arc::clone(sources);
    let written = tokio::task::spawn_blocking(move || handles.warm_ups.note(&day, line)).await;
    if let Ok(Err(error)) = written {
        trouble(&sources.node, &error);
    }
}

/// Reads what has left today before this start; blocks.
pub fn begin(sources: &Sources) {
    if let Err(error) = sources.warm_ups.load(sources.node.now()) {
        trouble(&sources.node, &error);
    }
}

/// Writes what has left today; blocks.
pub fn end(sources: &Sources) {
    if let Err(error) = sources.warm_ups.save() {
        trouble(&sources.node, &error);
    }
}

/// The counts of warm-ups could not be read or written.
fn trouble(node: &Node, error: &std::io::Error) {
    let line = node.journal.line(node.now(), "error");
    let line = line.field("what", "the counts of warm-ups");
    line.field("why", error).send();
}

fn later(sources: &Sources, source: &Source, day: WarmDay, site: &Arc<str>) -> Later {
    let now = sources.node.now();
    let until = end_of_day(now);
    if day.number > 0 && sources.warm_ups.is_news(source, site) {
        let line = sources.node.journal.line(now, "source");
        line.field("name", &source.name)
            .field("address", source.address)
            .field(
                "what",
                "it has sent all messages that its warm-up allows today",
            )
            .field("site", site)
            .field("limit", day.limit)
            .send();
    }
    Later {
        v6: source.address.is_ipv6(),
        why: format!(
            "the source address {} has sent what is allowed today ({}), and the pool has no older one \
             to send from; the mail waits until {until}",
            source.name,
            day.words()
        ),
        until,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use config::Config;

    use super::*;

    const CONFIG: &str = r#"
hostname = "mail.example.com"
[[source]]
name = "new"
address = "192.0.2.1"
warm_up = "2026-12-01"
warm_up_plan = [10, 20]
[[source]]
name = "old"
address = "192.0.2.2"
[outgoing]
source_addresses = ["new", "old"]
"#;

    /// The new address, then the old one.
    fn choice() -> (Choice, Arc<Source>) {
        let config = Config::parse(CONFIG, Path::new("sendoff.toml"), Path::new("/")).unwrap();
        let pool = config.sources.default.unwrap();
        let [new, old] = ["new", "old"].map(|name| {
            let mut all = pool.sources.iter();
            all.find(|source| &*source.name == name).cloned().unwrap()
        });
        let choice = Choice::in_order(pool, 1);
        (choice.only(vec![Arc::clone(&new), old], None), new)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    /// What of `wanted` mails leaves at `now`: from which address first, and how many.
    fn left(warm_ups: &WarmUps, wanted: u32, now: Timestamp) -> (String, u32) {
        let (states, site) = (SourceStates::default(), Arc::from("mx.example"));
        let (choice, new) = choice();
        let allowed = warm_ups.allow(&states, &choice, &site, wanted, now);
        for line in allowed.lines {
            warm_ups.note(&allowed.day, line).unwrap();
        }
        let first = allowed.order.first().unwrap();
        let given = Given {
            sources: allowed.warm.into_iter().map(|(source, _)| source).collect(),
            site: Some(site),
            day: allowed.day,
            count: allowed.count,
        };
        warm_ups.settle(&given, &[(Arc::clone(&new.name), allowed.count)]);
        (first.name.to_string(), allowed.count)
    }

    #[test]
    fn a_new_address_sends_what_its_plan_allows_and_the_next_day_s_after_midnight() {
        let scratch = lab::Scratch::new();
        let warm_ups = WarmUps::new(scratch.path().join("warm-up"));
        let leaves = |wanted, now: &str| left(&warm_ups, wanted, at(now));
        assert_eq!(leaves(5, "2026-11-30T23:59:59Z"), ("old".to_owned(), 5));
        assert_eq!(leaves(8, "2026-12-01T00:00:00Z"), ("new".to_owned(), 8));
        assert_eq!(leaves(8, "2026-12-01T12:00:00Z"), ("new".to_owned(), 2));
        assert_eq!(leaves(8, "2026-12-01T23:59:59Z"), ("old".to_owned(), 8));
        assert_eq!(leaves(30, "2026-12-02T00:00:00Z"), ("new".to_owned(), 20));
        assert_eq!(leaves(8, "2026-12-02T00:00:01Z"), ("old".to_owned(), 8));
        // The plan is over: the address is one of all.
        assert_eq!(leaves(500, "2026-12-03T00:00:00Z"), ("new".to_owned(), 500));
    }

    #[test]
    fn a_crash_lets_no_more_leave_that_day_and_all_of_the_next_day_s() {
        let scratch = lab::Scratch::new();
        let directory = scratch.path().join("warm-up");
        let day = at("2026-12-01T12:00:00Z");
        assert_eq!(left(&WarmUps::new(directory.clone()), 7, day).1, 7);
        let again = WarmUps::new(directory.clone());
        again.load(day).unwrap();
        let more = left(&again, 10, day + Duration::from_secs(60));
        assert_eq!(more, ("new".to_owned(), 3));
        let next = WarmUps::new(directory);
        let day = at("2026-12-02T00:00:00Z");
        next.load(day).unwrap();
        assert_eq!(left(&next, 30, day), ("new".to_owned(), 20));
    }

    #[test]
    fn what_no_host_took_may_leave_later_the_same_day() {
        let scratch = lab::Scratch::new();
        let warm_ups = WarmUps::new(scratch.path().join("warm-up"));
        let (states, site) = (SourceStates::default(), Arc::from("mx.example"));
        let (choice, new) = choice();
        let now = at("2026-12-01T12:00:00Z");
        let allowed = warm_ups.allow(&states, &choice, &site, 10, now);
        assert_eq!(allowed.count, 10);
        let given = Given {
            sources: vec![Arc::clone(&new)],
            site: Some(site),
            day: allowed.day,
            count: allowed.count,
        };
        warm_ups.settle(&given, &[(Arc::clone(&new.name), 4)]);
        assert_eq!(left(&warm_ups, 10, now), ("new".to_owned(), 6));
        let view = warm_ups.view(&new, now).unwrap();
        assert_eq!((view.day, view.limit), (1, 10));
        assert_eq!(view.sites.first().map(|site| site.sent), Some(10));
    }
}
