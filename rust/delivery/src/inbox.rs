//! A queue between threads that hands over whole batches.
//!
//! Bounded by the window: nothing is in an inbox that was not admitted before.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// See the module.
pub(crate) struct Inbox<T> {
    queue: Mutex<VecDeque<T>>,
    filled: Condvar,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            filled: Condvar::new(),
        }
    }
}

impl<T> Inbox<T> {
    pub(crate) fn push(&self, item: T) {
        self.queue.lock().push_back(item);
        self.filled.notify_one();
    }

    pub(crate) fn push_all(&self, items: impl IntoIterator<Item = T>) {
        self.queue.lock().extend(items);
        self.filled.notify_one();
    }

    /// Waits until there is something, at most `timeout`; how many there are.
    pub(crate) fn wait(&self, timeout: Duration, now: Instant) -> usize {
        let mut queue = self.queue.lock();
        let until = now + timeout;
        while queue.is_empty() {
            if self.filled.wait_until(&mut queue, until).timed_out() {
                break;
            }
        }
        queue.len()
    }

    /// Up to `max` items, oldest first; waits for the first one, at most `timeout`.
    pub(crate) fn take(&self, max: usize, timeout: Duration, now: Instant) -> Vec<T> {
        self.wait(timeout, now);
        let mut queue = self.queue.lock();
        let count = queue.len().min(max);
        let taken = queue.drain(..count).collect();
        if !queue.is_empty() {
            self.filled.notify_one();
        }
        taken
    }

    /// Takes out what this is true of.
    pub(crate) fn take_where(&self, is_taken: impl Fn(&T) -> bool) -> Vec<T> {
        let mut queue = self.queue.lock();
        let (taken, rest) = std::mem::take(&mut *queue)
            .into_iter()
            .partition::<Vec<T>, _>(|item| is_taken(item));
        *queue = rest.into();
        taken
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Looks at every waiting item.
    pub(crate) fn each(&self, mut look: impl FnMut(&T)) {
        self.queue.lock().iter().for_each(&mut look);
    }
}
