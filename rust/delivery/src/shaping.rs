//! The limits that the policy's `shape` gives to paths.
//!
//! **Model.** A site (one source, one receiver) that nobody has shaped yet asks: it stands in a list
//! that the worker takes, and until its answer comes nothing leaves on it, so no message goes out
//! under limits or TLS that the policy would not have allowed. When the policy changes, every site
//! asks again and keeps what it has meanwhile. Nobody asks while the policy has no `shape`.
//! **Organizations.** One with a `shape` of its own has sites of its own: its limits and connections
//! stand beside those of everybody.
//! **Invariant.** What is answered about a site that is gone is dropped; a site that is waited for
//! is asked about again at the next change of the policy.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use postalynk_throttle::Bucket;

use crate::EngineError;
use crate::clock;
use crate::destination::{Destination, Hosts};
use crate::engine::Engine;
use crate::inbox::Inbox;
use crate::path::{Path, Site};
use crate::settings::SiteLimits;
use crate::shard::{Shard, ToShard};

/// A path (source and site) whose limits the policy is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathAsked {
    /// The egress source.
    pub source: Arc<str>,
    /// The site, or the smart host as one receiver.
    pub site: Arc<str>,
    /// Of the site; empty: none of the known ones.
    pub provider: &'static str,
    /// The organization whose own path it is; empty: everybody's.
    pub org: Arc<str>,
}

/// Names a site within the engine: source, receiver, organization (empty: everybody's).
pub(crate) type SiteKey = (Arc<str>, Arc<str>, Arc<str>);

/// Source and receiver, and until when nothing leaves.
pub(crate) type Held = ((Arc<str>, Arc<str>), Instant);

/// What the worker answers.
#[derive(Clone, Debug)]
pub(crate) struct Shaped {
    pub(crate) key: SiteKey,
    pub(crate) limits: SiteLimits,
}

/// What is in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Whether the policy has a `shape`.
    pub(crate) is_asked: bool,
    /// Organizations with one of their own.
    orgs: HashSet<Box<str>>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Shaping {
    rules: RwLock<Arc<Rules>>,
    pub(crate) asked: Inbox<PathAsked>,
}

impl Rules {
    /// Whose site a delivery of this organization takes: its own, or (empty) everybody's.
    pub(crate) fn owner(&self, org: &str) -> Arc<str> {
        if !self.orgs.is_empty() && self.orgs.contains(org) {
            org.into()
        } else {
            "".into()
        }
    }
}

impl Shaping {
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }
}

impl Engine {
    /// The policy has changed: whether it has a `shape`, and which organizations have their own.
    /// Every path is asked about again, or goes back to the engine's own limits.
    pub fn shape_by_policy(&self, is_asked: bool, orgs: &[String]) {
        let orgs = orgs.iter().map(|org| org.as_str().into()).collect();
        *self.shared.shaping.rules.write() = Arc::new(Rules { is_asked, orgs });
        self.threads.to_all(|| ToShard::AskAgain);
    }

    /// Paths to be shaped, each once; waits for the first, at most `timeout`.
    #[must_use]
    pub fn paths_asked(&self, max: usize, timeout: Duration) -> Vec<PathAsked> {
        self.shared.shaping.asked.take(max, timeout, clock::now())
    }

    /// The answers: zero and empty fields are the engine's own.
    ///
    /// # Errors
    /// [`EngineError::Settings`] names the value; none of them is applied then.
    pub fn shape(&self, answers: Vec<(PathAsked, SiteLimits)>) -> Result<(), EngineError> {
        let mut shaped = Vec::with_capacity(answers.len());
        for (path, limits) in answers {
            limits.check("shape")?;
            let key = (path.source, path.site, path.org);
            shaped.push(Shaped { key, limits });
        }
        let shaped = Arc::new(shaped);
        self.threads.to_all(|| ToShard::Shape(Arc::clone(&shaped)));
        Ok(())
    }

