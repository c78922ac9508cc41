//! From MX records to an order of hosts (RFC 5321 section 5.1).
//!
//! **Law `order_is_a_grouped_permutation`.** The order holds every host once, no host before one of
//! lower preference, whatever the chance.
//! **Law `null_mx_has_no_target`.** A null MX never yields a host.

use std::sync::Arc;
use std::time::Instant;

use crate::{RouteError, Security};

/// One MX record as it came: the exchange may be the root (empty name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxRecord {
    /// Lower is tried first.
    pub preference: u16,
    /// Host name without a final dot; empty for `.`.
    pub exchange: String,
}

/// A host that takes the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxHost {
    /// Lower is tried first.
    pub preference: u16,
    /// Lower-case name without a final dot.
    pub name: Arc<str>,
}

/// The hosts of a domain, by preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// At least one; sorted by preference, then by name.
    pub hosts: Vec<MxHost>,
    /// When the answer must be asked for again.
    pub valid_until: Instant,
    /// Whether DNSSEC vouches for the hosts: without that DANE says nothing about the domain
    /// (RFC 7672 section 2.2.1).
    pub security: Security,
}

impl Targets {
    /// True until the answer's TTL has run out.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.valid_until
    }

    /// The order to try hosts in: by preference, equals shuffled by `chance`.
    #[must_use]
    pub fn order(&self, chance: u64) -> Vec<MxHost> {
        let mut hosts = self.hosts.clone();
        let mut state = chance;
        for group in hosts.chunk_by_mut(|a, b| a.preference == b.preference) {
            // Fisher-Yates; the modulo's bias is below 2^-48 for any group DNS can carry.
            for last in (1..group.len()).rev() {
                group.swap(last, (next(&mut state) % (last as u64 + 1)) as usize);
            }
        }
        hosts
    }
}

/// What the MX records of a domain mean.
///
/// # Errors
/// [`RouteError::NullMx`] when the only record is `MX 0 .`. An empty list is not asked about here:
/// without MX the domain itself is the target (section 5.1, "implicit MX"). Records that name the
/// root beside valid ones are ignored: what can be used is used.
pub fn targets(
    domain: &str,
    records: &[MxRecord],
    valid_until: Instant,
    security: Security,
) -> Result<Targets, RouteError> {
    let mut hosts: Vec<MxHost> = records
        .iter()
        .filter(|record| !record.exchange.is_empty())
        .map(|record| MxHost {
            preference: record.preference,
            name: record.exchange.to_ascii_lowercase().into(),
        })
        .collect();
    hosts.sort_by(|a, b| (a.preference, &a.name).cmp(&(b.preference, &b.name)));
    // The same host twice: its lower preference counts.
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|host| seen.insert(Arc::clone(&host.name)));
    if hosts.is_empty() {
        return Err(RouteError::NullMx(domain.to_owned()));
    }
    Ok(Targets {
        hosts,
        valid_until,
        security,
    })
}

/// SplitMix64: enough to spread load, and a function of its seed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(preference: u16, exchange: &str) -> MxRecord {
        MxRecord {
            preference,
            exchange: exchange.into(),
        }
    }

    #[test]
    fn a_null_mx_takes_no_mail() {
        let answer = targets(
            "example.com",
            &[record(0, "")],
            Instant::now(),
            Security::Insecure,
        );
        assert_eq!(answer, Err(RouteError::NullMx("example.com".into())));
    }

    #[test]
    fn invalid_records_do_not_spoil_valid_ones() {
        let records = [record(0, ""), record(10, "MX.Example.com")];
        let answer = targets("example.com", &records, Instant::now(), Security::Insecure)
            .expect("one is valid");
        assert_eq!(&*answer.hosts[0].name, "mx.example.com");
        assert_eq!(answer.hosts.len(), 1);
    }

    #[test]
    fn equals_are_shuffled_evenly() {
        let records: Vec<_> = (0..4)
            .map(|n| record(10, &format!("mx{n}.example")))
            .collect();
        let targets =
            targets("example", &records, Instant::now(), Security::Insecure).expect("valid");
        let mut first = std::collections::HashMap::new();
        for chance in 0..8_000 {
            *first
                .entry(targets.order(chance)[0].name.clone())
                .or_insert(0i64) += 1;
        }
        // Chi-square with 3 degrees of freedom: 16.3 is the 0.1 % point.
        let chi: f64 = first
            .values()
            .map(|n| ((n - 2_000) as f64).powi(2) / 2_000.0)
            .sum();
        assert!(first.len() == 4 && chi < 16.3, "{first:?}");
    }

    proptest! {
        /// Law `null_mx_has_no_target`, whatever stands beside it.
        #[test]
        fn law_null_mx_has_no_target(
            records in prop::collection::vec((0u16..4, "[a-c]{0,1}"), 0..6),
            nulls in 1usize..3,
        ) {
            let mut records: Vec<_> = records.iter().map(|(p, e)| record(*p, e)).collect();
            let usable = records.iter().any(|r| !r.exchange.is_empty());
            records.extend((0..nulls).map(|_| record(0, "")));
            match targets("example", &records, Instant::now(), Security::Insecure) {
                Err(error) => prop_assert!(!usable && error == RouteError::NullMx("example".into())),
                Ok(targets) => prop_assert!(targets.hosts.iter().all(|h| !h.name.is_empty())),
            }
        }

        /// Law `order_is_a_grouped_permutation`.
        #[test]
        fn law_order_is_a_grouped_permutation(
            records in prop::collection::vec((0u16..4, "[a-c]{0,2}"), 0..12),
            chance: u64,
        ) {
            let records: Vec<_> = records.iter().map(|(p, e)| record(*p, e)).collect();
            let usable = records.iter().any(|r| !r.exchange.is_empty());
            match targets("example", &records, Instant::now(), Security::Insecure) {
                Err(_) => prop_assert!(!usable),
                Ok(targets) => {
                    let order = targets.order(chance);
                    prop_assert!(order.is_sorted_by_key(|h| h.preference));
                    let mut names: Vec<_> = order.iter().map(|h| h.name.to_string()).collect();
                    names.sort();
                    let mut wanted: Vec<_> = records
                        .iter()
                        .filter(|r| !r.exchange.is_empty())
                        .map(|r| r.exchange.clone())
                        .collect();
                    wanted.sort();
                    wanted.dedup();
                    prop_assert_eq!(names, wanted);
                }
            }
        }
    }
}
