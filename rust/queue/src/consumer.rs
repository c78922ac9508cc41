//! Reading append topics.
//!
//! **Model.** A consumer has a position per partition; what its group has committed is only where
//! it starts. One poll goes over the partitions that have something, each giving its share of the
//! batch before any gives a second one, and the next poll begins where this one ended.
//! **Law `fair_share`.** A partition with a short queue is served by every poll with room for one
//! record per waiting partition, however long the others are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::entry::Entry;
use crate::error::Error;
use crate::logs::{Commit, Read};
use crate::queue::{Position, TopicId};
use crate::shared::{Request, Shared};

/// One record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// When it was appended, in microseconds since the Unix epoch.
    pub appended_at_us: u64,
    /// The bytes given to `append`, whatever they are.
    pub value: Bytes,
}

/// A record whose bytes on disk are no longer what was written. The position moves past it, so one
/// bad sector does not stop the partition; it must be made known, as it was acknowledged once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// What the storage says.
    pub detail: String,
}

/// What one poll gave; of each partition in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records.
    pub records: Vec<Record>,
    /// Those that cannot be read.
    pub damaged: Vec<Damaged>,
}

impl Batch {
    /// Whether the time was over before there was anything.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.damaged.is_empty()
    }

    /// The offset after the last record of each partition in this batch.
    pub fn next_offsets(&self) -> BTreeMap<Position, u64> {
        let read = self
            .records
            .iter()
            .map(|r| ((r.topic, r.partition), r.offset));
        let damaged = self
            .damaged
            .iter()
            .map(|d| ((d.topic, d.partition), d.offset));
        let mut next = BTreeMap::new();
        for (position, offset) in read.chain(damaged) {
            let after: &mut u64 = next.entry(position).or_default();
            *after = offset.saturating_add(1).max(*after);
        }
        next
    }
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// This offset, or the oldest record if that is later.
    Offset(u64),
    /// The first record appended at or after this time (microseconds since the Unix epoch).
    TimeUs(u64),
}

/// A reader with its own positions; its calls may come from any thread.
pub struct Consumer {
    shared: Arc<Shared>,
    group: String,
    partitions: Vec<(Position, usize)>,
    state: Mutex<State>,
}

