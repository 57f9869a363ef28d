//! What the DNS server knows, and its answer to a question. No sockets.

use std::collections::HashMap;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::entry::{Entry, Trouble};
use crate::signed::Tree;

/// Longest chain of CNAMEs that is followed within one answer.
const CNAMES_MAX: usize = 16;
/// Largest answer by UDP, whatever the client offers.
const UDP_MAX: u16 = 1232;
/// Largest answer by UDP to a client without EDNS (RFC 1035 §4.2.1).
const UDP_PLAIN_MAX: u16 = 512;

#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) entries: HashMap<String, Entry>,
    pub(crate) ttl_secs: u32,
    pub(crate) negative_ttl_secs: u32,
    pub(crate) questions: Vec<(String, String)>,
    /// The zones, where they are signed.
    pub(crate) tree: Option<Tree>,
    /// It does not know EDNS.
    pub(crate) edns: Option<EdnsTrouble>,
}

/// An answer, and how long it is held back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) wire: Vec<u8>,
    pub(crate) delay: Duration,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            ttl_secs: 60,
            negative_ttl_secs: 60,
            questions: Vec::new(),
            tree: None,
            edns: None,
        }
    }
}

/// What a server does that does not know EDNS (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdnsTrouble {
    /// FORMERR.
    FormErr,
    /// NOTIMP.
    NotImp,
    /// It does not answer.
    Silent,
}

fn refused(mut response: Message, code: ResponseCode) -> Option<Answer> {
    response.metadata.response_code = code;
    let wire = response.to_vec().ok()?;
    let delay = Duration::ZERO;
    Some(Answer { wire, delay })
}

impl Zone {
    pub(crate) fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.entry(key(name)).or_default()
    }

    /// Answers a question as it came; `None` where there is to be no answer.
    pub(crate) fn answer(&mut self, wire: &[u8], udp: bool) -> Option<Answer> {
        let request = Message::from_vec(wire).ok()?;
        let query = request.queries.first()?.clone();
        let name = key(&query.name().to_ascii());
        let kind = query.query_type();
        self.questions.push((name.clone(), kind.to_string()));

        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata.authoritative = true;
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        response.add_query(query.clone());
        let mut limit = UDP_PLAIN_MAX;
        let mut wants_signatures = false;
        if request.edns.is_some() {
            match self.edns {
                Some(EdnsTrouble::Silent) => return None,
                Some(EdnsTrouble::FormErr) => return refused(response, ResponseCode::FormErr),
                Some(EdnsTrouble::NotImp) => return refused(response, ResponseCode::NotImp),
                None => {}
            }
        }
        if let Some(edns) = &request.edns {
            limit = edns.max_payload().clamp(UDP_PLAIN_MAX, UDP_MAX);
            let mut ours = Edns::new();
            ours.set_max_payload(UDP_MAX);
            wants_signatures = edns.flags().dnssec_ok;
            ours.set_dnssec_ok(wants_signatures);
            response.set_edns(ours);
        }
        let entry = self.entries.get(&name);
        let delay = entry.map_or(Duration::ZERO, |e| e.delay);
        match entry.map_or(Trouble::None, |e| e.trouble) {
            Trouble::NoAnswer => return None,
            Trouble::ServFail => response.metadata.response_code = ResponseCode::ServFail,
            Trouble::None => self.fill(&mut response, &query, name, wants_signatures),
        }
        if wants_signatures && let Some(tree) = &self.tree {
            sign(tree, &mut response.answers);
        }
        let mut wire = response.to_vec().ok()?;
        if udp && wire.len() > usize::from(limit) {
            wire = response.truncate().to_vec().ok()?;
        }
        Some(Answer { wire, delay })
    }

    fn fill(&self, response: &mut Message, query: &Query, mut name: String, signed: bool) {
        let kind = query.query_type();
        for _ in 0..CNAMES_MAX {
            let Ok(owner) = Name::from_ascii(format!("{name}.")) else {
                break;
            };
            let own = self
                .tree
                .as_ref()
                .map(|tree| tree.own_records(&owner, kind));
            let own = own.unwrap_or_default();
            let entry = self.entries.get(&name);
            let mut alias = None;
            for data in entry.iter().flat_map(|e| &e.records).chain(&own) {
                if data.record_type() == kind || data.record_type() == RecordType::CNAME {
                    response.add_answer(Record::from_rdata(
                        owner.clone(),
                        self.ttl_secs,
                        data.clone(),
                    ));
                }
                if let RData::CNAME(target) = data {
                    alias = Some(key(&target.0.to_ascii()));
                }
            }
            match alias {
                Some(target) if kind != RecordType::CNAME => name = target,
                Some(_) | None => break,
            }
        }
        if response.answers.iter().any(|r| r.record_type() == kind) {
            return;
        }
        if !self.exists(&name) {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        let owner = Name::from_ascii(format!("{name}."));
        match (&self.tree, owner) {
            (Some(tree), Ok(owner)) => {
                let (entries, ttl) = (self.entries.iter(), self.negative_ttl_secs);
                for record in tree.denial(&owner, kind, entries, ttl, signed) {
                    response.add_authority(record);
                }
            }
            (None, _) | (_, Err(_)) => {
                response.add_authority(self.soa());
            }
        }
    }

    /// The name has records of some type, or names below it have (RFC 8020).
    fn exists(&self, name: &str) -> bool {
        let below = format!(".{name}");
        let is_zone = |tree: &Tree| tree.is_at_or_below(name);
        if self.tree.as_ref().is_some_and(is_zone) {
            return true;
        }
        self.entries
            .iter()
            .any(|(n, e)| !e.records.is_empty() && (n == name || n.ends_with(&below)))
    }

    fn soa(&self) -> Record {
        let ttl = self.negative_ttl_secs;
        let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl);
        Record::from_rdata(Name::root(), ttl, RData::SOA(soa))
    }
}

/// A name as it is looked up: lower case, without the last dot.
pub(crate) fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Puts a signature behind each set of records.
fn sign(tree: &Tree, records: &mut Vec<Record>) {
    let mut sets: Vec<Vec<Record>> = Vec::new();
    for record in records.drain(..) {
        let same = |set: &&mut Vec<Record>| {
            set.first().is_some_and(|first| {
                first.name == record.name && first.record_type() == record.record_type()
            })
        };
        match sets.iter_mut().find(same) {
            Some(set) => set.push(record),
            None => sets.push(vec![record]),
        }
    }
    for set in sets {
        let signature = tree.sign(&set);
        records.extend(set);
        records.extend(signature);
    }
}
