//! How a page asks the server.

use ops::{Ask, Request, VerbErrorKind};

use crate::error::PageError;
use crate::session::User;
use crate::state::Web;

impl Web {
    /// Asks a verb for somebody whose role allows it.
    pub(crate) async fn ask<A: Ask>(&self, user: &User, ask: A) -> Result<A::Answer, PageError> {
        if !user.role().has(ask.needs()) {
            return Err(PageError::forbidden(user.role(), ask.needs()));
        }
        ask.check()
            .map_err(|why| PageError::malformed(why.to_string()))?;
        let request: Request = ask.into();
        let who = user.who();
        let answer = self.0.backend.carry_out(request, who).await;
        let answer = answer.map_err(|error| {
            let why = error.to_string();
            match error.kind() {
                VerbErrorKind::Malformed => PageError::malformed(why),
                VerbErrorKind::NotFound => PageError::not_found(why),
                VerbErrorKind::Conflict
                | VerbErrorKind::Beyond { .. }
                | VerbErrorKind::NotReloaded => PageError::conflict(why),
                VerbErrorKind::Unavailable | VerbErrorKind::Failed => PageError::unavailable(why),
            }
        })?;
        A::answer_of(answer).ok_or_else(|| {
            PageError::unavailable("internal error: unexpected answer of the server")
        })
    }
}
