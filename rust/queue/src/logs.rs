//! Append topics: a log per partition over one stream of files, on raft-engine.
//!
//! **Model.** A log is its records from `start` to `end` (exclusive). raft-engine keeps an index of
//! them and small key-values of each log in memory; the key-values hold what groups committed.
//! **Writing.** Only the leader of the group commit writes. All of a group goes into one batch, so
//! the part of a file that was never synced is exactly one batch: recovery checks the last batch
//! whole, and after a crash nothing half-written can stand before it.
//! **Reading.** Up to `end`, which moves only after the sync: nobody sees what could still be lost.
//! **Freeing disk.** Files go from the oldest on, when nothing live is in them. A committed offset
//! would hold its file for ever, so those are written anew before files are dropped.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use raft_engine::{Command, Config, Engine, LogBatch, ReadableSize, RecoveryMode};

use crate::entry::{Entries, Entry};
use crate::error::Error;
use crate::failure::Failure;
use crate::files::{Files, Watch};
use crate::recovery::Cut;
use crate::tail::{Tail, TailOrder};

/// What a group stored for a partition: the offset of the next record to be read, and a short note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// All records below are done.
    pub offset: u64,
    /// Whatever the group wants to find again beside it.
    pub note: Bytes,
}

/// Key-values of a log: prefix, then the group.
const COMMITTED: u8 = b'c';
/// Where a group first came to a log (kept groups only).
const REGISTERED: u8 = b'r';
/// The end of a log all of whose records were dropped.
const END: &[u8] = b"e";

#[derive(Clone, Default)]
pub(crate) struct Groups {
    pub(crate) committed: BTreeMap<String, Commit>,
    pub(crate) registered: BTreeMap<String, u64>,
}

pub(crate) struct Log {
    region: u64,
    start: AtomicU64,
    end: AtomicU64,
    last_at_us: AtomicU64,
    tail: Tail,
    groups: Mutex<Groups>,
}

/// Writes of one group.
#[derive(Default)]
pub(crate) struct Staged {
    entries: BTreeMap<usize, Vec<Entry>>,
    committed: Vec<(usize, String, Commit)>,
    registered: Vec<(usize, String, u64)>,
    starts: Vec<(usize, u64)>,
    pub(crate) purge: bool,
}

/// What a read gave.
pub(crate) enum Read {
    /// Records in order; none when there is nothing between the position and the end.
    Entries(Vec<Entry>),
    /// The record at this offset is there and its bytes are not what was written.
    Damaged(u64, String),
}

thread_local! {
    /// The instance whose blocks raft-engine's cache of this thread may hold (0: none yet).
    static CACHE_OF: Cell<u64> = const { Cell::new(0) };
}

