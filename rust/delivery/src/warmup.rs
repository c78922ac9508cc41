//! Warm-up: how much a source that receivers do not know yet may send today, provider by provider.
//!
//! **Model.** The policy's `warmup` says a day's number per source and provider, and for an
//! organization with a plan of its own per that too. A delivery that is sent its way reserves one of
//! them before it goes; what is put back gives it back. A day's number is spread over the hours:
//! `n * (hour + 1) / 24` may have gone by the end of an hour (UTC), so an hour nobody used is not lost.
//! **Invariants.** One ledger, one lock, held for a batch: two deliveries never reserve the same
//! place. The counts are on disk before a delivery that is counted goes on, so a process that is
//! killed and starts again goes on counting.
//! **Law `never_over`.** Whatever is asked and given back, no hour ends with more than its share.
//! **Law `put_off_to_an_hour`.** What finds no room is due at the beginning of a later hour.
//! **Not here.** Whether a source has earned the next day: `promotion`. The plan is the policy's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::engine::Engine;
use crate::outcome::Finished;
use crate::promotion::{self, Promotion};
use crate::standing::{is_attempt, is_blamed};

const HOUR_US: u64 = 3_600_000_000;
const DAY_US: u64 = 24 * HOUR_US;

/// What is counted by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WarmKey {
    source: Arc<str>,
    provider: Arc<str>,
    /// Empty: everybody without a plan of its own.
    org: Arc<str>,
}

impl WarmKey {
    pub(crate) fn of((source, provider, org): (String, String, String)) -> Self {
        Self {
            source: source.into(),
            provider: provider.into(),
            org: org.into(),
        }
    }

    /// Source, provider, organization.
    pub(crate) fn names(&self) -> (String, String, String) {
        let text = |part: &Arc<str>| part.as_ref().to_owned();
        (text(&self.source), text(&self.provider), text(&self.org))
    }
}

/// One place of a day's number.
#[derive(Debug)]
pub(crate) struct Ticket {
    key: WarmKey,
    day: u64,
}

/// A day's number.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmPlan {
    /// The egress source.
    pub source: String,
    /// The provider; empty: all receivers that are not a known one.
    pub provider: String,
    /// The organization whose own plan it is; empty: everybody's.
    pub org: String,
    /// Messages today; `None`: the source is warm (for an organization that leaves a general plan).
    pub per_day: Option<u64>,
    /// The pool that takes what is over; empty: none.
    pub overflow: String,
    /// The share of a day's attempts that may be blamed on the sender before the day is held back.
    pub hold_above: f64,
}

/// How far a plan is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WarmState {
    /// The egress source.
    pub source: String,
    /// The provider; empty: receivers that are not a known one.
    pub provider: String,
    /// The organization whose own plan it is; empty: everybody's.
    pub org: String,
    /// Messages since midnight, UTC.
    pub sent: u64,
    /// Messages today.
    pub per_day: u64,
    /// Days the plan was held back because they were unhealthy.
    pub held: u64,
}

#[derive(Clone, Debug)]
struct Plan {
    per_day: Option<u64>,
    overflow: Arc<str>,
    hold_above: f64,
}

/// No room: where it may go instead, and what to say of it.
#[derive(Debug)]
pub(crate) struct Refused {
    key: WarmKey,
    per_day: u64,
    pub(crate) overflow: Arc<str>,
    pub(crate) note: String,
}

