//! What queue and consumers share, and the leader's work: one group of requests, one write.
//!
//! **Order.** Records, commits and cuts go into one batch of the log, which is synced; then the
//! compacted topics are written and synced; then readers are woken and the callers answered.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use postalynk_record::TopicKind;

use crate::bell::Bell;
use crate::compacted::{Compacted, MAX_KEY, Upserts, stored_key, stored_value};
use crate::error::Error;
use crate::failure::Failure;
use crate::files::sync_directory;
use crate::group::Group;
use crate::lock::ProcessLock;
use crate::logs::{Commit, Logs, Staged, panic_text};
use crate::options::{Options, TopicSpec};
use crate::queue::{Append, Position, TopicId};
use crate::recovery::Recovery;

/// Bytes one leader writes and syncs in one go; what comes beyond is the next leader's.
const GROUP_BYTES: usize = 32 << 20;
/// Smallest log file, whatever the settings say: below it, files are mostly header.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;

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
    pub(crate) by_name: HashMap<String, TopicId>,
    /// Place of a topic among those of its kind.
    places: Vec<usize>,
    pub(crate) logs: Logs,
    pub(crate) compacted: Compacted,
    group: Group<Request, Answer>,
    pub(crate) bell: Bell,
    failure: Arc<Failure>,
    pub(crate) is_closed: AtomicBool,
    /// When files were last dropped, in the caller's time.
    pub(crate) purged_at_us: parking_lot::Mutex<Option<u64>>,
    /// Last, so that it is dropped last: the files are closed before another process may own them.
    _lock: ProcessLock,
}

impl Shared {
    pub(crate) fn open(
        mut options: Options,
        lock: ProcessLock,
    ) -> Result<(Self, Recovery), String> {
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

    pub(crate) fn check(&self, record: &Append) -> Result<Stored, Error> {
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
    pub(crate) fn space(&self, topic: TopicId, partition: u32) -> Result<usize, Error> {
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
