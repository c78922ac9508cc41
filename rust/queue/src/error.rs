//! What can go wrong, apart from a failing disk (which stops the process).

use std::path::PathBuf;

/// Misuse, shutdown, or a queue that cannot be opened. Nothing of the call was stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process owns the queue.
    #[error(
        "the queue at {path} is in use by {holder}: one process at a time may own an embedded \
         queue; stop it, or let it do the work"
    )]
    Locked {
        /// The queue's directory.
        path: PathBuf,
        /// Process id and command line, as far as known.
        holder: String,
    },
    /// The directory cannot be opened as a queue with these options.
    #[error("the queue at {path} cannot be opened: {detail}")]
    Open {
        /// The queue's directory.
        path: PathBuf,
        /// What is wrong, and what to do where that is known.
        detail: String,
    },
    /// There is no such topic.
    #[error("topic {0:?} is unknown to this queue")]
    UnknownTopic(String),
    /// There is no such partition.
    #[error("topic {topic} has no partition {partition} (there are {partitions})")]
    UnknownPartition {
        /// Name of the topic.
        topic: String,
        /// Partition asked for.
        partition: u32,
        /// Partitions of every topic.
        partitions: u32,
    },
    /// The topic is of the other kind, or key and value do not fit its kind.
    #[error("topic {topic}: {detail}")]
    Misuse {
        /// Name of the topic.
        topic: String,
        /// What does not fit.
        detail: &'static str,
    },
    /// One call holds more than the limit.
    #[error("one append holds {bytes} bytes, more than {limit}: split it")]
    TooLarge {
        /// Bytes of keys and values given.
        bytes: usize,
        /// Most bytes one call may hold.
        limit: usize,
    },
    /// A commit beyond the last record.
    #[error("topic {topic}, partition {partition}: offset {offset} is beyond the end {end}")]
    BeyondEnd {
        /// Name of the topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// Offset to be committed.
        offset: u64,
        /// Offset the next record will get.
        end: u64,
    },
    /// A reader without a group cannot commit.
    #[error("a consumer without a group has nothing to commit to")]
    NoGroup,
    /// The consumer does not read this topic.
    #[error("this consumer does not read topic {0}")]
    NotSubscribed(String),
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// Storage failed earlier: nothing is acknowledged any more.
    #[error(
        "the queue's storage failed; the process must restart, and will find all that was acknowledged"
    )]
    StorageFailed,
    /// A read failed; what is stored may be intact.
    #[error("reading the queue failed: {0}")]
    Read(String),
}
