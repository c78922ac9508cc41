//! The embedded queue: partitioned, replayable, durable, in one directory of one process.
//!
//! **Problem.** After a 202 nothing may be lost, on one machine without a broker, at 3,850 messages
//! a second, beside everything else that runs there.
//! **Model.** An append topic is a log per partition: records get offsets, groups commit how far
//! they are and a note, retention drops the oldest. A compacted topic keeps the newest value of
//! every key. Append topics and commits stand on raft-engine (many logs over one stream of files),
//! compacted ones on fjall; see [`Options`] for what can be set.
//! **Durability.** [`Queue::append`] and [`Consumer::commit`] return after fdatasync. Whoever comes
//! while one is running shares the next, so there are many appends to one fdatasync.
//! **When the disk fails.** A failed write or fsync proves that what was written before may be gone
//! too. The process stops ([`Options::on_storage_failure`]); the next start finds all that was
//! acknowledged. Recovery cuts the torn end of the last file and says so ([`Recovery`]).
//! **Laws.** `model`: any sequence of calls, restarts among them, does what a naive model in memory
//! does. `contiguous`: offsets of a partition have no gap and no order but that of the appends.
//! `own_answer` (group commit), `fair_share` (polling), `never_uncommitted` (retention).
//! **Not here.** What a record is: any bytes are handed over as they came. More than one process:
//! that is Kafka. A bit that flips in a file that is not the last: the records of that write are
//! reported as [`Damaged`], or the start is refused when it hit the index; a copy of the queue
//! elsewhere is Kafka's job.

#![forbid(unsafe_code)]

mod bell;
mod compacted;
mod consumer;
mod entry;
mod error;
mod failure;
mod files;
mod group;
mod layout;
mod lock;
mod logs;
mod options;
mod queue;
mod recovery;
mod retention;
mod shared;
mod tail;

pub use consumer::{Batch, Consumer, Damaged, Record, To};
pub use error::Error;
pub use logs::Commit;
pub use options::{Options, Retention, StorageFailureHook, TopicSpec};
pub use postalynk_record::TopicKind;
pub use queue::{Append, MAX_APPEND_BYTES, Position, Queue, TopicId, Usage};
pub use recovery::{Cut, Recovery};
pub use retention::Dropped;
