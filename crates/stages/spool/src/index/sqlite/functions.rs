//! What SQLite asks of us while it looks for rows.

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};

use crate::record::given_from;

/// Whether labels have a tag.
pub(super) const HAS_TAG: &str = "sendoff_has_tag";
/// Whether labels have a value under a name.
pub(super) const HAS_METADATA: &str = "sendoff_has_metadata";

/// Makes them known to a connection. They are for our own queries alone.
pub(super) fn add(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function(HAS_TAG, 2, flags, |c| {
        let (labels, tag) = (labels(c)?, text(c, 1)?);
        Ok(labels.has_tag(tag))
    })?;
    connection.create_scalar_function(HAS_METADATA, 3, flags, |c| {
        let (labels, name, value) = (labels(c)?, text(c, 1)?, text(c, 2)?);
        Ok(labels.has_metadata(name, value))
    })
}

/// The labels in the first argument; what cannot be read has none, as in a list.
fn labels(context: &Context<'_>) -> rusqlite::Result<mail::Labels> {
    let mut labels = mail::Labels::default();
    if let Some(given) = context.get_raw(0).as_blob_or_null()? {
        given_from(given, &mut labels).unwrap_or_default();
    }
    Ok(labels)
}

fn text<'a>(context: &'a Context<'_>, at: usize) -> rusqlite::Result<&'a str> {
    Ok(context.get_raw(at).as_str()?)
}

#[cfg(test)]
mod tests {
    use super::super::files::{connect, open_history, open_index};
    use super::super::{Filter, Timestamp, condition};
    use store::HistoryFilter;

    struct Dir(std::path::PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    /// How SQLite finds rows.
    fn plan(file: &std::path::Path, sql: &str, condition: condition::Condition) -> String {
        let connection = connect(file).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {sql} WHERE {}", condition.sql);
        let mut statement = connection.prepare(&sql).unwrap();
        let parameters = rusqlite::params_from_iter(condition.parameters);
        let rows = statement.query_map(parameters, |r| r.get::<_, String>(3));
        rows.unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap()
            .join("; ")
    }

    #[test]
    fn labelled_mail_and_mail_of_a_key_are_found_without_reading_the_rest() {
        let dir = Dir(std::env::temp_dir().join(format!("sendoff-plan-{}", std::process::id())));
        std::fs::create_dir_all(&dir.0).unwrap();
        drop((open_index(&dir.0).unwrap(), open_history(&dir.0).unwrap()));
        let filter = HistoryFilter {
            tags: vec!["news".to_owned()],
            ..HistoryFilter::default()
        };
        let condition = condition::history_condition(&filter);
        let file = dir.0.join("history.db");
        let found = plan(&file, "SELECT id FROM history", condition);
        assert!(found.contains("history_given"), "{found}");
        // Both functions are known to every connection.
        let filter = Filter::parse("tag:news meta:a=b user:key=shop").unwrap();
        let condition = condition::waiting_condition(&filter, Timestamp::ZERO);
        let tables = "SELECT r.id FROM recipient r JOIN message m ON m.id = r.id";
        let found = plan(&dir.0.join("index.db"), tables, condition);
        assert!(found.contains("message_key"), "{found}");
        let filter = HistoryFilter {
            submitter: Some("key=shop".to_owned()),
            ..HistoryFilter::default()
        };
        let condition = condition::history_condition(&filter);
        let found = plan(&file, "SELECT id FROM history", condition);
        assert!(found.contains("history_key"), "{found}");
    }
}
