//! How much may be in the engine at a time, and how much of it may be one organization's.
//!
//! **Model.** Two counters, deliveries and bytes of records: up when admitted, down when recorded.
//! What is not admitted waits in the log, where it costs no memory.
//! **Shares.** An organization *crowds* once it holds as many deliveries as there is room left for
//! all others: one alone may hold half of the window, two a third each. What then comes of it from
//! the log, in every partition it has records of, is read no further for a while ([`Window::crowded`]); if it keeps crowding and what it
//! holds would take long to leave, because a receiver is slow or down, the rest of its mail is
//! parked at once ([`Window::park`]), so that it holds up nobody who shares its partition either.
//! **Law `room_for_others`.** Whatever one organization does, others find room.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A crowding organization is given so long to show that its mail leaves.
const PATIENCE: Duration = Duration::from_secs(5);
/// What leaves within this is worth waiting for; parking for less only churns the deferral store.
const SOON_S: f64 = 10.0;
/// Nothing is parked for longer on a guess from what left lately.
const LONGEST_S: f64 = 600.0;
/// Rates are averaged over so much.
const MEMORY_S: f64 = 10.0;

#[derive(Debug)]
struct Share {
    /// Where its deliveries come from, and how many of them: one partition, but for a salted one.
    partitions: Vec<(u32, usize)>,
    deliveries: usize,
    /// Attempts that ended lately, a second: a decaying average, true at `at`.
    rate: f64,
    at: Instant,
    crowds_since: Option<Instant>,
    parked_until_us: u64,
}

#[derive(Debug, Default)]
struct Held {
    deliveries: usize,
    bytes: usize,
    shares: HashMap<Box<str>, Share>,
}

/// See the module.
pub(crate) struct Window {
    max_deliveries: usize,
    max_bytes: usize,
    held: Mutex<Held>,
    freed: Condvar,
}

/// A delivery that enters or leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) org: &'a str,
    pub(crate) partition: u32,
    /// Its share of its record.
    pub(crate) bytes: usize,
    /// Leaving: an attempt ended, rather than that it was put back.
    pub(crate) is_progress: bool,
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
    pub(crate) fn enter<'a>(&self, parts: impl Iterator<Item = Part<'a>>, now: Instant) {
        let mut held = self.held.lock();
        for part in parts {
            held.deliveries += 1;
            held.bytes += part.bytes;
            if let Some(share) = held.shares.get_mut(part.org) {
                share.entered(part.partition);
            } else {
                held.shares.insert(part.org.into(), Share::new(&part, now));
            }
        }
        self.judge(&mut held, now);
    }

    pub(crate) fn leave<'a>(&self, parts: impl Iterator<Item = Part<'a>>, now: Instant) {
        let mut held = self.held.lock();
        for part in parts {
            held.deliveries = held.deliveries.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(part.bytes);
            if let Some(share) = held.shares.get_mut(part.org) {
                share.left(part.partition);
                if part.is_progress {
                    share.progressed(now);
                }
            }
        }
        self.judge(&mut held, now);
        // Those idle for long are forgotten; their number is that of organizations that send.
        if held.shares.len() > 1_024 {
            held.shares
                .retain(|_, s| s.deliveries > 0 || now - s.at < PATIENCE);
        }
        self.freed.notify_all();
    }

    /// Begins and ends crowding, with a gap between the two so that it does not flutter.
    fn judge(&self, held: &mut Held, now: Instant) {
        let free = self.max_deliveries.saturating_sub(held.deliveries);
        for share in held.shares.values_mut() {
            if share.crowds_since.is_none() && share.deliveries > free {
                share.crowds_since = Some(now);
            } else if share.crowds_since.is_some() && 4 * share.deliveries < 3 * free {
                share.crowds_since = None;
            }
        }
    }

    /// Partitions of organizations that crowd and whose mail leaves: reading on would only fill the
    /// window that others need.
    pub(crate) fn crowded(&self, now: Instant) -> Vec<u32> {
        let held = self.held.lock();
        let crowding = held
            .shares
            .values()
            .filter(|share| share.crowds_since.is_some() && !share.is_stuck(now));
        crowding
            .flat_map(|share| share.partitions.iter().map(|(partition, _)| *partition))
            .collect()
    }

    /// When a delivery should come again instead of being admitted now; `None`: admit it.
    pub(crate) fn park(&self, org: &str, now: Instant, now_us: u64) -> Option<u64> {
        let mut held = self.held.lock();
        let share = held.shares.get_mut(org)?;
        if share.crowds_since.is_none() || !share.is_stuck(now) {
            return None;
        }
        let rate = share.rate_at(now).max(1.0);
        let wait_s = (share.deliveries as f64 / rate).clamp(SOON_S, LONGEST_S);
        let earliest = now_us + (wait_s * 1e6) as u64;
        let latest = now_us + (LONGEST_S * 1e6) as u64;
        let due_at_us = share.parked_until_us.max(earliest).min(latest);
        share.parked_until_us = due_at_us + (1e6 / rate) as u64;
        Some(due_at_us)
    }

    pub(crate) fn deliveries(&self) -> usize {
        self.held.lock().deliveries
    }
}

