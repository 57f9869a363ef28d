//! The log, as administrators read it from elsewhere.

use ops::{FollowLog, SearchLog, VerbErrorKind};

use super::office::{OFF, Office};

fn search(words: &str, since: Option<&str>, limit: u64) -> SearchLog {
    SearchLog {
        words: words.to_owned(),
        since: since.map(str::to_owned),
        limit,
    }
}

fn follow(words: &str, after: Option<String>) -> FollowLog {
    FollowLog {
        words: words.to_owned(),
        after,
    }
}

#[tokio::test]
async fn lines_are_found_by_words_and_followed_from_a_place() {
    let office = Office::new(OFF).await;
    let begun = office.asked(follow("", None)).await;
    assert!(begun.lines.is_empty() && !begun.more);
    let id = office
        .staging
        .mail("ann@a.example", &["bob@b.example"])
        .await;
    office
        .staging
        .mail("ann@a.example", &["eve@c.example"])
        .await;
    office.staging.logged("accepted", &["c.example"]).await;
    let found = office
        .asked(search("ACCEPTED b.example", Some("1h"), 10))
        .await;
    assert!(found.whole && found.lines.len() == 1, "{found:?}");
    assert!(found.lines[0].contains(&id.to_string()), "{found:?}");
    let one = office.asked(search("accepted", None, 1)).await;
    assert!(!one.whole && one.lines[0].contains("c.example"), "{one:?}");
    let told = office.asked(follow("accepted", Some(begun.next))).await;
    assert_eq!(told.lines.len(), 2, "{told:?}");
    let nothing = office.asked(follow("accepted", Some(told.next))).await;
    assert!(nothing.lines.is_empty(), "{nothing:?}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let office = Office::new(OFF).await;
    for wrong in [
        search("", Some("soon"), 10),
        search("\"open", None, 10),
        search("", None, 0),
        search("", None, 1001),
        search(&"x".repeat(501), None, 10),
    ] {
        let (kind, why) = office.refused(wrong).await;
        assert_eq!(kind, VerbErrorKind::Malformed, "{why}");
    }
    let (kind, why) = office.refused(follow("", Some("there".to_owned()))).await;
    assert_eq!(kind, VerbErrorKind::Malformed, "{why}");
}

#[tokio::test]
async fn a_log_on_standard_output_is_read_elsewhere() {
    let office = Office::new(&format!("{OFF}[log]\nfile = \"-\"\n")).await;
    let (kind, why) = office.refused(search("", None, 10)).await;
    assert_eq!(kind, VerbErrorKind::Conflict, "{why}");
    assert!(why.contains("journalctl"), "{why}");
}