struct State {
    offsets: Vec<u64>,
    is_paused: Vec<bool>,
    /// Which partition is served first.
    cursor: usize,
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, group: &str, topics: &[TopicId]) -> Result<Self, Error> {
        let mut partitions = Vec::new();
        for &topic in topics {
            for partition in 0..shared.options.partitions {
                partitions.push(((topic, partition), shared.log(topic, partition)?));
            }
        }
        if shared.options.keep_for.iter().any(|kept| kept == group) {
            let logs = partitions.iter().map(|&(_, log)| log);
            let logs: Vec<_> = logs
                .filter(|&log| !shared.logs.log(log).is_known_to(group))
                .collect();
            if !logs.is_empty() {
                shared.submit(
                    Request::Register {
                        group: group.to_owned(),
                        logs,
                    },
                    0,
                )?;
            }
        }
        let start = |&(_, log): &(Position, usize)| {
            let log = shared.logs.log(log);
            log.committed(group)
                .map_or(0, |commit| commit.offset)
                .max(log.start())
        };
        let offsets: Vec<u64> = partitions.iter().map(start).collect();
        let is_paused = vec![false; offsets.len()];
        let state = Mutex::new(State {
            offsets,
            is_paused,
            cursor: 0,
        });
        Ok(Self {
            shared,
            group: group.to_owned(),
            partitions,
            state,
        })
    }

    /// Waits until there is something or the time is over (then an empty batch). Within the bounds,
    /// but at least one record.
    ///
    /// # Errors
    /// [`Error::Closed`], or when the disk does not answer; then no position has moved.
    pub fn poll(
        &self,
        max_records: usize,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<Batch, Error> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let heard = self.shared.bell.rings();
            self.shared.check_open()?;
            let batch = self.gather(max_records.max(1), max_bytes.max(1))?;
            if !batch.is_empty() || !self.shared.bell.wait(heard, deadline) {
                return Ok(batch);
            }
        }
    }

    fn gather(&self, max_records: usize, max_bytes: usize) -> Result<Batch, Error> {
        let mut state = self.state.lock();
        let mut offsets = state.offsets.clone();
        let count = offsets.len();
        let order = (0..count).map(|i| (state.cursor + i) % count);
        let has_more = |index: usize, offset: u64| {
            offset < self.shared.logs.log(self.partitions[index].1).end()
        };
        let mut waiting: Vec<usize> = order
            .filter(|&index| !state.is_paused[index] && has_more(index, offsets[index]))
            .collect();
        let mut batch = Batch::default();
        let (mut records_left, mut bytes_left) = (max_records, max_bytes);
        while !waiting.is_empty() && records_left > 0 && bytes_left > 0 {
            let share = (records_left / waiting.len()).max(1);
            let byte_share = (bytes_left / waiting.len()).max(1);
            let mut still = Vec::new();
            for index in waiting {
                if records_left == 0 || bytes_left == 0 {
                    break;
                }
                let bytes = self.take(index, &mut offsets[index], share, byte_share, &mut batch)?;
                records_left =
                    max_records.saturating_sub(batch.records.len() + batch.damaged.len());
                bytes_left = bytes_left.saturating_sub(bytes);
                state.cursor = (index + 1) % count;
                if has_more(index, offsets[index]) {
                    still.push(index);
                }
            }
            waiting = still;
        }
        state.offsets = offsets;
        Ok(batch)
    }

    /// Moves one partition's share into the batch; gives its bytes.
    fn take(
        &self,
        index: usize,
        offset: &mut u64,
        max_records: usize,
        max_bytes: usize,
        batch: &mut Batch,
    ) -> Result<usize, Error> {
        let ((topic, partition), log) = self.partitions[index];
        let mut bytes = 0;
        match self
            .shared
            .logs
            .read(log, *offset, max_records, max_bytes)?
        {
            Read::Damaged(at, detail) => {
                batch.damaged.push(Damaged {
                    topic,
                    partition,
                    offset: at,
                    detail,
                });
                *offset = at + 1;
            }
            Read::Entries(entries) => {
                for Entry {
                    offset: at,
                    at_us,
                    value,
                    ..
                } in entries
                {
                    bytes += value.len();
                    *offset = at + 1;
                    let (offset, appended_at_us) = (at, at_us);
                    batch.records.push(Record {
                        topic,
                        partition,
                        offset,
                        appended_at_us,
                        value,
                    });
                }
            }
        }
        Ok(bytes)
    }

    /// Stores (next offset, note) per partition for the group; durable when it returns.
    ///
    /// # Errors
    /// [`Error::NoGroup`], [`Error::BeyondEnd`], or a partition this consumer does not read.
    pub fn commit(&self, commits: &[(Position, Commit)]) -> Result<(), Error> {
        if self.group.is_empty() {
            return Err(Error::NoGroup);
        }
        let check = |(position, commit): &(Position, Commit)| {
            let (_, log) = self.partitions[self.index(*position)?];
            let (offset, end) = (commit.offset, self.shared.logs.log(log).end());
            if offset > end {
                let (topic, partition) = *position;
                let topic = self.shared.spec(topic).name.clone();
                return Err(Error::BeyondEnd {
                    topic,
                    partition,
                    offset,
                    end,
                });
            }
            Ok((log, commit.clone()))
        };
        let commits: Vec<_> = commits.iter().map(check).collect::<Result<_, _>>()?;
        if commits.is_empty() {
            return Ok(());
        }
        self.shared
            .submit(
                Request::Commit {
                    group: self.group.clone(),
                    commits,
                },
                0,
            )
            .map(drop)
    }

    /// What the group has committed for these topics.
    pub fn committed(&self) -> BTreeMap<Position, Commit> {
        let committed = |&(position, log): &(Position, usize)| {
            Some((position, self.shared.logs.log(log).committed(&self.group)?))
        };
        self.partitions.iter().filter_map(committed).collect()
    }

    /// Gives no more records of a partition until it is resumed.
    ///
    /// # Errors
    /// When this consumer does not read it.
    pub fn pause(&self, position: Position) -> Result<(), Error> {
        let index = self.index(position)?;
        self.state.lock().is_paused[index] = true;
        Ok(())
    }

    /// Undoes [`Consumer::pause`].
    ///
    /// # Errors
    /// When this consumer does not read it.
    pub fn resume(&self, position: Position) -> Result<(), Error> {
        let index = self.index(position)?;
        self.state.lock().is_paused[index] = false;
        self.shared.bell.ring();
        Ok(())
    }

    /// Goes on at another record.
    ///
    /// # Errors
    /// When this consumer does not read the partition, or the disk does not answer.
    pub fn seek(&self, position: Position, to: To) -> Result<(), Error> {
        let index = self.index(position)?;
        let log = self.partitions[index].1;
        let offset = match to {
            To::Offset(offset) => offset,
            To::TimeUs(at_us) => self.shared.logs.seek(log, at_us)?,
        };
        let start = self.shared.logs.log(log).start();
        self.state.lock().offsets[index] = offset.max(start);
        self.shared.bell.ring();
        Ok(())
    }

    /// The offset of the next record of each partition.
    pub fn positions(&self) -> BTreeMap<Position, u64> {
        let state = self.state.lock();
        let positions = self.partitions.iter().map(|&(position, _)| position);
        positions.zip(state.offsets.iter().copied()).collect()
    }

    /// Records between the position and the end of each partition.
    pub fn lag(&self) -> BTreeMap<Position, u64> {
        let state = self.state.lock();
        let lag = |(&(position, log), &offset): (&(Position, usize), &u64)| {
            let log = self.shared.logs.log(log);
            (position, log.end().saturating_sub(offset.max(log.start())))
        };
        self.partitions
            .iter()
            .zip(&state.offsets)
            .map(lag)
            .collect()
    }

    fn index(&self, (topic, partition): Position) -> Result<usize, Error> {
        let log = self.shared.log(topic, partition)?;
        let index = self.partitions.iter().position(|&(_, read)| read == log);
        index.ok_or_else(|| Error::NotSubscribed(self.shared.spec(topic).name.clone()))
    }
}
