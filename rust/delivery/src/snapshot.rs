//! What the engine is doing right now, for `postalynk top` and `queue`.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::engine::Engine;
use crate::path::Path;
use crate::shard::ToShard;

const LANES: [&str; 3] = ["high", "normal", "bulk"];

/// A path as it stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PathView {
    source: String,
    site: String,
    hosts: String,
    /// `open`, `probing` or `shut`.
    state: &'static str,
    connections: usize,
    ready: usize,
    prepared: usize,
    rate: String,
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
            state: state.breaker.state(now),
            connections: state.connections,
            ready: state.ready.len(),
            prepared: state.prepared.len(),
            rate: path.site.limits.rate.to_string(),
            queues,
        }
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

    /// Prometheus text exposition.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.shared.metrics.text(self.in_flight(), self.deferred())
    }
}
