//! One receiving host before it is connected to: its addresses and what is demanded of it.

use std::net::IpAddr;
use std::sync::Arc;

use postalynk_dns::{Addresses, Resolver, RouteError, StsMode, StsPolicy};
use tokio::sync::oneshot;

use crate::classify::Class;
use crate::destination::{Destination, Hosts};
use crate::resolve::ToResolver;
use crate::shard::Shard;
use crate::tls::report::PolicyFound;
use crate::tls::{Check, Dane, Demand, ResultType, TlsPolicy, TlsWish};

/// What events call a demand that the message itself made.
const REQUIRE_TLS: &str = "requiretls";
/// No path with TLS to be had, and a receiver that does not promise it (RFC 8689 section 4.2.1).
pub(crate) const NO_TLS: &str = "5.7.10";
pub(crate) const NO_REQUIRETLS: &str = "5.7.30";

/// What the resolver's thread knows about a host.
#[derive(Clone, Debug)]
pub(crate) struct HostAnswer {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) dane: Dane,
    /// Where its TLSA records stand: the name to ask for in TLS and to find in certificates.
    pub(crate) base: String,
}

/// A host that may be tried.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) demand: Demand,
    /// For SNI and certificates; the first is asked for.
    pub(crate) names: Vec<String>,
    /// What sessions are counted under.
    pub(crate) policy: PolicyFound,
}

/// Why a host may not be tried.
#[derive(Clone, Debug)]
pub(crate) struct HostRefused {
    pub(crate) phase: &'static str,
    pub(crate) class: Class,
    pub(crate) reason: String,
    pub(crate) label: &'static str,
    /// The message can never go there: its enhanced code (RFC 3463).
    pub(crate) for_good: Option<&'static str>,
    /// What sessions failed by it, when TLS is the reason.
    pub(crate) result: Option<Box<(ResultType, PolicyFound)>>,
}

/// Asks and decides.
pub(crate) async fn host(
    shard: &Shard,
    (destination, setting): (&Destination, TlsPolicy),
    name: &Arc<str>,
    port: u16,
) -> Result<Host, HostRefused> {
    let wish = destination.wish;
    let wants_tlsa =
        shard.links.shared.settings.dane && destination.security.is_secure() && wish.heeds_domain();
    let answer = answer(shard, name, wants_tlsa.then_some(port)).await;
    let answer = answer.map_err(no_address)?;
    let sts = destination
        .sts
        .as_ref()
        .filter(|_| wish.heeds_domain())
        .map(|policy| (policy.mode, policy.allows(name)));
    let policy = policy_found(destination, &answer.dane);
    if wish == TlsWish::Required && !is_vouched_for(destination, name) {
        return Err(HostRefused {
            phase: "dns",
            class: Class::Policy,
            reason: format!(
                "{name}: the message requires TLS, and neither DNSSEC nor MTA-STS vouches for the host"
            ),
            label: REQUIRE_TLS,
            for_good: Some(NO_TLS),
            result: None,
        });
    }
    match Demand::decide(wish.raise(setting), answer.dane, sts) {
        Ok(mut demand) => {
            if wish == TlsWish::Required && demand.label == TlsPolicy::Verify.as_str() {
                demand.label = REQUIRE_TLS;
            }
            let mut names = vec![name.to_string()];
            if matches!(demand.check, Check::Dane(_)) {
                // An authority may have certified the name before its aliases, or the domain's
                // (RFC 7672 section 3.2.2).
                names.insert(0, answer.base);
                names.extend(destination.further_name(name).map(str::to_owned));
                names.dedup();
            }
            Ok(Host {
                ips: answer.ips,
                demand,
                names,
                policy,
            })
        }
        Err(refusal) => Err(HostRefused {
            phase: "dns",
            class: Class::Dns,
            reason: format!("{name}: {}", refusal.reason),
            label: refusal.label,
            for_good: None,
            result: Some(Box::new((refusal.result, policy))),
        }),
    }
}

/// The addresses of a host of ours, such as a relay.
pub(crate) async fn addresses(shard: &Shard, name: &Arc<str>) -> Result<Vec<IpAddr>, String> {
    Ok(answer(shard, name, None).await?.ips)
}

