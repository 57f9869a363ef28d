//! Errors as RFC 9457 has them: what is wrong, where, why, and what to do about it.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::code::Code;
use crate::recipient::RecipientResult;

/// An error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: `code` says which error it is.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: AboutBlank,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// The error, for programs: `bad-field`, `wrong-key`, … (docs/api.md lists all).
    #[schema(value_type = String)]
    code: Code,
    /// What is wrong and why.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// The field, parameter or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<Box<str>>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    remedy: Option<Box<str>>,
    /// Seconds after which to try again, as in the header Retry-After.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// The result for each recipient, where a message is refused because each of them is.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<RecipientResult>>)]
    recipients: Box<[RecipientResult]>,
}

/// The type of every error: there is no page about any of them.
#[derive(Debug, Clone, Copy)]
struct AboutBlank;

impl Serialize for AboutBlank {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("about:blank")
    }
}

impl Problem {
    /// An error with its status, its code and its reason.
    pub(crate) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        let [_, statuses, ..] = code.row();
        debug_assert!(statuses.contains(status.as_str()), "{code:?} is {statuses}");
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        Self {
            kind: AboutBlank,
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into().into(),
            field: None,
            remedy: None,
            retry_after,
            recipients: Box::default(),
        }
    }

    /// A field of the body, a parameter or a header that cannot be used.
    pub(crate) fn field(field: impl Into<String>, why: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, Code::BadField, why);
        problem.field = Some(field.into().into());
        problem
    }

    /// The same, about a part of the request.
    pub(crate) fn about(mut self, field: &str) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same, with the results of the recipients, each of which is refused.
    pub(crate) fn recipients(mut self, all: Vec<RecipientResult>) -> Self {
        self.recipients = all.into();
        self
    }

    /// The status.
    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    /// The field that is wrong.
    pub(crate) fn at(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What is wrong and why.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same, about a part of what was sent.
    pub(crate) fn within(mut self, part: &str) -> Self {
        self.field = match self.field {
            Some(field) if field.starts_with(part) => Some(field),
            Some(field) if *field == *"." => Some(part.into()),
            Some(field) => Some(format!("{part}.{field}").into()),
            None => None,
        };
        self
    }

    /// The same, with what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into().into());
        self
    }

    /// An error of ours that passes.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, why)
            .remedy("Try again in a moment.")
    }

    /// A quota that is used up, and after which time there is room again.
    pub(crate) fn quota(why: impl Into<String>, again: Duration) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, Code::Quota, why);
        let begun = u64::from(again.subsec_nanos() > 0);
        problem.retry_after = Some((again.as_secs() + begun).max(1));
        problem.remedy("Submit it again after the time that Retry-After says, not before.")
    }
}

/// Seconds after which a client may try again what is unavailable.
const RETRY_AFTER: u64 = 5;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"sendoff\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
