//! The paths and what answers them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use net::{Largest, Shares};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::admit;
use crate::backend::Backend;
use crate::body;
use crate::code::Code;
use crate::openapi::Document;
use crate::problem::Problem;
use crate::state::{Console, Inner};
use crate::turns::Turns;
use crate::{
    batch, health, log, messages, orders, over_time, people, queue, replies, server, status,
    suppressions, tools, webhooks,
};

fn routes_and_document() -> (Router<Console>, utoipa::openapi::OpenApi) {
    let api = OpenApiRouter::new()
        .routes(routes!(messages::send))
        .routes(routes!(batch::send))
        .routes(routes!(status::status))
        .routes(routes!(queue::list))
        .routes(routes!(queue::summary))
        .routes(routes!(queue::show))
        .routes(routes!(queue::trace))
        .routes(routes!(queue::content))
        .routes(routes!(queue::act))
        .routes(routes!(server::sites))
        .routes(routes!(server::sources))
        .routes(routes!(server::pause))
        .routes(routes!(server::resume))
        .routes(routes!(orders::site))
        .routes(routes!(orders::slow))
        .routes(routes!(orders::hold_rules))
        .routes(routes!(orders::set_hold_rule, orders::remove_hold_rule))
        .routes(routes!(orders::order, orders::orders))
        .routes(routes!(orders::undo))
        .routes(routes!(orders::explain))
        .routes(routes!(orders::history))
        .routes(routes!(suppressions::list, suppressions::add))
        .routes(routes!(suppressions::remove))
        .routes(routes!(webhooks::events))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::pause))
        .routes(routes!(webhooks::resume))
        .routes(routes!(webhooks::retry))
        .routes(routes!(webhooks::replay, webhooks::end_replay))
        .routes(routes!(over_time::overview))
        .routes(routes!(over_time::series))
        .routes(routes!(over_time::audit))
        .routes(routes!(people::accounts))
        .routes(routes!(people::set, people::remove))
        .routes(routes!(people::sessions))
        .routes(routes!(people::end))
        .routes(routes!(replies::list))
        .routes(routes!(replies::test))
        .routes(routes!(tools::mx))
        .routes(routes!(tools::what_smtp))
        .routes(routes!(log::search))
        .routes(routes!(log::tail))
        .routes(routes!(server::stats))
        .routes(routes!(server::reload))
        .routes(routes!(document));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", api)
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::figures))
        .split_for_parts()
}

/// The OpenAPI document, as JSON for people and programs.
#[must_use]
pub fn openapi() -> String {
    let (_, document) = routes_and_document();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything that is answered.
pub(crate) fn router(backend: Arc<dyn Backend>, pages: Router) -> Router {
    let (routes, document) = routes_and_document();
    let settings = backend.settings();
    let bodies = (settings.max_connections as u64 * 3 / 4).max(1);
    let console = Console {
        inner: Arc::new(Inner {
            backend,
            keys: Arc::default(),
            turns: Turns::default(),
            bodies: Shares::new(Largest::of(bodies, bodies)),
            document: document.to_json().unwrap_or_default(),
        }),
    };
    routes
        .merge(pages.with_state(()))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(console.clone(), admit))
        .layer(from_fn(body::hear))
        .with_state(console)
}

async fn unknown_path(uri: Uri) -> Problem {
    let why = format!("the path {} does not exist", uri.path());
    Problem::new(StatusCode::NOT_FOUND, Code::UnknownPath, why)
        .remedy("/api/v1/openapi.json describes all paths.")
}

async fn wrong_method() -> Problem {
    let why = "this path does not support the method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::WrongMethod, why)
        .remedy("The Allow header lists the supported methods.")
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "server", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
async fn document(State(console): State<Console>) -> Response {
    let text = console.inner.document.clone();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_in_docs_is_made_from_the_code() {
        let page = include_str!("../../../../docs/openapi.json");
        let same = page == super::openapi();
        assert!(
            same,
            "docs/openapi.json is not what the code says; run `cargo xtask docs`"
        );
    }
}
