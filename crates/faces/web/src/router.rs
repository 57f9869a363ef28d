//! The paths and the pages at them.

use std::sync::Arc;

use accounts::{ConsoleAccounts, LoginGuard, Origins};
use axum::Router;
use axum::routing::{get, post};
use console::Backend;
use world::Clock;

use crate::state::{Inner, Web};
use crate::{
    answers, assets, audit, finished, help, live, log, login, message, overview, people, queue,
    reports, sites, sources, suppressions, tools, webhooks,
};

/// The pages of the console, over what is behind the API too.
pub fn pages(backend: &Arc<dyn Backend>, accounts: &Arc<ConsoleAccounts>, clock: &Clock) -> Router {
    let web = Web(Arc::new(Inner {
        backend: Arc::clone(backend),
        accounts: Arc::clone(accounts),
        guard: LoginGuard::new(Origins::default()),
        clock: clock.clone(),
        live: Default::default(),
        summaries: Default::default(),
    }));
    Router::new()
        .route("/", get(overview::show))
        .route("/queue", get(queue::show))
        .route("/queue/act", post(queue::act))
        .route("/queue/undo", post(queue::undo))
        .route("/finished", get(finished::show))
        .route("/messages/{id}", get(message::show))
        .route("/messages/{id}/act", post(message::act))
        .route("/messages/{id}/content", get(message::content))
        .route("/sites", get(sites::show))
        .route("/sites/act", post(sites::act))
        .route("/reports", get(reports::show))
        .route("/reports.csv", get(reports::csv))
        .route("/suppressions", get(suppressions::show))
        .route("/suppressions/act", post(suppressions::act))
        .route("/answers", get(answers::show))
        .route("/webhooks", get(webhooks::show))
        .route("/webhooks/act", post(webhooks::act))
        .route("/sources", get(sources::show))
        .route("/log", get(log::show))
        .route("/log/detailed", post(log::detailed))
        .route("/log/tail", get(log::tail))
        .route("/tools", get(tools::show))
        .route("/people", get(people::show))
        .route("/people/act", post(people::act))
        .route("/people/own", post(people::own))
        .route("/audit", get(audit::show))
        .route("/help", get(help::show))
        .route("/help/{page}", get(help::doc))
        .route("/find", get(help::find))
        .route("/live", get(live::stream))
        .route("/login", get(login::show).post(login::log_in))
        .route("/enter", get(login::enter).post(login::enter_by))
        .route("/logout", post(login::log_out))
        .route("/static/{name}", get(assets::send))
        .with_state(web)
}
