//! Starting, reaching and stopping the engine's threads.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::Sender;
use parking_lot::Mutex;
use postalynk_dns::Resolver;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock;
use crate::error::EngineError;
use crate::prepare::{self, ToPrepare};
use crate::resolve::{self, ToResolver, Waiting};
use crate::route::Job;
use crate::shard::{self, ShardLinks, ToShard};
use crate::shared::Shared;
use crate::stream::Tls;
use crate::sts::{Fetcher, StsPolicies};

/// See the module.
pub(crate) struct Threads {
    shards: Vec<UnboundedSender<ToShard>>,
    resolver: UnboundedSender<ToResolver>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, EngineError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = &shared.settings;
        let shard_count = or_default(settings.shards, cores.div_ceil(4));
        let signing_count = or_default(settings.signing_threads, cores);
        let (shards, inboxes): (Vec<_>, Vec<_>) =
            (0..shard_count).map(|_| unbounded_channel()).unzip();
        let (resolver, questions) = unbounded_channel();
        let (to_prepare, jobs) = crossbeam_channel::unbounded();
        let mut threads = Self {
            shards,
            resolver,
            running: Mutex::default(),
        };
        threads.start_resolver(shared, questions)?;
        for index in 0..signing_count {
            let (shared, jobs) = (Arc::clone(shared), jobs.clone());
            let shards = threads.shards.clone();
            threads.spawn(format!("sign-{index}"), move || {
                prepare::work(&shared, &jobs, &shards)
            })?;
        }
        let tls = Tls::new()?;
        for (index, inbox) in inboxes.into_iter().enumerate() {
            threads.start_shard(shared, (index, inbox), &to_prepare, &tls)?;
        }
        Ok(threads)
    }

    fn start_resolver(
        &mut self,
        shared: &Arc<Shared>,
        questions: UnboundedReceiver<ToResolver>,
    ) -> Result<(), EngineError> {
        let servers = &shared.settings.dns_servers;
        let servers = (!servers.is_empty()).then(|| servers.clone());
        let resolver = Resolver::new(servers, &shared.settings.dnssec())?;
        let fetcher = Fetcher::new(shared.roots.clone(), shared.settings.sts_port)?;
        // Policies live on this thread alone; a directory that cannot be used is told at start.
        StsPolicies::open(&shared.settings.sts_directory, clock::wall_us() / 1_000_000)
            .map_err(|cause| EngineError::Settings(format!("sts_directory: {cause}")))?;
        let shared = Arc::clone(shared);
        let runtime = runtime()?;
        self.spawn("dns".to_owned(), move || {
            resolve::run(shared, (resolver, fetcher), &runtime, questions)
        })
    }

    fn start_shard(
        &mut self,
        shared: &Arc<Shared>,
        (index, inbox): (usize, UnboundedReceiver<ToShard>),
        to_prepare: &Sender<ToPrepare>,
        tls: &Tls,
    ) -> Result<(), EngineError> {
        let links = ShardLinks {
            index,
            shared: Arc::clone(shared),
            to_prepare: to_prepare.clone(),
            resolver: self.resolver.clone(),
            tls: tls.clone(),
        };
        let runtime = runtime()?;
        self.spawn(format!("shard-{index}"), move || {
            shard::run(links, &runtime, inbox)
        })
    }

    fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), EngineError> {
        let handle = Builder::new()
            .name(name)
            .spawn(body)
            .map_err(EngineError::Thread)?;
        self.running.lock().push(handle);
        Ok(())
    }

    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// A shard that is gone has stopped: what was meant for it stays in the log.
    pub(crate) fn send(&self, shard: usize, jobs: Vec<Job>) {
        let _ = self.shards[shard].send(ToShard::Send(jobs));
    }

    pub(crate) fn resolve(&self, domains: Vec<Waiting>) {
        let _ = self.resolver.send(ToResolver::Domains(domains));
    }

    pub(crate) fn drain(&self) {
        self.to_all(|| ToShard::Drain);
    }

    /// One answer per shard that is still there.
    pub(crate) fn ask<T>(
        &self,
        question: impl Fn(std::sync::mpsc::Sender<T>) -> ToShard,
    ) -> Vec<T> {
        let (answer, answers) = std::sync::mpsc::channel();
        self.to_all(|| question(answer.clone()));
        drop(answer);
        answers.iter().collect()
    }

    pub(crate) fn to_all(&self, message: impl Fn() -> ToShard) {
        for shard in &self.shards {
            let _ = shard.send(message());
        }
    }

    /// Ends all threads; a second call does nothing.
    pub(crate) fn stop(&self) {
        self.to_all(|| ToShard::Stop);
        let _ = self.resolver.send(ToResolver::Stop);
        for handle in std::mem::take(&mut *self.running.lock()) {
            // A thread that panicked has told so on stderr; stopping goes on.
            let _ = handle.join();
        }
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, EngineError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EngineError::Thread)
}

fn or_default(chosen: usize, default: usize) -> usize {
    if chosen == 0 { default.max(1) } else { chosen }
}
