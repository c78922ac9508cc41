//! The engine as its callers see it: five verbs on batches, and what it takes to start and stop.
//!
//! **Threads.** Any thread may call any method; calls that wait do so without a lock. Batches of
//! outcomes must be recorded in the order they were taken.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::Duration;

use bytes::Bytes;

use crate::admit::part;
use crate::clock;
use crate::delivery::{Delivery, Origin};
use crate::dispatch;
use crate::error::EngineError;
use crate::outcome::{Finished, Next, OutcomeBatch};
use crate::pools::Pools;
use crate::prepare::{SignerKey, Signers};
use crate::route::RouteSpec;
use crate::settings::Settings;
use crate::shared::{Books, Shared};
use crate::suppression::Suppression;
use crate::threads::Threads;
use crate::trace::TraceBatch;
use crate::tracker::{Place, encode_note};

/// Recording a batch costs a write to disk whatever its size, so a few more are waited for; it is
/// less than that write takes, and far less than a round trip to a receiver.
const LINGER: Duration = Duration::from_millis(2);
/// From so many on, waiting for more saves nothing worth having.
const SMALL_BATCH: usize = 200;

/// A record as it was read from an append topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Microseconds since the Unix epoch.
    pub appended_at_us: u64,
    /// The record.
    pub value: Bytes,
}

/// Low-water offset and note of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Topic.
    pub topic: &'static str,
    /// Partition.
    pub partition: u32,
    /// Every record below it is done.
    pub offset: u64,
    /// To be stored with it; [`decode_note`](crate::decode_note) reads the position of
    /// `email.events` from which a restart must replay.
    pub note: Vec<u8>,
}

/// Deliveries whose site is known, waiting for a route.
#[derive(Clone, Debug, Default)]
pub struct RouteBatch {
    /// In partition order per lane and organization, as far as DNS allows.
    pub deliveries: Vec<Arc<Delivery>>,
}

/// See the module and the crate.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) threads: Threads,
}

