//! What the test DNS server knows.
//!
//! **Model.** A name maps to answers. A name with no answers, and no name below it, does not exist
//! (NXDOMAIN); one with other types only gives an empty answer (NODATA). A CNAME is followed, as a
//! resolver does, and stands in the answer before what it leads to. `*.example.` answers for every
//! name below it that is not listed.
//!
//! **Format.** One record a line, `;` or `#` begin a comment, a lone `.` is the root:
//!
//! ```text
//! example.com      MX        10 mx.example.com
//! mx.example.com   A         127.0.0.1
//! mx.example.com   AAAA      ::1
//! example.com      TXT       v=spf1 -all
//! www.example.com  CNAME     example.com
//! nomail.example   MX        0 .
//! broken.example   SERVFAIL
//! quiet.example    SILENT
//! gone.example     NXDOMAIN
//! _25._tcp.mx.example.com  TLSA  3 1 1 0a1b2c…
//! ```
//!
//! **Signed.** With [`Zone::signed`] every answer is signed by one key; two more marks then mean
//! something: `BOGUS` breaks the signatures at a name, `UNSIGNED` begins a zone without a key there.

use super::signing::{Signing, server};
use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, TLSA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// How long resolvers may keep an answer, in seconds: short, tests change their minds.
pub(super) const TTL_S: u32 = 60;
/// Longest chain of CNAMEs followed.
const MOST_CNAMES: usize = 8;
/// The UDP payload offered to clients that speak EDNS.
const EDNS_PAYLOAD: u16 = 1232;

/// One thing a name answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Preference and host; `.` with preference 0 is the null MX (RFC 7505).
    Mx(u16, String),
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A text, split into strings of 255 octets on the wire.
    Txt(String),
    /// Another name to ask.
    Cname(String),
    /// Usage, selector, matching type and data (RFC 6698).
    Tlsa(u8, u8, u8, Vec<u8>),
    /// In a signed zone: signatures here do not hold.
    Bogus,
    /// In a signed zone: from here on nothing is signed, and that is proved.
    Unsigned,
    /// The server fails, whatever the type.
    ServFail,
    /// The name does not exist, even below a wildcard.
    NxDomain,
    /// No answer ever comes.
    Silent,
}

/// Why a zone cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ZoneError {
    /// Counted from one; zero when given in code.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Names and their answers.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    names: BTreeMap<Name, Vec<Answer>>,
    signing: Option<Arc<Signing>>,
}

impl Zone {
    /// The same zone, signed by a new key.
    ///
    /// # Errors
    /// No key can be made.
    pub fn signed(mut self) -> Result<Self, ZoneError> {
        let signing = Signing::generate().map_err(|error| ZoneError {
            line: 0,
            what: format!("signing key: {error}"),
        })?;
        self.signing = Some(Arc::new(signing));
        Ok(self)
    }

    /// The key of a signed zone, as the trust anchor file of a validator.
    #[must_use]
    pub fn trust_anchor(&self) -> Option<String> {
        self.signing.as_ref().map(|signing| signing.anchor())
    }

    /// Where the insecure zone of a name begins, if it stands in one.
    pub(super) fn cut_of(&self, name: &Name) -> Option<Name> {
        let mut above = name.clone();
        while !above.is_root() {
            if self.is_cut(&above) {
                return Some(above);
            }
            above = above.base_name();
        }
        None
    }

    pub(super) fn is_cut(&self, name: &Name) -> bool {
        self.listed(name).contains(&Answer::Unsigned)
    }

    pub(super) fn is_bogus(&self, name: &Name) -> bool {
        self.listed(name).contains(&Answer::Bogus)
    }

    pub(super) fn listed(&self, name: &Name) -> &[Answer] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names of the signed zone, in their order.
    pub(super) fn owners(&self) -> Vec<Name> {
        let is_inside = |name: &&Name| self.cut_of(name).is_none_or(|cut| cut == **name);
        let has_records = |name: &&Name| {
            self.is_cut(name) || self.listed(name).iter().any(|a| a.kind().is_some())
        };
        let mut owners = vec![Name::root()];
        owners.extend(
            self.names
                .keys()
                .filter(is_inside)
                .filter(has_records)
                .cloned(),
        );
        owners.sort();
        owners.dedup();
        owners
    }

