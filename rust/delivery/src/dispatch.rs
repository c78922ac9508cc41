//! From routes to paths: pool, source, shard.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clock;
use crate::delivery::Delivery;
use crate::ending::{expired, parked, poolless};
use crate::pools::{Pools, Source};
use crate::route::{Job, RouteSpec};
use crate::shared::Shared;
use crate::threads::Threads;
use crate::warmup::{Ledger, Refused, Ticket};

/// Sends each delivery to the shard of its path; what cannot go now ends here.
pub(crate) fn dispatch(
    shared: &Shared,
    threads: &Threads,
    routed: Vec<(Arc<Delivery>, Arc<RouteSpec>)>,
) {
    let (now, now_us) = (clock::now(), clock::wall_us());
    let pools = Arc::clone(&shared.pools.read());
    let mut ledger = shared.warmth.open(now_us);
    let mut finished = Vec::new();
    let mut by_shard: Vec<Vec<Job>> = (0..threads.shards()).map(|_| Vec::new()).collect();
    for (delivery, route) in routed {
        if delivery.tenure.is_over() {
            shared.abandon(std::iter::once(&*delivery));
            continue;
        }
        if delivery.is_expired(now_us) {
            finished.push(expired(delivery, now_us));
            continue;
        }
        if route.not_before_us > now_us {
            finished.push(parked(delivery, now_us, route.not_before_us));
            continue;
        }
        let leaving = match choose(&pools, &mut ledger, &delivery, &route) {
            Chosen::Leaving(leaving) => leaving,
            Chosen::PutOff(due_at_us) => {
                finished.push(parked(delivery, now_us, due_at_us));
                continue;
            }
            Chosen::Nothing => {
                finished.push(poolless(delivery, &route, now_us));
                continue;
            }
        };
        let source = leaving.source;
        // All paths of one (source, site) live in one shard: they share its limits.
        let limited_as = delivery.destination.as_ref().map_or("", |d| d.limited_as());
        let hash = xxh3_64_with_seed(
            limited_as.as_bytes(),
            xxh3_64_with_seed(source.name.as_bytes(), 0),
        );
        let shard = (hash % by_shard.len() as u64) as usize;
        by_shard[shard].push(Job {
            delivery,
            route,
            pool: leaving.pool,
            source,
            ready_at: now,
            ticket: leaving.ticket,
            note: leaving.note,
        });
    }
    // Before the jobs go: what was reserved must outlive this process.
    drop(ledger);
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

/// The way a delivery leaves.
struct Leaving {
    pool: Arc<str>,
    source: Arc<Source>,
    ticket: Option<Arc<Ticket>>,
    note: Option<Arc<str>>,
}

enum Chosen {
    Leaving(Leaving),
    /// Every source it could take has used up its warm-up's share of now.
    PutOff(u64),
    /// No pool has a source.
    Nothing,
}

/// The route's pool, then the overflow of a warm-up that has no room left, then the fallbacks.
fn choose(
    pools: &Pools,
    ledger: &mut Ledger<'_>,
    delivery: &Delivery,
    route: &RouteSpec,
) -> Chosen {
    let mut refused: Option<Refused> = None;
    let mut attempt = |pool: &str, pin: &str, refused: &mut Option<Refused>| {
        let mut ticket = None;
        let source = pools.choose(pool, (delivery.org(), pin), |source| {
            match ledger.reserve(&source.name, delivery.provider(), delivery.org()) {
                Ok(reserved) => {
                    ticket = reserved;
                    true
                }
                Err(no_room) => {
                    refused.get_or_insert(no_room);
                    false
                }
            }
        })?;
        Some((Arc::<str>::from(pool), source, ticket))
    };
    let mut found = attempt(&route.pool, &route.pin, &mut refused);
    if found.is_none()
        && let Some(overflow) = refused
            .as_ref()
            .map(|no_room| Arc::clone(&no_room.overflow))
        && !overflow.is_empty()
    {
        found = attempt(&overflow, "", &mut refused);
    }
    for pool in &route.fallback {
        if found.is_some() {
            break;
        }
        found = attempt(pool, "", &mut refused);
    }
    match (found, refused) {
        (Some((pool, source, ticket)), refused) => Chosen::Leaving(Leaving {
            pool,
            source,
            ticket,
            note: refused.map(|no_room| no_room.note.into()),
        }),
        (None, Some(no_room)) => Chosen::PutOff(ledger.put_off(&no_room)),
        (None, None) => Chosen::Nothing,
    }
}
