//! What a page shows, as a command of a shell.

use crate::state::Web;

/// A text within single quotation marks of a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// How the API is asked for this path.
pub(crate) fn curl(web: &Web, path: &str) -> String {
    let url = format!("https://{}{path}", web.0.backend.settings().hostname);
    format!("curl -H \"Authorization: Bearer $KEY\" {}", quoted(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_quotation_marks() {
        assert_eq!(quoted("a'; rm -r /"), "'a'\\''; rm -r /'");
    }
}
