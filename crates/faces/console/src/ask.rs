//! How a handler asks the server.

use axum::http::StatusCode;
use ops::{Ask, VerbError, VerbErrorKind};

use crate::access::Caller;
use crate::code::Code;
use crate::problem::Problem;
use crate::state::Console;

impl Console {
    /// Asks a verb of the server; `field` is what the request is wrong in, if it cannot be meant.
    pub(crate) async fn ask<A: Ask>(
        &self,
        caller: &Caller,
        field: &str,
        ask: A,
    ) -> Result<A::Answer, Problem> {
        let meant = ask.check();
        meant.map_err(|why| Problem::field(field, why.to_string()))?;
        let answer = self.backend().carry_out(ask.into(), caller.name()).await;
        let answer = answer.map_err(|why| not_done(&why, field))?;
        A::answer_of(answer).ok_or_else(other_answer)
    }
}

/// Why a verb was not carried out, by its kind.
fn not_done(error: &VerbError, field: &str) -> Problem {
    let why = error.to_string();
    match error.kind() {
        VerbErrorKind::Malformed => Problem::field(field, why),
        VerbErrorKind::NotFound => Problem::new(StatusCode::NOT_FOUND, Code::Unknown, why),
        VerbErrorKind::Conflict => Problem::new(StatusCode::CONFLICT, Code::Refused, why),
        VerbErrorKind::Beyond { .. } => Problem::new(StatusCode::CONFLICT, Code::UnknownPlace, why)
            .about(field)
            .remedy("The server's data was reset or restored: begin again with after=0."),
        VerbErrorKind::NotReloaded => Problem::new(StatusCode::CONFLICT, Code::NotReloaded, why)
            .remedy("`sendoff check` shows what is wrong, and where."),
        VerbErrorKind::Unavailable | VerbErrorKind::Failed => Problem::unavailable(why),
    }
}

/// The server has answered what was not asked.
fn other_answer() -> Problem {
    let why = "internal error: unexpected answer of the server";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, why)
}
