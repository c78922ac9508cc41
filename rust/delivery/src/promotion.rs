//! Whether a day of a warm-up was healthy enough for the next day's number.
//!
//! **Model.** While a plan holds, the attempts by its source and those blamed on the sender (its
//! reputation or its rate) are counted until midnight, UTC. A day on which more than the plan's share
//! were blamed is held back: the plan's day repeats. The worker asks how many days that were, and
//! leaves them out when it asks the policy for the number of the day.
//! **Invariant.** A day is held back at most once. A day with fewer than [`LEAST`] attempts proves
//! nothing, and the plan goes on by the calendar.
//! **Not here.** Lowering a number within the day: what a receiver refuses is deferred by its reply.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::warmup::WarmKey;

/// Attempts in a day without which no share means anything.
const LEAST: u64 = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Day {
    attempts: u64,
    blamed: u64,
    /// The share above which it is held back: the plan's, when it was counted.
    hold_above: f64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promotion {
    today: HashMap<WarmKey, Day>,
    held: HashMap<WarmKey, u64>,
}

/// Source, provider, organization.
type Names = (String, String, String);

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct OnDisk {
    today: Vec<(Names, Day)>,
    held: Vec<(Names, u64)>,
}

impl Day {
    fn is_healthy(self) -> bool {
        self.attempts < LEAST || self.blamed as f64 <= self.hold_above * self.attempts as f64
    }
}

impl Promotion {
    /// One attempt under a plan.
    pub(crate) fn count(&mut self, key: WarmKey, hold_above: f64, is_blamed: bool) {
        let day = self.today.entry(key).or_default();
        day.attempts += 1;
        day.blamed += u64::from(is_blamed);
        day.hold_above = hold_above;
    }

    /// Midnight passed. Plans that are over are forgotten; `has_plan`: `None` while nobody knows.
    pub(crate) fn turn(&mut self, has_plan: Option<&dyn Fn(&WarmKey) -> bool>) {
        for (key, day) in self.today.drain() {
            if !day.is_healthy() {
                *self.held.entry(key).or_default() += 1;
            }
        }
        if let Some(has_plan) = has_plan {
            self.held.retain(|key, _| has_plan(key));
        }
    }

    pub(crate) fn held(&self, key: &WarmKey) -> u64 {
        self.held.get(key).copied().unwrap_or(0)
    }

    pub(crate) fn all_held(&self) -> impl Iterator<Item = (&WarmKey, u64)> {
        self.held.iter().map(|(key, days)| (key, *days))
    }

    pub(crate) fn kept(&self) -> OnDisk {
        OnDisk {
            today: self
                .today
                .iter()
                .map(|(key, day)| (key.names(), *day))
                .collect(),
            held: self
                .held
                .iter()
                .map(|(key, days)| (key.names(), *days))
                .collect(),
        }
    }

    pub(crate) fn from_disk(kept: OnDisk) -> Self {
        let key = WarmKey::of;
        Self {
            today: kept.today.into_iter().map(|(k, v)| (key(k), v)).collect(),
            held: kept.held.into_iter().map(|(k, v)| (key(k), v)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: &str) -> WarmKey {
        WarmKey::of((source.to_owned(), "google".to_owned(), String::new()))
    }

    fn after(attempts: u64, blamed: u64) -> u64 {
        let mut promotion = Promotion::default();
        for number in 0..attempts {
            promotion.count(key("new"), 0.1, number < blamed);
        }
        promotion.turn(None);
        promotion.turn(None);
        promotion.held(&key("new"))
    }

    #[test]
    fn an_unhealthy_day_is_held_back_once() {
        assert_eq!(after(100, 10), 0, "as much as is allowed");
        assert_eq!(after(100, 11), 1);
        assert_eq!(after(19, 19), 0, "too few to tell");
        assert_eq!(after(0, 0), 0);
    }

    #[test]
    fn it_outlives_the_process_and_not_the_plan() {
        let mut promotion = Promotion::default();
        for _ in 0..50 {
            promotion.count(key("new"), 0.1, true);
        }
        let json = serde_json::to_string(&promotion.kept()).expect("JSON");
        let mut again = Promotion::from_disk(serde_json::from_str(&json).expect("JSON"));
        again.turn(None);
        assert_eq!(again.held(&key("new")), 1);
        again.turn(Some(&|_| true));
        assert_eq!(again.held(&key("new")), 1);
        again.turn(Some(&|_| false));
        assert_eq!(again.held(&key("new")), 0);
    }
}
