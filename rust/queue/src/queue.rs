//! The queue: open, append, read back.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use postalynk_record::TopicKind;

use crate::bell::Bell;
use crate::compacted::{Compacted, MAX_KEY, Upserts, stored_key, stored_value};
use crate::consumer::Consumer;
use crate::error::Error;
use crate::failure::Failure;
use crate::files::sync_directory;
use crate::group::Group;
use crate::layout;
use crate::lock::ProcessLock;
use crate::logs::{Commit, Logs, Staged, panic_text};
use crate::options::{Options, TopicSpec};
use crate::recovery::Recovery;

/// Most bytes of keys and values in one append.
pub const MAX_APPEND_BYTES: usize = 128 << 20;
/// Bytes one leader writes and syncs in one go; what comes beyond is the next leader's.
const GROUP_BYTES: usize = 32 << 20;
/// Smallest log file, whatever the settings say: below it, files are mostly header.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;

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

pub(crate) enum Request {
    Append {
        records: Vec<Stored>,
        now_us: u64,
    },
    Commit {
        group: String,
        commits: Vec<(usize, Commit)>,
    },
    Register {
        group: String,
        logs: Vec<usize>,
    },
    Cut {
        starts: Vec<(usize, u64)>,
        purge: bool,
    },
    Expire {
        space: usize,
        keys: Vec<Vec<u8>>,
        before_us: u64,
    },
}

/// A checked [`Append`].
pub(crate) enum Stored {
    Record {
        log: usize,
        value: Bytes,
    },
    Upsert {
        space: usize,
        key: Vec<u8>,
        value: Option<Bytes>,
    },
}

pub(crate) type Answer = Result<Vec<u64>, Error>;

pub(crate) struct Shared {
    pub(crate) options: Options,
    by_name: HashMap<String, TopicId>,
    /// Place of a topic among those of its kind.
    places: Vec<usize>,
    pub(crate) logs: Logs,
    compacted: Compacted,
    group: Group<Request, Answer>,
    pub(crate) bell: Bell,
    failure: Arc<Failure>,
    is_closed: AtomicBool,
    /// When files were last dropped, in the caller's time.
    pub(crate) purged_at_us: parking_lot::Mutex<Option<u64>>,
    /// Last, so that it is dropped last: the files are closed before another process may own them.
    _lock: ProcessLock,
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

impl Shared {
    fn open(mut options: Options, lock: ProcessLock) -> Result<(Self, Recovery), String> {
        let max_bytes = options.retention.max_bytes;
        if max_bytes > 0 {
            // Disk is freed by whole files: several must fit below the bound.
            options.segment_bytes = options.segment_bytes.min(max_bytes / 8);
        }
        options.segment_bytes = options.segment_bytes.max(MIN_SEGMENT_BYTES);
        let of_kind = |kind| {
            let topics = options.topics.iter().enumerate();
            topics.filter(move |(_, topic)| topic.kind == kind)
        };
        let partitions = u64::from(options.partitions);
        let regions = of_kind(TopicKind::Append).flat_map(|(number, _)| {
            (0..partitions).map(move |partition| (number as u64 + 1) << 32 | partition)
        });
        let failure = Arc::new(Failure::new(options.on_storage_failure.clone()));
        let (logs, mut cuts) = Logs::open(
            &options.path.join("log"),
            &options.path.join("cut"),
            options.segment_bytes,
            options.tail_bytes,
            failure.clone(),
            regions,
        )?;
        let names: Vec<&str> = of_kind(TopicKind::Compacted)
            .map(|(_, topic)| topic.name.as_str())
            .collect();
        let (compacted, more_cuts) = Compacted::open(&options.path.join("compacted"), &names)?;
        cuts.extend(more_cuts);
        sync_directories(&options.path).map_err(|error| error.to_string())?;
        let shared = Self {
            by_name: by_name(&options.topics),
            places: places(&options.topics),
            options,
            logs,
            compacted,
            group: Group::new(GROUP_BYTES),
            bell: Bell::default(),
            failure,
            is_closed: AtomicBool::new(false),
            purged_at_us: parking_lot::Mutex::new(None),
            _lock: lock,
        };
        Ok((shared, Recovery { cuts }))
    }

    pub(crate) fn submit(&self, request: Request, bytes: usize) -> Answer {
        self.check_open()?;
        self.group
            .submit(request, bytes, |requests| self.lead(requests))
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Does the work of a group. Whatever fails below here is storage: the process stops, and if a
    /// test's hook lets it live, nothing is acknowledged from then on.
    fn lead(&self, requests: Vec<Request>) -> Vec<Answer> {
        let count = requests.len();
        if !self.failure.has_failed() {
            // raft-engine answers a failed fsync with a panic.
            match catch_unwind(AssertUnwindSafe(|| self.write(requests))) {
                Ok(Ok(answers)) => return answers,
                Ok(Err(what)) => self.failure.stop(&what),
                Err(panic) => self.failure.stop(&panic_text(&*panic)),
            }
        }
        (0..count).map(|_| Err(Error::StorageFailed)).collect()
    }

    fn write(&self, requests: Vec<Request>) -> Result<Vec<Answer>, String> {
        let (mut staged, mut upserts) = (Staged::default(), Upserts::new());
        let mut expiries = Vec::new();
        let mut answers = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let mut offsets = Vec::new();
            match request {
                Request::Append { records, now_us } => {
                    let stage = |record| self.stage(&mut staged, &mut upserts, record, now_us);
                    offsets = records.into_iter().map(stage).collect();
                }
                Request::Commit { group, commits } => {
                    for (log, commit) in commits {
                        staged.commit(log, group.clone(), commit);
                    }
                }
                Request::Register { group, logs } => {
                    for log in logs {
                        staged.register(log, group.clone(), self.logs.log(log).start());
                    }
                }
                Request::Cut { starts, purge } => {
                    starts
                        .into_iter()
                        .for_each(|(log, start)| staged.cut(log, start));
                    staged.purge |= purge;
                }
                Request::Expire {
                    space,
                    keys,
                    before_us,
                } => {
                    expiries.push((index, space, keys, before_us));
                }
            }
            answers.push(Ok(offsets));
        }
        let has_records = staged.has_records();
        if !staged.is_empty() {
            self.logs.write(staged)?;
        }
        let compacted_error = |error: fjall::Error| format!("write to compacted topics: {error}");
        self.compacted.write(upserts).map_err(compacted_error)?;
        for (index, space, keys, before_us) in expiries {
            let removed = self.compacted.expire(space, &keys, before_us);
            answers[index] = Ok(vec![removed.map_err(compacted_error)?]);
        }
        if has_records {
            self.bell.ring();
        }
        Ok(answers)
    }

