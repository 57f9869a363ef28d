//! The style sheet, the script and the icon: each under a name that changes with its content, so that a browser keeps it for
//! ever and never has an old one.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const STYLE: &str = include_str!("../assets/console.css");
const SCRIPT: &str = include_str!("../assets/console.js");
const ICON: &str = include_str!("../assets/icon.svg");

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| path(STYLE, "css"));
static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| path(SCRIPT, "js"));

fn path(content: &str, kind: &str) -> String {
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, content.as_bytes()));
    let short: String = hash.chars().take(12).collect();
    format!("/static/console-{short}.{kind}")
}

/// The path of the style sheet.
pub(crate) fn style_path() -> &'static str {
    &STYLE_PATH
}

/// The path of the script.
pub(crate) fn script_path() -> &'static str {
    &SCRIPT_PATH
}

/// Sends one of them.
pub(crate) async fn send(Path(name): Path<String>) -> Response {
    let path = format!("/static/{name}");
    let (kind, content) = match path.as_str() {
        path if path == style_path() => ("text/css; charset=utf-8", STYLE),
        path if path == script_path() => ("text/javascript; charset=utf-8", SCRIPT),
        "/static/icon.svg" => ("image/svg+xml", ICON),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_small() {
        assert!(STYLE.len() <= 16 << 10, "{} octets of style", STYLE.len());
        assert!(
            SCRIPT.len() <= 12 << 10,
            "{} octets of script",
            SCRIPT.len()
        );
    }
}
