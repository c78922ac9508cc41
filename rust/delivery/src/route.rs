//! What the policy decided, and a delivery that carries it.

use std::sync::Arc;
use std::time::Instant;

use crate::delivery::Delivery;
use crate::pools::Source;
use crate::warmup::Ticket;

/// What to do with a header field of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderOp {
    /// Replace all fields of this name by one.
    Set(String, String),
    /// One more field.
    Add(String, String),
    /// Drop all fields of this name.
    Remove(String),
}

/// A route as the policy gives it; many deliveries share one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSpec {
    /// The pool to leave by.
    pub pool: String,
    /// Pools to try in order when it has no source.
    pub fallback: Vec<String>,
    /// Not before this time, in microseconds since the Unix epoch; 0: at once.
    pub not_before_us: u64,
    /// Applied in order.
    pub headers: Vec<HeaderOp>,
    /// The lane it waits in on its path: 0 high, 1 normal, 2 bulk; `None`: its message's.
    pub lane: Option<u8>,
    /// The source of the pool to leave by; empty: its organization's.
    pub pin: String,
    /// The policy's words.
    pub reason: String,
    /// The policy failed and this is the configured fallback (G4).
    pub is_fallback: bool,
    /// Version of the policy that decided.
    pub policy_version: String,
}

/// A delivery with its route: what paths and connections work on.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) route: Arc<RouteSpec>,
    pub(crate) pool: Arc<str>,
    pub(crate) source: Arc<Source>,
    /// When it came to its path.
    pub(crate) ready_at: Instant,
    /// What it was allowed of a warm-up's day; given back when it does not go.
    pub(crate) ticket: Option<Arc<Ticket>>,
    /// Why it leaves by another pool than the route's first, for the record.
    pub(crate) note: Option<Arc<str>>,
}

impl Job {
    /// The lane it waits in.
    pub(crate) fn lane(&self) -> usize {
        self.route
            .lane
            .map_or_else(|| self.delivery.lane_index(), usize::from)
    }
}
