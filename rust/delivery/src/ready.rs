//! What may go out now on one path.
//!
//! **Model.** Three lanes; in each, a queue per organization, served by deficit round robin: a turn
//! brings an organization one unit of credit, and its next item goes when there is credit for it. An
//! item costs a unit per [`UNIT_BYTES`], so ordinary mail takes turns one by one, and large mail does
//! not take the path's bandwidth from small. The high lane goes first, but every fifth pick begins
//! with the normal lane and every twenty-fifth with bulk, so a lane that never empties starves none.
//! **Laws.** `fifo_per_organization`, `fair_turns` (between two picks of one organization in a lane,
//! no other of it is picked twice, when all items are ordinary), `fair_bytes` (of two that never run
//! out, neither gets more units than the other by more than one item's), `no_lane_starves`.
//! **Source.** Shreedhar and Varghese, Efficient Fair Queueing using Deficit Round Robin, 1995.
//! **Not here.** How much there may be (the window) and for how long (parking).

use std::collections::{HashMap, VecDeque};

/// Lanes in order of precedence.
const LANES: usize = 3;

/// What one turn is worth. Most mail is smaller; an attachment of a megabyte takes 32 turns.
const UNIT_BYTES: usize = 32 * 1_024;

/// What waits for one organization, each with its cost.
#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(u32, T)>,
    credit: u32,
}

#[derive(Debug)]
struct Lane<T> {
    queues: HashMap<Box<str>, Waiting<T>>,
    /// Organizations that have something, the next to be served first.
    turns: VecDeque<Box<str>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ReadyQueue<T> {
    lanes: [Lane<T>; LANES],
    picks: u32,
    len: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<T> Default for ReadyQueue<T> {
    fn default() -> Self {
        Self {
            lanes: Default::default(),
            picks: 0,
            len: 0,
        }
    }
}

impl<T> ReadyQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lane 0 is the high one; `bytes`: what sending it takes.
    pub(crate) fn push(&mut self, lane: usize, org: &str, bytes: usize, item: T) {
        let lane = &mut self.lanes[lane.min(LANES - 1)];
        self.len += 1;
        let cost = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .max(1);
        if let Some(queue) = lane.queues.get_mut(org) {
            queue.items.push_back((cost, item));
        } else {
            let queue = Waiting {
                items: VecDeque::from([(cost, item)]),
                credit: 0,
            };
            lane.queues.insert(org.into(), queue);
            lane.turns.push_back(org.into());
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.picks = self.picks.wrapping_add(1);
        let first = match self.picks {
            n if n.is_multiple_of(25) => 2,
            n if n.is_multiple_of(5) => 1,
            _ => 0,
        };
        let item = std::iter::once(first)
            .chain(0..LANES)
            .find_map(|lane| self.lanes[lane].pop())?;
        self.len -= 1;
        Some(item)
    }

    /// Takes from the front of one queue what this is true of, at most so many. It costs the
    /// organization no turn: what is alike leaves in one transaction.
    pub(crate) fn pop_alike(
        &mut self,
        lane: usize,
        org: &str,
        most: usize,
        is_alike: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let lane = &mut self.lanes[lane.min(LANES - 1)];
        let mut taken = Vec::new();
        let Some(queue) = lane.queues.get_mut(org) else {
            return taken;
        };
        while taken.len() < most && queue.items.front().is_some_and(|(_, item)| is_alike(item)) {
            taken.extend(queue.items.pop_front().map(|(_, item)| item));
        }
        if queue.items.is_empty() {
            lane.queues.remove(org);
            lane.turns.retain(|other| &**other != org);
        }
        self.len -= taken.len();
        taken
    }

    /// Takes from the front of every queue what this is true of, until it is not.
    pub(crate) fn drain_front(&mut self, mut is_taken: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            for queue in lane.queues.values_mut() {
                while queue.items.front().is_some_and(|(_, item)| is_taken(item)) {
                    taken.extend(queue.items.pop_front().map(|(_, item)| item));
                }
            }
            lane.queues.retain(|_, queue| !queue.items.is_empty());
            let queues = &lane.queues;
            lane.turns.retain(|org| queues.contains_key(org));
        }
        self.len -= taken.len();
        taken
    }

    /// Takes what this is true of, wherever it waits.
    pub(crate) fn take_where(&mut self, is_taken: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            for queue in lane.queues.values_mut() {
                let (gone, rest) = std::mem::take(&mut queue.items)
                    .into_iter()
                    .partition::<Vec<(u32, T)>, _>(|(_, item)| is_taken(item));
                taken.extend(gone.into_iter().map(|(_, item)| item));
                queue.items = rest.into();
            }
            lane.queues.retain(|_, queue| !queue.items.is_empty());
            let queues = &lane.queues;
            lane.turns.retain(|org| queues.contains_key(org));
        }
        self.len -= taken.len();
        taken
    }

