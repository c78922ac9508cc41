//! A path: one source, one set of receiving hosts; and the site whose limits it shares.
//!
//! **Model.** What waits on a path is ready (not yet composed) or prepared (composed and signed, a
//! few per connection). All of it belongs to one shard, so plain cells hold it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postalynk_throttle::Bucket;
use tokio::sync::Notify;

use crate::ahead::Ahead;
use crate::breaker::Breaker;
use crate::destination::Destination;
use crate::habits::Habits;
use crate::pace::Pace;
use crate::pools::Source;
use crate::prepare::Mail;
use crate::ready::ReadyQueue;
use crate::route::Job;
use crate::settings::Limits;
use crate::shaping::SiteKey;

/// A second connection is worth its handshake when it takes over about so many messages.
const BACKLOG_PER_CONNECTION: usize = 8;

/// What all paths from one source to one site share.
pub(crate) struct Site {
    pub(crate) key: SiteKey,
    pub(crate) provider: &'static str,
    pub(crate) limits: Cell<Limits>,
    /// Nothing leaves until the policy has said its limits.
    pub(crate) is_unshaped: Cell<bool>,
    /// Nothing leaves until then: the policy backed the path off.
    pub(crate) held_until: Cell<Option<Instant>>,
    pub(crate) bucket: RefCell<Bucket>,
    pub(crate) connections: Cell<usize>,
    /// Paths that wait for a connection of another one to close.
    pub(crate) waiting: RefCell<VecDeque<u32>>,
}

/// What changes on a path.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) ready: ReadyQueue<Job>,
    pub(crate) prepared: Ahead<Box<Mail>>,
    /// Connections, opening ones too.
    pub(crate) connections: usize,
    /// Those that are past EHLO.
    pub(crate) established: usize,
    /// Those that wait for a message.
    pub(crate) hungry: usize,
    pub(crate) breaker: Breaker,
    pub(crate) pace: Pace,
    pub(crate) habits: Habits,
    pub(crate) used_at: Option<Instant>,
}

/// See the module.
pub(crate) struct Path {
    pub(crate) id: u32,
    /// As it was last configured; new connections leave by it and old ones end.
    pub(crate) source: RefCell<Arc<Source>>,
    /// The newest answer about its hosts.
    pub(crate) destination: RefCell<Arc<Destination>>,
    pub(crate) site: Rc<Site>,
    pub(crate) state: RefCell<State>,
    /// A message is prepared, or a connection is to be given up.
    pub(crate) wake: Notify,
}

impl State {
    /// Everything that waits here.
    pub(crate) fn backlog(&self) -> usize {
        self.ready.len() + self.prepared.len()
    }

    /// Connections worth having for the backlog there is.
    pub(crate) fn wanted(&self, limits: &Limits) -> usize {
        if self.backlog() == 0 {
            return 0;
        }
        if self.breaker.is_probing() {
            return 1;
        }
        let useful = self.pace.useful_connections(limits.rate.per_second());
        // Slow start: hosts that may be down are tried by one connection, not by all.
        let proven = 2 * self.established + 1;
        let wanted = self.backlog().div_ceil(BACKLOG_PER_CONNECTION);
        wanted.min(limits.connections).min(useful).min(proven)
    }

    /// The next job, and those behind it that can share its transaction: one message's recipients
    /// that took the same route. An address that needs SMTPUTF8 keeps to its kind, for a receiver
    /// without it takes none of a transaction that has one.
    pub(crate) fn next_group(&mut self, limits: &Limits) -> Option<Vec<Job>> {
        let first = self.ready.pop()?;
        let delivery = Arc::clone(&first.delivery);
        let most = self.habits.recipients.min(limits.burst());
        if delivery.message().recipients.len() < 2 || most < 2 {
            return Some(vec![first]);
        }
        let is_alike = |job: &Job| {
            job.delivery.record.id() == delivery.record.id()
                && job.delivery.address().is_ascii() == delivery.address().is_ascii()
                && job.pool == first.pool
                && (Arc::ptr_eq(&job.route, &first.route) || job.route == first.route)
        };
        let lane = first.lane();
        let others = self
            .ready
            .pop_alike(lane, delivery.org(), most - 1, is_alike);
        let mut group = Vec::with_capacity(1 + others.len());
        group.push(first);
        group.extend(others);
        Some(group)
    }

    /// Messages to have composed in time for all connections: one to send, one to follow it, or as
    /// many as CHUNKING lets be in flight.
    pub(crate) fn look_ahead(&self, wanted: usize) -> usize {
        let each = self.habits.chunk_window.max(2);
        each * wanted.max(self.connections) + 2
    }

    /// How long what comes now would wait, as far as anyone knows.
    pub(crate) fn wait(&self, site: &Site, now: Instant) -> Duration {
        let rate = self.pace.rate(site.limits.get().rate.per_second(), now);
        let queued = Duration::try_from_secs_f64(self.backlog() as f64 / rate);
        let shut_for = self.breaker.shut_for(now).max(site.held_for(now));
        queued.unwrap_or_default().max(shut_for)
    }
}

impl Site {
    /// How long nothing may leave because the policy backed the path off.
    pub(crate) fn held_for(&self, now: Instant) -> Duration {
        let until = self.held_until.get();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

impl Path {
    pub(crate) fn touch(&self, now: Instant) {
        self.state.borrow_mut().used_at = Some(now);
    }
}
