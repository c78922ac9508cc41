//! What is so at one moment: organizations, keys and sender domains.

use postalynk_record::v1::InDoubt;
use std::collections::{HashMap, HashSet};

/// What a message takes over from its organization.
#[derive(Clone, Debug)]
pub struct Organization {
    /// For the policy.
    pub plan: String,
    /// What to do with an attempt whose end nobody knows.
    pub in_doubt: InDoubt,
    /// Slots its messages are spread over; 1: its own.
    pub salt: u32,
}

/// A sender domain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Whose it is.
    pub org: String,
    /// Whether it signs.
    pub is_signing: bool,
}

/// A snapshot that never changes; a newer one takes its place as a whole.
#[derive(Debug, Default)]
pub struct Rules {
    /// By id.
    pub organizations: HashMap<String, Organization>,
    /// Prefixes of the API keys in force.
    pub keys: HashSet<String>,
    /// By A-label.
    pub domains: HashMap<String, Domain>,
    /// This server's name in Received.
    pub host: String,
    /// Partitions of the queue.
    pub partitions: u32,
}
