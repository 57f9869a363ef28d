//! Where mail goes next, and how to talk there.

use std::collections::HashMap;
use std::sync::Arc;

use deliver::{Credentials, TlsMode};
use mail::{Destination, Domain, Message};
use route::NextHop;
use schedule::Batch;
use smtp::extension::Extension;

/// Where a site's mail goes, and how to talk there.
#[derive(Debug)]
pub struct Hop {
    /// The domain that it was found for; others may share it.
    pub domain: Domain,
    /// Its hosts.
    pub next: NextHop,
    /// How far TLS is insisted on.
    pub tls: TlsMode,
    /// What is logged in with.
    pub credentials: Option<Credentials>,
    /// The pool of source addresses that a rule for the domain names.
    pub sources: Option<String>,
    /// Extensions that are not used there.
    pub ignore: Vec<Extension>,
    /// What is done with its mail: it is sent, stored here, or only simulated.
    pub destination: Destination,
}

impl Hop {
    /// The extensions that are not used with a host; `no_chunking`: it has shown that it does not know BDAT.
    pub fn ignored(&self, no_chunking: bool) -> Vec<Extension> {
        let mut ignored = self.ignore.clone();
        if no_chunking || ignored.contains(&Extension::Chunking) {
            // BINARYMIME is nothing without it (RFC 3030 §3).
            ignored.extend([Extension::Chunking, Extension::BinaryMime]);
        }
        ignored
    }
}

/// The next hops of one site.
#[derive(Debug, Clone)]
pub struct SiteHops {
    key: Arc<str>,
    /// For all domains but the others.
    usual: Arc<Hop>,
    /// Of domains whose order of the same hosts is another.
    others: Arc<HashMap<Domain, Arc<Hop>>>,
}

impl SiteHops {
    /// Of a site, as one domain found it.
    pub fn new(key: &Arc<str>, hop: Arc<Hop>) -> Self {
        Self {
            key: Arc::clone(key),
            usual: hop,
            others: Arc::default(),
        }
    }

    /// Whether it is the site with this key.
    pub fn is_of(&self, key: &Arc<str>) -> bool {
        self.key == *key
    }

    /// A domain was looked up: its mail goes by this next hop.
    pub fn learn(&mut self, hop: Arc<Hop>) {
        let is_usual = self.usual.next == hop.next;
        if !is_usual {
            Arc::make_mut(&mut self.others).insert(hop.domain.clone(), hop);
        } else if self.others.contains_key(&hop.domain) {
            Arc::make_mut(&mut self.others).remove(&hop.domain);
        }
    }

    /// What all of its domains have in common; the order of the hosts is not.
    pub const fn common(&self) -> &Arc<Hop> {
        &self.usual
    }

    /// The recipients of a batch by their next hop.
    pub fn split(&self, batch: &Batch, message: &Message) -> Vec<(Arc<Hop>, Vec<u32>)> {
        let numbers = batch.recipients.iter().map(|(number, _, _)| *number);
        if self.others.is_empty() {
            return vec![(Arc::clone(&self.usual), numbers.collect())];
        }
        let other = |number: u32| {
            let recipient = message.envelope.recipients.get(number as usize)?;
            self.others.get(recipient.address.domain())
        };
        let mut split: Vec<(Arc<Hop>, Vec<u32>)> = Vec::new();
        for number in numbers {
            let hop = other(number).unwrap_or(&self.usual);
            match split.iter_mut().find(|(known, _)| known.next == hop.next) {
                Some((_, numbers)) => numbers.push(number),
                None => split.push((Arc::clone(hop), vec![number])),
            }
        }
        split
    }
}
