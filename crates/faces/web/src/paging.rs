//! A long list in pages: which rows are shown, and the addresses of the pages around them.

use crate::fields::{Fields, encode};

/// The highest page that is asked for: what lies after it is found by a filter.
const PAGE_MAX: u64 = 10_000;

/// A page of a list.
pub(crate) struct Pages {
    /// The first row that is shown, from 1; 0 where there is none.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

/// The page that an address names, from 1.
pub(crate) fn page(fields: &Fields) -> u64 {
    fields.number("page").unwrap_or(1).clamp(1, PAGE_MAX)
}

impl Pages {
    /// Page `page` of a list at `path` with this filter: `shown` rows of `count`, and `rows` to a page.
    pub(crate) fn new(path: &str, q: &str, page: u64, rows: u64, shown: u64, count: u64) -> Self {
        let link = |page: u64| {
            let number = if page > 1 {
                page.to_string()
            } else {
                String::new()
            };
            format!("{path}?{}", encode(&[("q", q), ("page", &number)]))
        };
        let offset = (page - 1) * rows;
        Self {
            first: if shown == 0 { 0 } else { offset + 1 },
            last: offset + shown,
            before: (page > 1).then(|| link(page - 1)),
            after: (offset + shown < count && page < PAGE_MAX).then(|| link(page + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_to_those_around_them() {
        let pages = Pages::new("/finished", "to:a b", 2, 50, 50, 101);
        assert_eq!((pages.first, pages.last), (51, 100));
        assert_eq!(pages.before.as_deref(), Some("/finished?q=to%3Aa+b"));
        assert_eq!(pages.after.as_deref(), Some("/finished?q=to%3Aa+b&page=3"));
        let only = Pages::new("/finished", "", 1, 50, 0, 0);
        assert_eq!((only.first, only.last), (0, 0));
        assert!(only.before.is_none() && only.after.is_none());
        let page = |text: &[u8]| page(&Fields::parse(text));
        assert_eq!(
            (page(b"page=0"), page(b"page=x"), page(b"page=7")),
            (1, 1, 7)
        );
    }
}
