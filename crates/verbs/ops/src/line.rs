//! How verbs cross a socket: a request is one line of JSON, and so is its answer. Lines about how far a long
//! order is may come before it.
//!
//! Both ends belong to one release; an end that meets one of another hears so, and nothing is done.

use serde::{Deserialize, Serialize};

use crate::error::{VerbError, VerbErrorKind};
use crate::verbs::{Answer, Ask, Request};

/// Changed when a line of before would be misunderstood.
const FORMAT: u32 = 2;

#[derive(Serialize)]
struct RequestLine<'a> {
    format: u32,
    ask: &'a Request,
}

/// Why a line is no request. What it says goes back as [`unreadable_line`].
#[derive(Debug, thiserror::Error)]
pub enum UnreadableRequest {
    /// It is not what a request looks like.
    #[error("the request is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// The program that asks is of another release.
    #[error(
        "the request is not valid: it comes from another release of sendoff than the one that runs; restart the \
         server after an upgrade"
    )]
    Format,
}

/// What a line from whoever carries verbs out says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerLine<A> {
    /// So many of so many are done; another line follows.
    Progress { done: u64, of: u64 },
    /// The request was not read. Servers of before say all that was not done by this.
    Error(String),
    /// It was not done.
    NotDone { kind: VerbErrorKind, why: String },
    /// It is done.
    Answer(A),
}

/// What was heard.
#[derive(Debug)]
pub enum Heard<A> {
    /// So many are done; more will be heard.
    Progress {
        /// Done.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// The end.
    End(Result<A, VerbError>),
}

/// The line that asks, with its end.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn request_line(ask: impl Ask) -> Result<String, serde_json::Error> {
    let ask = &ask.into();
    let format = FORMAT;
    serde_json::to_string(&RequestLine { format, ask }).map(|line| line + "\n")
}

/// Reads a request.
///
/// # Errors
/// When it is none, or one of another release.
pub fn read_request(line: &str) -> Result<Request, UnreadableRequest> {
    let mut value: serde_json::Value = serde_json::from_str(line)?;
    if value.get("format").and_then(serde_json::Value::as_u64) != Some(u64::from(FORMAT)) {
        return Err(UnreadableRequest::Format);
    }
    let ask = value.get_mut("ask").map(serde_json::Value::take);
    Ok(serde_json::from_value(ask.unwrap_or_default())?)
}

/// The line for a request that could not be read, with its end.
#[must_use]
pub fn unreadable_line(why: &UnreadableRequest) -> String {
    line(&AnswerLine::<()>::Error(why.to_string()))
}

/// The line that says how far a long order is, with its end.
#[must_use]
pub fn progress_line(done: u64, of: u64) -> String {
    line(&AnswerLine::<()>::Progress { done, of })
}

/// The line that answers any verb, with its end.
#[must_use]
pub fn answer_line(answer: &Result<Answer, VerbError>) -> String {
    written(answer.as_ref())
}

/// The line that answers this verb, with its end.
#[must_use]
pub fn answer_line_of<A: Ask>(answer: &Result<A::Answer, VerbError>) -> String {
    written(answer.as_ref())
}

fn written<T: Serialize>(answer: Result<&T, &VerbError>) -> String {
    match answer {
        Ok(answer) => line(&AnswerLine::Answer(answer)),
        Err(error) => line(&AnswerLine::<()>::NotDone {
            kind: error.kind(),
            why: error.to_string(),
        }),
    }
}

fn line<T: Serialize>(said: &AnswerLine<T>) -> String {
    // Whatever is answered has a form in JSON: names are texts, and numbers are finite.
    let mut text = serde_json::to_string(said).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads what is said to whoever asked this verb.
///
/// # Errors
/// When it is no answer to it.
pub fn read_answer<A: Ask>(line: &str) -> Result<Heard<A::Answer>, serde_json::Error> {
    Ok(match serde_json::from_str(line)? {
        AnswerLine::Progress { done, of } => Heard::Progress { done, of },
        AnswerLine::Error(why) => Heard::End(Err(VerbError::failed(why))),
        AnswerLine::NotDone { kind, why } => Heard::End(Err(VerbError::new(kind, why))),
        AnswerLine::Answer(answer) => Heard::End(Ok(answer)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Count, Pause, Reload, Selection, Sites};

    fn crosses(ask: impl Ask + Clone) {
        let line = request_line(ask.clone()).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(read_request(&line).unwrap(), ask.into(), "{line}");
    }

    #[test]
    fn requests_cross() {
        crosses(Sites);
        crosses(Count(Selection::Ids(vec!["a\nb".to_owned()])));
        let domain = "example.com".to_owned();
        crosses(Pause { domain, on: true });
    }

    #[test]
    fn a_command_of_another_release_hears_so_in_words_that_it_reads() {
        for old in ["\"sites\"\n", "{\"pause\":[\"example.com\",true]}\n"] {
            let why = read_request(old).unwrap_err();
            let said: serde_json::Value = serde_json::from_str(&unreadable_line(&why)).unwrap();
            let text = said.get("error").and_then(|text| text.as_str()).unwrap();
            assert!(text.contains("another release"), "{text}");
        }
        let nothing = read_request("{\"format\":2,\"ask\":\"fly\"}").unwrap_err();
        assert!(nothing.to_string().contains("unknown variant"), "{nothing}");
    }

    #[test]
    fn a_server_of_before_is_understood_when_it_refuses() {
        let old = "{\"error\":\"the request is not valid: unknown variant `format`\"}";
        let Heard::End(Err(error)) = read_answer::<Sites>(old).unwrap() else {
            panic!("an error");
        };
        assert!(error.to_string().contains("not valid"), "{error}");
    }

    #[test]
    fn the_kind_of_an_error_crosses_with_its_words() {
        let kinds = [
            VerbErrorKind::Malformed,
            VerbErrorKind::NotFound,
            VerbErrorKind::Conflict,
            VerbErrorKind::Beyond { last: 7 },
            VerbErrorKind::NotReloaded,
            VerbErrorKind::Unavailable,
            VerbErrorKind::Failed,
        ];
        for kind in kinds {
            let line = answer_line_of::<Reload>(&Err(VerbError::new(kind, "two\nlines")));
            let Heard::End(Err(error)) = read_answer::<Reload>(&line).unwrap() else {
                panic!("an error: {line}");
            };
            assert_eq!(
                (error.kind(), error.to_string().as_str()),
                (kind, "two\nlines")
            );
        }
    }

    #[test]
    fn an_answer_is_read_as_what_was_asked_for() {
        let line = answer_line_of::<Count>(&Ok(7));
        let Heard::End(Ok(number)) = read_answer::<Count>(&line).unwrap() else {
            panic!("an answer: {line}");
        };
        assert_eq!(number, 7);
        assert!(read_answer::<Sites>(&line).is_err());
    }
}
