//! What all threads of the engine share.
//!
//! **Locks.** Each is taken for one batch at a time and never while another is held; none is taken
//! on the way of a message between its path and the wire.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use postalynk_record::DeliveryKey;
use postalynk_smtp::EhloName;
use postalynk_smtp::server::Credentials;

use crate::clock;
use crate::delivery::Delivery;
use crate::destination::Destination;
use crate::done::DoneSet;
use crate::error::EngineError;
use crate::inbox::Inbox;
use crate::journal::{Doubt, Journal};
use crate::metrics::Metrics;
use crate::outcome::Finished;
use crate::pools::Pools;
use crate::prepare::Signers;
use crate::recording::Recording;
use crate::settings::Settings;
use crate::shaping::Shaping;
use crate::standing::Standings;
use crate::suppression::Suppressions;
use crate::tenure::{Lease, Tenure};
use crate::timers::Timers;
use crate::tls::{Reports, Roots};
use crate::trace::Traces;
use crate::tracker::Tracker;
use crate::warmup::Warmth;
use crate::window::Window;

/// What is known about deliveries that are not under way.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) tracker: Tracker,
    pub(crate) timers: Timers,
    pub(crate) done: DoneSet,
    /// Attempts the journal shows open and nothing has answered yet.
    pub(crate) doubts: HashMap<DeliveryKey, Doubt>,
    /// Slots of those that are answered and not freed yet.
    pub(crate) answered: Vec<u32>,
    /// Partitions go to other workers and come back.
    pub(crate) is_shared: bool,
    /// Of each partition something was admitted from.
    pub(crate) tenures: HashMap<u32, Arc<Tenure>>,
}

impl Books {
    pub(crate) fn tenure(&mut self, partition: u32) -> Arc<Tenure> {
        Arc::clone(self.tenures.entry(partition).or_default())
    }
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) started_at_us: u64,
    pub(crate) window: Window,
    pub(crate) books: Mutex<Books>,
    pub(crate) journal: Journal,
    pub(crate) places: Mutex<Places>,
    pub(crate) pools: RwLock<Arc<Pools>>,
    pub(crate) signers: RwLock<Arc<Signers>>,
    pub(crate) shaping: Shaping,
    pub(crate) warmth: Warmth,
    pub(crate) standings: Standings,
    pub(crate) suppressions: Suppressions,
    pub(crate) routable: Inbox<Arc<Delivery>>,
    pub(crate) outcomes: Inbox<Finished>,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Arc<Traces>,
    /// Whom certificates are checked against.
    pub(crate) roots: Roots,
    /// How we log in to the smart host.
    pub(crate) login: Option<Arc<Credentials>>,
    /// TLS sessions by domain, for the daily report.
    pub(crate) reports: Reports,
    /// Transactions between MAIL and their result.
    pub(crate) open_transactions: AtomicUsize,
    pub(crate) is_draining: AtomicBool,
    pub(crate) lease: Lease,
    pub(crate) recording: Recording,
}

impl Shared {
    /// Opens what outlives a process and starts everything else empty.
    pub(crate) fn open(settings: Settings) -> Result<Self, EngineError> {
        settings.check()?;
        let started_at_us = clock::wall_us();
        let (journal, doubts) = if settings.journal.as_os_str().is_empty() {
            (Journal::none(), Default::default())
        } else {
            Journal::open(&settings.journal, started_at_us)?
        };
        let ehlo = EhloName::new(settings.ehlo_name())
            .map_err(|error| EngineError::Settings(format!("ehlo: {error}")))?;
        let seed = if settings.seed == 0 {
            random_seed()
        } else {
            settings.seed
        };
        Ok(Self {
            seed,
            started_at_us,
            window: Window::new(settings.max_in_flight, settings.max_bytes),
            books: Mutex::new(Books {
                doubts,
                ..Books::default()
            }),
            journal,
            places: Mutex::new(Places::default()),
            pools: RwLock::new(Arc::new(Pools::implicit(ehlo))),
            signers: RwLock::new(Arc::new(Signers::default())),
            shaping: Shaping::default(),
            warmth: Warmth::beside(&settings.journal, started_at_us),
            standings: Standings::default(),
            suppressions: Suppressions::default(),
            routable: Inbox::default(),
            outcomes: Inbox::default(),
            metrics: Metrics::new(),
            traces: Default::default(),
            login: settings.login(),
            roots: Roots::load(&settings.tls_ca_file)?,
            reports: Reports::open(&settings.tls_report),
            open_transactions: Default::default(),
            is_draining: Default::default(),
            lease: Default::default(),
            recording: Default::default(),
            settings,
        })
    }
}

/// Destinations by domain, as long as their DNS answer is valid.
#[derive(Debug, Default)]
pub(crate) struct Places {
    known: HashMap<Box<str>, (Arc<Destination>, Option<Instant>)>,
}

/// Domains remembered; beyond it the memory begins anew, and the resolver's cache still answers.
const MOST_PLACES: usize = 100_000;

impl Places {
    pub(crate) fn get(&self, domain: &str, now: Instant) -> Option<Arc<Destination>> {
        let (destination, valid_until) = self.known.get(domain)?;
        valid_until
            .is_none_or(|until| now < until)
            .then(|| Arc::clone(destination))
    }

    pub(crate) fn put(
        &mut self,
        domain: &str,
        destination: &Arc<Destination>,
        valid_until: Option<Instant>,
    ) {
        if self.known.len() >= MOST_PLACES {
            self.known.clear();
        }
        self.known
            .insert(domain.into(), (Arc::clone(destination), valid_until));
    }
}

/// A seed of the process: the address space layout and the clock are enough to spread load.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
