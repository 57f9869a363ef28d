//! Forms that are sent from pages of this server.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};

use crate::error::PageError;
use crate::fields::Fields;
use crate::session::User;
use crate::state::Web;

/// Octets of a form: thousands of ticked rows.
const FORM_MAX: usize = 1 << 20;

/// A form of somebody who is logged in, sent from a page of that session.
#[derive(Debug)]
pub(crate) struct Form(pub(crate) User, pub(crate) Fields);

impl FromRequest<Web> for Form {
    type Rejection = PageError;
    async fn from_request(request: Request, web: &Web) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let user = User::from_request_parts(&mut parts, web).await?;
        let fields = read(&parts.headers, body).await?;
        if fields.raw("form_token") != user.session.form_token {
            return Err(PageError::stale());
        }
        Ok(Self(user, fields))
    }
}

/// Reads a form that comes from a page of this server.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Fields, PageError> {
    // Browsers say from where a request comes (Fetch Metadata); what is not theirs says nothing.
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(PageError::stale());
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(PageError::malformed("this is not a form"));
    }
    let body = Limited::new(body, FORM_MAX).collect().await;
    let body = body.map_err(|_| PageError::malformed("the form is too large"))?;
    Ok(Fields::parse(&body.to_bytes()))
}
