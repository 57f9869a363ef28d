//! What it costs to know what a reply is about: nanoseconds a reply, by the rules that come with the
//! server.
//!
//!     cargo run --release -p deliver --example classify

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures prints, and needs a clock"
)]

use std::hint::black_box;
use std::time::Instant;

use deliver::{ReplyBook, read_reply};
use mail::Reply;

const ROUNDS: u32 = 2000;

/// Replies that no rule matches, so that every rule is asked.
const UNKNOWN: [&str; 2] = [
    "450 Zwiebelkuchen",
    "450 We are sorry, the quick brown fox that carries mail to this place has jumped over the \
     lazy dog and is not expected back before the next full moon, see https://fox.example/why?id=17",
];

fn measure(book: &ReplyBook, what: &str, replies: &[(Reply, Option<String>)]) {
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for (reply, host) in replies {
            black_box(book.classify(black_box(reply), host.as_deref()));
        }
    }
    let count = u128::from(ROUNDS) * replies.len() as u128;
    let each = began.elapsed().as_nanos() / count.max(1);
    println!("{what}: {each} ns a reply ({} replies)", replies.len());
}

fn main() -> Result<(), deliver::RuleError> {
    let file = ReplyBook::built_in()?;
    let mut known = Vec::new();
    for rule in &file.rules {
        for example in &rule.examples {
            known.push((read_reply(example), rule.example_host()));
        }
    }
    let unknown = |text: &&str| (read_reply(text), Some("mx.example.com".to_owned()));
    let unknown: Vec<_> = UNKNOWN.iter().map(unknown).collect();
    let book = ReplyBook::new(Vec::new(), file.rules, &[]);
    println!("{} rules", book.rules().len());
    measure(&book, "examples of the rules", &known);
    measure(&book, "no rule matches", &unknown);
    Ok(())
}
