//! How pages are sent: under a policy that lets nothing in from elsewhere, and back to where a form came from.

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

/// What a page may load and do: everything from here, nothing inline, and no framing.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// A page as it is sent.
pub(crate) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => with_policy(Body::from(text), POLICY),
        Err(_) => {
            let why = "internal error: the page cannot be made";
            (StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
        }
    }
}

/// HTML under a policy.
pub(crate) fn with_policy(body: Body, policy: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    ];
    let mut response = Response::new(body);
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// A file for the visitor's disk.
pub(crate) fn file(kind: &'static str, name: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text).into_response()
}

/// Back to a page of ours with a sentence about what was done.
pub(crate) fn back(to: &str, done: &str) -> Response {
    let to = local(to);
    let (path, query) = to.split_once('?').unwrap_or((to, ""));
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "done" {
            out.append_pair(&name, &value);
        }
    }
    out.append_pair("done", done);
    Redirect::to(&format!("{path}?{}", out.finish())).into_response()
}

/// An address of this server; anything else is the overview.
pub(crate) fn local(to: &str) -> &str {
    let is_local = to.starts_with('/') && !to.starts_with("//") && !to.contains(['\\', '\r', '\n']);
    if is_local { to } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        assert_eq!(local("/queue?q=a"), "/queue?q=a");
        for to in [
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "",
            "/a\r\nX: y",
        ] {
            assert_eq!(local(to), "/", "{to:?}");
        }
    }
}
