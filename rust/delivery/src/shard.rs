//! A shard: one thread that owns its paths and everything that moves on them.
//!
//! **Model.** One task takes batches of jobs in and prepared messages back; one task per connection
//! sends. They share the shard's cells; none holds a borrow over an await. [`Shard::pump`] is the
//! one place where a path's backlog becomes work: messages to compose, connections to wake or open.
//! **Bounds.** What waits on paths is bounded by the window; a path opens as many connections as
//! backlog and limits justify.

mod tick;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::connect::Failure;
use crate::connection;
use crate::ending::{expired, parked, unfit};
use crate::outcome::Finished;
use crate::path::{Path, Site, State};
use crate::prepare::{Mail, Prepared, ToPrepare};
use crate::resolve::ToResolver;
use crate::route::Job;
use crate::shaping::{Held, Rules, Shaped, SiteKey};
use crate::shared::Shared;
use crate::snapshot::PathView;
use crate::stream::Tls;

/// What a shard is told.
pub(crate) enum ToShard {
    Send(Vec<Job>),
    Prepared(Vec<Prepared>),
    Drain,
    /// Partitions were released: what waits of them is dropped.
    Release,
    /// The policy has changed: sites ask for their limits again.
    AskAgain,
    Shape(Arc<Vec<Shaped>>),
    /// Source, receiver, until when nothing leaves.
    BackOff(Arc<Vec<Held>>),
    Snapshot(std::sync::mpsc::Sender<Vec<PathView>>),
    Stop,
}

/// What a shard reaches others by.
pub(crate) struct ShardLinks {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) to_prepare: Sender<ToPrepare>,
    pub(crate) resolver: UnboundedSender<ToResolver>,
    pub(crate) tls: Tls,
}

/// A source's name, what it sends to, and whose own path it is (empty: everybody's).
type PathKey = (Arc<str>, Arc<str>, Arc<str>);

/// See the module.
pub(crate) struct Shard {
    pub(crate) links: ShardLinks,
    /// By source, destination and whose limits count.
    paths: RefCell<HashMap<PathKey, Rc<Path>>>,
    pub(crate) by_id: RefCell<HashMap<u32, Rc<Path>>>,
    /// By source, receiver and whose limits count.
    pub(crate) sites: RefCell<HashMap<SiteKey, Rc<Site>>>,
    last_id: Cell<u32>,
    ticks: Cell<u32>,
    pub(crate) is_draining: Cell<bool>,
    chance: Cell<u64>,
}

/// What a connection gets when it asks for a message.
pub(crate) enum Take {
    Mail(Box<Mail>),
    /// The rate limit allows the next one then.
    After(Instant),
    Nothing,
}

/// Breakers and rate limits are looked at so often; fine enough for their seconds.
const TICK: Duration = Duration::from_millis(250);
/// No connection is opened to wait longer than this for a token of the rate limit.
const WORTH_OPENING: Duration = Duration::from_secs(1);
/// Deliveries deferred at once when a path stays unreachable: the next probe takes the next ones.
const DEFERRED_AT_ONCE: usize = 256;

/// The thread's body.
pub(crate) fn run(
    links: ShardLinks,
    runtime: &tokio::runtime::Runtime,
    inbox: UnboundedReceiver<ToShard>,
) {
    let shard = Rc::new(Shard::new(links));
    LocalSet::new().block_on(runtime, serve(shard, inbox));
}

async fn serve(shard: Rc<Shard>, mut inbox: UnboundedReceiver<ToShard>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            message = inbox.recv() => match message {
                Some(ToShard::Send(jobs)) => shard.accept(jobs),
                Some(ToShard::Prepared(batch)) => shard.take_back(batch),
                Some(ToShard::Drain) => shard.drain(),
                Some(ToShard::Release) => shard.release(),
                Some(ToShard::AskAgain) => shard.ask_again(),
                Some(ToShard::Shape(answers)) => shard.take_shapes(&answers),
                Some(ToShard::BackOff(held)) => shard.back_off(&held),
                // Whoever asked may have given up.
                Some(ToShard::Snapshot(answer)) => drop(answer.send(shard.views())),
                Some(ToShard::Stop) | None => break,
            },
            _ = tick.tick() => shard.tick(),
        }
    }
}

impl Shard {
    /// A shard without paths.
    pub(crate) fn new(links: ShardLinks) -> Self {
        let chance = Cell::new(links.shared.seed ^ links.index as u64);
        Self {
            links,
            paths: RefCell::default(),
            by_id: RefCell::default(),
            sites: RefCell::default(),
            last_id: Cell::new(0),
            ticks: Cell::new(0),
            is_draining: Cell::new(false),
            chance,
        }
    }

