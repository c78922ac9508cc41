//! Partitions come and go while the engine runs.
//!
//! **Order of a hand-over.** [`Engine::release`] (nothing of the partitions begins any more; waits
//! until what has begun is recorded), then the caller commits, then [`Engine::forget`]. What was
//! admitted and had not begun is dropped: its records are above the low-water mark, so the next
//! owner reads them.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::admit::{part, send_topic};
use crate::clock;
use crate::delivery::Delivery;
use crate::engine::Engine;
use crate::path::Path;
use crate::prepare::Mail;
use crate::route::Job;
use crate::shard::{Shard, ToShard};
use crate::shared::Shared;

impl Engine {
    /// A partition is ours from now on. `ends`: per send topic, where the records end that another
    /// owner may have worked on (0: there are none to read); past them its events need not be
    /// remembered. Call it before its events are restored.
    pub fn assigned(&self, partition: u32, ends: &HashMap<String, u64>) {
        let mut books = self.shared.books.lock();
        for (topic, end) in ends {
            if let Some(topic) = send_topic(topic) {
                books.done.expect(topic, partition, *end);
            }
        }
    }

    /// Whoever shares partitions with others says so here again and again: messages leave for as long
    /// as this only. Measured by a clock that goes on while the process is stopped.
    pub fn lease(&self, time: Duration) {
        self.shared.lease.renew(clock::now() + time);
    }

    /// Starts nothing more of these partitions and waits until the outcomes of what has begun are
    /// recorded; true when they are. The others go on.
    #[must_use]
    pub fn release(&self, partitions: &[u32], timeout: Duration) -> bool {
        let until = clock::now() + timeout;
        let ended: Vec<_> = {
            let books = self.shared.books.lock();
            let tenures = partitions.iter().filter_map(|p| books.tenures.get(p));
            tenures.map(Arc::clone).collect()
        };
        ended.iter().for_each(|tenure| tenure.end());
        let dropped = self
            .shared
            .routable
            .take_where(|delivery| delivery.tenure.is_over());
        self.shared.abandon(dropped.iter().map(|d| &**d));
        self.threads.to_all(|| ToShard::Release);
        while ended.iter().any(|tenure| tenure.begun() > 0) {
            if clock::now() >= until {
                return false;
            }
            // Coarse on purpose: this happens when workers come and go.
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Drops all that is known of these partitions. What still ends is written as in doubt: the next
    /// owner may have sent it too.
    pub fn forget(&self, partitions: &[u32]) {
        let mut books = self.shared.books.lock();
        for partition in partitions {
            if let Some(tenure) = books.tenures.remove(partition) {
                tenure.go();
            }
            books.tracker.forget(*partition);
            books.done.forget(*partition);
            books.timers.forget(*partition);
        }
    }
}

impl Shared {
    /// Deliveries that end without an outcome: their records stay in the log.
    pub(crate) fn abandon<'a>(&self, deliveries: impl Iterator<Item = &'a Delivery>) {
        let parts = deliveries.map(|delivery| part(delivery, false));
        self.window.leave(parts, clock::now());
    }
}

impl Shard {
    /// Drops what waits of partitions that are another worker's now.
    pub(crate) fn release(self: &Rc<Self>) {
        let paths: Vec<Rc<Path>> = self.by_id.borrow().values().map(Rc::clone).collect();
        for path in &paths {
            let mut state = path.state.borrow_mut();
            let ready = state.ready.take_where(|job| job.delivery.tenure.is_over());
            let prepared = state.prepared.take_where(|mail| mail.is_over());
            drop(state);
            self.abandon(ready);
            self.abandon(prepared.into_iter().flat_map(|mail| mail.into_jobs()));
            self.pump(path);
        }
    }

    /// Jobs that end without an outcome.
    pub(crate) fn abandon(&self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            self.links.shared.warmth.give_back(job.ticket.as_deref());
            self.links.shared.abandon(std::iter::once(&*job.delivery));
        }
    }

    /// A message back from the signing pool, unless its partition has gone meanwhile.
    pub(crate) fn still_ours(&self, mail: Option<Box<Mail>>) -> Option<Box<Mail>> {
        match mail {
            Some(mail) if mail.is_over() => {
                self.abandon(mail.into_jobs());
                None
            }
            mail => mail,
        }
    }

    /// Jobs of partitions that are still ours; the others end here.
    pub(crate) fn ours(&self, jobs: Vec<Job>) -> Vec<Job> {
        let (over, ours) = jobs
            .into_iter()
            .partition::<Vec<Job>, _>(|job| job.delivery.tenure.is_over());
        self.abandon(over);
        ours
    }
}
