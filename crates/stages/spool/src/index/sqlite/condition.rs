//! Filters as conditions of SQL; what a user wrote becomes parameters, never text.

use rusqlite::types::Value;
use store::filter::{Comparison, Term};
use store::{HistoryFilter, Page, Sort};

use super::super::{Filter, Timestamp};
use super::functions::{HAS_METADATA, HAS_TAG};
use super::{DONE, KEY, time_to_sql, to_sql};
use crate::record::outcome_code;

pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) parameters: Vec<Value>,
}

impl Condition {
    fn and(&mut self, wanted: bool, sql: &str, parameters: impl IntoIterator<Item = Value>) {
        let not = if wanted { "" } else { "NOT " };
        self.sql.push_str(&format!(" AND {not}({sql})"));
        self.parameters.extend(parameters);
    }
}

pub(super) fn waiting_condition(filter: &Filter, now: Timestamp) -> Condition {
    let mut condition = Condition {
        sql: format!("r.status <> {DONE}"),
        parameters: Vec::new(),
    };
    for (wanted, term) in filter.terms() {
        if let Term::Kind(_) = term {
            // Found for each row apart; what was never answered has none.
            if *wanted {
                condition.and(true, "r.last_reply <> ''", None);
            }
            continue;
        }
        if let Term::Metadata(name, value) = term {
            let (sql, parameters) = metadata_condition("m.given", name, value);
            condition.and(*wanted, &sql, parameters);
            continue;
        }
        let (sql, parameter) = term_condition(term, now);
        condition.and(*wanted, &sql, parameter);
    }
    condition
}

