//! Two stub resolvers on the same servers: one that validates, one that does not.
//!
//! **Problem.** Validation needs resolvers that pass signatures on. Behind one that strips them every
//! signed domain looks forged, and mail would stop for a home router's sake.
//! **Model.** [`Mode::Auto`] looks once a minute whether the root's NS records validate; from the first
//! time they do, everything is validated until the process ends, so that stripping signatures later
//! stops mail instead of stripping its protection. [`Mode::On`] validates from the start.
//! **Source.** RFC 4033 section 5, RFC 7672 section 2.1.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hickory_proto::dnssec::Proof;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::sync::Mutex;

use crate::RouteError;
use crate::cache::Answer;
use crate::resolver::ResolverError;
use crate::security::{Dnssec, Mode, Security, security_of};

/// Records kept; at some 300 bytes each this bounds hickory's caches near 20 MB.
const CACHE_ANSWERS: u64 = 65_536;
/// A negative answer is believed no longer, so a domain just set up need not wait for days.
const NEGATIVE_MAX: Duration = Duration::from_secs(3_600);
/// A negative answer without its SOA record.
const NEGATIVE_DEFAULT: Duration = Duration::from_secs(60);
/// However long a zone wants its answers kept.
const POSITIVE_MAX: Duration = Duration::from_secs(86_400);
/// Per query and server; resolvers on the way give up within this.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks whether resolvers pass signatures on.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Records of one question, aliases on the way included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    pub(crate) security: Security,
}

impl Found {
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.records
            .iter()
            .filter_map(|record| record.data.ip_addr())
    }

    /// Where the addresses stand.
    pub(crate) fn owner(&self) -> Option<String> {
        let record = self
            .records
            .iter()
            .find(|record| record.data.ip_addr().is_some())?;
        let name = record.name.to_ascii().to_ascii_lowercase();
        Some(name.trim_end_matches('.').to_owned())
    }
}

/// See the module.
pub(crate) struct Upstream {
    plain: TokioResolver,
    validating: Option<TokioResolver>,
    is_validating: AtomicBool,
    /// When to look again; held while somebody looks.
    look_at: Mutex<Option<Instant>>,
}

impl Upstream {
    pub(crate) fn new(
        servers: Option<Vec<SocketAddr>>,
        dnssec: &Dnssec,
    ) -> Result<Self, ResolverError> {
        let is_pinned = dnssec.mode == Mode::On || dnssec.trust_anchor.is_some();
        let validating = if dnssec.mode == Mode::Off {
            None
        } else {
            let anchors = Arc::new(dnssec.anchors().map_err(ResolverError)?);
            let mut builder = builder(servers.clone())?.with_trust_anchor(anchors);
            builder.options_mut().validate = true;
            // What /etc/hosts says nobody signed.
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            Some(build(builder)?)
        };
        Ok(Self {
            plain: build(builder(servers)?)?,
            is_validating: AtomicBool::new(is_pinned && validating.is_some()),
            validating,
            look_at: Mutex::new(None),
        })
    }

    pub(crate) async fn is_validating(&self, now: Instant) -> bool {
        let Some(validating) = &self.validating else {
            return false;
        };
        if self.is_validating.load(Relaxed) {
            return true;
        }
        let mut look_at = self.look_at.lock().await;
        if self.is_validating.load(Relaxed) || look_at.is_some_and(|at| now < at) {
            return self.is_validating.load(Relaxed);
        }
        let found = validating.lookup(Name::root(), RecordType::NS).await;
        let is_secure =
            found.is_ok_and(|found| security_of(found.answers()) == Some(Security::Secure));
        self.is_validating.store(is_secure, Relaxed);
        *look_at = Some(now + LOOK_AGAIN);
        is_secure
    }

    /// Records of a type, following aliases. `NoRoute`: the name has none.
    pub(crate) async fn ask(&self, name: &Name, kind: RecordType, now: Instant) -> Answer<Found> {
        let is_validating = self.is_validating(now).await && !name.is_localhost();
        let resolver = match &self.validating {
            Some(validating) if is_validating => validating,
            _ => &self.plain,
        };
        let error = match resolver.lookup(name.clone(), kind).await {
            Ok(found) => {
                let security = if is_validating {
                    security_of(found.answers())
                } else {
                    Some(Security::Insecure)
                };
                let Some(security) = security else {
                    return failure(RouteError::Bogus(text(name)), now);
                };
                let records: Vec<Record> = found.answers().to_vec();
                if records.iter().any(|record| record.record_type() == kind) {
                    return Answer {
                        value: Ok(Found { records, security }),
                        valid_until: found.valid_until().min(now + POSITIVE_MAX),
                    };
                }
                return failure(RouteError::NoRoute(text(name)), now);
            }
            Err(error) => error,
        };
        Answer {
            valid_until: now + negative_life(&error),
            value: Err(verdict(&text(name), &error)),
        }
    }
}

fn failure(error: RouteError, now: Instant) -> Answer<Found> {
    Answer {
        value: Err(error),
        valid_until: now + NEGATIVE_DEFAULT,
    }
}

fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

/// What an error of hickory means for mail.
fn verdict(domain: &str, error: &NetError) -> RouteError {
    let code = match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            Some(*response_code)
        }
        // A "no" whose proof is as good as the zone's signatures are.
        NetError::Dns(DnsError::Nsec {
            response,
            proof: Proof::Insecure,
            ..
        }) => Some(response.metadata.response_code),
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => {
            return RouteError::Bogus(domain.to_owned());
        }
        _ => None,
    };
    match code {
        Some(ResponseCode::NXDomain) => RouteError::NoDomain(domain.to_owned()),
        Some(ResponseCode::NoError) => RouteError::NoRoute(domain.to_owned()),
        _ => RouteError::Temporary {
            domain: domain.to_owned(),
            cause: error.to_string(),
        },
    }
}

/// How long a "no" holds (RFC 2308 section 5).
fn negative_life(error: &NetError) -> Duration {
    let seconds = match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            negative_ttl, soa, ..
        })) => {
            let of_soa = soa.as_ref().map(|soa| soa.ttl.min(soa.data.minimum));
            negative_ttl.or(of_soa)
        }
        NetError::Dns(DnsError::Nsec { response, .. }) => {
            response
                .authorities
                .iter()
                .find_map(|record| match &record.data {
                    RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                    _ => None,
                })
        }
        _ => None,
    };
    let life = seconds.map_or(NEGATIVE_DEFAULT, |seconds| {
        Duration::from_secs(seconds.into())
    });
    life.min(NEGATIVE_MAX)
}

fn builder(
    servers: Option<Vec<SocketAddr>>,
) -> Result<ResolverBuilder<TokioRuntimeProvider>, ResolverError> {
    let mut builder = match servers {
        None => TokioResolver::builder_tokio().map_err(|e| ResolverError(e.to_string()))?,
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
    // An alias is a link of the chain: what it leads to is no more secure than the alias.
    options.preserve_intermediates = true;
    Ok(builder)
}

fn build(builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, ResolverError> {
    builder
        .build()
        .map_err(|error| ResolverError(error.to_string()))
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut udp = ConnectionConfig::udp();
    let mut tcp = ConnectionConfig::tcp();
    udp.port = address.port();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}
