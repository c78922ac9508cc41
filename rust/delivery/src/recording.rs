//! Whether what ended is being recorded.
//!
//! **Problem.** While the queue takes no events, everything that is sent is something a crash would
//! send again: up to the whole window, where G2 promises open transactions and some moments more.
//! **Model.** The batch of outcomes that was given out has been waiting since its oldest attempt
//! ended. After [`LONGEST_US`] no message begins any more until the batch is recorded; what is on
//! the wire ends.
//! **Law** `bounded_in_hand`: whatever the queue does, what may come twice is what ended within
//! [`LONGEST_US`] of one instant, and what was open then.
//! **Not here.** Whether the partitions are still ours: [`crate::tenure::Lease`].

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use crate::clock;

/// A healthy queue answers within some ten milliseconds, one whose broker has died after seconds.
const LONGEST_US: u64 = 1_000_000;
/// How soon a connection looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const NOTHING: u64 = 0;

/// See the module. Outcomes are taken, and recorded, by one thread.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    /// When the oldest attempt ended that was given out and is not recorded.
    since_us: AtomicU64,
}

impl Recording {
    /// Outcomes were given out; the oldest attempt among them ended then.
    pub(crate) fn given(&self, oldest_us: Option<u64>) {
        if let Some(oldest_us) = oldest_us {
            // One that is still out is older.
            let _ = self
                .since_us
                .compare_exchange(NOTHING, oldest_us, Release, Acquire);
        }
    }

    pub(crate) fn recorded(&self) {
        self.since_us.store(NOTHING, Release);
    }

    /// `None`: messages may begin. Else when to ask again.
    pub(crate) fn caught_up_at_best(&self) -> Option<Instant> {
        let since_us = self.since_us.load(Acquire);
        let is_late = since_us != NOTHING && clock::wall_us() > since_us + LONGEST_US;
        is_late.then(|| clock::now() + LOOK_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_what_was_given_out_long_ago() {
        let recording = Recording::default();
        assert_eq!(recording.caught_up_at_best(), None);
        recording.given(None);
        recording.given(Some(clock::wall_us()));
        assert_eq!(recording.caught_up_at_best(), None);
        recording.recorded();
        recording.given(Some(clock::wall_us() - LONGEST_US - 1));
        // Whatever else is given out, the oldest counts.
        recording.given(Some(clock::wall_us()));
        assert!(recording.caught_up_at_best().is_some());
        recording.recorded();
        assert_eq!(recording.caught_up_at_best(), None);
    }
}