    /// New jobs: ready on their paths, or parked when they could not start soon.
    fn accept(self: &Rc<Self>, jobs: Vec<Job>) {
        let (now, now_us) = (clock::now(), clock::wall_us());
        let park_after = self.links.shared.settings.park_after();
        let mut touched: Vec<Rc<Path>> = Vec::new();
        let mut put_back = Vec::new();
        let rules = self.links.shared.shaping.rules();
        for job in self.ours(jobs) {
            let Some(path) = self.path_of(&job, &rules) else {
                continue;
            };
            let mut state = path.state.borrow_mut();
            let wait = state.wait(&path.site, now);
            if wait > park_after {
                put_back.push(self.park(&mut state, &path.site, job, (now, now_us)));
            } else {
                let delivery = Arc::clone(&job.delivery);
                let bytes = delivery.size_bytes();
                state.ready.push(job.lane(), delivery.org(), bytes, job);
            }
            state.used_at = Some(now);
            drop(state);
            if !touched.last().is_some_and(|last| Rc::ptr_eq(last, &path)) {
                touched.push(path);
            }
        }
        if !put_back.is_empty() {
            self.links.shared.outcomes.push_all(put_back);
        }
        touched.iter().for_each(|path| self.pump(path));
    }

    /// Messages back from the signing pool.
    fn take_back(self: &Rc<Self>, batch: Vec<Prepared>) {
        let mut touched: Vec<Rc<Path>> = Vec::new();
        for Prepared {
            path,
            place,
            mail,
            unfit: unfit_jobs,
        } in batch
        {
            let Some(path) = self.by_id.borrow().get(&path).map(Rc::clone) else {
                continue;
            };
            let mut state = path.state.borrow_mut();
            state.prepared.fill(place, self.still_ours(mail));
            for (job, reason) in unfit_jobs {
                self.finish(unfit(&job, reason, clock::wall_us()));
            }
            drop(state);
            if !touched.last().is_some_and(|last| Rc::ptr_eq(last, &path)) {
                touched.push(path);
            }
        }
        touched.iter().for_each(|path| self.pump(path));
    }

    /// Turns backlog into work.
    pub(crate) fn pump(self: &Rc<Self>, path: &Rc<Path>) {
        if self.is_draining.get() || path.site.is_unshaped.get() {
            return;
        }
        let now = clock::now();
        if !path.site.held_for(now).is_zero() {
            return;
        }
        let limits = &path.site.limits.get();
        let mut state = path.state.borrow_mut();
        let wanted = state.wanted(limits);
        let is_shut = !state.breaker.shut_for(now).is_zero();
        if !is_shut || state.established > 0 {
            let ahead = state.look_ahead(wanted);
            self.prepare(path, &mut state, ahead);
        }
        // Each takes one now and one more in the write of the first one's content; the connection
        // used last is the warmest, and those too many for the load become idle and close.
        for _ in 0..state.prepared.leading().div_ceil(2).min(state.hungry) {
            path.wake.notify_last();
        }
        let is_token_far = path.site.bucket.borrow().ready_at(now, 1) > now + WORTH_OPENING;
        if is_shut || is_token_far {
            return;
        }
        let missing = wanted.saturating_sub(state.connections);
        drop(state);
        for _ in 0..missing {
            if !self.open(path) {
                break;
            }
        }
    }

    fn prepare(&self, path: &Path, state: &mut State, ahead: usize) {
        while state.prepared.len() < ahead {
            let Some(jobs) = state.next_group(&path.site.limits.get()) else {
                break;
            };
            let now_us = clock::wall_us();
            // One message, one time to expire.
            if jobs[0].delivery.is_expired(now_us) {
                for job in jobs {
                    self.links.shared.warmth.give_back(job.ticket.as_deref());
                    self.finish(expired(job.delivery, now_us));
                }
                continue;
            }
            let place = state.prepared.reserve();
            let group = ToPrepare {
                jobs,
                shard: self.links.index,
                path: path.id,
                place,
                is_seven_bit: state.habits.is_seven_bit,
            };
            // The pool ends after the shards, so it is there.
            let _ = self.links.to_prepare.send(group);
        }
    }

    /// Opens a connection if the site's limit allows; else waits for one to close.
    fn open(self: &Rc<Self>, path: &Rc<Path>) -> bool {
        let site = &path.site;
        if site.connections.get() >= site.limits.get().connections {
            let mut waiting = site.waiting.borrow_mut();
            if !waiting.contains(&path.id) {
                waiting.push_back(path.id);
                drop(waiting);
                self.wake_idle_of(site);
            }
            return false;
        }
        site.connections.set(site.connections.get() + 1);
        path.state.borrow_mut().connections += 1;
        self.links.shared.metrics.connections.inc();
        spawn_local(connection::run(Rc::clone(self), Rc::clone(path)));
        true
    }

    /// Idle connections of other paths of the site look whether to make room.
    fn wake_idle_of(&self, site: &Rc<Site>) {
        for path in self
            .by_id
            .borrow()
            .values()
            .filter(|path| Rc::ptr_eq(&path.site, site))
        {
            path.wake.notify_waiters();
        }
    }

    /// A connection is over.
    pub(crate) fn connection_closed(self: &Rc<Self>, path: &Rc<Path>) {
        path.state.borrow_mut().connections -= 1;
        path.site.connections.set(path.site.connections.get() - 1);
        self.links.shared.metrics.connections.dec();
        while path.site.connections.get() < path.site.limits.get().connections {
            let Some(id) = path.site.waiting.borrow_mut().pop_front() else {
                break;
            };
            let next = self.by_id.borrow().get(&id).map(Rc::clone);
            if let Some(next) = next {
                self.pump(&next);
            }
        }
        self.pump(path);
    }

