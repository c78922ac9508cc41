//! How a queue is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postalynk_record::{DLQ, TOPICS, TopicKind};

/// Called once when a write or fsync failed, with what failed in words. Must not return in
/// production: the default writes the text to stderr and aborts the process.
pub type StorageFailureHook = Arc<dyn Fn(&str) + Send + Sync>;

const DAY: Duration = Duration::from_secs(86_400);

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Whether it keeps every record or the newest value of a key.
    pub kind: TopicKind,
    /// Overrides [`Retention::max_age`] for this topic.
    pub max_age: Option<Duration>,
}

/// When the oldest records of append topics go. Zero means no bound.
///
/// Bytes and records are those of all append topics together, and the oldest go first wherever
/// they stand. Beyond a bound, retention cuts to nine tenths of it, so that it runs rarely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age beyond which a record goes.
    pub max_age: Duration,
    /// Bytes on disk.
    pub max_bytes: u64,
    /// Records. The index of the log is in memory (some 45 bytes a record), so this bounds memory.
    pub max_records: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: 7 * DAY,
            max_bytes: 0,
            max_records: 0,
        }
    }
}

/// Settings of one queue.
#[derive(Clone)]
pub struct Options {
    /// Its directory; made if missing.
    pub path: PathBuf,
    /// Partitions of every topic: a power of two up to 4,096. Fixed once the queue exists.
    pub partitions: u32,
    /// The topics. Existing ones keep their place; new ones may be added at the end.
    pub topics: Vec<TopicSpec>,
    /// What may be dropped.
    pub retention: Retention,
    /// Groups whose uncommitted records are never dropped, whatever the retention says. It counts
    /// for the topics such a group has once opened a consumer on.
    pub keep_for: Vec<String>,
    /// Bytes of the newest records kept in memory, so that a consumer that keeps up reads no file.
    pub tail_bytes: usize,
    /// Size at which a log file is closed and the next begun: the unit in which disk is freed.
    pub segment_bytes: u64,
    /// Called when storage fails.
    pub on_storage_failure: StorageFailureHook,
}

impl Options {
    /// The queue of Postalynk at a directory: its topics, 64 partitions, 7 days (dead letters 30).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let spec = |(name, kind): (&str, _)| TopicSpec {
            name: name.to_owned(),
            kind,
            max_age: (name == DLQ).then_some(30 * DAY),
        };
        Self {
            path: path.into(),
            partitions: 64,
            topics: TOPICS.map(spec).into(),
            retention: Retention::default(),
            keep_for: vec!["worker".into(), "recorder".into()],
            tail_bytes: 64 << 20,
            segment_bytes: 128 << 20,
            on_storage_failure: Arc::new(stop_the_process),
        }
    }
}

/// What the kernel could not write it may have dropped and reported only once (fsyncgate): no later
/// success proves anything, so the only safe answer is to stop before anything is acknowledged.
fn stop_the_process(what: &str) {
    eprintln!("postalynk: the queue's storage failed, stopping before anything is lost: {what}");
    std::process::abort();
}
