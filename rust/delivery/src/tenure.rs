//! Whose a partition is, as far as its deliveries are concerned.
//!
//! **Problem.** A partition goes to another worker while its deliveries wait, are composed or are on
//! the wire. What has not begun must not begin any more; what has begun must end, and be recorded,
//! before the other one starts; what ends later than that must not be written as if it were ours.
//! **Model.** Every delivery holds the tenure of its partition under which it was admitted: *held*,
//! then *ending* (nothing begins), then *gone* (nothing counts). A transaction holds a [`Begun`] for
//! each of its recipients until its outcome is recorded.
//! **Law `begun_or_ended`.** After [`Tenure::end`] no [`Begun`] is given; one given before is counted
//! by [`Tenure::begun`] until it is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicUsize};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::clock;

const HELD: u8 = 0;
const ENDING: u8 = 1;
const GONE: u8 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tenure {
    state: AtomicU8,
    begun: AtomicUsize,
}

/// A delivery on the wire, or whose outcome is not recorded yet.
#[derive(Debug)]
pub(crate) struct Begun(Arc<Tenure>);

impl Tenure {
    /// Counts a delivery as begun; `None`: the tenure is over.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Begun> {
        // Counted first, then asked: `end` does it the other way round, so one of both is seen.
        let begun = Begun::of(self);
        (!self.is_over()).then_some(begun)
    }

    pub(crate) fn end(&self) {
        self.state.fetch_max(ENDING, SeqCst);
    }

    pub(crate) fn go(&self) {
        self.state.store(GONE, SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.load(SeqCst) != HELD
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state.load(SeqCst) == GONE
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }
}

impl Begun {
    fn of(tenure: &Arc<Tenure>) -> Self {
        tenure.begun.fetch_add(1, SeqCst);
        Self(Arc::clone(tenure))
    }
}

impl Clone for Begun {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.begun.fetch_sub(1, SeqCst);
    }
}

/// Until when messages may leave; without one, always.
#[derive(Debug, Default)]
pub(crate) struct Lease(RwLock<Option<Instant>>);

/// How soon a connection looks again whether the lease was renewed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Lease {
    pub(crate) fn renew(&self, until: Instant) {
        *self.0.write() = Some(until);
    }

    /// `None`: messages may leave now. Else when to ask again.
    pub(crate) fn renewed_at_best(&self) -> Option<Instant> {
        let until = (*self.0.read())?;
        let now = clock::now();
        (until <= now).then(|| now + LOOK_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Law `begun_or_ended`: of many that begin while it ends, each is refused or counted.
    #[test]
    fn law_begun_or_ended() {
        for _ in 0..200 {
            let tenure = Arc::new(Tenure::default());
            let begun: Vec<_> = std::thread::scope(|scope| {
                let starting: Vec<_> = (0..3)
                    .map(|_| scope.spawn(|| (0..20).filter_map(|_| tenure.begin()).collect()))
                    .collect();
                tenure.end();
                let at_end = tenure.begun();
                let begun: Vec<Vec<Begun>> = starting
                    .into_iter()
                    .map(|thread| thread.join().expect("no panic"))
                    .collect();
                // One that is counted and then refused may be seen, never one that is not counted.
                let given: usize = begun.iter().map(Vec::len).sum();
                assert!(given <= at_end + 57, "{given} {at_end}");
                begun
            });
            assert!(tenure.begin().is_none());
            assert_eq!(tenure.begun(), begun.iter().map(Vec::len).sum::<usize>());
            drop(begun);
            assert_eq!(tenure.begun(), 0);
            tenure.go();
            tenure.end();
            assert!(tenure.is_gone());
        }
    }
}