impl Engine {
    /// Starts the engine's threads. `seed` of the settings 0: drawn from the system.
    ///
    /// # Errors
    /// Bad settings, a journal that cannot be opened, no resolver, no thread.
    pub fn new(settings: Settings) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared::open(settings)?);
        let threads = Threads::start(&shared)?;
        Ok(Self { shared, threads })
    }

    /// Swaps pools and sources; what is under way keeps the source it has.
    ///
    /// # Errors
    /// [`EngineError::Pools`] names what is wrong; the old pools stay.
    pub fn configure(&self, pools_json: &str) -> Result<(), EngineError> {
        let pools = Pools::from_json(pools_json, self.shared.settings.ehlo_name())?;
        *self.shared.pools.write() = Arc::new(pools);
        Ok(())
    }

    /// Swaps the DKIM keys; a domain with several keys signs with each.
    ///
    /// # Errors
    /// [`EngineError::Signer`] names the key; the old keys stay.
    pub fn set_signers(&self, keys: &[SignerKey]) -> Result<(), EngineError> {
        let signers = Signers::new(keys)?;
        *self.shared.signers.write() = Arc::new(signers);
        Ok(())
    }

    /// How many more deliveries may be admitted; waits until it is above 0 or the time is over.
    #[must_use]
    pub fn room(&self, timeout: Duration) -> usize {
        if self.shared.is_draining.load(Acquire) {
            // As if there were none, so a caller that asks again and again does not spin.
            std::thread::sleep(timeout.min(Duration::from_millis(100)));
            return 0;
        }
        self.shared.window.room(timeout, clock::now())
    }

    /// Deliveries whose site is known.
    #[must_use]
    pub fn routable(&self, max: usize, timeout: Duration) -> RouteBatch {
        let taken = self.shared.routable.take(max, timeout, clock::now());
        let (over, deliveries): (Vec<_>, _) = taken.into_iter().partition(|d| d.tenure.is_over());
        self.shared.abandon(over.iter().map(|d| &**d));
        let (ended, deliveries) = self.shared.suppressions.part(deliveries, clock::wall_us());
        if !ended.is_empty() {
            self.shared.outcomes.push_all(ended);
        }
        RouteBatch { deliveries }
    }

    /// Replaces an organization's suppression list: addresses and their entries. It counts for what
    /// is routed from now on.
    pub fn suppress(&self, org: &str, entries: Vec<(String, Suppression)>) {
        self.shared.suppressions.replace(org, entries);
    }

    /// Sends: `choice[i]` is the index in `routes` of delivery `i`.
    ///
    /// # Errors
    /// [`EngineError::Misuse`] when the choices do not fit; the batch is then routable again.
    pub fn dispatch(
        &self,
        batch: RouteBatch,
        routes: Vec<RouteSpec>,
        choice: &[usize],
    ) -> Result<(), EngineError> {
        let fits = choice.len() == batch.deliveries.len()
            && choice.iter().all(|index| *index < routes.len());
        if !fits {
            let text = format!(
                "dispatch: {} choices among {} routes for {} deliveries",
                choice.len(),
                routes.len(),
                batch.deliveries.len()
            );
            self.shared.routable.push_all(batch.deliveries);
            return Err(EngineError::Misuse(text));
        }
        let routes: Vec<Arc<RouteSpec>> = routes.into_iter().map(Arc::new).collect();
        let routed = batch
            .deliveries
            .into_iter()
            .zip(choice)
            .map(|(delivery, index)| (delivery, Arc::clone(&routes[*index])));
        dispatch::dispatch(&self.shared, &self.threads, routed.collect());
        Ok(())
    }

    /// What ended, oldest first; waits for the first, at most `timeout`. While more is on the wire
    /// it gives a small batch two milliseconds to grow.
    #[must_use]
    pub fn outcomes(&self, max: usize, timeout: Duration) -> OutcomeBatch {
        let ready = self.shared.outcomes.wait(timeout, clock::now());
        let is_small = (1..max.min(SMALL_BATCH)).contains(&ready);
        if is_small && self.shared.open_transactions.load(Acquire) > 0 {
            std::thread::sleep(LINGER);
        }
        let entries = self.shared.outcomes.take(max, Duration::ZERO, clock::now());
        let attempts = entries.iter().filter(|entry| entry.end.is_attempt());
        self.shared
            .recording
            .given(attempts.map(|entry| entry.at_us).min());
        self.shared.metrics.ended(&entries);
        let now_us = clock::wall_us();
        self.shared.standings.ended(&entries, now_us);
        self.shared.warmth.ended(&entries, now_us);
        OutcomeBatch::new(entries)
    }

    /// The batch's events (at these offsets, in the order of `events`) and deferrals are durable.
    ///
    /// # Errors
    /// [`EngineError::Misuse`] when there are not as many offsets as events: nothing is recorded.
    /// [`EngineError::Journal`] when slots cannot be freed; all else is done then.
    pub fn recorded(&self, batch: &OutcomeBatch, event_offsets: &[u64]) -> Result<(), EngineError> {
        let entries: Vec<_> = batch.iter_next().collect();
        let events = entries
            .iter()
            .filter(|(_, _, has_event)| *has_event)
            .count();
        if events != event_offsets.len() {
            let text = format!(
                "recorded: {} offsets for {events} events",
                event_offsets.len()
            );
            return Err(EngineError::Misuse(text));
        }
        let mut offsets = event_offsets.iter();
        let mut books = self.shared.books.lock();
        for (entry, next, has_event) in &entries {
            // The offset belongs to the event, whoever owns the partition now.
            let offset = has_event.then(|| offsets.next()).flatten();
            if entry.delivery.tenure.is_gone() {
                continue;
            }
            if let Some(offset) = offset {
                books.tracker.applied(entry.delivery.partition, offset + 1);
            }
            settle(&mut books, entry, *next);
        }
        drop(books);
        self.shared.recording.recorded();
        let parts = entries
            .iter()
            .map(|(entry, ..)| part(&entry.delivery, entry.end.is_attempt()));
        self.shared.window.leave(parts, clock::now());
        let slots = entries
            .iter()
            .filter_map(|(entry, ..)| entry.slot)
            .collect();
        self.shared
            .journal
            .end(slots)
            .map_err(|cause| EngineError::Journal {
                path: self.shared.settings.journal.display().to_string(),
                cause,
            })
    }

    /// Low-water offset and note per partition that moved since the last call.
    #[must_use]
    pub fn commits(&self) -> Vec<Commit> {
        let mut books = self.shared.books.lock();
        let Books { tracker, done, .. } = &mut *books;
        let moved = tracker.commits(|partition| done.known_from(partition));
        drop(books);
        let commit = |((topic, partition), offset, position): (Place, u64, u64)| Commit {
            topic,
            partition,
            offset,
            note: encode_note(position),
        };
        moved.into_iter().map(commit).collect()
    }

    /// Deliveries admitted and not yet recorded.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.window.deliveries()
    }

    /// Partitions not worth reading on for now: their organizations hold half of the room and
    /// more, and it leaves.
    #[must_use]
    pub fn crowded(&self) -> Vec<u32> {
        self.shared.window.crowded(clock::now())
    }

    /// Deferrals with a timer.
    #[must_use]
    pub fn deferred(&self) -> usize {
        self.shared.books.lock().timers.len()
    }

    /// Begins to follow the conversations with a site (its name, a receiving host's, or the smart
    /// host's as `host:port`), or with all when it is empty.
    ///
    /// # Errors
    /// [`EngineError::Misuse`] when too many do already.
    pub fn trace_open(&self, site: &str) -> Result<u64, EngineError> {
        let opened = self.shared.traces.open(site, clock::now());
        opened.ok_or_else(|| EngineError::Misuse("too many traces are open".to_owned()))
    }

    /// What was said since the last reading; waits for the first line, at most `timeout`. `None`:
    /// the trace was closed, or forgotten because nobody read it for a minute.
    #[must_use]
    pub fn trace_read(&self, trace: u64, timeout: Duration) -> Option<TraceBatch> {
        self.shared.traces.read(trace, timeout, clock::now())
    }

    /// Ends a trace.
    pub fn trace_close(&self, trace: u64) {
        self.shared.traces.close(trace);
    }

    /// Starts nothing new and lets open transactions finish; true when none is left. What was not
    /// started stays in the queue.
    #[must_use]
    pub fn drain(&self, timeout: Duration) -> bool {
        let until = clock::now() + timeout;
        if !self.shared.is_draining.swap(true, AcqRel) {
            self.threads.drain();
        }
        loop {
            if self.shared.open_transactions.load(Acquire) == 0 {
                return true;
            }
            if clock::now() >= until {
                return false;
            }
            // Coarse on purpose: this happens once, at the end.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What TLS sessions of a UTC day (days since the Unix epoch) came to: the `policies` of RFC 8460
    /// section 4.4, as a JSON array.
    #[must_use]
    pub fn tls_report(&self, day: u64) -> String {
        self.shared.reports.day(day)
    }

    /// Ends all threads and closes all connections, open transactions too: the journal shows them.
    pub fn stop(&self) {
        self.shared.is_draining.store(true, Release);
        self.threads.stop();
        // Counts that cannot be written are lost; the mail they count is not.
        let _ = self.shared.reports.save();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn settle(books: &mut Books, entry: &Finished, next: Next) {
    let delivery = &entry.delivery;
    let key = delivery.key();
    match delivery.origin {
        Origin::Log { topic, offset } => {
            books.tracker.finish((topic, delivery.partition), offset);
        }
        Origin::Deferred => books.tracker.deferred_ended(delivery.partition),
    }
    match next {
        Next::Wait { due_at_us } => books.timers.schedule(delivery.partition, key, due_at_us),
        Next::Over => {
            if books.timers.remove(&key) {
                books.done.finish(delivery.partition, key);
            }
        }
    }
}
