//! The asking: hickory behind a few questions.
//!
//! **Caching.** Each question has a cache of its own, see `cache`; hickory's, below it, keeps single
//! records by their TTL.
//! **Validation.** See `validation`. Who validates throws bogus answers away and says of all others
//! whether they are secure.
//! **Invariant.** All calls of one resolver happen on one tokio runtime: its sockets belong to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::rr::rdata::MX;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use thiserror::Error;

use crate::cache::{Answer, Cache};
use crate::security::{Dnssec, Security};
use crate::targets::{MxHost, MxRecord, Targets, targets};
use crate::validation::{Found, Upstream};
use crate::{RouteError, Tlsa};

/// The resolver could not be set up.
#[derive(Debug, Error)]
#[error("DNS resolver: {0}")]
pub struct ResolverError(pub(crate) String);

/// The addresses of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Families alternating, IPv4 first; may be empty.
    pub ips: Vec<IpAddr>,
    /// Whether DNSSEC vouches for them.
    pub security: Security,
    /// The name they stand at, behind all aliases (RFC 7672 section 2.2.2).
    pub name: String,
}

/// TLSA records and whether DNSSEC vouches for them. Without records: for there being none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsaAnswer {
    /// As they came, usable or not.
    pub records: Vec<Tlsa>,
    /// See [`Security`].
    pub security: Security,
}

/// A caching stub resolver.
pub struct Resolver {
    upstream: Upstream,
    routes: Cache<Arc<Targets>>,
    hosts: Cache<Arc<Addresses>>,
    tlsa: Cache<Arc<TlsaAnswer>>,
    texts: Cache<Arc<Vec<String>>>,
    aliases: Cache<bool>,
}

impl Resolver {
    /// A resolver that asks `servers`, or those of the system when there are none.
    ///
    /// # Errors
    /// The system's configuration or the trust anchor cannot be read.
    pub fn new(servers: Option<Vec<SocketAddr>>, dnssec: &Dnssec) -> Result<Self, ResolverError> {
        Ok(Self {
            upstream: Upstream::new(servers, dnssec)?,
            routes: Cache::new(true),
            hosts: Cache::new(true),
            // An old "there is none" would let mail leave unprotected while an attacker keeps the
            // name servers away; the RFC asks to wait instead (RFC 7672 section 2.1.2).
            tlsa: Cache::new(false),
            texts: Cache::new(true),
            aliases: Cache::new(false),
        })
    }

    /// Whether answers are validated now.
    pub async fn is_validating(&self) -> bool {
        self.upstream.is_validating(Instant::now()).await
    }

    /// The hosts that take mail for a domain (an A-label, lower case).
    ///
    /// # Errors
    /// See [`RouteError`]; all but the temporary ones are final.
    pub async fn route(&self, domain: &str) -> Result<Arc<Targets>, RouteError> {
        let ask = || async { self.ask_route(domain).await };
        self.routes.get(domain, Instant::now(), ask).await
    }

    /// The addresses of a host; an empty list when it has none.
    ///
    /// # Errors
    /// A temporary one when resolvers gave no answer, `BadName` for an impossible name.
    pub async fn addresses(&self, host: &str) -> Result<Arc<Addresses>, RouteError> {
        let ask = || async { self.ask_addresses(host).await };
        self.hosts.get(host, Instant::now(), ask).await
    }

    /// The TLSA records of a service, such as `_25._tcp.mx.example.com`.
    ///
    /// # Errors
    /// A temporary one when resolvers gave no usable answer: the host is not to be used then.
    pub async fn tlsa(&self, name: &str) -> Result<Arc<TlsaAnswer>, RouteError> {
        let ask = || async {
            let found = self.ask_records(name, RecordType::TLSA).await;
            map(found, |found| {
                Arc::new(TlsaAnswer {
                    records: found.records.iter().filter_map(tlsa_record).collect(),
                    security: found.security,
                })
            })
        };
        self.tlsa.get(name, Instant::now(), ask).await
    }

    /// Whether a name is an alias and DNSSEC vouches for that, wherever it leads (RFC 7672 section
    /// 2.2.2).
    ///
    /// # Errors
    /// A temporary one when resolvers gave no usable answer: the host is not to be used then.
    pub async fn is_alias_secure(&self, name: &str) -> Result<bool, RouteError> {
        let ask = || async {
            let found = self.ask_records(name, RecordType::CNAME).await;
            map(found, |found| {
                !found.records.is_empty() && found.security.is_secure()
            })
        };
        self.aliases.get(name, Instant::now(), ask).await
    }

    /// The texts of a name, each record's strings joined; empty when it has none.
    ///
    /// # Errors
    /// A temporary one when resolvers gave no answer.
    pub async fn texts(&self, name: &str) -> Result<Arc<Vec<String>>, RouteError> {
        let ask = || async {
            let found = self.ask_records(name, RecordType::TXT).await;
            map(found, |found| {
                Arc::new(found.records.iter().filter_map(text).collect())
            })
        };
        self.texts.get(name, Instant::now(), ask).await
    }

    /// Records of a type; a name without any gives none.
    async fn ask_records(&self, name: &str, kind: RecordType) -> Answer<Found> {
        let now = Instant::now();
        let asked = match absolute(name) {
            Ok(name) => self.upstream.ask(&name, kind, now).await,
            Err(error) => failed(error, now),
        };
        match asked.value {
            Err(RouteError::NoRoute(_) | RouteError::NoDomain(_)) => Answer {
                value: Ok(Found::default()),
                valid_until: asked.valid_until,
            },
            _ => asked,
        }
    }

