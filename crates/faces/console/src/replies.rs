//! What is known of other servers' answers.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use ops::{RepliesView, ReplyTestedView, TestReply};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::access::Reader;
use crate::body;
use crate::openapi::{BodyRefusals, Refusals};
use crate::problem::Problem;
use crate::state::Console;

/// List the rules that name the kinds of answers, and the actions
#[utoipa::path(
    get, path = "/replies", tag = "sites", operation_id = "list_replies",
    security(("key" = ["read"])),
    responses((status = 200, description = "The book of rules in force", body = RepliesView), Refusals)
)]
pub(crate) async fn list(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<RepliesView>, Problem> {
    let book = console.ask(&caller, "", ops::Replies);
    book.await.map(Json)
}

/// An answer to test.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "421 4.7.28 unusual rate", "host": "mx.example.com" }))]
pub(crate) struct Answer {
    /// The answer, such as `550 5.1.1 no such user`; further lines may follow.
    text: String,
    /// The host that gave it.
    host: Option<String>,
    /// The recipient's domain.
    domain: Option<String>,
}

/// Test what the server makes of an answer
#[utoipa::path(
    post, path = "/replies/test", tag = "sites", operation_id = "test_reply",
    security(("key" = ["read"])),
    request_body(content = Answer, description = "The answer"),
    responses(
        (status = 200, description = "Its kind, and what follows", body = ReplyTestedView),
        BodyRefusals,
        Refusals
    )
)]
pub(crate) async fn test(
    Reader(caller): Reader,
    State(console): State<Console>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReplyTestedView>, Problem> {
    let answer: Answer = body::small_json(&headers, body).await?;
    let ask = TestReply {
        text: answer.text,
        host: answer.host,
        domain: answer.domain.unwrap_or_default(),
    };
    console.ask(&caller, "text", ask).await.map(Json)
}