    fn stage(
        &self,
        staged: &mut Staged,
        upserts: &mut Upserts,
        record: Stored,
        now_us: u64,
    ) -> u64 {
        match record {
            Stored::Record { log, value } => self.logs.stage_record(staged, log, value, now_us),
            Stored::Upsert { space, key, value } => {
                let value = value.map(|value| stored_value(now_us, &value));
                upserts.insert((space, key), value);
                0
            }
        }
    }

    fn check(&self, record: &Append) -> Result<Stored, Error> {
        let misuse = |detail| Error::Misuse {
            topic: self.spec(record.topic).name.clone(),
            detail,
        };
        match (self.spec(record.topic).kind, &record.key, &record.value) {
            (TopicKind::Append, None, Some(value)) => {
                let log = self.log(record.topic, record.partition)?;
                Ok(Stored::Record {
                    log,
                    value: value.clone(),
                })
            }
            (TopicKind::Compacted, Some(key), value) if key.len() <= MAX_KEY => {
                let space = self.space(record.topic, record.partition)?;
                let key = stored_key(record.partition, key);
                Ok(Stored::Upsert {
                    space,
                    key,
                    value: value.clone(),
                })
            }
            (TopicKind::Append, Some(_), _) => Err(misuse("an append topic takes no key")),
            (TopicKind::Append, None, None) => {
                Err(misuse("a record of an append topic has a value"))
            }
            (TopicKind::Compacted, None, _) => Err(misuse("a compacted topic needs a key")),
            (TopicKind::Compacted, Some(_), _) => Err(misuse("the key is too long")),
        }
    }

    pub(crate) fn spec(&self, topic: TopicId) -> &TopicSpec {
        &self.options.topics[usize::from(topic.0)]
    }

    /// The log of a partition of an append topic.
    pub(crate) fn log(&self, topic: TopicId, partition: u32) -> Result<usize, Error> {
        let place = self.place(
            topic,
            partition,
            TopicKind::Append,
            "it is a compacted topic",
        )?;
        Ok(place * self.options.partitions as usize + partition as usize)
    }

    /// The keyspace of a compacted topic.
    fn space(&self, topic: TopicId, partition: u32) -> Result<usize, Error> {
        self.place(
            topic,
            partition,
            TopicKind::Compacted,
            "it is an append topic",
        )
    }

    fn place(
        &self,
        topic: TopicId,
        partition: u32,
        kind: TopicKind,
        detail: &'static str,
    ) -> Result<usize, Error> {
        let (spec, partitions) = (self.spec(topic), self.options.partitions);
        if spec.kind != kind {
            return Err(Error::Misuse {
                topic: spec.name.clone(),
                detail,
            });
        }
        if partition >= partitions {
            let topic = spec.name.clone();
            return Err(Error::UnknownPartition {
                topic,
                partition,
                partitions,
            });
        }
        Ok(self.places[usize::from(topic.0)])
    }

    /// The topic and partition of a log.
    pub(crate) fn position(&self, log: usize) -> Position {
        let partitions = self.options.partitions as usize;
        let (place, partition) = (log / partitions, log % partitions);
        let mut appends = self
            .options
            .topics
            .iter()
            .enumerate()
            .filter(|(_, t)| t.kind == TopicKind::Append);
        let (number, _) = appends
            .nth(place)
            .expect("a log belongs to an append topic");
        (TopicId(number as u16), partition as u32)
    }
}

fn by_name(topics: &[TopicSpec]) -> HashMap<String, TopicId> {
    let numbered = topics.iter().enumerate();
    numbered
        .map(|(number, topic)| (topic.name.clone(), TopicId(number as u16)))
        .collect()
}

fn places(topics: &[TopicSpec]) -> Vec<usize> {
    let before = |number: usize| {
        let kind = topics[number].kind;
        topics[..number]
            .iter()
            .filter(|topic| topic.kind == kind)
            .count()
    };
    (0..topics.len()).map(before).collect()
}

/// A file whose directory entry is lost in a power failure is lost with all that was synced to it.
fn sync_directories(path: &Path) -> std::io::Result<()> {
    sync_directory(&path.join("log"))?;
    sync_directory(path)?;
    path.canonicalize()?.parent().map_or(Ok(()), sync_directory)
}
