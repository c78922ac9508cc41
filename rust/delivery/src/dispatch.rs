//! From routes to paths: pool, source, shard.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clock;
use crate::delivery::Delivery;
use crate::ending::{expired, parked, poolless};
use crate::route::{Job, RouteSpec};
use crate::shared::Shared;
use crate::threads::Threads;

/// Sends each delivery to the shard of its path; what cannot go now ends here.
pub(crate) fn dispatch(
    shared: &Shared,
    threads: &Threads,
    routed: Vec<(Arc<Delivery>, Arc<RouteSpec>)>,
) {
    let (now, now_us) = (clock::now(), clock::wall_us());
    let pools = Arc::clone(&shared.pools.read());
    let mut finished = Vec::new();
    let mut by_shard: Vec<Vec<Job>> = (0..threads.shards()).map(|_| Vec::new()).collect();
    for (delivery, route) in routed {
        if delivery.is_expired(now_us) {
            finished.push(expired(delivery, now_us));
            continue;
        }
        if route.not_before_us > now_us {
            finished.push(parked(delivery, now_us, route.not_before_us));
            continue;
        }
        let names = std::iter::once(&route.pool)
            .chain(&route.fallback)
            .map(String::as_str);
        let Some((pool, source)) = pools.choose(names, delivery.org()) else {
            finished.push(poolless(delivery, &route, now_us));
            continue;
        };
        // All paths of one (source, site) live in one shard: they share its limits.
        let limited_as = delivery.destination.as_ref().map_or("", |d| d.limited_as());
        let hash = xxh3_64_with_seed(
            limited_as.as_bytes(),
            xxh3_64_with_seed(source.name.as_bytes(), 0),
        );
        let shard = (hash % by_shard.len() as u64) as usize;
        let pool = pool.into();
        by_shard[shard].push(Job {
            delivery,
            route,
            pool,
            source,
            ready_at: now,
        });
    }
    if !finished.is_empty() {
        shared.outcomes.push_all(finished);
    }
    for (shard, jobs) in by_shard
        .into_iter()
        .enumerate()
        .filter(|(_, jobs)| !jobs.is_empty())
    {
        threads.send(shard, jobs);
    }
}