    /// Calls with lane, organization and how many wait.
    pub(crate) fn each_queue(&self, mut look: impl FnMut(usize, &str, usize)) {
        for (index, lane) in self.lanes.iter().enumerate() {
            lane.queues
                .iter()
                .for_each(|(org, queue)| look(index, org, queue.items.len()));
        }
    }
}

impl<T> Lane<T> {
    fn pop(&mut self) -> Option<T> {
        loop {
            let org = self.turns.pop_front()?;
            let is_alone = self.turns.is_empty();
            let queue = self.queues.get_mut(&org)?;
            let cost = queue.items.front()?.0;
            queue.credit = if is_alone { cost } else { queue.credit + 1 };
            if queue.credit < cost {
                self.turns.push_back(org);
                continue;
            }
            queue.credit -= cost;
            let item = queue.items.pop_front();
            if queue.items.is_empty() {
                self.queues.remove(&org);
            } else {
                self.turns.push_back(org);
            }
            return item.map(|(_, item)| item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Laws `fifo_per_organization` and `fair_turns`.
        #[test]
        fn law_fifo_and_fair_turns(items in prop::collection::vec((0usize..3, 0u8..5), 0..200)) {
            let mut queue = ReadyQueue::default();
            for (n, (lane, org)) in items.iter().enumerate() {
                queue.push(*lane, &org.to_string(), 2_000, (*lane, *org, n));
            }
            let mut served = Vec::new();
            while let Some(item) = queue.pop() {
                served.push(item);
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(served.len(), items.len());
            for lane in 0..3 {
                let picks: Vec<_> = served.iter().filter(|(l, ..)| *l == lane).collect();
                for org in 0..5 {
                    let own: Vec<usize> =
                        picks.iter().filter(|(_, o, _)| *o == org).map(|(.., n)| *n).collect();
                    prop_assert!(own.is_sorted(), "first in, first out");
                    let at: Vec<usize> = (0..picks.len()).filter(|i| picks[*i].1 == org).collect();
                    for pair in at.windows(2) {
                        let mut others: Vec<u8> =
                            picks[pair[0] + 1..pair[1]].iter().map(|(_, o, _)| *o).collect();
                        let count = others.len();
                        others.sort_unstable();
                        others.dedup();
                        prop_assert_eq!(others.len(), count, "one turn each");
                    }
                }
            }
        }

        /// Law `fair_bytes`: of two that never run out, units differ by at most one item's cost.
        #[test]
        fn law_fair_bytes(large in 1usize..50, picks in 1usize..200) {
            let mut queue = ReadyQueue::default();
            for _ in 0..200 {
                queue.push(1, "small", 2_000, 1);
                queue.push(1, "large", large * UNIT_BYTES, large);
            }
            let (mut small, mut heavy) = (0usize, 0usize);
            for _ in 0..picks {
                match queue.pop() {
                    Some(1) if large > 1 => small += 1,
                    Some(cost) if large > 1 => heavy += cost,
                    _ => {}
                }
            }
            prop_assert!(small.abs_diff(heavy) <= large, "{small} {heavy}");
        }

        /// Law `no_lane_starves`: with all lanes full, each is picked within 25 picks.
        #[test]
        fn law_no_lane_starves(start in 0usize..50) {
            let mut queue = ReadyQueue::default();
            for n in 0..300 {
                queue.push(n % 3, "org", 0, n % 3);
            }
            let picks: Vec<usize> = (0..start + 25).filter_map(|_| queue.pop()).collect();
            for lane in 0..3 {
                prop_assert!(picks[start..].contains(&lane));
            }
        }
    }

    #[test]
    fn draining_the_front_keeps_the_rest() {
        let mut queue = ReadyQueue::default();
        for n in 0..10 {
            queue.push(1, if n % 2 == 0 { "a" } else { "b" }, 0, n);
        }
        assert_eq!(queue.drain_front(|n| *n < 5).len(), 5);
        assert_eq!(queue.len(), 5);
        let rest: Vec<i32> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(rest.iter().all(|n| *n >= 5) && rest.len() == 5);
    }
}