async fn answer(
    shard: &Shard,
    name: &Arc<str>,
    tlsa_port: Option<u16>,
) -> Result<HostAnswer, String> {
    if let Ok(literal) = name.parse::<IpAddr>() {
        return Ok(HostAnswer {
            ips: vec![literal],
            dane: Dane::None,
            base: name.to_string(),
        });
    }
    let (answer, answered) = oneshot::channel();
    let question = ToResolver::Host {
        name: Arc::clone(name),
        tlsa_port,
        answer,
    };
    let _ = shard.links.resolver.send(question);
    match answered.await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("the resolver has stopped".to_owned()),
    }
}

/// Asked on the resolver's thread: addresses, and TLSA records if the addresses are secure.
pub(crate) async fn ask(
    resolver: &Resolver,
    name: &str,
    tlsa_port: Option<u16>,
) -> Result<HostAnswer, RouteError> {
    let found = resolver.addresses(name).await?;
    let mut answer = HostAnswer {
        ips: found.ips.clone(),
        dane: Dane::None,
        base: name.to_owned(),
    };
    let Some(port) = tlsa_port else {
        return Ok(answer);
    };
    let mut bases = match bases(resolver, name, &found).await {
        Ok(bases) => bases,
        Err(error) => {
            answer.dane = Dane::Failed(error.to_string());
            return Ok(answer);
        }
    };
    bases.dedup();
    for base in bases {
        answer.dane = Dane::of(&resolver.tlsa(&format!("_{port}._tcp.{base}")).await);
        if answer.dane != Dane::None {
            answer.base = base;
            break;
        }
    }
    Ok(answer)
}

/// Where TLSA records may stand (RFC 7672 section 2.2.2): behind the aliases first, then where the MX
/// record points. An alias that leads out of a signed zone is itself signed, and records beside it
/// count; nothing else does without signed addresses.
async fn bases(
    resolver: &Resolver,
    name: &str,
    found: &Addresses,
) -> Result<Vec<String>, RouteError> {
    if found.security.is_secure() {
        return Ok(vec![found.name.clone(), name.to_owned()]);
    }
    let is_alias = found.name != name;
    if is_alias && resolver.is_alias_secure(name).await? {
        return Ok(vec![name.to_owned()]);
    }
    Ok(Vec::new())
}

/// Whether it is sure that the domain means this host (RFC 8689 section 4.2.1): signed MX records, a
/// policy that names it, no MX record to trust in, or the operator's word.
fn is_vouched_for(destination: &Destination, name: &str) -> bool {
    let is_named = |policy: &Arc<StsPolicy>| policy.mode != StsMode::None && policy.allows(name);
    matches!(destination.hosts, Hosts::SmartHost { .. })
        || destination.security.is_secure()
        || destination.sts.as_ref().is_some_and(is_named)
        || *destination.domain == *name
}

fn policy_found(destination: &Destination, dane: &Dane) -> PolicyFound {
    let policy_domain = destination.domain.to_string();
    let tlsa = |policy_string| PolicyFound {
        policy_type: "tlsa".to_owned(),
        policy_string,
        policy_domain: policy_domain.clone(),
        mx_host: Vec::new(),
    };
    match (dane, &destination.sts) {
        (Dane::Usable(records), _) => tlsa(records.iter().map(ToString::to_string).collect()),
        (Dane::Failed(_) | Dane::Unusable, _) => tlsa(Vec::new()),
        (Dane::None, Some(sts)) if sts.mode != StsMode::None => PolicyFound {
            policy_type: "sts".to_owned(),
            policy_string: sts.to_string().lines().map(str::to_owned).collect(),
            policy_domain,
            mx_host: sts.mx.clone(),
        },
        _ => PolicyFound {
            policy_type: "no-policy-found".to_owned(),
            policy_domain,
            ..PolicyFound::default()
        },
    }
}

fn no_address(reason: String) -> HostRefused {
    HostRefused {
        phase: "dns",
        class: Class::Dns,
        reason,
        label: "",
        for_good: None,
        result: None,
    }
}

/// Whether mail to the destination goes to hosts that DNS named, so that reports are due.
pub(crate) fn is_reported(destination: &Destination) -> bool {
    matches!(destination.hosts, Hosts::Mx(_))
}
