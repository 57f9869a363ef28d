//! A signed tree of zones below a root key of its own (RFC 4033 to 4035): what a validating resolver
//! asks for, made at the moment of the answer. Denials are by NSEC.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, NSEC, RRSIG};
use hickory_proto::dnssec::{Algorithm, DnssecSigner, PublicKey, SigningKey, TBS};
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};

use crate::entry::Entry;

/// Signatures begin to hold this long before they are made, for clocks that differ.
const EARLIER: Duration = Duration::from_secs(3600);
/// And hold this long.
const LIFE: Duration = Duration::from_secs(86_400);
/// DS by SHA-256 (RFC 4509).
const SHA256: u8 = 2;

/// How a zone stands to the one above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Signed, and its parent says with which key.
    Secure,
    /// Not signed, which its parent proves.
    Insecure,
    /// Signed with another key than its parent says.
    Bogus,
}

struct Cut {
    chain: Chain,
    signer: DnssecSigner,
}

impl Cut {
    fn sign(&self, first: &Record, set: &[Record]) -> Option<Record> {
        if self.chain == Chain::Insecure {
            return None;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let at = |time: Duration| u32::try_from(time.as_secs()).ok().map(SerialNumber::new);
        let input = SigInput {
            type_covered: first.record_type(),
            algorithm: self.signer.key().algorithm(),
            num_labels: first.name.num_labels(),
            original_ttl: first.ttl,
            sig_expiration: at(now + LIFE)?,
            sig_inception: at(now.saturating_sub(EARLIER))?,
            key_tag: self.signer.calculate_key_tag().ok()?,
            signer_name: self.signer.signer_name().clone(),
        };
        let tbs = TBS::from_input(&first.name, DNSClass::IN, &input, set.iter()).ok()?;
        let signature = self.signer.sign(&tbs).ok()?;
        let data = RRSIG::from_sig(input, signature);
        let data = RData::DNSSEC(DNSSECRData::RRSIG(data));
        Some(Record::from_rdata(first.name.clone(), first.ttl, data))
    }
}

/// The zones of a tree. Names belong to the closest one above them.
pub(crate) struct Tree {
    cuts: BTreeMap<Name, Cut>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

impl Tree {
    /// A signed root.
    pub(crate) fn new() -> Self {
        let mut tree = Self {
            cuts: BTreeMap::new(),
        };
        tree.add(Name::root(), Chain::Secure);
        tree
    }

    /// Adds a zone, and a signed one for its top-level domain.
    pub(crate) fn zone(&mut self, name: Name, chain: Chain) {
        let top = name.trim_to(1);
        if top != name && !self.cuts.contains_key(&top) {
            self.add(top, Chain::Secure);
        }
        self.add(name, chain);
    }

    fn add(&mut self, name: Name, chain: Chain) {
        let algorithm = Algorithm::ECDSAP256SHA256;
        let der = EcdsaSigningKey::generate_pkcs8(algorithm).expect("random numbers for a key");
        let key = EcdsaSigningKey::from_pkcs8(&der, algorithm).expect("a key just made");
        let public = key.to_public_key().expect("a key just made");
        let signer =
            DnssecSigner::new(DNSKEY::from_key(&public), Box::new(key), name.clone(), LIFE);
        self.cuts.insert(name, Cut { chain, signer });
    }

    /// Whether a name is a zone, or a zone is below it.
    pub(crate) fn is_at_or_below(&self, name: &str) -> bool {
        Name::from_ascii(format!("{name}."))
            .is_ok_and(|name| self.cuts.keys().any(|zone| name.zone_of(zone)))
    }

    /// The root's key, as a line of a file of trust anchors.
    pub(crate) fn anchor(&self) -> String {
        let cut = self.cuts.get(&Name::root()).expect("every tree has a root");
        let key = cut.signer.dnskey().public_key();
        format!(
            ". 86400 IN DNSKEY 257 3 13 {}\n",
            STANDARD.encode(key.public_bytes())
        )
    }

    /// The zone that answers for a name; a DS record is the parent's.
    fn zone_of(&self, name: &Name, kind: RecordType) -> (&Name, &Cut) {
        let holds = |apex: &&Name| apex.zone_of(name) && (kind != RecordType::DS || *apex != name);
        let apex = self
            .cuts
            .keys()
            .filter(holds)
            .max_by_key(|n| n.num_labels());
        let root = Name::root();
        self.cuts
            .get_key_value(apex.unwrap_or(&root))
            .expect("every tree has a root")
    }