    /// The next message for a connection of this path.
    pub(crate) fn take(self: &Rc<Self>, path: &Rc<Path>) -> Take {
        if self.is_draining.get() {
            return Take::Nothing;
        }
        let held = path.site.held_until.get().filter(|at| *at > clock::now());
        let shared = &self.links.shared;
        if let Some(until) = held
            .or_else(|| shared.lease.renewed_at_best())
            .or_else(|| shared.recording.caught_up_at_best())
        {
            return Take::After(until);
        }
        let mut state = path.state.borrow_mut();
        let Some(tokens) = state.prepared.first().map(|mail| mail.recipients.len()) else {
            return Take::Nothing;
        };
        let mut bucket = path.site.bucket.borrow_mut();
        if let Err(at) = bucket.take(clock::now(), tokens as u64) {
            return Take::After(at);
        }
        let mail = state.prepared.pop();
        drop((bucket, state));
        self.pump(path);
        mail.map_or(Take::Nothing, Take::Mail)
    }

    /// A message goes back to the front: nothing came of it yet.
    pub(crate) fn put_back(&self, path: &Path, mail: Box<Mail>) {
        let tokens = mail.recipients.len() as u64;
        path.site.bucket.borrow_mut().give_back(tokens);
        path.state.borrow_mut().prepared.put_back(mail);
    }

    /// No host of the path could be reached. One message pays with its attempt, as it would have
    /// been on this connection; when the trouble lasts, others of the backlog are deferred too.
    pub(crate) fn connect_failed(&self, path: &Path, failure: &Failure) {
        let now = clock::now();
        let mut state = path.state.borrow_mut();
        // Others of the path work, or one has failed just now: nothing new was learned.
        if state.established > 0 || !state.breaker.shut_for(now).is_zero() {
            return;
        }
        state.breaker.fail(now);
        let lasts = state.breaker.is_lasting() || failure.is_for_good();
        let most = if lasts { DEFERRED_AT_ONCE } else { 1 };
        for _ in 0..most {
            let jobs: Vec<Job> = match state.prepared.pop() {
                Some(mail) => mail.into_jobs().collect(),
                None => state.ready.pop().into_iter().collect(),
            };
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                self.finish(failure.finish(&job, clock::wall_us()));
            }
        }
    }

    pub(crate) fn finish(&self, finished: Finished) {
        self.links.shared.outcomes.push(finished);
    }

    /// The next random number of this shard.
    pub(crate) fn chance(&self) -> u64 {
        let last = self.chance.get();
        let next = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.chance.set(next);
        next ^ (next >> 29)
    }

    fn drain(&self) {
        self.is_draining.set(true);
        self.by_id
            .borrow()
            .values()
            .for_each(|path| path.wake.notify_waiters());
    }

    pub(crate) fn path_of(&self, job: &Job, rules: &Rules) -> Option<Rc<Path>> {
        let destination = job.delivery.destination.as_ref()?;
        let owner = rules.owner(job.delivery.org());
        let source = Arc::clone(&job.source.name);
        let key = (source, Arc::clone(&destination.key), owner);
        if let Some(path) = self.paths.borrow().get(&key) {
            if !Arc::ptr_eq(&path.destination.borrow(), destination) {
                *path.destination.borrow_mut() = Arc::clone(destination);
            }
            if path.source.borrow().as_ref() != job.source.as_ref() {
                *path.source.borrow_mut() = Arc::clone(&job.source);
                path.wake.notify_waiters();
            }
            return Some(Rc::clone(path));
        }
        let limited_as = destination.limited_as();
        let site_key = (
            Arc::clone(&job.source.name),
            Arc::clone(limited_as),
            Arc::clone(&key.2),
        );
        let known = self.sites.borrow().get(&site_key).map(Rc::clone);
        let site = known.unwrap_or_else(|| self.new_site(site_key, destination, rules));
        let id = self.last_id.get().wrapping_add(1);
        self.last_id.set(id);
        let path = Rc::new(Path {
            id,
            source: RefCell::new(Arc::clone(&job.source)),
            destination: RefCell::new(Arc::clone(destination)),
            site,
            state: RefCell::default(),
            wake: Notify::new(),
        });
        path.touch(clock::now());
        self.paths.borrow_mut().insert(key, Rc::clone(&path));
        self.by_id.borrow_mut().insert(id, Rc::clone(&path));
        self.links.shared.metrics.paths.inc();
        Some(path)
    }

    /// Puts a job back without an attempt, due when its path can take it.
    fn park(
        &self,
        state: &mut State,
        site: &Site,
        job: Job,
        (now, now_us): (Instant, u64),
    ) -> Finished {
        let wait = state.wait(site, now);
        let rate = state.pace.rate(site.limits.get().rate.per_second(), now);
        let due_at_us = state.pace.park(now_us, wait, rate);
        self.links.shared.warmth.give_back(job.ticket.as_deref());
        parked(job.delivery, now_us, due_at_us)
    }
}
