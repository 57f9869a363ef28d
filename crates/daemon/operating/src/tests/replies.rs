//! What the server makes of other servers' answers, as it is asked.

use ops::{Replies, TestReply, VerbErrorKind};

use super::office::{OFF, Office};

fn answer(text: &str, host: Option<&str>) -> TestReply {
    TestReply {
        text: text.to_owned(),
        host: host.map(str::to_owned),
        domain: "b.example".to_owned(),
    }
}

#[tokio::test]
async fn every_rule_names_the_kind_of_its_own_example() {
    let office = Office::new(OFF).await;
    let book = office.asked(Replies).await;
    assert!(!book.rules.is_empty() && !book.actions.is_empty());
    for rule in &book.rules {
        let Some(example) = rule.examples.first() else {
            continue;
        };
        let host = rule.hosts.first().map(|host| match host.strip_prefix('.') {
            Some(domain) => format!("mx.{domain}"),
            None => host.clone(),
        });
        let tested = office.asked(answer(example, host.as_deref())).await;
        assert_eq!(tested.kind, rule.kind, "{}: {example}", rule.id);
        assert!(tested.rule.is_some());
    }
}

#[tokio::test]
async fn what_follows_from_an_answer_is_told() {
    let office = Office::new(OFF).await;
    let book = office.asked(Replies).await;
    let action = book.actions.first().expect("an action");
    let rule = book.rules.iter().find(|rule| rule.kind == action.kind);
    let example = rule
        .and_then(|rule| rule.examples.first())
        .expect("an example");
    let host = rule.and_then(|rule| rule.hosts.first());
    let host = host.map(|host| format!("mx.{}", host.trim_start_matches('.')));
    let tested = office.asked(answer(example, host.as_deref())).await;
    assert!(tested.actions.contains(action), "{tested:?}");
    let unknown = office.asked(answer("550 because", None)).await;
    assert_eq!((unknown.kind.as_str(), unknown.code), ("unknown", 550));
    assert!(unknown.rule.is_none() && unknown.actions.is_empty());
    let (kind, why) = office.refused(answer(" ", None)).await;
    assert_eq!(kind, VerbErrorKind::Malformed, "{why}");
}