    /// The records of a zone that come with its being one.
    pub(crate) fn own_records(&self, name: &Name, kind: RecordType) -> Vec<RData> {
        let Some(cut) = self.cuts.get(name) else {
            return Vec::new();
        };
        if kind == RecordType::NS {
            vec![RData::NS(NS(Name::root()))]
        } else if kind == RecordType::SOA {
            vec![RData::SOA(soa(60))]
        } else if kind == RecordType::DNSKEY && cut.chain != Chain::Insecure {
            vec![RData::DNSSEC(DNSSECRData::DNSKEY(cut.signer.to_dnskey()))]
        } else if kind == RecordType::DS && !name.is_root() {
            self.ds(name, cut).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    fn ds(&self, name: &Name, cut: &Cut) -> Option<RData> {
        let signed_by = match cut.chain {
            Chain::Secure => cut,
            Chain::Insecure => return None,
            // The root's key: a good one, but not that zone's.
            Chain::Bogus => self.cuts.get(&Name::root())?,
        };
        let key = signed_by.signer.dnskey().public_key();
        let ds = DS::from_key(key, name, SHA256.into()).ok()?;
        Some(RData::DNSSEC(DNSSECRData::DS(ds)))
    }

    /// The signature of a record set, where its zone is signed. The set is of one name and type.
    pub(crate) fn sign(&self, set: &[Record]) -> Option<Record> {
        let first = set.first()?;
        let (_, cut) = self.zone_of(&first.name, first.record_type());
        cut.sign(first, set)
    }

    /// What proves that a name has no such record: the zone's SOA and the NSEC records around the
    /// name and around the wildcard that could have answered.
    pub(crate) fn denial<'a>(
        &self,
        name: &Name,
        kind: RecordType,
        entries: impl Iterator<Item = (&'a String, &'a Entry)>,
        ttl: u32,
        signed: bool,
    ) -> Vec<Record> {
        let (apex, cut) = self.zone_of(name, kind);
        let soa = Record::from_rdata(apex.clone(), ttl, RData::SOA(soa(ttl)));
        let mut records = vec![soa];
        if cut.chain == Chain::Insecure || !signed {
            return records;
        }
        let owners = self.owners(apex, entries);
        let mut around = BTreeSet::new();
        around.extend(predecessor(&owners, name));
        let exists = owners.keys().any(|owner| name.zone_of(owner));
        if !exists {
            let mut closest = name.base_name();
            while !owners.keys().any(|owner| closest.zone_of(owner)) {
                closest = closest.base_name();
            }
            let wildcard = Name::from_ascii("*").and_then(|star| star.append_domain(&closest));
            around.extend(wildcard.ok().and_then(|w| predecessor(&owners, &w)));
        }
        for owner in around {
            let Some(types) = owners.get(&owner) else {
                continue;
            };
            let next = owners
                .range((
                    std::ops::Bound::Excluded(&owner),
                    std::ops::Bound::Unbounded,
                ))
                .next()
                .map_or(apex, |(next, _)| next);
            let nsec = NSEC::new_cover_self(next.clone(), types.iter().copied());
            let data = RData::DNSSEC(DNSSECRData::NSEC(nsec));
            records.push(Record::from_rdata(owner, ttl, data));
        }
        // An NSEC record where another zone begins is of the zone above.
        let sign = |record: &Record| cut.sign(record, std::slice::from_ref(record));
        let signatures: Vec<Record> = records.iter().filter_map(sign).collect();
        records.extend(signatures);
        records
    }

    /// The names of a zone in canonical order, with their types.
    fn owners<'a>(
        &self,
        apex: &Name,
        entries: impl Iterator<Item = (&'a String, &'a Entry)>,
    ) -> BTreeMap<Name, BTreeSet<RecordType>> {
        let mut owners: BTreeMap<Name, BTreeSet<RecordType>> = BTreeMap::new();
        let own = [RecordType::SOA, RecordType::NS, RecordType::DNSKEY];
        owners.insert(apex.clone(), BTreeSet::from(own));
        for (text, entry) in entries {
            let Ok(name) = Name::from_ascii(format!("{text}.")) else {
                continue;
            };
            let (zone, _) = self.zone_of(&name, RecordType::A);
            if zone == apex && !entry.records.is_empty() {
                let types = entry.records.iter().map(RData::record_type);
                owners.entry(name).or_default().extend(types);
            }
        }
        for (name, cut) in &self.cuts {
            if name != apex && self.zone_of(name, RecordType::DS).0 == apex {
                let types = owners.entry(name.clone()).or_default();
                types.insert(RecordType::NS);
                if cut.chain != Chain::Insecure {
                    types.insert(RecordType::DS);
                }
            }
        }
        owners
    }
}

/// The last name that is not behind `name`.
fn predecessor<T>(owners: &BTreeMap<Name, T>, name: &Name) -> Option<Name> {
    owners.range(..=name).next_back().map(|(n, _)| n.clone())
}

fn soa(ttl: u32) -> SOA {
    SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl)
}
