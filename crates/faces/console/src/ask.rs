//! How a handler asks the server.

use axum::http::StatusCode;
use ops::{Answer, Request};

use crate::access::Caller;
use crate::code::Code;
use crate::problem::Problem;
use crate::state::Console;

impl Console {
    /// Asks the server, and picks what the answer must hold. `field` is where the request's own
    /// words come from.
    pub(crate) async fn ask<T>(
        &self,
        caller: &Caller,
        field: &str,
        request: Request,
        pick: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, Problem> {
        request.check().map_err(|why| Problem::field(field, why))?;
        match self.backend().carry_out(request, caller.name()).await {
            Ok(Answer::Unknown(why)) => {
                Err(Problem::new(StatusCode::NOT_FOUND, Code::Unknown, why))
            }
            Ok(Answer::Refused(why)) => Err(Problem::new(StatusCode::CONFLICT, Code::Refused, why)),
            Ok(Answer::Beyond { last }) => {
                let why = format!("there is no such place: the last event has place {last}");
                let problem = Problem::new(StatusCode::CONFLICT, Code::UnknownPlace, why);
                Err(problem
                    .about(field)
                    .remedy("The server's data was reset or restored: begin again with after=0."))
            }
            Ok(Answer::Error(why)) | Err(why) => Err(Problem::unavailable(why)),
            Ok(answer) => pick(answer).ok_or_else(other_answer),
        }
    }
}

/// The server has answered what was not asked.
pub(crate) fn other_answer() -> Problem {
    let why = "internal error: unexpected answer of the server";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, why)
}
