//! The asking: hickory behind two questions.
//!
//! **Caching.** hickory keeps positive and negative answers by their TTL, in a bounded cache; on top
//! of it one question is asked once however many wait for it (single flight).
//! **Invariant.** All calls of one resolver happen on one tokio runtime: its sockets belong to it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::RouteError;
use crate::targets::{MxHost, MxRecord, Targets, targets};

/// Answers kept; at some 300 bytes each this bounds the cache near 20 MB.
const CACHE_ANSWERS: u64 = 65_536;
/// A negative answer is believed no longer, so a domain just set up need not wait for days.
const NEGATIVE_MAX: Duration = Duration::from_secs(3_600);
/// Per query and server; resolvers on the way give up within this.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The resolver could not be set up.
#[derive(Debug, Error)]
#[error("DNS resolver: {0}")]
pub struct ResolverError(String);

type Flight = Arc<OnceCell<Result<Arc<Targets>, RouteError>>>;

/// A caching stub resolver.
pub struct Resolver {
    hickory: TokioResolver,
    flights: Mutex<HashMap<String, Flight>>,
}

impl Resolver {
    /// A resolver that asks `servers`, or those of the system when there are none.
    ///
    /// # Errors
    /// The system's configuration cannot be read.
    pub fn new(servers: Option<Vec<SocketAddr>>) -> Result<Self, ResolverError> {
        let failed = |error: NetError| ResolverError(error.to_string());
        let mut builder = match servers {
            None => TokioResolver::builder_tokio().map_err(failed)?,
            Some(servers) => {
                let servers = servers.into_iter().map(name_server).collect();
                let mut builder = TokioResolver::builder_with_config(
                    ResolverConfig::from_name_servers(servers),
                    TokioRuntimeProvider::default(),
                );
                *builder.options_mut() = ResolverOpts::default();
                builder
            }
        };
        let options = builder.options_mut();
        options.cache_size = CACHE_ANSWERS;
        options.negative_max_ttl = Some(NEGATIVE_MAX);
        options.timeout = QUERY_TIMEOUT;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.max_active_requests = 1_024;
        Ok(Self {
            hickory: builder.build().map_err(failed)?,
            flights: Mutex::default(),
        })
    }

    /// The hosts that take mail for a domain (an A-label, lower case).
    ///
    /// # Errors
    /// See [`RouteError`]; all but `Temporary` are final.
    pub async fn route(&self, domain: &str) -> Result<Arc<Targets>, RouteError> {
        let flight = Arc::clone(self.flights.lock().entry(domain.to_owned()).or_default());
        let answer = flight.get_or_init(|| self.ask(domain)).await.clone();
        // Landed: the next question goes to hickory's cache, which knows the TTL.
        let mut flights = self.flights.lock();
        if flights
            .get(domain)
            .is_some_and(|current| Arc::ptr_eq(current, &flight))
        {
            flights.remove(domain);
        }
        answer
    }

    /// The addresses of a host, IPv4 first; an empty list when it has none.
    ///
    /// # Errors
    /// `Temporary` when resolvers gave no answer, `BadName` for an impossible name.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, RouteError> {
        match self.hickory.lookup_ip(absolute(host)?).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => match verdict(host, &error) {
                RouteError::NoRoute(_) | RouteError::NoDomain(_) => Ok(Vec::new()),
                temporary => Err(temporary),
            },
        }
    }

    async fn ask(&self, domain: &str) -> Result<Arc<Targets>, RouteError> {
        let name = absolute(domain)?;
        match self.hickory.mx_lookup(name.clone()).await {
            Ok(found) => {
                let records: Vec<MxRecord> = found
                    .answers()
                    .iter()
                    .filter_map(|record| mx_record(&record.data))
                    .collect();
                if !records.is_empty() {
                    return targets(domain, &records, found.valid_until()).map(Arc::new);
                }
            }
            Err(error) => match verdict(domain, &error) {
                RouteError::NoRoute(_) => {}
                other => return Err(other),
            },
        }
        // Implicit MX (RFC 5321 section 5.1): the domain itself, if it has an address.
        let found = self
            .hickory
            .lookup_ip(name)
            .await
            .map_err(|error| verdict(domain, &error))?;
        let host = MxHost {
            preference: 0,
            name: domain.into(),
        };
        Ok(Arc::new(Targets {
            hosts: vec![host],
            valid_until: found.valid_until(),
        }))
    }
}

/// What an error of hickory means for mail.
fn verdict(domain: &str, error: &NetError) -> RouteError {
    if let NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) = error {
        match *response_code {
            ResponseCode::NXDomain => return RouteError::NoDomain(domain.to_owned()),
            ResponseCode::NoError => return RouteError::NoRoute(domain.to_owned()),
            _ => {}
        }
    }
    RouteError::Temporary {
        domain: domain.to_owned(),
        cause: error.to_string(),
    }
}

fn mx_record(rdata: &RData) -> Option<MxRecord> {
    let RData::MX(mx) = rdata else { return None };
    let exchange = mx.exchange.to_ascii();
    let exchange = exchange.trim_end_matches('.').to_owned();
    Some(MxRecord {
        preference: mx.preference,
        exchange,
    })
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

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut udp = ConnectionConfig::udp();
    let mut tcp = ConnectionConfig::tcp();
    udp.port = address.port();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}
