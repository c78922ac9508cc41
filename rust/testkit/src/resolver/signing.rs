//! Signed answers (RFC 4035 section 3), made as they are asked for.
//!
//! **Model.** One key signs everything as if all names stood in the root zone; that key is the trust
//! anchor. Names marked `BOGUS` get signatures that do not hold; names at and below one marked
//! `UNSIGNED` are delegated without a key, so they are provably insecure. What is not there is denied
//! by NSEC records over the names that are.
//! **Not here.** NSEC3, key rollover, wildcards' own proofs.

use super::zone::{Answer, TTL_S, Zone};
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{Algorithm, DnsSecError, DnssecSigner, SigningKey};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType};
use std::time::Duration;
use time::OffsetDateTime;

const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// The key of a signed zone.
pub struct Signing {
    signer: DnssecSigner,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").finish_non_exhaustive()
    }
}

impl Signing {
    /// A new key.
    pub(super) fn generate() -> Result<Self, DnsSecError> {
        let algorithm = Algorithm::ECDSAP256SHA256;
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(algorithm)?;
        let key = EcdsaSigningKey::from_pkcs8(&pkcs8, algorithm)?;
        let dnskey = DNSKEY::new(true, true, false, key.to_public_key()?);
        Ok(Self {
            signer: DnssecSigner::new(dnskey, Box::new(key), Name::root(), MONTH),
        })
    }

    /// The key as a line of a trust anchor file.
    pub(super) fn anchor(&self) -> String {
        format!(". {TTL_S} IN DNSKEY {}\n", self.signer.dnskey())
    }

    /// The records of the root itself: key, start of authority, name server.
    pub(super) fn apex(&self, kind: RecordType) -> Option<RData> {
        match kind {
            RecordType::DNSKEY => Some(RData::DNSSEC(DNSSECRData::DNSKEY(self.signer.to_dnskey()))),
            RecordType::NS => Some(RData::NS(NS(server()))),
            RecordType::SOA => Some(start(&Name::root()).data),
            _ => None,
        }
    }

    /// Adds signatures and proofs to what a zone answers.
    pub(super) fn sign(&self, zone: &Zone, question: &(Name, RecordType), response: &mut Message) {
        let (name, kind) = question;
        let end = response
            .answers
            .last()
            .map_or(name.clone(), |record| match &record.data {
                RData::CNAME(target) if *kind != RecordType::CNAME => target.0.clone(),
                _ => record.name.clone(),
            });
        let is_denied = !response
            .answers
            .iter()
            .any(|record| record.record_type() == *kind);
        let cut = zone.cut_of(&end);
        let is_parent_side = *kind == RecordType::DS && cut.as_ref() == Some(&end);
        response.authorities.clear();
        if is_denied && let Some(cut) = cut.filter(|_| !is_parent_side) {
            response.add_authority(start(&cut));
        } else if is_denied {
            let is_missing = response.metadata.response_code == ResponseCode::NXDomain;
            let mut denials = vec![start(&Name::root())];
            denials.extend(denial(zone, &end, is_missing));
            response.add_authorities(denials);
        }
        let answers = std::mem::take(&mut response.answers);
        response.insert_answers(self.signed(zone, answers));
        let authorities = std::mem::take(&mut response.authorities);
        response.insert_authorities(self.signed(zone, authorities));
    }

    /// The records with a signature behind each set that has one.
    fn signed(&self, zone: &Zone, records: Vec<Record>) -> Vec<Record> {
        let mut sets: Vec<(Name, RecordType)> = Vec::new();
        for record in &records {
            let set = (record.name.clone(), record.record_type());
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        let mut all = Vec::new();
        for (name, kind) in sets {
            let is_in_set = |r: &&Record| r.name == name && r.record_type() == kind;
            let set: Vec<Record> = records.iter().filter(is_in_set).cloned().collect();
            let is_proof_at_cut = kind == RecordType::NSEC && zone.is_cut(&name);
            let signature = if zone.cut_of(&name).is_some() && !is_proof_at_cut {
                None
            } else {
                self.signature(zone, &name, kind, &set)
            };
            all.extend(set);
            all.extend(signature);
        }
        all
    }

    fn signature(
        &self,
        zone: &Zone,
        name: &Name,
        kind: RecordType,
        set: &[Record],
    ) -> Option<Record> {
        let mut records = RecordSet::new(name.clone(), kind, 0);
        records.set_records(set.to_vec());
        let since = OffsetDateTime::now_utc() - HOUR;
        let made = RRSIG::from_rrset(&records, DNSClass::IN, since, &self.signer).ok()?;
        let made = if zone.is_bogus(name) {
            let mut octets = made.sig().to_vec();
            octets[0] ^= 1;
            RRSIG::from_sig(made.input().clone(), octets)
        } else {
            made
        };
        let data = RData::DNSSEC(DNSSECRData::RRSIG(made));
        Some(Record::from_rdata(name.clone(), TTL_S, data))
    }
}

/// NSEC records that deny a name, or a type of it (RFC 4035 section 3.1.3).
fn denial(zone: &Zone, name: &Name, is_missing: bool) -> Vec<Record> {
    let owners = zone.owners();
    let mut wanted = vec![name.clone()];
    if is_missing {
        let mut encloser = name.base_name();
        while !encloser.is_root() && !owners.iter().any(|owner| encloser.zone_of(owner)) {
            encloser = encloser.base_name();
        }
        let star = Name::from_ascii("*").and_then(|star| star.append_domain(&encloser));
        wanted.extend(star.ok());
    }
    let mut proofs: Vec<Record> = Vec::new();
    for name in wanted {
        // The last owner not behind the name; the root stands before all.
        let at = owners
            .partition_point(|owner| *owner <= name)
            .saturating_sub(1);
        let owner = &owners[at];
        let next = owners.get(at + 1).cloned().unwrap_or_else(Name::root);
        let nsec = NSEC::new(next, types(zone, owner));
        let data = RData::DNSSEC(DNSSECRData::NSEC(nsec));
        let record = Record::from_rdata(owner.clone(), TTL_S, data);
        if !proofs.contains(&record) {
            proofs.push(record);
        }
    }
    proofs
}

fn types(zone: &Zone, owner: &Name) -> Vec<RecordType> {
    let mut types = vec![RecordType::RRSIG, RecordType::NSEC];
    if owner.is_root() {
        types.extend([RecordType::NS, RecordType::SOA, RecordType::DNSKEY]);
    } else if zone.is_cut(owner) {
        types.push(RecordType::NS);
        return types;
    }
    types.extend(zone.listed(owner).iter().filter_map(Answer::kind));
    types
}

/// The start of authority of a zone that begins here.
pub(super) fn start(name: &Name) -> Record {
    let soa = SOA::new(server(), server(), 1, 3_600, 600, 86_400, TTL_S);
    Record::from_rdata(name.clone(), TTL_S, RData::SOA(soa))
}

pub(super) fn server() -> Name {
    Name::from_ascii("ns.test.").unwrap_or_default()
}