fn term_condition(term: &Term, now: Timestamp) -> (String, Option<Value>) {
    let text =
        |sql: &str, text: &str| (sql.to_owned(), Some(Value::Text(text.to_ascii_lowercase())));
    let number = |n: u64| Some(Value::Integer(to_sql(n)));
    let now = time_to_sql(now);
    match term {
        Term::Id(id) => ("r.id = ?".to_owned(), number(id.as_u64())),
        Term::Sender(part) if part == "<>" => ("m.sender = ''".to_owned(), None),
        Term::Sender(part) => text("instr(lower(m.sender), ?) > 0", part),
        Term::Recipient(part) => text("instr(lower(r.recipient), ?) > 0", part),
        Term::Domain(domain) => domain_condition("r.domain", domain),
        Term::Status(status) => (
            format!("r.status = {}", i32::from(*status == mail::Status::Held)),
            None,
        ),
        Term::Destination(destination) => (format!("r.destination = {}", destination.code()), None),
        Term::Future => (
            format!("r.attempts = 0 AND r.last_reply = '' AND r.due > {now}"),
            None,
        ),
        // They are looked at apart.
        Term::Kind(_) | Term::Metadata(..) => ("1".to_owned(), None),
        Term::Tag(tag) => tag_condition("m.given", tag),
        Term::MessageId(id) => ("m.message_id = ?".to_owned(), Some(Value::Text(id.clone()))),
        Term::Subject(part) => text("instr(lower(coalesce(m.subject, '')), ?) > 0", part),
        Term::Reply(part) => text("instr(lower(r.last_reply), ?) > 0", part),
        Term::Submitter(name) => submitter_condition("m.submitter", name),
        Term::Age(than, age) => (
            format!("max(0, {now} - m.accepted) {} ?", operator(*than)),
            number(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        ),
        Term::Size(than, size) => (format!("m.size {} ?", operator(*than)), number(*size)),
        Term::Attempts(than, n) => (format!("r.attempts {} ?", operator(*than)), number(*n)),
        Term::Due(than, wait) => (
            format!("max(0, r.due - {now}) {} ?", operator(*than)),
            number(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        ),
    }
}

/// Who owns a key is found by the index of those who do, which SQLite takes where a query says that it wants no
/// others.
fn submitter_condition(column: &str, name: &str) -> (String, Option<Value>) {
    let sql = match name.starts_with(KEY) {
        true => format!("substr({column}, 1, 4) = '{KEY}' AND {column} = ?"),
        false => format!("{column} = ?"),
    };
    (sql, Some(Value::Text(name.to_owned())))
}

/// The first half is false for mail without labels, and known to the index of those that have some.
fn tag_condition(column: &str, tag: &str) -> (String, Option<Value>) {
    let sql = format!("{column} IS NOT NULL AND {HAS_TAG}({column}, ?)");
    (sql, Some(Value::Text(tag.to_owned())))
}

fn metadata_condition(column: &str, name: &str, value: &str) -> (String, [Value; 2]) {
    let sql = format!("{column} IS NOT NULL AND {HAS_METADATA}({column}, ?, ?)");
    let parameters = [name, value].map(|text| Value::Text(text.to_owned()));
    (sql, parameters)
}

fn domain_condition(column: &str, domain: &str) -> (String, Option<Value>) {
    let domain = domain.to_ascii_lowercase();
    let sql = if domain.starts_with('.') {
        let length = domain.chars().count();
        format!("substr({column}, -{length}) = ? AND length({column}) >= {length}")
    } else {
        format!("{column} = ?")
    };
    (sql, Some(Value::Text(domain)))
}

const fn operator(than: Comparison) -> &'static str {
    match than {
        Comparison::Less => "<",
        Comparison::Greater => ">",
    }
}

pub(super) fn order_by(page: Page) -> String {
    let direction = if page.descending { "DESC" } else { "ASC" };
    let first = match page.sort {
        Sort::Id => None,
        Sort::Due => Some("r.due"),
        Sort::Domain => Some("r.domain"),
        Sort::Size => Some("m.size"),
        Sort::Attempts => Some("r.attempts"),
    };
    let first = first
        .map(|column| format!("{column} {direction}, "))
        .unwrap_or_default();
    format!("{first}r.id {direction}, r.n {direction}")
}

pub(super) fn history_condition(filter: &HistoryFilter) -> Condition {
    let mut condition = Condition {
        sql: "1".to_owned(),
        parameters: Vec::new(),
    };
    if let Some(id) = filter.id {
        condition.and(true, "id = ?", Some(Value::Integer(to_sql(id.as_u64()))));
    }
    if let Some(outcome) = filter.outcome {
        let code = Value::Integer(outcome_code(outcome).into());
        condition.and(true, "outcome = ?", Some(code));
    }
    if let Some(domain) = &filter.domain {
        let mut end = domain.to_ascii_lowercase();
        if !end.starts_with('.') {
            end.insert(0, '@');
        }
        let length = end.chars().count();
        let sql = format!("lower(substr(recipient, -{length})) = ?");
        condition.and(true, &sql, Some(Value::Text(end)));
    }
    if let Some(sender) = &filter.sender {
        let sender = Value::Text(sender.to_ascii_lowercase());
        condition.and(true, "lower(sender) = ?", Some(sender));
    }
    if let Some(recipient) = &filter.recipient {
        let recipient = Value::Text(recipient.to_ascii_lowercase());
        condition.and(true, "lower(recipient) = ?", Some(recipient));
    }
    if let Some(id) = &filter.message_id {
        condition.and(true, "message_id = ?", Some(Value::Text(id.clone())));
    }
    if let Some(name) = &filter.submitter {
        let (sql, parameter) = submitter_condition("submitter", name);
        condition.and(true, &sql, parameter);
    }
    for tag in &filter.tags {
        let (sql, parameter) = tag_condition("given", tag);
        condition.and(true, &sql, parameter);
    }
    for (name, value) in &filter.metadata {
        let (sql, parameters) = metadata_condition("given", name, value);
        condition.and(true, &sql, parameters);
    }
    if let Some(since) = filter.since {
        condition.and(true, "at >= ?", Some(Value::Integer(time_to_sql(since))));
    }
    condition
}