    async fn ask_addresses(&self, host: &str) -> Answer<Arc<Addresses>> {
        let (v4, v6) = tokio::join!(
            self.ask_records(host, RecordType::A),
            self.ask_records(host, RecordType::AAAA)
        );
        let valid_until = v4.valid_until.min(v6.valid_until);
        let (v4, v6) = match (v4.value, v6.value) {
            (Ok(v4), Ok(v6)) => (v4, v6),
            // One family's servers may be broken while the other's address is good.
            (Ok(v4), Err(error)) if v4.ips().next().is_none() => {
                return Answer {
                    value: Err(error),
                    valid_until,
                };
            }
            (Err(error), Ok(v6)) if v6.ips().next().is_none() => {
                return Answer {
                    value: Err(error),
                    valid_until,
                };
            }
            (Ok(v4), Err(_)) => (v4, Found::default()),
            (Err(_), Ok(v6)) => (Found::default(), v6),
            (Err(error), Err(_)) => {
                return Answer {
                    value: Err(error),
                    valid_until,
                };
            }
        };
        // An absent family says nothing: only the addresses that may be used must be secure.
        let families = [&v4, &v6]
            .into_iter()
            .filter(|found| found.ips().next().is_some());
        let security = families
            .map(|found| found.security)
            .reduce(Security::and)
            .unwrap_or_default();
        let holder = if v4.ips().next().is_some() { &v4 } else { &v6 };
        let name = holder.owner().unwrap_or_else(|| host.to_owned());
        let ips = alternate(v4.ips(), v6.ips());
        let value = Ok(Arc::new(Addresses {
            ips,
            security,
            name,
        }));
        Answer { value, valid_until }
    }

    async fn ask_route(&self, domain: &str) -> Answer<Arc<Targets>> {
        let now = Instant::now();
        let name = match absolute(domain) {
            Ok(name) => name,
            Err(error) => return failed(error, now),
        };
        let asked = self.upstream.ask(&name, RecordType::MX, now).await;
        match asked.value {
            Ok(found) => {
                let records: Vec<MxRecord> = found.records.iter().filter_map(mx_record).collect();
                let valid_until = asked.valid_until;
                let value = targets(domain, &records, valid_until, found.security).map(Arc::new);
                return Answer { value, valid_until };
            }
            Err(RouteError::NoRoute(_)) => {}
            Err(error) => {
                return Answer {
                    value: Err(error),
                    valid_until: asked.valid_until,
                };
            }
        }
        // Implicit MX (RFC 5321 section 5.1): the domain itself, if it has an address.
        let addresses = self.ask_addresses(domain).await;
        let valid_until = addresses.valid_until.min(asked.valid_until);
        let value = match addresses.value {
            Ok(found) if found.ips.is_empty() => Err(RouteError::NoRoute(domain.to_owned())),
            Ok(found) => {
                let host = MxHost {
                    preference: 0,
                    name: domain.into(),
                };
                Ok(Arc::new(Targets {
                    hosts: vec![host],
                    valid_until,
                    security: found.security,
                }))
            }
            Err(error) => Err(error),
        };
        Answer { value, valid_until }
    }
}

fn failed<T>(error: RouteError, now: Instant) -> Answer<T> {
    let valid_until = now + Duration::from_secs(60);
    Answer {
        value: Err(error),
        valid_until,
    }
}

fn map<T, U>(answer: Answer<T>, change: impl FnOnce(T) -> U) -> Answer<U> {
    Answer {
        value: answer.value.map(change),
        valid_until: answer.valid_until,
    }
}

/// One of each in turn: a family that does not work costs half the tries, not all.
fn alternate(
    mut first: impl Iterator<Item = IpAddr>,
    mut second: impl Iterator<Item = IpAddr>,
) -> Vec<IpAddr> {
    let mut all = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

fn mx_record(record: &Record) -> Option<MxRecord> {
    let RData::MX(MX {
        preference,
        exchange,
        ..
    }) = &record.data
    else {
        return None;
    };
    let exchange = exchange.to_ascii();
    Some(MxRecord {
        preference: *preference,
        exchange: exchange.trim_end_matches('.').to_owned(),
    })
}

fn tlsa_record(record: &Record) -> Option<Tlsa> {
    let RData::TLSA(tlsa) = &record.data else {
        return None;
    };
    Some(Tlsa {
        usage: tlsa.cert_usage.into(),
        selector: tlsa.selector.into(),
        matching: tlsa.matching.into(),
        data: tlsa.cert_data.clone(),
    })
}

fn text(record: &Record) -> Option<String> {
    let RData::TXT(txt) = &record.data else {
        return None;
    };
    let octets: Vec<u8> = txt
        .txt_data
        .iter()
        .flat_map(|part| part.iter().copied())
        .collect();
    Some(String::from_utf8_lossy(&octets).into_owned())
}

/// The name as a fully qualified one, so no search list is applied.
fn absolute(domain: &str) -> Result<Name, RouteError> {
    let bad = || RouteError::BadName(domain.to_owned());
    let mut name = Name::from_ascii(domain).map_err(|_| bad())?;
    if name.is_root() {
        return Err(bad());
    }
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let v4 = |n: u8| IpAddr::from([127, 0, 0, n]);
        let v6 = |n: u16| IpAddr::from([0, 0, 0, 0, 0, 0, 0, n]);
        let order = alternate([v4(1), v4(2), v4(3)].into_iter(), [v6(1)].into_iter());
        assert_eq!(order, [v4(1), v6(1), v4(2), v4(3)]);
    }
}
