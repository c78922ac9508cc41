//! What the engine is doing right now, for `postalynk top` and `queue`.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::clock;
use crate::engine::Engine;
use crate::path::Path;
use crate::shard::{Shard, ToShard};

const LANES: [&str; 3] = ["high", "normal", "bulk"];

/// A path as it stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PathView {
    source: String,
    site: String,
    hosts: String,
    /// `open`, `probing` or `shut`; `held`: the policy backed it off.
    state: &'static str,
    connections: usize,
    ready: usize,
    prepared: usize,
    rate: String,
    #[serde(skip)]
    limit_per_s: f64,
    #[serde(skip)]
    rate_per_s: f64,
    #[serde(skip)]
    queues: Vec<(usize, String, usize)>,
}

#[derive(Default, Serialize)]
struct Snapshot {
    in_flight: usize,
    deferred: usize,
    routable: usize,
    outcomes: usize,
    open_transactions: usize,
    lanes: BTreeMap<&'static str, usize>,
    organizations: BTreeMap<String, usize>,
    sites: BTreeMap<String, usize>,
    paths: Vec<PathView>,
}

impl PathView {
    pub(crate) fn of(path: &Path, now: Instant) -> Self {
        let state = path.state.borrow();
        let destination = path.destination.borrow();
        let mut queues = Vec::new();
        state
            .ready
            .each_queue(|lane, org, count| queues.push((lane, org.to_owned(), count)));
        for mail in state.prepared.iter() {
            let delivery = &mail.recipients[0].job.delivery;
            let lane = LANES
                .iter()
                .position(|lane| *lane == delivery.lane())
                .unwrap_or(1);
            queues.push((lane, delivery.org().to_owned(), mail.recipients.len()));
        }
        Self {
            source: path.source.borrow().name.to_string(),
            site: destination.limited_as().to_string(),
            hosts: destination.key.to_string(),
            state: if path.site.held_for(now).is_zero() {
                state.breaker.state(now)
            } else {
                "held"
            },
            connections: state.connections,
            ready: state.ready.len(),
            prepared: state.prepared.len(),
            rate: path.site.limits.get().rate.to_string(),
            limit_per_s: path.site.limits.get().rate.per_second(),
            rate_per_s: state.pace.measured(now),
            queues,
        }
    }
}

/// One (source, receiver) as a policy may read it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathNow {
    /// The egress source.
    pub source: String,
    /// The site, or the smart host.
    pub site: String,
    /// Whether a path of it lets mail through.
    pub is_open: bool,
    /// Open and opening ones.
    pub connections: usize,
    /// Deliveries ready to leave.
    pub waiting: usize,
    /// The most a second; infinite: no limit.
    pub limit_per_s: f64,
    /// What was last sent a second when there was a backlog; 0: not known.
    pub rate_per_s: f64,
}

impl Shard {
    pub(crate) fn views(&self) -> Vec<PathView> {
        let now = clock::now();
        self.by_id
            .borrow()
            .values()
            .map(|path| PathView::of(path, now))
            .collect()
    }
}

impl Engine {
    /// JSON: in flight, deferred; what waits per lane, organization and site; paths with state,
    /// connections, ready.
    #[must_use]
    pub fn snapshot(&self) -> String {
        let shared = &self.shared;
        let mut snapshot = Snapshot {
            in_flight: self.in_flight(),
            deferred: self.deferred(),
            routable: shared.routable.len(),
            outcomes: shared.outcomes.len(),
            open_transactions: shared
                .open_transactions
                .load(std::sync::atomic::Ordering::Acquire),
            paths: self
                .threads
                .ask(ToShard::Snapshot)
                .into_iter()
                .flatten()
                .collect(),
            ..Snapshot::default()
        };
        shared.routable.each(|delivery| {
            *snapshot.lanes.entry(delivery.lane()).or_default() += 1;
            *snapshot
                .organizations
                .entry(delivery.org().to_owned())
                .or_default() += 1;
            *snapshot
                .sites
                .entry(delivery.site().to_owned())
                .or_default() += 1;
        });
        for path in &snapshot.paths {
            for (lane, org, count) in &path.queues {
                *snapshot.lanes.entry(LANES[*lane]).or_default() += count;
                *snapshot.organizations.entry(org.clone()).or_default() += count;
                *snapshot.sites.entry(path.site.clone()).or_default() += count;
            }
        }
        // Plain strings and numbers always serialize.
        serde_json::to_string(&snapshot).unwrap_or_default()
    }

    /// How every (source, receiver) in use fares.
    #[must_use]
    pub fn paths_now(&self) -> Vec<PathNow> {
        let mut known: BTreeMap<(String, String), PathNow> = BTreeMap::new();
        for view in self.threads.ask(ToShard::Snapshot).into_iter().flatten() {
            let is_open = !matches!(view.state, "shut" | "held");
            let waiting = view.queues.iter().map(|(_, _, count)| count).sum::<usize>();
            let path = known
                .entry((view.source.clone(), view.site.clone()))
                .or_insert_with(|| PathNow {
                    source: view.source,
                    site: view.site,
                    is_open: false,
                    connections: 0,
                    waiting: 0,
                    limit_per_s: view.limit_per_s,
                    rate_per_s: 0.0,
                });
            path.is_open |= is_open;
            path.connections += view.connections;
            path.waiting += waiting;
            path.rate_per_s += view.rate_per_s;
        }
        known.into_values().collect()
    }

    /// Prometheus text exposition.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.shared.metrics.warmth(self.warmth());
        self.shared.metrics.text(self.in_flight(), self.deferred())
    }
}
