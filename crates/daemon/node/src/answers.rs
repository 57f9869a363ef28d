//! Answers of DNS in the words of the router.

use net::Answer;
use route::DnsAnswer;

/// What DNS said, as the router takes it.
pub fn answer<T, U>(found: Answer<T>, convert: impl Fn(T) -> U) -> DnsAnswer<U> {
    match found {
        Answer::Found(list) => DnsAnswer::Found(list.into_iter().map(convert).collect()),
        Answer::NoData => DnsAnswer::NoData,
        Answer::NxDomain => DnsAnswer::NxDomain,
        Answer::Failed(why) => DnsAnswer::Failed(why.to_string()),
    }
}
