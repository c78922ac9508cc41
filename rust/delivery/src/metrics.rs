//! What the engine counts, as Prometheus reads it.
//!
//! **Cardinality.** A site becomes a label only while fewer than [`MOST_SITES`] have one; all others
//! are `other`. Which those are is decided by who comes first after a start: the large ones do.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicI64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::classify::Class;
use crate::outcome::{End, Finished};
use crate::warmup::WarmState;

/// Sites with a label of their own.
const MOST_SITES: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
    class: &'static str,
    site: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WarmLabels {
    source: String,
    provider: String,
    org: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

/// What TLS of a connection came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TlsLabels {
    result: &'static str,
    version: String,
    policy: &'static str,
}

/// See the module.
pub(crate) struct Metrics {
    registry: Registry,
    attempts: Family<AttemptLabels, Counter>,
    latency: Histogram,
    phases: Family<PhaseLabels, Histogram>,
    tls: Family<TlsLabels, Counter>,
    batches: Histogram,
    in_flight: Gauge,
    deferred: Gauge,
    planned: Family<WarmLabels, Gauge>,
    used: Family<WarmLabels, Gauge>,
    held: Family<WarmLabels, Gauge>,
    pub(crate) paths: Gauge<i64, AtomicI64>,
    pub(crate) connections: Gauge<i64, AtomicI64>,
    sites: Mutex<HashSet<String>>,
}

/// Seconds from acceptance to the end: from a good relay's milliseconds to three days of retries.
const LATENCY: [f64; 12] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3_600.0, 21_600.0, 259_200.0,
];
/// Seconds of an SMTP phase: loopback to the RFC's ten minutes.
const PHASE: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0, 600.0];
const BATCH: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0];

fn phase_histogram() -> Histogram {
    Histogram::new(PHASE)
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("postalynk"),
            attempts: Family::default(),
            latency: Histogram::new(LATENCY),
            phases: Family::new_with_constructor(phase_histogram as fn() -> Histogram),
            tls: Family::default(),
            batches: Histogram::new(BATCH),
            in_flight: Gauge::default(),
            deferred: Gauge::default(),
            planned: Family::default(),
            used: Family::default(),
            held: Family::default(),
            paths: Gauge::default(),
            connections: Gauge::default(),
            sites: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        let connections = "Connections by what TLS came to, protocol version and what was demanded";
        r.register("tls_connections", connections, self.tls.clone());
        let seconds = "seconds";
        r.register(
            "attempts",
            "Attempts by outcome, class and site",
            self.attempts.clone(),
        );
        r.register(
            format!("delivery_latency_{seconds}"),
            "From acceptance to the final outcome",
            self.latency.clone(),
        );
        r.register(
            format!("smtp_phase_{seconds}"),
            "Connecting, MAIL to 354, final dot to its reply",
            self.phases.clone(),
        );
        r.register(
            "outcome_batch_size",
            "Outcomes handed over at once",
            self.batches.clone(),
        );
        r.register(
            "in_flight",
            "Deliveries admitted and not yet recorded",
            self.in_flight.clone(),
        );
        r.register(
            "deferred",
            "Deliveries waiting for their next attempt",
            self.deferred.clone(),
        );
        r.register(
            "warmup_planned",
            "Messages a source may send a provider today",
            self.planned.clone(),
        );
        r.register(
            "warmup_used",
            "Messages of today's plan that are gone",
            self.used.clone(),
        );
        r.register(
            "warmup_held_days",
            "Days a plan was held back because receivers blamed the sender",
            self.held.clone(),
        );
        r.register(
            "paths",
            "Paths: source and receiving hosts",
            self.paths.clone(),
        );
        r.register(
            "connections",
            "SMTP connections, open and opening",
            self.connections.clone(),
        );
    }

    /// Counts a batch of endings, each label set once.
    pub(crate) fn ended(&self, entries: &[Finished]) {
        if entries.is_empty() {
            return;
        }
        self.batches.observe(entries.len() as f64);
        let mut counts: HashMap<(End, Option<Class>, &str), u64> = HashMap::new();
        for entry in entries {
            let site = entry.delivery.site();
            *counts.entry((entry.end, entry.class, site)).or_default() += 1;
            if matches!(entry.end, End::Delivered | End::Bounced | End::Expired) {
                let took = entry.at_us.saturating_sub(entry.delivery.accepted_at_us());
                self.latency.observe(took as f64 / 1e6);
            }
            self.observe_phases(entry);
        }
        for ((end, class, site), count) in counts {
            let labels = AttemptLabels {
                outcome: end.as_str(),
                class: class.map_or("", Class::as_str),
                site: self.site_label(site),
            };
            self.attempts.get_or_create(&labels).inc_by(count);
        }
    }

    /// Counts a connection. `version`: of the protocol, empty where there is none.
    pub(crate) fn tls(&self, result: &'static str, version: &str, policy: &'static str) {
        let labels = TlsLabels {
            result,
            version: version.to_owned(),
            policy,
        };
        self.tls.get_or_create(&labels).inc();
    }

    fn observe_phases(&self, entry: &Finished) {
        let tried = &entry.tried;
        let phases = [
            ("connect", tried.connect_us),
            ("mail", tried.mail_us),
            ("dot", tried.dot_us),
        ];
        for (phase, micros) in phases {
            if micros > 0 {
                let histogram = self.phases.get_or_create(&PhaseLabels { phase });
                histogram.observe(f64::from(micros) / 1e6);
            }
        }
    }

    fn site_label(&self, site: &str) -> String {
        let mut sites = self.sites.lock();
        if sites.contains(site) {
            return site.to_owned();
        }
        if sites.len() < MOST_SITES {
            sites.insert(site.to_owned());
            return site.to_owned();
        }
        "other".to_owned()
    }

    /// Replaces what is said of warm-ups: a plan that is over has no figure any more.
    pub(crate) fn warmth(&self, states: Vec<WarmState>) {
        for family in [&self.planned, &self.used, &self.held] {
            family.clear();
        }
        for state in states {
            let labels = WarmLabels {
                source: state.source,
                provider: state.provider,
                org: state.org,
            };
            let figures = [
                (&self.planned, state.per_day),
                (&self.used, state.sent),
                (&self.held, state.held),
            ];
            for (family, figure) in figures {
                family.get_or_create(&labels).set(figure as i64);
            }
        }
    }

    /// The text exposition.
    pub(crate) fn text(&self, in_flight: usize, deferred: usize) -> String {
        self.in_flight.set(in_flight as i64);
        self.deferred.set(deferred as i64);
        let mut text = String::new();
        // Writing to a string cannot fail; an empty text would be seen at once.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
