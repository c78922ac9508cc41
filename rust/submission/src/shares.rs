//! A bounded good that nobody may take more than half of (G6).
//!
//! **Laws.** `law_shares_are_bounded`: the sum never exceeds the total, no one's part its half,
//! and what was dropped is free again.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Connections, or octets held.
#[derive(Debug)]
pub(crate) struct Shares {
    total: u64,
    each: u64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    sum: u64,
    by: HashMap<Arc<str>, u64>,
}

/// What somebody holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    who: Arc<str>,
    held: u64,
}

impl Shares {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        Self::capped(total, 0)
    }

    /// Of which nobody may take more than `each`; 0: half.
    pub(crate) fn capped(total: u64, each: u64) -> Arc<Self> {
        let each = if each == 0 { total.div_ceil(2) } else { each };
        Arc::new(Self {
            total,
            each,
            taken: Mutex::default(),
        })
    }

    /// A share of nothing yet.
    pub(crate) fn of(self: &Arc<Self>, who: &str) -> Share {
        Share {
            shares: Arc::clone(self),
            who: who.into(),
            held: 0,
        }
    }

    pub(crate) fn sum(&self) -> u64 {
        self.taken.lock().sum
    }

    /// Whether nobody holds anything.
    pub(crate) fn is_untouched(&self) -> bool {
        self.sum() == 0
    }
}

impl Share {
    /// Holds `amount` from now on; false, and unchanged, when there is not that much.
    pub(crate) fn set(&mut self, amount: u64) -> bool {
        let mut taken = self.shares.taken.lock();
        let others = taken.sum - self.held;
        let own = taken.by.get(&self.who).copied().unwrap_or(0) - self.held;
        let is_more = amount > self.held;
        let is_over = others + amount > self.shares.total || own + amount > self.shares.each;
        if is_more && is_over {
            return false;
        }
        taken.sum = others + amount;
        if own + amount == 0 {
            taken.by.remove(&self.who);
        } else {
            taken.by.insert(Arc::clone(&self.who), own + amount);
        }
        self.held = amount;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Law: sum ≤ total, each part ≤ its half, and dropping gives back.
        #[test]
        fn law_shares_are_bounded(wishes in prop::collection::vec((0..4usize, 0..8u64), 0..60)) {
            let shares = Shares::new(11);
            let mut held: Vec<Share> = (0..4).map(|n| shares.of(["a", "a", "b", "c"][n])).collect();
            let mut model = [0u64; 4];
            for (who, amount) in wishes {
                let mut next = model;
                next[who] = amount;
                let is_fine = next.iter().sum::<u64>() <= 11 && next[0] + next[1] <= 6 && next[2] <= 6 && next[3] <= 6;
                let is_taken = held[who].set(amount);
                prop_assert_eq!(is_taken, is_fine || amount <= model[who]);
                if is_taken {
                    model = next;
                }
                prop_assert_eq!(shares.sum(), model.iter().sum::<u64>());
            }
            held.clear();
            prop_assert!(shares.is_untouched() && shares.taken.lock().by.is_empty());
        }
    }
}
