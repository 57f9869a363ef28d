//! Help: the documentation, the keys, a search over both; and the search line of every page.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use mail::{Address, Domain, QueueId};

use crate::docs::{self, Doc, Section};
use crate::error::PageError;
use crate::fields::{Query, encode, term};
use crate::frame::Frame;
use crate::sent::html;
use crate::session::User;
use crate::state::Web;

/// What a search shows at most.
const FOUND_MAX: usize = 40;
/// Octets of text around what was found.
const AROUND: usize = 90;

/// The keys of every page: each with what it does.
const KEYS: [(&str, &str); 16] = [
    ("g o", "overview"),
    ("g q", "queue"),
    ("g f", "finished"),
    ("g s", "sites"),
    ("g r", "reports"),
    ("g l", "log"),
    ("g t", "tools"),
    ("g h", "help"),
    ("/", "to the filter of the page, or the search line"),
    ("j", "to the next row"),
    ("k", "to the row before"),
    ("x", "tick the row"),
    ("Enter", "open the row"),
    ("p", "pause what changes by itself, or let it go on"),
    ("t", "light or dark"),
    ("?", "this list"),
];

/// A section that was found.
struct Found {
    link: String,
    page: &'static str,
    heading: &'static str,
    before: String,
    hit: String,
    after: String,
}

#[derive(Template)]
#[template(path = "help.html")]
struct HelpPage {
    frame: Frame,
    q: String,
    found: Vec<Found>,
    pages: &'static [Doc],
    keys: [(&'static str, &'static str); 16],
}

#[derive(Template)]
#[template(path = "doc.html")]
struct DocPage {
    frame: Frame,
    doc: &'static Doc,
}

/// The pages, the keys, and what a search finds.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let q = fields.text("q");
    let page = HelpPage {
        frame: Frame::new(&web, &user, "/help", "Help"),
        found: search(docs::pages(), &q),
        pages: docs::pages(),
        keys: KEYS,
        q,
    };
    Ok(html(&page))
}

/// One page of the documentation.
pub(crate) async fn doc(
    user: User,
    State(web): State<Web>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let doc = docs::page(&name);
    let doc = doc.ok_or_else(|| PageError::not_found(format!("there is no page {name}")))?;
    let page = DocPage {
        frame: Frame::new(&web, &user, "/help", &doc.title),
        doc,
    };
    Ok(html(&page))
}

/// Where the search line leads: to a message by its id, to the queue by an address or a domain, else to help.
pub(crate) async fn find(_: User, Query(fields): Query) -> Response {
    Redirect::to(&target(&fields.text("q"))).into_response()
}

fn target(q: &str) -> String {
    if q.parse::<QueueId>().is_ok() {
        return format!("/messages/{q}");
    }
    if Address::parse(q).is_ok() {
        return format!("/queue?{}", term("to", q));
    }
    let is_domain = q.contains('.') && Domain::parse(q).is_ok();
    match is_domain && !docs::is_setting(q) {
        true => format!("/queue?{}", term("domain", q)),
        false => format!("/help?{}", encode(&[("q", q)])),
    }
}

/// Sections that have all words, those that have them in the heading first.
fn search(pages: &'static [Doc], q: &str) -> Vec<Found> {
    let q = match docs::is_setting(q) {
        // A key stands in its section without the section's name.
        true => q.replace('.', " "),
        false => q.to_owned(),
    };
    let words: Vec<String> = q.split_whitespace().map(str::to_ascii_lowercase).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for doc in pages {
        for section in &doc.sections {
            let heading = section.heading.to_ascii_lowercase();
            let text = section.text.to_ascii_lowercase();
            let in_heading = words.iter().filter(|word| heading.contains(*word)).count();
            let all = words
                .iter()
                .all(|word| heading.contains(word) || text.contains(word));
            if all {
                let hit = words
                    .iter()
                    .find_map(|word| text.find(word).map(|at| (at, word.len())));
                found.push((in_heading, shown(doc, section, hit.unwrap_or_default())));
            }
        }
    }
    found.sort_by_key(|(in_heading, _)| std::cmp::Reverse(*in_heading));
    found.truncate(FOUND_MAX);
    found.into_iter().map(|(_, found)| found).collect()
}

/// A section with the text around what was found in it: so many octets at a place.
fn shown(doc: &'static Doc, section: &'static Section, (at, length): (usize, usize)) -> Found {
    let text = &section.text;
    let part = |from: usize, to: usize| {
        let (from, to) = (text.floor_char_boundary(from), text.floor_char_boundary(to));
        text.get(from..to).unwrap_or_default().to_owned()
    };
    let anchor = match section.id.as_str() {
        "" => String::new(),
        id => format!("#{id}"),
    };
    Found {
        link: format!("/help/{}{anchor}", doc.name),
        page: &doc.title,
        heading: &section.heading,
        before: part(at.saturating_sub(AROUND), at),
        hit: part(at, at + length),
        after: part(at + length, at + length + AROUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_line_leads_where_it_is_meant() {
        for (q, to) in [
            ("bob@a.example", "/queue?q=to%3Abob%40a.example"),
            ("a.example", "/queue?q=domain%3Aa.example"),
            ("dns.servers", "/help?q=dns.servers"),
            ("greylisting", "/help?q=greylisting"),
            ("two words", "/help?q=two+words"),
            ("", "/help?"),
        ] {
            assert_eq!(target(q), to, "{q}");
        }
        let id = "0".repeat(16);
        if let Ok(id) = id.parse::<QueueId>() {
            assert_eq!(target(&id.to_string()), format!("/messages/{id}"));
        }
    }

    #[test]
    fn headings_are_found_before_text() {
        let found = search(docs::pages(), "DKIM sign");
        let first = found.first().unwrap();
        assert!(first.heading.contains("DKIM"), "{}", first.heading);
        assert!(found.len() > 1 && found.len() <= FOUND_MAX);
        assert!(search(docs::pages(), "no such word anywhere zzz").is_empty());
        assert!(search(docs::pages(), " ").is_empty());
    }

    #[test]
    fn a_setting_is_found_in_its_section() {
        let found = search(docs::pages(), "dns.servers");
        assert!(found.iter().any(|f| f.link == "/help/configuration#dns"));
    }
}
