//! What is known of strangers' answers, and files of rules.

use std::sync::LazyLock;
use std::time::Duration;

use deliver::{ReplyBook, RuleFile, read_reply};
use mail::Reply;

/// Octets of a text that rules look at.
const LOOKED_AT: usize = 2048;
/// The longest wait that is read.
const WAIT_MAX: Duration = Duration::from_secs(4 * 3600);

static BOOK: LazyLock<ReplyBook> = LazyLock::new(|| {
    let rules = ReplyBook::built_in().map(|file| file.rules);
    ReplyBook::new(Vec::new(), rules.unwrap_or_default(), &[])
});

/// Whatever a host says: it has a kind, by a rule that is in the book, and the part of a long text that
/// is not kept makes no difference; the wait it asks for has a bound. Whatever stands in a file of rules: it is read, or refused at a
/// place within it; and what is read knows its own examples.
pub(crate) fn replies(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (host, said) = text.split_once('\n').unwrap_or(("", &text));
    let reply = read_reply(said);
    let known = BOOK.classify(&reply, Some(host));
    if let Some(rule) = known.rule {
        assert_eq!(rule.kind, known.kind);
        assert!(!reply.is_positive());
        let end = reply.text.floor_char_boundary(LOOKED_AT);
        let kept = reply.text.get(..end).unwrap_or_default();
        let kept = Reply::new(reply.code, reply.enhanced, kept);
        let again = BOOK.classify(&kept, Some(host));
        assert_eq!(again.rule.map(|r| &r.id), Some(&rule.id));
    }
    let wait = deliver::retry_after(&reply);
    assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= WAIT_MAX));
    // As lists write it, whatever it looks like there.
    let written = BOOK.classify_written(&reply.to_string(), Some(host));
    assert!(written.rule.is_none_or(|rule| rule.kind == written.kind));
    match RuleFile::parse(&text) {
        Ok(file) => examples(file),
        Err(error) => {
            assert!(error.span.start <= text.len(), "{error:?}");
            assert!(!error.message.is_empty());
        }
    }
}

fn examples(file: RuleFile) {
    for rule in file.rules {
        let (host, examples) = (rule.example_host(), rule.examples.clone());
        let book = ReplyBook::new(vec![rule], Vec::new(), &[]);
        for example in examples {
            let known = book.classify(&read_reply(&example), host.as_deref());
            assert!(known.rule.is_some(), "{example}");
        }
    }
}
