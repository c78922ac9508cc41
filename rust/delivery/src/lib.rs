//! The delivery engine: batches of deliveries in, one outcome per attempt out.
//!
//! **Problem.** Thousands of messages a second must leave to thousands of receivers, each with its
//! own limits, its own speed and its own trouble; none may be lost, none silently sent twice, and
//! none may slow down the others.
//! **Model.** Deliveries pass through stages that hand over batches: admitted (decoded, fanned out,
//! counted in the [`Engine`]'s window) → *routable* (their site is known) → dispatched (the policy
//! chose a pool) → ready on a *path* (source and hosts) → composed and signed → on a connection →
//! an outcome, which is over once it is recorded. Paths live in shards, each one thread with its own
//! runtime that owns its paths, so no lock is shared by them; composing and signing run on a pool
//! of their own; nothing here calls Python.
//! **Invariants.** What is admitted comes out as exactly one outcome, unless the engine stops first:
//! then its record was never committed. A low-water mark passes a record only after its outcomes are
//! recorded. The journal has a slot of every attempt whose content may have left.
//! **Laws.** See the modules: `tracker`, `timers`, `journal`, `ready`, `pools`, `classify`.
//! **Not here.** The queue, the policy, when to try again.

#![forbid(unsafe_code)]

mod admit;
mod ahead;
mod alarm;
mod audit;
#[cfg(feature = "bench")]
pub mod bench;
mod breaker;
mod classify;
mod clock;
mod connect;
mod connection;
mod delivery;
mod destination;
mod dispatch;
mod done;
mod doubt;
mod driver;
mod ending;
mod engine;
mod error;
mod habits;
mod host;
mod inbox;
mod journal;
mod late;
mod make;
mod metrics;
mod notification;
mod outcome;
mod pace;
mod path;
mod pools;
mod prepare;
mod promotion;
mod raw;
mod ready;
mod recording;
mod relay;
mod release;
mod reply;
mod resolve;
mod restore;
mod route;
mod secret;
mod settings;
mod shaping;
mod shard;
mod shared;
mod slots;
mod snapshot;
mod standing;
mod stream;
mod sts;
mod suppression;
mod tenure;
mod threads;
mod timers;
mod tls;
mod trace;
mod tracker;
mod transcript;
mod warmup;
mod window;

pub use admit::Undecodable;
pub use audit::{Audit, AuditResult};
pub use classify::{Class, classify};
pub use delivery::Delivery;
pub use engine::{Commit, Engine, RouteBatch, Row};
pub use error::EngineError;
pub use outcome::{Append, Failure, OutcomeBatch};
pub use prepare::SignerKey;
pub use route::{HeaderOp, RouteSpec};
pub use secret::Secret;
pub use settings::{Limits, Settings, SiteLimits};
pub use shaping::PathAsked;
pub use snapshot::PathNow;
pub use standing::Standing;
pub use sts::fetch_sts_policy;
pub use suppression::Suppression;
pub use timers::Timers;
pub use tls::TlsPolicy;
pub use trace::{TraceBatch, TraceLine};
pub use tracker::decode_note;
pub use warmup::{WarmPlan, WarmState};
