//! How much may be in the engine at a time.
//!
//! **Model.** Two counters, deliveries and bytes of records: up when admitted, down when recorded.
//! What is not admitted waits in the log, where it costs no memory.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    deliveries: usize,
    bytes: usize,
}

/// See the module.
pub(crate) struct Window {
    max_deliveries: usize,
    max_bytes: usize,
    held: Mutex<Held>,
    freed: Condvar,
}

impl Window {
    pub(crate) fn new(max_deliveries: usize, max_bytes: usize) -> Self {
        Self {
            max_deliveries,
            max_bytes,
            held: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Deliveries that fit now; waits, at most `timeout`, until one does.
    pub(crate) fn room(&self, timeout: Duration, now: Instant) -> usize {
        let mut held = self.held.lock();
        let until = now + timeout;
        while self.free(&held) == 0 {
            if self.freed.wait_until(&mut held, until).timed_out() {
                break;
            }
        }
        self.free(&held)
    }

    fn free(&self, held: &Held) -> usize {
        if held.bytes >= self.max_bytes {
            return 0;
        }
        self.max_deliveries.saturating_sub(held.deliveries)
    }

    /// Counts what was admitted. A record may fan out beyond the room there was: it is taken whole.
    pub(crate) fn enter(&self, deliveries: usize, bytes: usize) {
        let mut held = self.held.lock();
        held.deliveries += deliveries;
        held.bytes += bytes;
    }

    pub(crate) fn leave(&self, deliveries: usize, bytes: usize) {
        let mut held = self.held.lock();
        held.deliveries = held.deliveries.saturating_sub(deliveries);
        held.bytes = held.bytes.saturating_sub(bytes);
        self.freed.notify_all();
    }

    pub(crate) fn deliveries(&self) -> usize {
        self.held.lock().deliveries
    }
}