#[derive(Default)]
struct Counts {
    plans: HashMap<WarmKey, Plan>,
    day: u64,
    sent: HashMap<WarmKey, u64>,
    /// How many were put off since the hour began.
    away: HashMap<WarmKey, u64>,
    hour: u64,
    promotion: Promotion,
    is_changed: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct OnDisk {
    day: u64,
    /// Source, provider, organization, how many.
    sent: Vec<(String, String, String, u64)>,
    #[serde(default)]
    promotion: promotion::OnDisk,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Warmth {
    counts: Mutex<Counts>,
    /// `None`: the counts are not kept.
    path: Option<PathBuf>,
}

/// The counts while a batch is dispatched.
pub(crate) struct Ledger<'a> {
    counts: MutexGuard<'a, Counts>,
    path: Option<&'a Path>,
    now_us: u64,
}

impl Warmth {
    /// Counts that are kept in the journal's directory; those of today go on.
    pub(crate) fn beside(journal: &Path, now_us: u64) -> Self {
        if journal.as_os_str().is_empty() {
            return Self::default();
        }
        let path = journal.with_file_name("warmup.json");
        let found = std::fs::read(&path).unwrap_or_default();
        // A file that is not there, or is no longer readable, means that nothing was counted.
        let kept: OnDisk = serde_json::from_slice(&found).unwrap_or_default();
        let count = |(source, provider, org, sent): (String, String, String, u64)| {
            (WarmKey::of((source, provider, org)), sent)
        };
        let mut counts = Counts {
            day: kept.day,
            sent: kept.sent.into_iter().map(count).collect(),
            promotion: Promotion::from_disk(kept.promotion),
            ..Counts::default()
        };
        counts.turn(now_us);
        Self {
            counts: Mutex::new(counts),
            path: Some(path),
        }
    }

    pub(crate) fn open(&self, now_us: u64) -> Ledger<'_> {
        let mut counts = self.counts.lock();
        counts.turn(now_us);
        Ledger {
            counts,
            path: self.path.as_deref(),
            now_us,
        }
    }

    /// Attempts that ended, for the health of the day; on disk with the next message that is counted.
    pub(crate) fn ended(&self, entries: &[Finished], now_us: u64) {
        let mut counts = self.counts.lock();
        if counts.plans.is_empty() {
            return;
        }
        counts.turn(now_us);
        for entry in entries.iter().filter(|entry| is_attempt(entry)) {
            let delivery = &entry.delivery;
            let source = entry.tried.source.as_str().into();
            let (key, plan) = counts.plan(source, delivery.provider(), delivery.org());
            let Some((_, hold_above)) = plan.and_then(|p| Some((p.per_day?, p.hold_above))) else {
                continue;
            };
            counts.promotion.count(key, hold_above, is_blamed(entry));
            counts.is_changed = true;
        }
    }

    /// A delivery that was counted did not go after all.
    pub(crate) fn give_back(&self, ticket: Option<&Ticket>) {
        let Some(Ticket { key, day }) = ticket else {
            return;
        };
        let mut counts = self.counts.lock();
        if counts.day != *day {
            return;
        }
        if let Some(sent) = counts.sent.get_mut(key) {
            *sent = sent.saturating_sub(1);
            counts.is_changed = true;
        }
    }
}

impl Counts {
    /// A new day begins at 0, a new hour with nothing put off.
    fn turn(&mut self, now_us: u64) {
        let (day, hour) = (now_us / DAY_US, now_us / HOUR_US);
        if day != self.day {
            self.day = day;
            self.sent.clear();
            let plans = &self.plans;
            let has_plan = |key: &WarmKey| plans.get(key).is_some_and(|p| p.per_day.is_some());
            // Before the policy has said its plans, nobody knows which are over.
            let known: Option<&dyn Fn(&WarmKey) -> bool> = if plans.is_empty() {
                None
            } else {
                Some(&has_plan)
            };
            self.promotion.turn(known);
            self.is_changed = true;
        }
        if hour != self.hour {
            self.hour = hour;
            self.away.clear();
        }
    }

    /// The plan that holds for an organization's mail, and what it is counted as.
    fn plan(&self, source: Arc<str>, provider: &str, org: &str) -> (WarmKey, Option<&Plan>) {
        let mut key = WarmKey {
            source,
            provider: provider.into(),
            org: org.into(),
        };
        if !self.plans.contains_key(&key) {
            key.org = "".into();
        }
        let plan = self.plans.get(&key);
        (key, plan)
    }
}

/// Messages that may have gone by the end of the hour of `now_us`.
fn allowed(per_day: u64, now_us: u64) -> u64 {
    let hours = now_us % DAY_US / HOUR_US + 1;
    // A day has fewer than 2^53 messages.
    (u128::from(per_day) * u128::from(hours)).div_ceil(24) as u64
}