    /// A zone in which nothing exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an answer to a name, given with or without its final dot.
    ///
    /// # Errors
    /// A name that DNS cannot hold.
    pub fn with(mut self, name: &str, answer: Answer) -> Result<Self, ZoneError> {
        if let Answer::Mx(_, host) | Answer::Cname(host) = &answer {
            absolute(host)?;
        }
        self.names.entry(absolute(name)?).or_default().push(answer);
        Ok(self)
    }

    /// Reads the format shown in the module documentation.
    ///
    /// # Errors
    /// The first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        let mut zone = Self::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            let at = |error: ZoneError| ZoneError {
                line: index + 1,
                ..error
            };
            let (name, answer) = parse_line(line).map_err(at)?;
            zone = zone.with(name, answer).map_err(at)?;
        }
        Ok(zone)
    }

    /// The answer to a question; `None` to stay silent.
    pub(super) fn respond(&self, question: &Message) -> Option<Message> {
        let mut response = empty(question);
        let asked = question
            .queries
            .first()
            .filter(|_| question.metadata.op_code == OpCode::Query);
        let Some(query) = asked else {
            response.metadata.response_code = ResponseCode::NotImp;
            return Some(response);
        };
        response.add_query(query.clone());
        let mut name = query.name().clone();
        let is_apex = self.signing.is_some() && name.is_root();
        for _ in 0..=MOST_CNAMES {
            if is_apex {
                break;
            }
            let answers = self.answers(&name);
            if answers.contains(&Answer::Silent) {
                return None;
            }
            if answers.contains(&Answer::ServFail) {
                response.metadata.response_code = ResponseCode::ServFail;
                return Some(response);
            }
            let does_not_exist = answers.is_empty() && !self.has_names_below(&name);
            if does_not_exist || answers.contains(&Answer::NxDomain) {
                response.metadata.response_code = ResponseCode::NXDomain;
                break;
            }
            match answers
                .iter()
                .find_map(Answer::target)
                .filter(|_| query.query_type() != RecordType::CNAME)
            {
                Some(target) => {
                    let to = RData::CNAME(CNAME(target.clone()));
                    response.add_answer(Record::from_rdata(name, TTL_S, to));
                    name = target;
                }
                None => {
                    let data = answers
                        .iter()
                        .filter_map(|answer| answer.data(query.query_type()));
                    for data in data.collect::<Vec<_>>() {
                        response.add_answer(Record::from_rdata(name.clone(), TTL_S, data));
                    }
                    break;
                }
            }
        }
        if response.answers.is_empty() {
            // Without it resolvers may not keep the negative answer (RFC 2308, 3).
            response.add_authority(start_of_authority(query.name()));
        }
        self.sign(question, &mut response);
        Some(response)
    }

    /// What only a signed zone says.
    fn sign(&self, question: &Message, response: &mut Message) {
        let (Some(signing), Some(query)) = (&self.signing, question.queries.first()) else {
            return;
        };
        let (name, kind) = (query.name().clone(), query.query_type());
        if name.is_root()
            && let Some(data) = signing.apex(kind)
        {
            response.authorities.clear();
            response.add_answer(Record::from_rdata(Name::root(), TTL_S, data));
        } else if kind == RecordType::NS && self.is_cut(&name) {
            response.authorities.clear();
            response.add_answer(Record::from_rdata(
                name.clone(),
                TTL_S,
                RData::NS(NS(server())),
            ));
        }
        let wants_proof = question
            .edns
            .as_ref()
            .is_some_and(|edns| edns.flags().dnssec_ok);
        if wants_proof {
            if let Some(edns) = response.edns.as_mut() {
                edns.set_dnssec_ok(true);
            }
            signing.sign(self, &(name, kind), response);
        }
    }

    fn answers(&self, name: &Name) -> &[Answer] {
        if let Some(answers) = self.names.get(name) {
            return answers;
        }
        let mut above = name.base_name();
        while !name.is_root() {
            let wildcard = Name::from_ascii("*").and_then(|star| star.append_domain(&above));
            if let Some(answers) = wildcard.ok().and_then(|wildcard| self.names.get(&wildcard)) {
                return answers;
            }
            if above.is_root() {
                break;
            }
            above = above.base_name();
        }
        &[]
    }

    fn has_names_below(&self, name: &Name) -> bool {
        self.names.keys().any(|known| name.zone_of(known))
    }
}

