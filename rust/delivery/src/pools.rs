//! Pools and egress sources, and which of them a delivery leaves by.
//!
//! **Model.** A pool is a weighted set of sources. An organization's mail sticks to one source of a
//! pool: the choice is a weighted rendezvous hash of the organization, so it is the same on every
//! worker and after every restart, and a change of weights moves as few organizations as can be.
//! **Law `share_follows_weight`.**

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use postalynk_smtp::EhloName;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::EngineError;
use crate::relay::Relay;

/// An IP address to send from, with the name it introduces itself by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    /// `None`: the system chooses. With a relay it is the relay's to bind.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) ehlo: EhloName,
    /// The machine that sends in our place.
    pub(crate) relay: Option<Relay>,
}

/// All pools.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    pools: HashMap<String, Vec<(Arc<Source>, f64)>>,
    /// Used for every pool as long as nothing was configured.
    implicit: Option<Arc<Source>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolsJson {
    #[serde(default)]
    sources: Vec<SourceJson>,
    #[serde(default)]
    pools: Vec<PoolJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceJson {
    name: String,
    #[serde(default)]
    ip: String,
    #[serde(default)]
    ehlo: String,
    #[serde(default)]
    relay: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolJson {
    name: String,
    sources: HashMap<String, f64>,
}

impl Pools {
    /// Before anything is configured: one source that the system chooses the address of.
    pub(crate) fn implicit(ehlo: EhloName) -> Self {
        let source = Source {
            name: "default".into(),
            ip: None,
            ehlo,
            relay: None,
        };
        Self {
            pools: HashMap::new(),
            implicit: Some(Arc::new(source)),
        }
    }

    /// Reads `{"sources": [{name, ip, ehlo, relay}], "pools": [{name, sources: {name: weight}}]}`.
    pub(crate) fn from_json(text: &str, default_ehlo: &str) -> Result<Self, EngineError> {
        let wrong = EngineError::Pools;
        let json: PoolsJson =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut sources = HashMap::new();
        for source in json.sources {
            let name = source.name.clone();
            let source = Arc::new(source.check(default_ehlo)?);
            if sources.insert(name.clone(), source).is_some() {
                return Err(wrong(format!("source {name:?} is given twice")));
            }
        }
        let mut pools = HashMap::new();
        for pool in json.pools {
            let mut members = Vec::new();
            for (name, weight) in pool.sources {
                let Some(source) = sources.get(&name) else {
                    return Err(wrong(format!("pool {:?}: no source {name:?}", pool.name)));
                };
                if !(weight.is_finite() && weight >= 0.0) {
                    return Err(wrong(format!("pool {:?}: weight of {name:?}", pool.name)));
                }
                if weight > 0.0 {
                    members.push((Arc::clone(source), weight));
                }
            }
            pools.insert(pool.name, members);
        }
        Ok(Self {
            pools,
            implicit: None,
        })
    }

    /// The source of this pool that the organization leaves by: the pinned one if the pool has it,
    /// else the first that is admitted, in the order of the organization's own draw.
    pub(crate) fn choose(
        &self,
        pool: &str,
        (org, pin): (&str, &str),
        mut admits: impl FnMut(&Arc<Source>) -> bool,
    ) -> Option<Arc<Source>> {
        if let Some(implicit) = &self.implicit {
            return Some(Arc::clone(implicit)).filter(|source| admits(source));
        }
        let members = self.pools.get(pool)?;
        if let Some((pinned, _)) = members.iter().find(|(source, _)| &*source.name == pin) {
            return Some(Arc::clone(pinned)).filter(|source| admits(source));
        }
        let first = rendezvous(members, org)?;
        if admits(&first) {
            return Some(first);
        }
        let mut others: Vec<&(Arc<Source>, f64)> = members
            .iter()
            .filter(|(source, _)| source.name != first.name)
            .collect();
        others.sort_by(|a, b| draw(b, org).total_cmp(&draw(a, org)));
        let next = others.into_iter().find(|(source, _)| admits(source));
        next.map(|(source, _)| Arc::clone(source))
    }
}

impl SourceJson {
    fn check(self, default_ehlo: &str) -> Result<Source, EngineError> {
        let wrong = |cause: String| EngineError::Pools(format!("source {:?}: {cause}", self.name));
        let ip = match self.ip.as_str() {
            "" => None,
            ip => Some(
                ip.parse()
                    .map_err(|_| wrong(format!("{ip:?} is no IP address")))?,
            ),
        };
        let ehlo = if self.ehlo.is_empty() {
            default_ehlo
        } else {
            &self.ehlo
        };
        let ehlo = EhloName::new(ehlo).map_err(|error| wrong(format!("ehlo: {error}")))?;
        let relay = match self.relay.as_str() {
            "" => None,
            text => Some(Relay::parse(text).map_err(|cause| wrong(format!("relay: {cause}")))?),
        };
        if ip.is_none() && relay.as_ref().is_some_and(Relay::needs_source_address) {
            return Err(wrong("ip: its relay must be told it".to_owned()));
        }
        Ok(Source {
            name: self.name.into(),
            ip,
            ehlo,
            relay,
        })
    }
}

/// Weighted rendezvous: each member draws -w / ln(u) from its own hash; the highest wins.
fn rendezvous(members: &[(Arc<Source>, f64)], org: &str) -> Option<Arc<Source>> {
    match members {
        [(only, _)] => Some(Arc::clone(only)),
        _ => {
            let best = members
                .iter()
                .max_by(|a, b| draw(a, org).total_cmp(&draw(b, org)));
            best.map(|(source, _)| Arc::clone(source))
        }
    }
}

fn draw((source, weight): &(Arc<Source>, f64), org: &str) -> f64 {
    let hash = xxh3_64(format!("{org}\0{}", source.name).as_bytes());
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -weight / uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JSON: &str = r#"{
        "sources": [{"name": "a", "ip": "192.0.2.1", "ehlo": "a.example"}, {"name": "b"}],
        "pools": [{"name": "p", "sources": {"a": 3, "b": 1}}, {"name": "off", "sources": {"a": 0}}]
    }"#;

    fn chosen(pool: &str, org: &str, pin: &str, refused: &[&str]) -> Option<Arc<Source>> {
        let pools = Pools::from_json(JSON, "mail.example").expect("valid");
        pools.choose(pool, (org, pin), |source| !refused.contains(&&*source.name))
    }

    #[test]
    fn only_a_pool_with_sources_gives_one() {
        assert!(chosen("p", "org_1", "", &[]).is_some());
        assert!(chosen("none", "org_1", "", &[]).is_none());
        assert!(chosen("off", "org_1", "", &[]).is_none());
    }

    #[test]
    fn a_pin_binds_and_a_refusal_passes_on() {
        for org in ["org_1", "org_2", "org_3", "org_4"] {
            let name =
                |pin, refused: &[&str]| chosen("p", org, pin, refused).map(|s| s.name.clone());
            assert_eq!(name("b", &[]).as_deref(), Some("b"));
            assert_eq!(name("b", &["b"]), None, "a pinned source has no substitute");
            assert_eq!(name("", &["a"]).as_deref(), Some("b"));
            assert_eq!(name("", &["a", "b"]), None);
            assert_eq!(name("no such", &[]), name("", &[]));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, word) in [
            (
                r#"{"pools": [{"name": "p", "sources": {"x": 1}}]}"#,
                "\"x\"",
            ),
            (r#"{"sources": [{"name": "a", "ip": "1.2.3"}]}"#, "1.2.3"),
            (r#"{"sources": [{"name": "a", "ehlo": "a b"}]}"#, "ehlo"),
            (r#"{"sources": [{"name": "a"}, {"name": "a"}]}"#, "twice"),
            (
                r#"{"sources": [{"name": "a", "relay": "http://h:1"}]}"#,
                "relay",
            ),
            (
                r#"{"sources": [{"name": "a", "relay": "proxy2://h:1"}]}"#,
                "ip",
            ),
        ] {
            let error = Pools::from_json(json, "mail.example")
                .expect_err(json)
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Law `share_follows_weight`, and the choice is stable.
        #[test]
        fn law_share_follows_weight(seed: u32) {
            let pools = Pools::from_json(JSON, "mail.example").expect("valid");
            let choice = |n: u32| {
                let org = format!("org_{seed}_{n}");
                pools.choose("p", (&org, ""), |_| true).expect("p has sources")
            };
            let a = (0..4_000).filter(|n| &*choice(*n).name == "a").count();
            prop_assert!((2_850..3_150).contains(&a), "{a} of 4,000 at weight 3 of 4");
            prop_assert_eq!(choice(1), choice(1));
        }
    }
}