/// raft-engine keeps the last block it read per thread, found by file number and place only: two
/// queues read on one thread (or one opened twice, as tests do) would be given each other's
/// records. So a thread's cache belongs to the first that reads there; another reads on a thread
/// of its own.
fn with_own_cache<T: Send>(instance: u64, read: impl FnOnce() -> T + Send) -> T {
    if CACHE_OF.get() == 0 {
        CACHE_OF.set(instance);
    }
    if CACHE_OF.get() == instance {
        return read();
    }
    std::thread::scope(|threads| match threads.spawn(read).join() {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

pub(crate) struct Logs {
    /// Number of this opening within the process, from 1.
    instance: u64,
    engine: Engine<Files>,
    watch: Arc<Watch>,
    logs: Vec<Log>,
    order: Mutex<TailOrder>,
}

impl Logs {
    /// Opens the logs with these region ids (log number = place in the list).
    pub(crate) fn open(
        directory: &Path,
        cut_directory: &Path,
        segment_bytes: u64,
        tail_bytes: usize,
        failure: Arc<Failure>,
        regions: impl Iterator<Item = u64>,
    ) -> Result<(Self, Vec<Cut>), String> {
        let config = Config {
            dir: directory
                .to_str()
                .ok_or("its path is not UTF-8")?
                .to_owned(),
            // A torn tail is cut; anything broken before it stops the start with an error.
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            // LZ4 costs more CPU than the append, and bodies are templated or encoded anyway.
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(segment_bytes),
            purge_threshold: ReadableSize(segment_bytes.max(ReadableSize::gb(10).0)),
            // In a reused file the end of content cannot be told from what stood there before.
            enable_log_recycle: false,
            ..Config::default()
        };
        let watch = Arc::new(Watch::new(failure, cut_directory.to_owned()));
        let files = Arc::new(Files(watch.clone()));
        let engine = catch_unwind(AssertUnwindSafe(|| {
            Engine::open_with_file_system(config, files)
        }))
        .map_err(|panic| format!("log: {}", panic_text(&*panic)))?
        .map_err(|error| format!("log: {error}"))?;
        static INSTANCES: AtomicU64 = AtomicU64::new(1);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let regions: Vec<u64> = regions.collect();
        let logs = with_own_cache(instance, || {
            regions
                .iter()
                .map(|&region| Log::load(&engine, region))
                .collect()
        });
        let order = Mutex::new(TailOrder::new(tail_bytes));
        let cuts = watch.take_cuts();
        Ok((
            Self {
                instance,
                engine,
                watch,
                logs,
                order,
            },
            cuts,
        ))
    }

    pub(crate) fn log(&self, log: usize) -> &Log {
        &self.logs[log]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Log)> {
        self.logs.iter().enumerate()
    }

    /// Adds a record to a group's writes; gives its offset. Times of a log never run backwards.
    pub(crate) fn stage_record(
        &self,
        staged: &mut Staged,
        log: usize,
        value: Bytes,
        now_us: u64,
    ) -> u64 {
        let entries = staged.entries.entry(log).or_default();
        let (offset, last_at_us) = match entries.last() {
            Some(last) => (last.offset + 1, last.at_us),
            None => (
                self.logs[log].end(),
                self.logs[log].last_at_us.load(Ordering::Acquire),
            ),
        };
        entries.push(Entry::new(offset, now_us.max(last_at_us), value));
        offset
    }

    /// Writes and syncs; then, and only then, shows it to readers.
    pub(crate) fn write(&self, staged: Staged) -> Result<(), String> {
        let mut batch = LogBatch::default();
        self.fill(&mut batch, &staged)
            .map_err(|error| format!("log: {error}"))?;
        self.engine
            .write(&mut batch, true)
            .map_err(|error| format!("append to log: {error}"))?;
        let mut order = self.order.lock();
        for (log, entries) in staged.entries {
            let Some(last) = entries.last() else { continue };
            let (end, at_us) = (last.offset + 1, last.at_us);
            order.push(log, entries, |log| &self.logs[log].tail);
            self.logs[log].last_at_us.store(at_us, Ordering::Release);
            self.logs[log].end.store(end, Ordering::Release);
        }
        for (log, start) in staged.starts {
            self.logs[log].start.store(start, Ordering::Release);
        }
        for (log, group, commit) in staged.committed {
            self.logs[log].groups.lock().committed.insert(group, commit);
        }
        for (log, group, offset) in staged.registered {
            self.logs[log]
                .groups
                .lock()
                .registered
                .insert(group, offset);
        }
        if staged.purge {
            self.engine.purge_manager().must_purge_all_stale();
        }
        Ok(())
    }

    fn fill(&self, batch: &mut LogBatch, staged: &Staged) -> raft_engine::Result<()> {
        if staged.purge {
            for log in &self.logs {
                log.rewrite_groups(batch)?;
            }
        }
        for &(log, start) in &staged.starts {
            let log = &self.logs[log];
            batch.add_command(log.region, Command::Compact { index: start });
            batch.put(log.region, END.to_vec(), log.end().to_be_bytes().to_vec())?;
        }
        for (log, group, offset) in &staged.registered {
            put(
                batch,
                self.logs[*log].region,
                REGISTERED,
                group,
                *offset,
                &[],
            )?;
        }
        for (log, group, commit) in &staged.committed {
            put(
                batch,
                self.logs[*log].region,
                COMMITTED,
                group,
                commit.offset,
                &commit.note,
            )?;
        }
        for (log, entries) in &staged.entries {
            batch.add_entries::<Entries>(self.logs[*log].region, entries)?;
        }
        Ok(())
    }

    /// Records from an offset on; one that was dropped meanwhile is passed over.
    ///
    /// # Errors
    /// When the disk does not answer. Bytes that fail their checksum are [`Read::Damaged`].
    pub(crate) fn read(
        &self,
        log: usize,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Read, Error> {
        let log = &self.logs[log];
        loop {
            let from = from.max(log.start());
            let to = log.end().min(from.saturating_add(max_records as u64));
            if from >= to {
                return Ok(Read::Entries(Vec::new()));
            }
            if let Some(entries) = log.tail.read(from, to, max_bytes) {
                return Ok(Read::Entries(entries));
            }
            let mut entries = Vec::new();
            let fetched = with_own_cache(self.instance, || {
                let (max, found) = (Some(max_bytes), &mut entries);
                self.engine
                    .fetch_entries_to::<Entries>(log.region, from, to, max, found)
            });
            match fetched {
                _ if !entries.is_empty() => return Ok(Read::Entries(entries)),
                // Retention dropped it, and perhaps its file, under our hands.
                _ if from < log.start() => continue,
                Ok(_) => return Err(Error::Read(format!("offset {from} is missing"))),
                Err(raft_engine::Error::Io(error)) => return Err(Error::Read(error.to_string())),
                Err(error) => return Ok(Read::Damaged(from, error.to_string())),
            }
        }
    }

    /// Offset and time of the first readable record at or after an offset.
    pub(crate) fn first_from(&self, log: usize, from: u64) -> Result<Option<(u64, u64)>, Error> {
        let mut from = from.max(self.logs[log].start());
        if let Some(at_us) = self.logs[log]
            .tail
            .at_us(from)
            .filter(|_| from < self.logs[log].end())
        {
            return Ok(Some((from, at_us)));
        }
        loop {
            match self.read(log, from, 1, 1)? {
                Read::Entries(entries) => {
                    return Ok(entries.first().map(|entry| (entry.offset, entry.at_us)));
                }
                Read::Damaged(offset, _) => from = offset + 1,
            }
        }
    }

    /// Offset of the first record appended at or after a time; the end when there is none.
    pub(crate) fn seek(&self, log: usize, at_us: u64) -> Result<u64, Error> {
        let (mut low, mut high) = (self.logs[log].start(), self.logs[log].end());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_from(log, middle)? {
                Some((offset, found)) if offset < high => {
                    if found < at_us {
                        low = offset + 1;
                    } else {
                        high = middle;
                    }
                }
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Bytes of the log files.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.engine.get_used_size() as u64
    }

    pub(crate) fn records(&self) -> u64 {
        self.logs
            .iter()
            .map(|log| log.end().saturating_sub(log.start()))
            .sum()
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.watch.syncs()
    }
}

impl Log {
    fn load(engine: &Engine<Files>, region: u64) -> Self {
        let mut groups = Groups::default();
        let mut dropped_end = 0;
        let scan = engine.scan_raw_messages(region, None, None, false, |key, value| {
            if let (Some((&prefix, group)), Some((offset, note))) =
                (key.split_first(), value.split_first_chunk())
            {
                let group = String::from_utf8_lossy(group).into_owned();
                let offset = u64::from_be_bytes(*offset);
                let note = Bytes::copy_from_slice(note);
                match prefix {
                    COMMITTED => drop(groups.committed.insert(group, Commit { offset, note })),
                    REGISTERED => drop(groups.registered.insert(group, offset)),
                    _ => dropped_end = offset,
                }
            }
            true
        });
        scan.expect("a scan of key-values is a walk through memory");
        let last = engine.last_index(region);
        let end = last.map_or(0, |last| last + 1).max(dropped_end);
        let start = engine.first_index(region).unwrap_or(end);
        // The newest record that can be read: a damaged one has no time.
        let last_at_us = (start..end).rev().find_map(|offset| {
            engine
                .get_entry::<Entries>(region, offset)
                .ok()
                .flatten()
                .map(|entry| entry.at_us)
        });
        Self {
            region,
            start: start.into(),
            end: end.into(),
            last_at_us: last_at_us.unwrap_or(0).into(),
            tail: Tail::default(),
            groups: Mutex::new(groups),
        }
    }

    /// Offset of the oldest record.
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    /// Offset the next record will get.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn committed(&self, group: &str) -> Option<Commit> {
        self.groups.lock().committed.get(group).cloned()
    }

    pub(crate) fn is_known_to(&self, group: &str) -> bool {
        let groups = self.groups.lock();
        groups.committed.contains_key(group) || groups.registered.contains_key(group)
    }

    /// The offset below which none of the kept groups has anything left to do.
    pub(crate) fn floor(&self, keep_for: &[String]) -> u64 {
        let groups = self.groups.lock();
        let offsets = keep_for.iter().filter_map(|group| {
            let committed = groups.committed.get(group).map(|commit| commit.offset);
            committed.or_else(|| groups.registered.get(group).copied())
        });
        offsets.min().unwrap_or(u64::MAX).min(self.end())
    }

    fn rewrite_groups(&self, batch: &mut LogBatch) -> raft_engine::Result<()> {
        let groups = self.groups.lock();
        for (group, offset) in &groups.registered {
            put(batch, self.region, REGISTERED, group, *offset, &[])?;
        }
        for (group, commit) in &groups.committed {
            put(
                batch,
                self.region,
                COMMITTED,
                group,
                commit.offset,
                &commit.note,
            )?;
        }
        if self.start() > 0 {
            batch.put(self.region, END.to_vec(), self.end().to_be_bytes().to_vec())?;
        }
        Ok(())
    }
}

impl Staged {
    pub(crate) fn commit(&mut self, log: usize, group: String, commit: Commit) {
        self.committed.push((log, group, commit));
    }

    pub(crate) fn register(&mut self, log: usize, group: String, offset: u64) {
        self.registered.push((log, group, offset));
    }

    pub(crate) fn cut(&mut self, log: usize, start: u64) {
        self.starts.push((log, start));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.committed.is_empty()
            && self.registered.is_empty()
            && self.starts.is_empty()
            && !self.purge
    }

    pub(crate) fn has_records(&self) -> bool {
        !self.entries.is_empty()
    }
}

fn put(
    batch: &mut LogBatch,
    region: u64,
    prefix: u8,
    group: &str,
    offset: u64,
    note: &[u8],
) -> raft_engine::Result<()> {
    let key = [&[prefix], group.as_bytes()].concat();
    batch.put(region, key, [&offset.to_be_bytes(), note].concat())
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
        .to_owned()
}