impl Answer {
    fn target(&self) -> Option<Name> {
        match self {
            Self::Cname(target) => absolute(target).ok(),
            _ => None,
        }
    }

    /// The type of what it answers with.
    pub(super) fn kind(&self) -> Option<RecordType> {
        self.rdata().map(|data| data.record_type())
    }

    fn data(&self, asked: RecordType) -> Option<RData> {
        self.rdata().filter(|data| data.record_type() == asked)
    }

    fn rdata(&self) -> Option<RData> {
        let data = match self {
            Self::Mx(preference, host) => RData::MX(MX::new(*preference, absolute(host).ok()?)),
            Self::A(address) => RData::A(A(*address)),
            Self::Aaaa(address) => RData::AAAA(AAAA(*address)),
            Self::Txt(text) => RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect())),
            Self::Cname(target) => RData::CNAME(CNAME(absolute(target).ok()?)),
            Self::Tlsa(usage, selector, matching, octets) => RData::TLSA(TLSA::new(
                (*usage).into(),
                (*selector).into(),
                (*matching).into(),
                octets.clone(),
            )),
            Self::ServFail | Self::NxDomain | Self::Silent | Self::Bogus | Self::Unsigned => {
                return None;
            }
        };
        Some(data)
    }
}

/// An answer without anything in it.
fn empty(question: &Message) -> Message {
    let mut response = Message::response(question.metadata.id, question.metadata.op_code);
    response.metadata.recursion_desired = question.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD);
        response.set_edns(edns);
    }
    response
}

fn start_of_authority(name: &Name) -> Record {
    let host = Name::from_ascii("ns.test.").unwrap_or_default();
    let soa = SOA::new(host.clone(), host, 1, 3600, 600, 86_400, TTL_S);
    let mut record = Record::from_rdata(name.base_name(), TTL_S, RData::SOA(soa));
    record.dns_class = DNSClass::IN;
    record
}

/// Names are kept lower-case and rooted, which is how questions compare with them.
fn absolute(name: &str) -> Result<Name, ZoneError> {
    let mut parsed = Name::from_ascii(name)
        .map_err(|error| ZoneError {
            line: 0,
            what: format!("name {name:?}: {error}"),
        })?
        .to_lowercase();
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn parse_line(line: &str) -> Result<(&str, Answer), ZoneError> {
    let wrong = |what: &str| ZoneError {
        line: 0,
        what: what.to_owned(),
    };
    let (name, rest) = line
        .split_once(char::is_whitespace)
        .ok_or_else(|| wrong("no record type"))?;
    let rest = rest.trim_start();
    let (kind, data) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let data = data.trim();
    let answer = match kind.to_ascii_uppercase().as_str() {
        "MX" => {
            let (preference, host) = data
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong("MX needs preference and host"))?;
            let preference = preference
                .parse()
                .map_err(|_| wrong("MX preference is not a number"))?;
            Answer::Mx(preference, host.trim().to_owned())
        }
        "A" => Answer::A(address(data)?),
        "AAAA" => Answer::Aaaa(address(data)?),
        "TXT" => Answer::Txt(data.trim_matches('"').to_owned()),
        "CNAME" => Answer::Cname(data.to_owned()),
        "TLSA" => tlsa(data).ok_or_else(|| wrong("TLSA needs three numbers and hex"))?,
        "BOGUS" => Answer::Bogus,
        "UNSIGNED" => Answer::Unsigned,
        "SERVFAIL" => Answer::ServFail,
        "NXDOMAIN" => Answer::NxDomain,
        "SILENT" => Answer::Silent,
        other => return Err(wrong(&format!("record type {other:?} is not known here"))),
    };
    Ok((name, answer))
}

fn tlsa(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    let mut number = || words.next()?.parse().ok();
    let (usage, selector, matching) = (number()?, number()?, number()?);
    let hex: String = words.collect();
    let octets = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    Some(Answer::Tlsa(
        usage,
        selector,
        matching,
        octets.collect::<Option<_>>()?,
    ))
}

fn address<T: FromStr>(text: &str) -> Result<T, ZoneError> {
    text.parse().map_err(|_| ZoneError {
        line: 0,
        what: format!("{text:?} is not an address"),
    })
}
