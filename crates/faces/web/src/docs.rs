//! The documentation, as it is built in: each page as HTML, and in sections that can be searched.
//!
//! The pages are our own, so their HTML is sent as it is. Links between them lead to the pages here.

use std::sync::LazyLock;

use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag, TagEnd, html};

macro_rules! sources {
    ($($name:literal)*) => {
        /// Every page, in the order in which a newcomer reads them: its name, and its Markdown.
        const SOURCES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../../docs/", $name, ".md"))),)*
        ];
    };
}

sources! {
    "console" "tutorial" "problems" "deliverability" "running" "operations" "providers" "oauth" "root-mail" "from-postfix"
    "frameworks" "containers" "tls" "replies" "webhooks" "monitoring" "metrics" "durability" "log" "configuration"
    "cli" "api"
}

static PAGES: LazyLock<Vec<Doc>> = LazyLock::new(|| {
    let made = |(name, text): &(&'static str, &'static str)| doc(name, text);
    SOURCES.iter().map(made).collect()
});

/// A page of the documentation.
pub(crate) struct Doc {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) html: String,
    pub(crate) sections: Vec<Section>,
}

/// What stands under one heading.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) heading: String,
    /// The heading's id in the page; empty for the page's own title.
    pub(crate) id: String,
    pub(crate) text: String,
}

/// All pages.
pub(crate) fn pages() -> &'static [Doc] {
    &PAGES
}

/// The page of this name.
pub(crate) fn page(name: &str) -> Option<&'static Doc> {
    PAGES.iter().find(|doc| doc.name == name)
}

/// Whether this is a key of the configuration, as `section.key`.
pub(crate) fn is_setting(text: &str) -> bool {
    let Some((section, key)) = text.rsplit_once('.') else {
        return false;
    };
    let sections = page("configuration").map_or(&[][..], |doc| &doc.sections);
    let names = [format!("[{section}]"), format!("[[{section}]]")];
    let found = sections.iter().find(|s| names.contains(&s.heading));
    found.is_some_and(|s| s.text.split_whitespace().any(|word| word == key))
}

/// The id of a heading, as the links between the pages write it: letters and digits in lower case, `-` and `_`, and `-` for
/// each blank.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        ' ' => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// Where a link of a page leads here.
fn link(to: &str) -> String {
    let (file, anchor) = match to.split_once('#') {
        Some((file, anchor)) => (file, format!("#{anchor}")),
        None => (to, String::new()),
    };
    match file.strip_suffix(".md") {
        _ if to.contains("://") => to.to_owned(),
        Some(name) => format!("/help/{name}{anchor}"),
        None if file == "openapi.json" => "/api/v1/openapi.json".to_owned(),
        None => to.to_owned(),
    }
}

fn doc(name: &'static str, text: &str) -> Doc {
    let options = Options::ENABLE_TABLES;
    let mut events: Vec<Event<'_>> = Parser::new_ext(text, options).collect();
    let sections = name_headings(&mut events);
    for event in &mut events {
        if let Event::Start(Tag::Table(columns)) = event {
            // Alignment would be written as style, which no page of ours may have.
            columns.fill(Alignment::None);
        }
        if let Event::Start(Tag::Link { dest_url, .. }) = event {
            *dest_url = link(dest_url).into();
        }
    }
    let mut made = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut made, events.into_iter());
    let title = sections.first().map(|section| section.heading.clone());
    Doc {
        name,
        title: title.unwrap_or_else(|| name.to_owned()),
        html: made,
        sections,
    }
}

/// What an event adds to the text of a page.
fn text<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    if let Event::Text(text) | Event::Code(text) = event {
        return Some(text);
    }
    if let Event::End(end) = event {
        let ends_words = matches!(
            end,
            TagEnd::Paragraph | TagEnd::Item | TagEnd::TableCell | TagEnd::CodeBlock
        );
        return ends_words.then_some(" ");
    }
    matches!(event, Event::SoftBreak | Event::HardBreak).then_some(" ")
}

/// Gives each heading its id, and returns what stands under each.
fn name_headings(events: &mut [Event<'_>]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut named: Vec<(usize, String)> = Vec::new();
    let mut plain: Vec<String> = Vec::new();
    // The place of the heading that is being read.
    let mut open = None;
    for (at, event) in events.iter().enumerate() {
        if let Event::Start(Tag::Heading { .. }) = event {
            open = Some(at);
            sections.push(Section::default());
        }
        let Some(section) = sections.last_mut() else {
            continue;
        };
        if let Event::End(TagEnd::Heading(_)) = event
            && let Some(start) = open.take()
        {
            let slug = slug(&section.heading);
            // The second heading of the same words gets `-1`, and so on.
            let before = plain.iter().filter(|other| **other == slug).count();
            section.id = match before {
                0 => slug.clone(),
                n => format!("{slug}-{n}"),
            };
            plain.push(slug);
            named.push((start, section.id.clone()));
        }
        if let Some(text) = text(event) {
            match open {
                Some(_) => section.heading.push_str(text),
                None => section.text.push_str(text),
            }
        }
    }
    for (at, name) in named {
        if let Some(Event::Start(Tag::Heading { id, .. })) = events.get_mut(at) {
            *id = Some(CowStr::from(name));
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_docs_is_here() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .filter_map(|file| file.unwrap().file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
            .collect();
        files.sort();
        let mut here: Vec<&str> = pages().iter().map(|doc| doc.name).collect();
        here.sort_unstable();
        assert_eq!(here, files);
    }

    #[test]
    fn every_link_between_pages_leads_to_a_heading() {
        for doc in pages() {
            for to in doc.html.split("href=\"").skip(1) {
                let to = to.split('"').next().unwrap();
                let (path, anchor) = to.split_once('#').unwrap_or((to, ""));
                let target = match path.strip_prefix("/help/") {
                    Some(name) => page(name),
                    None if path.is_empty() => Some(doc),
                    None => continue,
                };
                let target = target.unwrap_or_else(|| panic!("{}: {to}", doc.name));
                let is_there = anchor.is_empty() || target.sections.iter().any(|s| s.id == anchor);
                assert!(is_there, "{}: {to}", doc.name);
            }
        }
    }

    #[test]
    fn pages_have_nothing_that_the_policy_forbids() {
        for doc in pages() {
            for forbidden in ["style=", "<script", "<img", "onclick"] {
                let tags = doc.html.replace("&lt;", "").replace("&quot;", "");
                assert!(!tags.contains(forbidden), "{}: {forbidden}", doc.name);
            }
        }
    }

    #[test]
    fn keys_of_the_configuration_are_known() {
        assert!(is_setting("dns.servers") && is_setting("log.file"));
        assert!(!is_setting("example.com") && !is_setting("dns.example") && !is_setting("dns"));
    }

    #[test]
    fn links_lead_to_the_pages_here() {
        assert_eq!(link("api.md#test-keys"), "/help/api#test-keys");
        assert_eq!(link("openapi.json"), "/api/v1/openapi.json");
        assert_eq!(link("https://a.example/x.md"), "https://a.example/x.md");
        assert_eq!(link("#below"), "#below");
        assert_eq!(
            slug("9. The `x_y` address, that-is"),
            "9-the-x_y-address-that-is"
        );
    }
}
