//! People: accounts of the console and their sessions; the own password and one-time passwords.

use std::sync::Arc;

use accounts::{BY_LINK, ConsoleAccounts, PASSWORD_MIN, totp};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ops::{
    AccountView, Accounts, EndSession, RemoveAccount, Role, SessionView, Sessions, SetAccount,
};

use crate::error::PageError;
use crate::fields::Fields;
use crate::filters::wire;
use crate::form::Form;
use crate::frame::Frame;
use crate::sent::{back, html};
use crate::session::User;
use crate::state::Web;
use crate::when::{When, when};

struct Present {
    view: SessionView,
    peer: String,
    since: When,
    used: When,
    is_own: bool,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    accounts: Vec<AccountView>,
    sessions: Vec<Present>,
    roles: [Role; 3],
    password_min: usize,
    /// Came by a link, and so has no password to change.
    by_link: bool,
    has_totp: bool,
    /// A new secret, to be confirmed by a code.
    secret: String,
    shown_secret: String,
}

/// The page.
pub(crate) async fn show(user: User, State(web): State<Web>) -> Result<Response, PageError> {
    let now = web.now();
    let administers = user.role().has(ops::Right::Administer);
    let (accounts, sessions) = match administers {
        true => (
            web.ask(&user, Accounts).await?,
            web.ask(&user, Sessions).await?,
        ),
        false => (Vec::new(), Vec::new()),
    };
    let own = &user.session;
    let present = |view: SessionView| Present {
        peer: wire(&view.peer),
        since: when(&view.since, now),
        used: when(&view.used, now),
        is_own: view.id == own.id,
        view,
    };
    let secret = ConsoleAccounts::totp_secret();
    let secret = secret.map_err(|why| PageError::unavailable(why.to_string()))?;
    let all = web.0.accounts.list();
    let page = PeoplePage {
        frame: Frame::new(&web, &user, "/people", "People"),
        sessions: sessions.into_iter().map(present).collect(),
        accounts,
        roles: Role::ALL,
        password_min: PASSWORD_MIN,
        by_link: own.name == BY_LINK,
        has_totp: all.iter().any(|a| a.name == own.name && a.totp),
        shown_secret: totp::shown(&secret),
        secret: STANDARD.encode(secret),
    };
    Ok(html(&page))
}

/// Whoever changes who may do what proves once more who they are.
async fn confirm(web: &Web, user: &User, fields: &Fields) -> Result<(), PageError> {
    let (accounts, session) = (Arc::clone(&web.0.accounts), user.session.clone());
    let password = fields.raw("own_password").to_owned();
    let checked = move || accounts.confirm(&session, &password);
    match tokio::task::spawn_blocking(checked).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            let why = "your own password is wrong, and nothing was changed";
            Err(PageError::conflict(why))
        }
        Err(_) => Err(PageError::unavailable("the password could not be checked")),
    }
}

/// Changes accounts and sessions.
pub(crate) async fn act(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let name = fields.text("name");
    let done = match fields.get("verb") {
        Some("set") => {
            confirm(&web, &user, &fields).await?;
            let password = Some(fields.raw("password").to_owned());
            let role = fields.get("role").and_then(Role::of_word);
            let set = SetAccount {
                name,
                role,
                password: password.filter(|password| !password.is_empty()),
            };
            web.ask(&user, set).await?.0
        }
        Some("remove") => {
            confirm(&web, &user, &fields).await?;
            web.ask(&user, RemoveAccount(name)).await?.0
        }
        Some("end") => web.ask(&user, EndSession(fields.text("session"))).await?.0,
        _ => return Err(PageError::malformed("choose what to do")),
    };
    Ok(back("/people", &done).into_response())
}

/// Changes the own password, or one-time passwords.
pub(crate) async fn own(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    confirm(&web, &user, &fields).await?;
    let (accounts, now) = (Arc::clone(&web.0.accounts), web.now());
    let name = user.session.name.clone();
    let done = tokio::task::spawn_blocking(move || match fields.get("verb") {
        Some("password") => {
            let password = fields.raw("password");
            (accounts.set(&name, None, Some(password)))
                .map(|()| "The password is changed: log in with it.")
        }
        Some("totp") => {
            let secret = STANDARD.decode(fields.text("secret")).unwrap_or_default();
            let code = fields.text("code");
            (accounts.begin_totp(&name, Some((&secret, &code)), now))
                .map(|()| "From now on a code is asked for when you log in.")
        }
        _ => (accounts.begin_totp(&name, None, now)).map(|()| "Codes are no longer asked for."),
    });
    match done.await {
        Ok(Ok(done)) => Ok(back("/people", done).into_response()),
        Ok(Err(why)) => Err(PageError::conflict(why.to_string())),
        Err(_) => Err(PageError::unavailable("it could not be changed")),
    }
}
