//! Logging in and out.

use std::sync::Arc;

use accounts::ConsoleError;
use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use console::Visitor;

use crate::assets;
use crate::error::PageError;
use crate::fields::Query;
use crate::form::{self, Form};
use crate::sent::{html, local};
use crate::session;
use crate::state::Web;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    hostname: String,
    style: &'static str,
    next: String,
    name: String,
    why: String,
    /// There is no account yet.
    is_first: bool,
}

impl LoginPage {
    fn new(web: &Web, next: &str, name: &str, why: &str) -> Self {
        Self {
            hostname: web.0.backend.settings().hostname,
            style: assets::style_path(),
            next: local(next).to_owned(),
            name: name.to_owned(),
            why: why.to_owned(),
            is_first: web.0.accounts.list().is_empty(),
        }
    }
}

/// The form.
pub(crate) async fn show(State(web): State<Web>, Query(asked): Query) -> Response {
    html(&LoginPage::new(&web, &asked.text("next"), "", ""))
}

fn entered(token: &str, visitor: Visitor, to: &str) -> Response {
    let cookie = session::cookie(Some(token), visitor.is_tls);
    let mut response = Redirect::to(local(to)).into_response();
    if let Ok(value) = cookie.parse() {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Checks name, password and code. As at the other ways in, a wrong one is answered the later the more have failed.
pub(crate) async fn log_in(
    State(web): State<Web>,
    request: Request,
) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    let visitor = session::visitor(&parts)?;
    let given = form::read(&parts.headers, body).await?;
    let (name, next) = (given.text("name"), given.text("next"));
    let Some(attempt) = web.0.guard.begin(visitor.ip, &name).await else {
        let why = "Too many attempts have failed. Wait 15 minutes.";
        let mut page = html(&LoginPage::new(&web, &next, &name, why));
        *page.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        return Ok(page);
    };
    let (accounts, now) = (Arc::clone(&web.0.accounts), web.now());
    let user = name.clone();
    let done = tokio::task::spawn_blocking(move || {
        let given = (user.as_str(), given.raw("password"), given.raw("code"));
        accounts.log_in(given, &visitor.ip.to_string(), now)
    });
    match done.await {
        Ok(Ok(token)) => {
            attempt.right();
            Ok(entered(&token, visitor, &next))
        }
        Ok(Err(ConsoleError::Wrong)) => {
            let why = format!("the name, password or code of `{name}` is wrong");
            web.0.backend.log_refused(visitor.ip, None, &why);
            tokio::time::sleep(attempt.wrong()).await;
            let why = "The name, the password or the code is wrong.";
            let mut page = html(&LoginPage::new(&web, &next, &name, why));
            *page.status_mut() = StatusCode::UNAUTHORIZED;
            Ok(page)
        }
        Ok(Err(error)) => Err(PageError::unavailable(error.to_string())),
        Err(_) => Err(PageError::unavailable("the password could not be checked")),
    }
}

#[derive(Template)]
#[template(path = "enter.html")]
struct EnterPage {
    hostname: String,
    style: &'static str,
    link: String,
}

/// The page of a link: it asks for a click, because mail programs and chats open links by themselves.
pub(crate) async fn enter(State(web): State<Web>, Query(asked): Query) -> Response {
    html(&EnterPage {
        hostname: web.0.backend.settings().hostname,
        style: assets::style_path(),
        link: asked.text("link"),
    })
}

/// Lets somebody in by a link.
pub(crate) async fn enter_by(
    State(web): State<Web>,
    request: Request,
) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    let visitor = session::visitor(&parts)?;
    let given = form::read(&parts.headers, body).await?;
    let now = web.now();
    let peer = visitor.ip.to_string();
    match web.0.accounts.enter(given.raw("link"), &peer, now) {
        Ok(token) => Ok(entered(&token, visitor, "/")),
        Err(_) => {
            let why = "a link to the console is wrong or too old";
            web.0.backend.log_refused(visitor.ip, None, why);
            let why = "the link was used already, or is older than 30 minutes: `sendoff console link` makes another";
            Err(PageError::conflict(why))
        }
    }
}

/// Ends the session.
pub(crate) async fn log_out(State(web): State<Web>, Form(user, _): Form) -> Response {
    web.0.accounts.end(&user.session.id);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, header::HeaderValue::from_static("/login"));
    for is_tls in [true, false] {
        if let Ok(value) = session::cookie(None, is_tls).parse() {
            headers.append(header::SET_COOKIE, value);
        }
    }
    response
}
