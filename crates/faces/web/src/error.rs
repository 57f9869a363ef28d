//! What is shown where a page cannot be.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ops::{Right, Role};

use crate::fields::encode;
use crate::sent::html;

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct PageError {
    status: StatusCode,
    title: &'static str,
    pub(crate) why: String,
    remedy: &'static str,
    /// Somewhere else instead.
    to: Option<String>,
}

impl PageError {
    const fn new(status: StatusCode, title: &'static str, why: String) -> Self {
        Self {
            status,
            title,
            why,
            remedy: "",
            to: None,
        }
    }

    /// The visitor has to log in first, and comes back to `from`.
    pub(crate) fn log_in(from: &str) -> Self {
        let from = encode(&[("next", from)]);
        let mut error = Self::new(StatusCode::SEE_OTHER, "Log in", String::new());
        error.to = Some(format!("/login?{from}"));
        error
    }

    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "This cannot be meant", why.into());
        error.remedy = "Go back and correct it.";
        error
    }

    pub(crate) fn not_found(why: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", why.into())
    }

    pub(crate) fn conflict(why: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "Not possible as things are",
            why.into(),
        )
    }

    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not possible at present",
            why.into(),
        );
        error.remedy = "Try again in a moment; `sendoff health` says what is wrong.";
        error
    }

    pub(crate) fn forbidden(role: Role, right: Right) -> Self {
        let why = format!("the role {role} may not {}", right_words(right));
        let mut error = Self::new(StatusCode::FORBIDDEN, "Not allowed", why);
        error.remedy = "An administrator can change the role of your account (People).";
        error
    }

    /// A form that was not sent from a page of ours, or long ago.
    pub(crate) fn stale() -> Self {
        let why = "the form was not sent from a page of this session";
        let mut error = Self::new(StatusCode::FORBIDDEN, "Not done", why.to_owned());
        error.remedy = "Open the page again and repeat what you did; nothing was changed.";
        error
    }
}

/// What a right is called on a page.
const fn right_words(right: Right) -> &'static str {
    match right {
        Right::Read => "look at this",
        Right::Content => "read the content of mails",
        Right::Operate => "change this",
        Right::Administer => "administer the server",
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    why: &'a str,
    remedy: &'a str,
    status: u16,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if let Some(to) = self.to {
            return (self.status, [(header::LOCATION, to)]).into_response();
        }
        let page = ErrorPage {
            title: self.title,
            why: &self.why,
            remedy: self.remedy,
            status: self.status.as_u16(),
        };
        let mut response = html(&page);
        *response.status_mut() = self.status;
        response
    }
}
