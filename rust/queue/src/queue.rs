//! The queue: open, append, read back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::consumer::Consumer;
use crate::error::Error;
use crate::layout;
use crate::lock::ProcessLock;
use crate::logs::Commit;
use crate::options::Options;
use crate::recovery::Recovery;
use crate::shared::{Answer, Request, Shared, Stored};

/// Most bytes of keys and values in one append.
pub const MAX_APPEND_BYTES: usize = 128 << 20;
/// A topic of this queue; get it with [`Queue::topic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub(crate) u16);

/// A partition of a topic.
pub type Position = (TopicId, u32);

/// One record to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Where it goes.
    pub topic: TopicId,
    /// The organization's partition.
    pub partition: u32,
    /// Set for a compacted topic, and only there.
    pub key: Option<Bytes>,
    /// The record; `None` removes the key of a compacted topic.
    pub value: Option<Bytes>,
}

/// What the queue holds and does, for metrics and for refusing work in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Records of append topics.
    pub records: u64,
    /// Bytes of log files.
    pub bytes: u64,
    /// fdatasync calls on log files since the start.
    pub syncs: u64,
}

/// The embedded queue; cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Queue {
    pub(crate) shared: Arc<Shared>,
}

impl Queue {
    /// Opens the queue, or makes it; blocks while the index is rebuilt (seconds for millions of
    /// records). What recovery cut is in the answer and in the log.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process owns it; [`Error::Open`] otherwise.
    pub fn open(options: Options) -> Result<(Self, Recovery), Error> {
        let path = options.path.clone();
        let open_error = |detail: String| Error::Open {
            path: path.clone(),
            detail,
        };
        std::fs::create_dir_all(&path).map_err(|error| open_error(error.to_string()))?;
        let lock = ProcessLock::take(&path)?;
        layout::agree(&options).map_err(open_error)?;
        let (shared, recovery) = Shared::open(options, lock).map_err(open_error)?;
        for cut in &recovery.cuts {
            tracing::warn!(file = %cut.file.display(), offset = cut.offset, bytes = cut.bytes, "{cut}");
        }
        Ok((
            Self {
                shared: Arc::new(shared),
            },
            recovery,
        ))
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.shared.options.partitions
    }

    /// The topic of a name.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`].
    pub fn topic(&self, name: &str) -> Result<TopicId, Error> {
        let topic = self.shared.by_name.get(name).copied();
        topic.ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    /// The name of a topic.
    pub fn name(&self, topic: TopicId) -> &str {
        &self.shared.spec(topic).name
    }

    /// Stores all records; when it returns they are on disk (fdatasync, shared with whoever appends
    /// at the same time). Gives their offsets in order, 0 for those of compacted topics.
    ///
    /// The append-topic records of one call are stored all or none, and before its compacted ones.
    /// `now_us` (microseconds since the Unix epoch) becomes the time of the records; within a
    /// partition it never runs backwards.
    ///
    /// # Errors
    /// When a record does not fit its topic, or the queue is closed; then nothing is stored.
    pub fn append(&self, records: &[Append], now_us: u64) -> Answer {
        let mut bytes = 0;
        let stored = records.iter().map(|record| {
            bytes += record.key.as_ref().map_or(0, Bytes::len);
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            self.shared.check(record)
        });
        let records: Vec<Stored> = stored.collect::<Result<_, _>>()?;
        if bytes > MAX_APPEND_BYTES {
            return Err(Error::TooLarge {
                bytes,
                limit: MAX_APPEND_BYTES,
            });
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.shared
            .submit(Request::Append { records, now_us }, bytes)
    }

    /// The newest value of a key of a compacted topic.
    ///
    /// # Errors
    /// When the topic is no compacted one, or the disk does not answer.
    pub fn get(&self, topic: TopicId, partition: u32, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let space = self.shared.space(topic, partition)?;
        self.shared.compacted.get(space, partition, key)
    }

    /// The newest values of keys, one answer per key, in order.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn get_many(
        &self,
        topic: TopicId,
        partition: u32,
        keys: &[impl AsRef<[u8]>],
    ) -> Result<Vec<Option<Bytes>>, Error> {
        keys.iter()
            .map(|key| self.get(topic, partition, key.as_ref()))
            .collect()
    }

    /// Live (key, value) pairs of a compacted topic in key order, after a key if one is given: a
    /// snapshot of the moment of the call.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn compacted(
        &self,
        topic: TopicId,
        partition: u32,
        after: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(Bytes, Bytes), Error>> + Send + use<>, Error> {
        let space = self.shared.space(topic, partition)?;
        Ok(self.shared.compacted.pairs(space, partition, after))
    }

    /// Removes the keys of a compacted topic last written before a time; gives their number.
    ///
    /// # Errors
    /// As [`Queue::get`], or when the queue is closed.
    pub fn expire(&self, topic: TopicId, before_us: u64) -> Result<u64, Error> {
        const AT_ONCE: usize = 4_096;
        let space = self.shared.space(topic, 0)?;
        let mut expired = self.shared.compacted.expired(space, before_us);
        let mut removed = 0;
        loop {
            let keys: Vec<_> = expired.by_ref().take(AT_ONCE).collect::<Result<_, _>>()?;
            if keys.is_empty() {
                return Ok(removed);
            }
            // The leader looks at each again: it may have been written meanwhile.
            let answer = self.shared.submit(
                Request::Expire {
                    space,
                    keys,
                    before_us,
                },
                0,
            )?;
            removed += answer.iter().sum::<u64>();
        }
    }

    /// A reader of append topics. It starts at what `group` has committed, or at the oldest record.
    /// An empty group cannot commit.
    ///
    /// # Errors
    /// When a topic is no append topic.
    pub fn consumer(&self, group: &str, topics: &[TopicId]) -> Result<Consumer, Error> {
        Consumer::new(self.shared.clone(), group, topics)
    }

    /// (oldest, end) offset of every partition of an append topic; end is what comes next.
    ///
    /// # Errors
    /// When the topic is no append topic.
    pub fn offsets(&self, topic: TopicId) -> Result<Vec<(u64, u64)>, Error> {
        let first = self.shared.log(topic, 0)?;
        let logs = first..first + self.partitions() as usize;
        Ok(logs
            .map(|log| self.shared.logs.log(log))
            .map(|log| (log.start(), log.end()))
            .collect())
    }

    /// When the record at an offset, or the next one there is, was appended.
    ///
    /// # Errors
    /// When the topic is no append topic, or the disk does not answer.
    pub fn oldest_at_us(
        &self,
        topic: TopicId,
        partition: u32,
        offset: u64,
    ) -> Result<Option<u64>, Error> {
        let log = self.shared.log(topic, partition)?;
        Ok(self
            .shared
            .logs
            .first_from(log, offset)?
            .map(|(_, at_us)| at_us))
    }

    /// What a group has committed, over all topics.
    pub fn committed(&self, group: &str) -> BTreeMap<Position, Commit> {
        let logs = self.shared.logs.iter();
        logs.filter_map(|(log, state)| Some((self.shared.position(log), state.committed(group)?)))
            .collect()
    }

    /// What the queue holds.
    pub fn usage(&self) -> Usage {
        let logs = &self.shared.logs;
        Usage {
            records: logs.records(),
            bytes: logs.used_bytes(),
            syncs: logs.syncs(),
        }
    }

    /// Ends it for everyone: waiting polls return, later calls get [`Error::Closed`]. The files and
    /// the lock are let go when the last clone and consumer are dropped.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.bell.ring();
    }
}
