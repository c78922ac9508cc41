//! Wakes consumers that wait for records.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// A count of rings. A waiter notes the count, looks for work, and then waits for a later ring: a
/// ring between the look and the wait is not missed.
#[derive(Default)]
pub(crate) struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *self.rings.lock() += 1;
        self.rung.notify_all();
    }

    pub(crate) fn rings(&self) -> u64 {
        *self.rings.lock()
    }

    /// Waits for a ring after the `heard`th; false when the time is over (`None`: never).
    pub(crate) fn wait(&self, heard: u64, deadline: Option<Instant>) -> bool {
        let mut rings = self.rings.lock();
        while *rings == heard {
            match deadline {
                None => self.rung.wait(&mut rings),
                Some(deadline) => {
                    if self.rung.wait_until(&mut rings, deadline).timed_out() {
                        return *rings != heard;
                    }
                }
            }
        }
        true
    }
}
