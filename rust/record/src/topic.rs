//! The topics and what kind each is.

use crate::v1::Lane;

/// Mail of the high lane.
pub const SEND_HIGH: &str = "email.send.high";
/// Mail of the normal lane.
pub const SEND_NORMAL: &str = "email.send.normal";
/// Mail of the bulk lane.
pub const SEND_BULK: &str = "email.send.bulk";
/// Facts about messages and deliveries.
pub const EVENTS: &str = "email.events";
/// Deliveries that wait for their next attempt (compacted; key = `DeliveryKey`).
pub const DEFERRED: &str = "email.deferred";
/// Messages to be sent at a later time (compacted; key = message id).
pub const SCHEDULED: &str = "email.scheduled";
/// Organizations, key hashes, domains, pools, policies, suppressions (compacted).
pub const CONFIG: &str = "email.config";
/// Idempotency keys claimed at accept (compacted; expired by age).
pub const IDEMPOTENCY: &str = "email.idempotency";
/// Dead letters.
pub const DLQ: &str = "email.dlq";

/// How long a topic keeps what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// Every record in order, until retention drops the oldest.
    Append,
    /// The newest value of every key.
    Compacted,
}

/// Every topic. A new one is added at the end: the embedded log names a topic by its place here.
pub const TOPICS: [(&str, TopicKind); 9] = [
    (SEND_HIGH, TopicKind::Append),
    (SEND_NORMAL, TopicKind::Append),
    (SEND_BULK, TopicKind::Append),
    (EVENTS, TopicKind::Append),
    (DLQ, TopicKind::Append),
    (DEFERRED, TopicKind::Compacted),
    (SCHEDULED, TopicKind::Compacted),
    (CONFIG, TopicKind::Compacted),
    (IDEMPOTENCY, TopicKind::Compacted),
];

/// The topic of a lane.
pub fn send_topic(lane: Lane) -> &'static str {
    match lane {
        Lane::High => SEND_HIGH,
        Lane::Normal => SEND_NORMAL,
        Lane::Bulk => SEND_BULK,
    }
}
