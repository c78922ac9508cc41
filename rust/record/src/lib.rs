//! What stands in Postalynk's topics: schema, codec, identities, and the placing of an organization.
//!
//! **Problem.** A record outlives the program that wrote it: it waits in the queue for days, is
//! read by newer and older workers, and may come back from the dead-letter topic. Its bytes are
//! therefore a promise.
//! **Format.** One magic byte (`0x9B`), one schema byte (`1`), then a protobuf message of
//! `proto/postalynk.proto`. Nothing needed lives in headers.
//! **Invariants.** What is passed on is the bytes that came ([`Record::raw`]), never a
//! re-encoding, so fields a reader does not know survive it. Decoding copies no body: every
//! `bytes` field is a slice of the record.
//! **Laws.** `decode_never_panics`, `decode_inverts_encode`, `key_roundtrip` and `key_order`
//! (delivery keys), `id_order` (ids sort by time), `partition_stable`, `clean_split`,
//! `salted_among`.
//! Golden files in `tests/vectors/record/v1` pin the bytes of the schema version.
//! **Not here.** Storage (`rust/queue`), and what any field means for delivery.

#![forbid(unsafe_code)]

mod codec;
mod id;
mod partition;
mod topic;

/// The messages of schema version 1, generated from `proto/postalynk.proto`; see there for fields.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/postalynk.record.v1.rs"));
}

pub use codec::{Check, DecodeError, MAGIC, MAX_RECIPIENTS, Record, SCHEMA, decode, encode};
pub use id::{DeliveryKey, IdError, MessageId};
pub use partition::{SLOTS, of_message, of_organization, partition, slot};
pub use topic::{
    CONFIG, DEFERRED, DLQ, EVENTS, IDEMPOTENCY, SCHEDULED, SEND_BULK, SEND_HIGH, SEND_NORMAL,
    TOPICS, TopicKind, send_topic,
};
