//! When each deferral, or each scheduled message, is due.
//!
//! **Model.** A map from delivery to its state and a heap of due times; a heap entry that the map
//! no longer agrees with is dropped when it comes up. The deferrals themselves stay in the queue's
//! store: here is what must be in memory, some 100 bytes each.
//! **Laws.** `due_in_order` (what is due comes out once, earliest first), `nothing_early`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use postalynk_record::DeliveryKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting {
        due_at_us: u64,
    },
    /// Handed out by `due`; the deferral still stands in `email.deferred`.
    UnderWay,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    partition: u32,
    state: State,
    /// It stood in `email.deferred` when the engine started.
    is_restored: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Timers {
    timers: HashMap<DeliveryKey, Timer>,
    heap: BinaryHeap<Reverse<(u64, DeliveryKey)>>,
}

impl Timers {
    /// Sets or moves the due time of a deferral that is durable.
    pub fn schedule(&mut self, partition: u32, key: DeliveryKey, due_at_us: u64) {
        let state = State::Waiting { due_at_us };
        self.timers
            .entry(key)
            .and_modify(|timer| timer.state = state)
            .or_insert(Timer {
                partition,
                state,
                is_restored: false,
            });
        self.heap.push(Reverse((due_at_us, key)));
        self.compact();
    }

    /// As [`Self::schedule`], for what stood in `email.deferred` at start.
    pub(crate) fn restore(&mut self, partition: u32, key: DeliveryKey, due_at_us: u64) {
        self.schedule(partition, key, due_at_us);
        if let Some(timer) = self.timers.get_mut(&key) {
            timer.is_restored = true;
        }
    }

    /// Up to `max` deliveries whose time has come, by partition.
    pub fn due(&mut self, now_us: u64, max: usize) -> Vec<(u32, Vec<DeliveryKey>)> {
        let mut due: HashMap<u32, Vec<DeliveryKey>> = HashMap::new();
        let mut count = 0;
        while count < max {
            match self.heap.peek() {
                Some(Reverse((due_at_us, _))) if *due_at_us <= now_us => {}
                _ => break,
            }
            let Some(Reverse((due_at_us, key))) = self.heap.pop() else {
                break;
            };
            let Some(timer) = self.timers.get_mut(&key) else {
                continue;
            };
            if timer.state == (State::Waiting { due_at_us }) {
                timer.state = State::UnderWay;
                due.entry(timer.partition).or_default().push(key);
                count += 1;
            }
        }
        due.into_iter().collect()
    }

    /// Takes one that waits as if it were due; whether it was waiting.
    pub(crate) fn take(&mut self, key: &DeliveryKey) -> bool {
        match self.timers.get_mut(key) {
            Some(timer) if timer.state != State::UnderWay => {
                timer.state = State::UnderWay;
                true
            }
            _ => false,
        }
    }

    /// Moves the due time of one that waits; whether it was waiting.
    pub(crate) fn hasten(&mut self, key: &DeliveryKey, due_at_us: u64) -> bool {
        match self.timers.get_mut(key) {
            Some(timer) if timer.state != State::UnderWay => {
                timer.state = State::Waiting { due_at_us };
                self.heap.push(Reverse((due_at_us, *key)));
                self.compact();
                true
            }
            _ => false,
        }
    }

    /// Forgets all of a partition, which others look after from now on.
    pub fn forget(&mut self, partition: u32) {
        self.timers.retain(|_, timer| timer.partition != partition);
        self.compact();
    }

    /// The deferral is gone; answers whether it was one that stood there at start.
    pub fn remove(&mut self, key: &DeliveryKey) -> bool {
        self.timers
            .remove(key)
            .is_some_and(|timer| timer.is_restored)
    }

    /// Whether a deferral of this delivery stands in `email.deferred`.
    pub(crate) fn contains(&self, key: &DeliveryKey) -> bool {
        self.timers.contains_key(key)
    }

    /// How many there are, those under way too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Moved timers leave dead entries in the heap; more dead than living ones are swept out.
    fn compact(&mut self) {
        if self.heap.len() < 1_024 || self.heap.len() < 2 * self.timers.len() {
            return;
        }
        let living = self
            .timers
            .iter()
            .filter_map(|(key, timer)| match timer.state {
                State::Waiting { due_at_us } => Some(Reverse((due_at_us, *key))),
                State::UnderWay => None,
            });
        self.heap = living.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postalynk_record::MessageId;
    use proptest::prelude::*;

    fn key(n: u32) -> DeliveryKey {
        DeliveryKey {
            id: MessageId::new(1, [7; 10]),
            recipient: n,
        }
    }

    proptest! {
        /// Laws `due_in_order` and `nothing_early`, against a plain map.
        #[test]
        fn law_due_in_order(
            steps in prop::collection::vec((0u32..12, 0u64..50, 0usize..4, any::<bool>()), 0..300),
        ) {
            let mut timers = Timers::default();
            let mut model: HashMap<DeliveryKey, u64> = HashMap::new();
            let mut under_way: Vec<DeliveryKey> = Vec::new();
            let mut now = 0;
            for (n, delay, max, removes) in steps {
                if removes {
                    timers.remove(&key(n));
                    model.remove(&key(n));
                    under_way.retain(|k| *k != key(n));
                } else {
                    timers.schedule(n % 3, key(n), now + delay);
                    model.insert(key(n), now + delay);
                    under_way.retain(|k| *k != key(n));
                }
                now += 3;
                let got: Vec<_> =
                    timers.due(now, max).into_iter().flat_map(|(_, keys)| keys).collect();
                let mut waiting: Vec<u64> =
                    model.values().copied().filter(|due| *due <= now).collect();
                waiting.sort_unstable();
                prop_assert_eq!(got.len(), waiting.len().min(max));
                let mut times: Vec<u64> = got.iter().map(|k| model[k]).collect();
                times.sort_unstable();
                prop_assert_eq!(&times[..], &waiting[..got.len()]);
                for k in got {
                    model.remove(&k);
                    under_way.push(k);
                }
                prop_assert_eq!(timers.len(), model.len() + under_way.len());
            }
        }
    }

    #[test]
    fn dead_entries_are_swept_out() {
        let mut timers = Timers::default();
        for n in 0..10_000 {
            timers.schedule(0, key(n % 10), u64::from(n));
        }
        assert!(timers.heap.len() <= 1_024, "{}", timers.heap.len());
        assert_eq!(timers.due(u64::MAX, 100)[0].1.len(), 10);
    }
}
