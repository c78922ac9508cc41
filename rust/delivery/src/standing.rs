//! How a source stands with a receiver: what became of its recent attempts there.
//!
//! **Model.** Per source and site the attempts that were deferred, bounced, and blamed on the sender
//! (its reputation or its rate) are counted; an attempt weighs half as much after an hour, so an
//! hour of refusals is seen at once and forgotten in an afternoon. Below [`LEAST`] attempts nothing
//! is said.
//! **Invariant.** No share is above 1. **Law `halves_in_an_hour`.**
//! **Not here.** What follows from it: a policy reads it. It begins anew with the process.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::classify::Class;
use crate::clock;
use crate::engine::Engine;
use crate::outcome::{End, Finished};

const HALF_LIFE_S: f64 = 3_600.0;
/// Of fewer attempts no share means anything.
const LEAST: f64 = 20.0;
/// Sites remembered per source; beyond it those nobody sends to any more go.
const MOST_SITES: usize = 10_000;

/// What is said of one source at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The egress source.
    pub source: String,
    /// The site of its receivers.
    pub site: String,
    /// Recent attempts; each weighs half as much after an hour.
    pub attempts: f64,
    /// The share of them that was deferred.
    pub deferred: f64,
    /// That bounced.
    pub bounced: f64,
    /// Whose reply blamed the sender's reputation or rate, deferred or bounced.
    pub blamed: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    attempts: f64,
    deferred: f64,
    bounced: f64,
    blamed: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Decayed {
    counts: Counts,
    at_us: u64,
}

/// Of one source, by site.
type Sites = HashMap<Box<str>, Decayed>;

/// See the module.
#[derive(Default)]
pub(crate) struct Standings(Mutex<HashMap<Box<str>, Sites>>);

/// Whether the receiver said something about an attempt that was really made, and what.
pub(crate) fn is_attempt(entry: &Finished) -> bool {
    let is_end = matches!(
        entry.end,
        End::Delivered | End::Deferred | End::Bounced | End::InDoubt
    );
    // What cannot be composed or signed never left.
    let is_ours = matches!(entry.tried.phase.as_str(), "compose" | "sign");
    is_end && !is_ours && !entry.tried.source.is_empty()
}

/// Whether the receiver blamed the sender for it.
pub(crate) fn is_blamed(entry: &Finished) -> bool {
    matches!(entry.class, Some(Class::Reputation | Class::Rate))
}

impl Counts {
    fn add(&mut self, entry: &Finished) {
        self.attempts += 1.0;
        self.deferred += f64::from(entry.end == End::Deferred);
        self.bounced += f64::from(entry.end == End::Bounced);
        self.blamed += f64::from(is_blamed(entry));
    }

    fn plus(self, other: Self) -> Self {
        Self {
            attempts: self.attempts + other.attempts,
            deferred: self.deferred + other.deferred,
            bounced: self.bounced + other.bounced,
            blamed: self.blamed + other.blamed,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            attempts: self.attempts * factor,
            deferred: self.deferred * factor,
            bounced: self.bounced * factor,
            blamed: self.blamed * factor,
        }
    }
}

impl Decayed {
    fn at(self, now_us: u64) -> Counts {
        let passed_s = now_us.saturating_sub(self.at_us) as f64 / 1e6;
        self.counts.times(0.5_f64.powf(passed_s / HALF_LIFE_S))
    }
}

impl Standings {
    /// Counts a batch of endings.
    pub(crate) fn ended(&self, entries: &[Finished], now_us: u64) {
        let mut news: HashMap<(&str, &str), Counts> = HashMap::new();
        for entry in entries.iter().filter(|entry| is_attempt(entry)) {
            let place = (entry.tried.source.as_str(), entry.delivery.site());
            news.entry(place).or_default().add(entry);
        }
        if news.is_empty() {
            return;
        }
        let mut known = self.0.lock();
        for ((source, site), counts) in news {
            let sites = match known.get_mut(source) {
                Some(sites) => sites,
                None => known.entry(source.into()).or_default(),
            };
            if sites.len() >= MOST_SITES && !sites.contains_key(site) {
                sites.retain(|_, decayed| decayed.at(now_us).attempts >= 1.0);
                if sites.len() >= MOST_SITES {
                    continue;
                }
            }
            let before = sites.get(site).copied().unwrap_or_default();
            let counts = before.at(now_us).plus(counts);
            let decayed = Decayed {
                counts,
                at_us: now_us,
            };
            sites.insert(site.into(), decayed);
        }
    }

    /// Of every source at every site that had enough attempts, in order.
    fn all(&self, now_us: u64) -> Vec<Standing> {
        let known = self.0.lock();
        let mut found = BTreeMap::new();
        for (source, sites) in known.iter() {
            for (site, decayed) in sites {
                let counts = decayed.at(now_us);
                if counts.attempts >= LEAST {
                    found.insert((source.to_string(), site.to_string()), counts);
                }
            }
        }
        let standing = |((source, site), counts): ((String, String), Counts)| Standing {
            source,
            site,
            attempts: counts.attempts,
            deferred: counts.deferred / counts.attempts,
            bounced: counts.bounced / counts.attempts,
            blamed: counts.blamed / counts.attempts,
        };
        found.into_iter().map(standing).collect()
    }
}

impl Engine {
    /// How each source stands with each site it sent enough to, in order.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        self.shared.standings.all(clock::wall_us())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decayed(attempts: f64) -> Decayed {
        let counts = Counts {
            attempts,
            blamed: attempts / 4.0,
            ..Counts::default()
        };
        Decayed { counts, at_us: 0 }
    }

    #[test]
    fn little_is_no_standing() {
        let standings = Standings::default();
        for (site, attempts) in [("few", LEAST - 1.0), ("enough", LEAST + 1.0)] {
            let mut known = standings.0.lock();
            let sites = known.entry("s1".into()).or_default();
            sites.insert(site.into(), decayed(attempts));
        }
        let all = standings.all(0);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].site.as_str(), all[0].blamed), ("enough", 0.25));
    }

    proptest! {
        /// Law `halves_in_an_hour`.
        #[test]
        fn law_halves_in_an_hour(attempts in 1.0f64..1e9, hours in 0u64..40) {
            let later = decayed(attempts).at(hours * 3_600_000_000);
            let expected = attempts / 2f64.powi(hours as i32);
            prop_assert!((later.attempts - expected).abs() <= expected * 1e-9);
            prop_assert!(later.blamed <= later.attempts);
        }
    }
}