impl Ledger<'_> {
    /// One message by this source: counted (with a ticket), free of a plan (without), or refused.
    pub(crate) fn reserve(
        &mut self,
        source: &Arc<str>,
        provider: &str,
        org: &str,
    ) -> Result<Option<Arc<Ticket>>, Refused> {
        let counts = &mut *self.counts;
        if counts.plans.is_empty() {
            return Ok(None);
        }
        let (key, plan) = counts.plan(Arc::clone(source), provider, org);
        let Some((per_day, overflow)) = plan.and_then(|p| Some((p.per_day?, &p.overflow))) else {
            return Ok(None);
        };
        let overflow = Arc::clone(overflow);
        let sent = counts.sent.entry(key.clone()).or_default();
        if *sent < allowed(per_day, self.now_us) {
            *sent += 1;
            counts.is_changed = true;
            let day = counts.day;
            return Ok(Some(Arc::new(Ticket { key, day })));
        }
        let to = if provider.is_empty() {
            "others"
        } else {
            provider
        };
        Err(Refused {
            note: format!("the warm-up of {source} towards {to} has no room now"),
            overflow,
            per_day,
            key,
        })
    }

    /// When a refused delivery may ask again: the beginning of the hour that has room for it.
    pub(crate) fn put_off(&mut self, refused: &Refused) -> u64 {
        let away = self.counts.away.entry(refused.key.clone()).or_default();
        *away += 1;
        let place = *away + self.counts.sent.get(&refused.key).copied().unwrap_or(0);
        let midnight_us = self.now_us - self.now_us % DAY_US;
        let hour = match refused.per_day {
            0 => 24,
            per_day => (place - 1).saturating_mul(24) / per_day,
        };
        let next = self.now_us % DAY_US / HOUR_US + 1;
        midnight_us + hour.clamp(next, next + 24) * HOUR_US
    }
}

impl Drop for Ledger<'_> {
    /// A failed write costs exactness after a crash, never a message.
    fn drop(&mut self) {
        if !std::mem::take(&mut self.counts.is_changed) {
            return;
        }
        let Some(path) = self.path else { return };
        let row = |(key, sent): (&WarmKey, &u64)| {
            let (source, provider, org) = key.names();
            (source, provider, org, *sent)
        };
        let kept = OnDisk {
            day: self.counts.day,
            sent: self.counts.sent.iter().map(row).collect(),
            promotion: self.counts.promotion.kept(),
        };
        let next = path.with_extension("new");
        let json = serde_json::to_vec(&kept).unwrap_or_default();
        if std::fs::write(&next, json).is_ok() {
            let _ = std::fs::rename(&next, path);
        }
    }
}

impl Engine {
    /// Replaces the plans of the day; what was counted goes on counting.
    pub fn warm_up(&self, plans: Vec<WarmPlan>) {
        let entry = |plan: WarmPlan| {
            let of_engine = Plan {
                per_day: plan.per_day,
                overflow: plan.overflow.into(),
                hold_above: plan.hold_above,
            };
            let key = WarmKey::of((plan.source, plan.provider, plan.org));
            (key, of_engine)
        };
        self.shared.warmth.counts.lock().plans = plans.into_iter().map(entry).collect();
    }

    /// How far each plan is today.
    #[must_use]
    pub fn warmth(&self) -> Vec<WarmState> {
        let counts = self.shared.warmth.counts.lock();
        let mut states: Vec<_> = counts
            .plans
            .iter()
            .filter_map(|(key, plan)| Some((key, plan.per_day?)))
            .collect();
        states.sort();
        let state = |(key, per_day): (&WarmKey, u64)| WarmState {
            source: key.source.as_ref().to_owned(),
            provider: key.provider.as_ref().to_owned(),
            org: key.org.as_ref().to_owned(),
            sent: counts.sent.get(key).copied().unwrap_or(0),
            per_day,
            held: counts.promotion.held(key),
        };
        states.into_iter().map(state).collect()
    }

    /// (source, provider, organization, days): plans that were held back, also before the policy has
    /// said them again.
    #[must_use]
    pub fn warm_up_held(&self) -> Vec<(String, String, String, u64)> {
        let mut counts = self.shared.warmth.counts.lock();
        counts.turn(clock::wall_us());
        let row = |(key, days): (&WarmKey, u64)| {
            let (source, provider, org) = key.names();
            (source, provider, org, days)
        };
        counts.promotion.all_held().map(row).collect()
    }
}

#[cfg(test)]
mod tests;
