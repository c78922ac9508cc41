//! The newest records in memory, so that a consumer that keeps up never reads a file.
//!
//! **Model.** Per log the records from some offset to the end; over all logs first in, first out,
//! bounded by bytes. A record costs no copy: it is the bytes its producer handed in.
//! **Invariant.** What is held of a log is contiguous and ends at its newest record.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::entry::Entry;

/// Counted per record beside its value: what keeping it costs even when it is empty.
const OVERHEAD: usize = 64;

#[derive(Default)]
pub(crate) struct Tail(Mutex<VecDeque<Entry>>);

impl Tail {
    /// Records from `from` up to `to`, within the bounds but at least one; `None` when `from` is
    /// no longer held.
    pub(crate) fn read(&self, from: u64, to: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        let held = self.0.lock();
        let first = held.front().filter(|first| first.offset <= from)?.offset;
        let mut bytes = 0usize;
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(entry.value.len() + OVERHEAD);
            is_first || bytes <= max_bytes
        };
        let range = held.range((from - first) as usize..held.len().min((to - first) as usize));
        Some(range.take_while(fits).cloned().collect())
    }

    pub(crate) fn at_us(&self, offset: u64) -> Option<u64> {
        let held = self.0.lock();
        let first = held.front()?.offset;
        let index = offset.checked_sub(first)?;
        held.get(index as usize).map(|entry| entry.at_us)
    }
}

/// What is held in all tails, oldest first; only the leader of the group commit touches it.
pub(crate) struct TailOrder {
    held: VecDeque<usize>,
    bytes: usize,
    limit: usize,
}

impl TailOrder {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            held: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Adds records to the tail of log number `log`, and drops the oldest of all beyond the limit.
    pub(crate) fn push<'a>(
        &mut self,
        log: usize,
        entries: Vec<Entry>,
        tail_of: impl Fn(usize) -> &'a Tail,
    ) {
        for entry in entries {
            self.bytes += entry.value.len() + OVERHEAD;
            self.held.push_back(log);
            tail_of(log).0.lock().push_back(entry);
        }
        while self.bytes > self.limit {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            if let Some(entry) = tail_of(oldest).0.lock().pop_front() {
                self.bytes -= entry.value.len() + OVERHEAD;
            }
        }
    }
}