impl Share {
    fn new(part: &Part<'_>, now: Instant) -> Self {
        Self {
            partitions: vec![(part.partition, 1)],
            deliveries: 1,
            rate: 0.0,
            at: now,
            crowds_since: None,
            parked_until_us: 0,
        }
    }

    fn entered(&mut self, partition: u32) {
        self.deliveries += 1;
        match self.partitions.iter_mut().find(|(p, _)| *p == partition) {
            Some((_, count)) => *count += 1,
            None => self.partitions.push((partition, 1)),
        }
    }

    fn left(&mut self, partition: u32) {
        self.deliveries = self.deliveries.saturating_sub(1);
        if let Some(place) = self.partitions.iter().position(|(p, _)| *p == partition) {
            self.partitions[place].1 -= 1;
            if self.partitions[place].1 == 0 {
                self.partitions.swap_remove(place);
            }
        }
    }

    fn rate_at(&self, now: Instant) -> f64 {
        let idle_s = now.saturating_duration_since(self.at).as_secs_f64();
        self.rate * (-idle_s / MEMORY_S).exp()
    }

    fn progressed(&mut self, now: Instant) {
        self.rate = self.rate_at(now) + 1.0 / MEMORY_S;
        self.at = self.at.max(now);
    }

    /// It had time to show that its mail leaves, and it does not, or slowly.
    fn is_stuck(&self, now: Instant) -> bool {
        let had_time = self
            .crowds_since
            .is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        had_time && self.rate_at(now) * SOON_S < self.deliveries as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(org: &str, is_progress: bool) -> Part<'_> {
        Part {
            org,
            partition: org.len() as u32,
            bytes: 10,
            is_progress,
        }
    }

    fn enter(window: &Window, org: &str, count: usize, now: Instant) {
        window.enter((0..count).map(|_| part(org, false)), now);
    }

    #[test]
    fn one_that_crowds_is_read_no_further_and_one_that_is_stuck_is_parked() {
        let (window, start) = (Window::new(100, usize::MAX), Instant::now());
        enter(&window, "big", 50, start);
        assert!(window.crowded(start).is_empty(), "half is its own");
        enter(&window, "big", 5, start);
        assert_eq!(window.crowded(start), [3]);
        assert_eq!(window.park("big", start, 0), None, "it may yet leave");
        let later = start + PATIENCE;
        let (first, second) = (window.park("big", later, 0), window.park("big", later, 0));
        assert!(first >= Some(10_000_000) && second > first);
        assert!(window.crowded(later).is_empty(), "its partition is read on");
        assert_eq!(window.park("small", later, 0), None);
    }

    #[test]
    fn one_that_is_spread_crowds_all_its_partitions() {
        let (window, now) = (Window::new(100, usize::MAX), Instant::now());
        let of = |partition| Part {
            partition,
            ..part("big", false)
        };
        window.enter((0..60).map(|n| of(n % 3)), now);
        let mut crowded = window.crowded(now);
        crowded.sort_unstable();
        assert_eq!(crowded, [0, 1, 2]);
        window.leave((0..20).map(|n| of(1 + n % 2)), now);
        window.leave((0..20).map(|_| of(0)), now);
        assert!(window.crowded(now).is_empty());
        window.enter((0..60).map(|_| of(2)), now);
        crowded = window.crowded(now);
        crowded.sort_unstable();
        assert_eq!(crowded, [1, 2], "nothing of it is held from partition 0");
    }

    #[test]
    fn one_whose_mail_leaves_fast_is_never_parked() {
        let (window, start) = (Window::new(100, usize::MAX), Instant::now());
        enter(&window, "big", 60, start);
        for n in 0..6_000 {
            let now = start + Duration::from_millis(n);
            window.leave(std::iter::once(part("big", true)), now);
            enter(&window, "big", 1, now);
        }
        let now = start + Duration::from_secs(6);
        assert_eq!(window.park("big", now, 0), None);
        assert_eq!(window.crowded(now), [3]);
        window.leave((0..30).map(|_| part("big", true)), now);
        assert!(window.crowded(now).is_empty());
    }

    proptest! {
        /// Law `room_for_others`: one organization, admitted only while it is neither parked nor
        /// crowding, leaves room whatever happens in between.
        #[test]
        fn law_room_for_others(steps in prop::collection::vec((1usize..20, any::<bool>(), 0u64..3_000), 1..200)) {
            let window = Window::new(100, usize::MAX);
            let mut now = Instant::now();
            let mut held = 0;
            for (count, enters, wait_ms) in steps {
                now += Duration::from_millis(wait_ms);
                if !enters {
                    let leaving = count.min(held);
                    window.leave((0..leaving).map(|_| part("big", true)), now);
                    held -= leaving;
                } else if window.crowded(now).is_empty() && window.park("big", now, 0).is_none() {
                    enter(&window, "big", count, now);
                    held += count;
                }
                prop_assert!(window.room(Duration::ZERO, now) >= 30, "{held} held");
            }
        }
    }
}