    /// Lets nothing leave on these (source, receiver) until then, in microseconds since the Unix
    /// epoch: the policy's `retry` backs the whole path off. A later instant wins.
    pub fn back_off(&self, paths: &[(String, String, u64)]) {
        let (now, now_us) = (clock::now(), clock::wall_us());
        let held = |(source, site, until_us): &(String, String, u64)| {
            let wait = Duration::from_micros(until_us.saturating_sub(now_us));
            ((source.as_str().into(), site.as_str().into()), now + wait)
        };
        let held: Arc<Vec<_>> = Arc::new(paths.iter().map(held).collect());
        self.threads.to_all(|| ToShard::BackOff(Arc::clone(&held)));
    }
}

impl Shard {
    /// The site a new path belongs to; with a `shape` in force it waits for its answer.
    pub(crate) fn new_site(
        &self,
        key: SiteKey,
        destination: &Destination,
        rules: &Rules,
    ) -> Rc<Site> {
        let shared = &self.links.shared;
        let limits = shared.settings.limits(&key.1, destination.provider);
        let provider = match destination.hosts {
            Hosts::Mx(_) => destination.provider.unwrap_or(""),
            // One receiver for all of them.
            Hosts::SmartHost { .. } => "",
        };
        let site = Rc::new(Site {
            key: key.clone(),
            provider,
            limits: Cell::new(limits),
            is_unshaped: Cell::new(rules.is_asked),
            held_until: Cell::default(),
            bucket: RefCell::new(Bucket::new(limits.rate)),
            connections: Cell::new(0),
            waiting: RefCell::default(),
        });
        if rules.is_asked {
            shared.shaping.asked.push(site.asked());
        }
        self.sites.borrow_mut().insert(key, Rc::clone(&site));
        site
    }

    /// Every site asks again, or goes back to the engine's limits when nobody is there to ask.
    pub(crate) fn ask_again(self: &Rc<Self>) {
        let shared = &self.links.shared;
        let sites: Vec<Rc<Site>> = self.sites.borrow().values().map(Rc::clone).collect();
        if shared.shaping.rules().is_asked {
            let asked = sites.iter().map(|site| site.asked());
            shared.shaping.asked.push_all(asked);
            return;
        }
        for site in &sites {
            self.limit(site, &SiteLimits::default());
        }
    }

    /// Applies the answers about sites of this shard.
    pub(crate) fn take_shapes(self: &Rc<Self>, answers: &[Shaped]) {
        for Shaped { key, limits } in answers {
            let site = self.sites.borrow().get(key).map(Rc::clone);
            if let Some(site) = site {
                self.limit(&site, limits);
            }
        }
    }

    /// Nothing leaves on these until then; what waits too long is parked, without an attempt.
    pub(crate) fn back_off(&self, held: &[Held]) {
        for site in self.sites.borrow().values() {
            for ((source, receiver), until) in held {
                if (source, receiver) == (&site.key.0, &site.key.1) {
                    site.held_until.set(site.held_until.get().max(Some(*until)));
                }
            }
        }
    }

    fn limit(self: &Rc<Self>, site: &Rc<Site>, said: &SiteLimits) {
        let settings = &self.links.shared.settings;
        let provider = Some(site.provider).filter(|provider| !provider.is_empty());
        let limits = settings.limits(&site.key.1, provider).with(said);
        if limits.rate != site.limits.get().rate {
            // What was taken stays taken: a change of limits is no new burst.
            let changed = site.bucket.borrow().with_rate(limits.rate, clock::now());
            *site.bucket.borrow_mut() = changed;
        }
        site.limits.set(limits);
        site.is_unshaped.set(false);
        let is_its = |path: &&Rc<Path>| Rc::ptr_eq(&path.site, site);
        let paths: Vec<Rc<Path>> = self
            .by_id
            .borrow()
            .values()
            .filter(is_its)
            .map(Rc::clone)
            .collect();
        paths.iter().for_each(|path| self.pump(path));
    }
}

impl Site {
    fn asked(&self) -> PathAsked {
        let (source, site, org) = self.key.clone();
        PathAsked {
            source,
            site,
            provider: self.provider,
            org,
        }
    }
}
