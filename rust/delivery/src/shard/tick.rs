//! What a shard does by the clock alone.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;
use crate::clock;
use crate::outcome::Finished;
use crate::path::Path;
use crate::prepare::Mail;
use crate::route::Job;

const TICKS_PER_SECOND: u32 = 4;
/// A path nobody used for so long is forgotten, with its measures.
const FORGOTTEN: Duration = Duration::from_secs(600);

impl Shard {
    /// Called every [`super::TICK`].
    pub(super) fn tick(self: &Rc<Self>) {
        let now = clock::now();
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        let paths: Vec<Rc<Path>> = self.by_id.borrow().values().map(Rc::clone).collect();
        let is_second = ticks.is_multiple_of(TICKS_PER_SECOND);
        for path in &paths {
            if is_second {
                self.sweep(path, now);
            }
            if path.state.borrow().backlog() > 0 {
                self.pump(path);
            }
        }
        if is_second {
            self.forget_unused(now);
        }
    }

    /// Measures the path and parks what has waited too long.
    fn sweep(&self, path: &Path, now: Instant) {
        let mut state = path.state.borrow_mut();
        let has_backlog = !state.ready.is_empty();
        state.pace.tick(now, has_backlog);
        let park_after = self.links.shared.settings.park_after();
        let is_old = |job: &Job| now.saturating_duration_since(job.ready_at) > park_after;
        let mut old = state.ready.drain_front(is_old);
        let is_old_mail = |mail: &Mail| is_old(&mail.recipients[0].job);
        while state.prepared.first().is_some_and(|mail| is_old_mail(mail)) {
            old.extend(state.prepared.pop().into_iter().flat_map(|m| m.into_jobs()));
        }
        if old.is_empty() {
            return;
        }
        let now_us = clock::wall_us();
        let put_back: Vec<Finished> = old
            .into_iter()
            .map(|job| self.park(&mut state, &path.site, job, (now, now_us)))
            .collect();
        self.links.shared.outcomes.push_all(put_back);
    }

    fn forget_unused(&self, now: Instant) {
        self.paths.borrow_mut().retain(|_, path| {
            let state = path.state.borrow();
            let is_used = state.backlog() > 0
                || state.connections > 0
                || state
                    .used_at
                    .is_some_and(|at| now.saturating_duration_since(at) < FORGOTTEN);
            if !is_used {
                self.by_id.borrow_mut().remove(&path.id);
                self.links.shared.metrics.paths.dec();
            }
            is_used
        });
        self.sites
            .borrow_mut()
            .retain(|_, site| Rc::strong_count(site) > 1);
    }
}
