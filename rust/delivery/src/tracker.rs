//! Low-water marks: how far each partition of the log is done.
//!
//! **Problem.** Deliveries end in any order; an offset may be committed only when every record below
//! it is done, and the note committed with it must name a position of `email.events` from which a
//! replay shows everything that a restart at that offset has to know.
//! **Model.** Per (topic, partition) a queue of admitted records in offset order, each with the
//! number of its open deliveries and the events position `low` before which nothing about it can
//! stand. `low` never falls along the queue: a record that needs an older position lowers those
//! before it, so the front's `low` is the minimum of all.
//! **The note** is that minimum, but at most the position after the last event known to be recorded
//! while deliveries from `email.deferred` are under way in the partition: an event of theirs may be
//! in the log before its tombstone is. And while the done-set of a partition is in use it is at most
//! the first position in there: it speaks of records that this process has not read yet, which the
//! next one would send again if its replay began behind.
//! **Laws.** `committed_at_most_lowest_unfinished`, `every_record_finishes_once`,
//! `note_covers_every_unfinished`.

use std::collections::{HashMap, VecDeque};

/// A send topic and a partition of it.
pub(crate) type Place = (&'static str, u32);

#[derive(Debug)]
struct Admitted {
    offset: u64,
    open: u32,
    low: u64,
}

#[derive(Debug, Default)]
struct Log {
    admitted: VecDeque<Admitted>,
    /// One after the highest offset seen.
    next: u64,
    /// The events position once nothing is unfinished.
    low_when_empty: u64,
    /// What `commits` last answered.
    told: Option<u64>,
    is_known: bool,
}

#[derive(Debug, Default)]
struct Events {
    /// After the highest event known to be recorded together with its deferral.
    applied: Option<u64>,
    /// Deliveries from `email.deferred` under way.
    open_deferred: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    logs: HashMap<Place, Log>,
    events: HashMap<u32, Events>,
}

impl Tracker {
    /// A record was read: `open` deliveries of it are to be finished; nothing about it stands in
    /// `email.events` before `low`, and nothing about a later record before `events_end`.
    ///
    /// False, and nothing changed, when the offset was seen before.
    pub(crate) fn admit(
        &mut self,
        place: Place,
        offset: u64,
        open: u32,
        low: u64,
        events_end: u64,
    ) -> bool {
        let log = self.logs.entry(place).or_default();
        if log.is_known && offset < log.next {
            return false;
        }
        log.is_known = true;
        log.next = offset + 1;
        log.low_when_empty = events_end.max(log.low_when_empty);
        for earlier in log.admitted.iter_mut().rev() {
            if earlier.low <= low {
                break;
            }
            earlier.low = low;
        }
        log.admitted.push_back(Admitted { offset, open, low });
        log.pop_finished();
        true
    }

    /// One delivery of a record is finished and recorded.
    pub(crate) fn finish(&mut self, place: Place, offset: u64) {
        let Some(log) = self.logs.get_mut(&place) else {
            return;
        };
        let Ok(at) = log
            .admitted
            .binary_search_by_key(&offset, |record| record.offset)
        else {
            return;
        };
        log.admitted[at].open = log.admitted[at].open.saturating_sub(1);
        log.pop_finished();
    }

    /// A delivery from `email.deferred` of this partition is under way.
    pub(crate) fn deferred_started(&mut self, partition: u32) {
        self.events.entry(partition).or_default().open_deferred += 1;
    }

    /// It is recorded.
    pub(crate) fn deferred_ended(&mut self, partition: u32) {
        let events = self.events.entry(partition).or_default();
        events.open_deferred = events.open_deferred.saturating_sub(1);
    }

    /// Everything below `next` in `email.events` of this partition is recorded, deferrals included.
    pub(crate) fn applied(&mut self, partition: u32, next: u64) {
        let applied = &mut self.events.entry(partition).or_default().applied;
        *applied = Some(applied.map_or(next, |before| before.max(next)));
    }

    /// Nothing is known of the partition any more.
    pub(crate) fn forget(&mut self, partition: u32) {
        self.logs.retain(|place, _| place.1 != partition);
        self.events.remove(&partition);
    }

    /// (place, low-water offset, events position) of every log that moved since the last call.
    /// `known_from`: the first event that something in a partition's done-set rests on.
    pub(crate) fn commits(
        &mut self,
        known_from: impl Fn(u32) -> Option<u64>,
    ) -> Vec<(Place, u64, u64)> {
        let mut moved = Vec::new();
        for (place, log) in &mut self.logs {
            let offset = log.low_water();
            if log.told == Some(offset) {
                continue;
            }
            let mut note = log
                .admitted
                .front()
                .map_or(log.low_when_empty, |front| front.low);
            if let Some(events) = self.events.get(&place.1).filter(|e| e.open_deferred > 0) {
                // Without a position that is known to be safe, the commit waits.
                let Some(applied) = events.applied else {
                    continue;
                };
                note = note.min(applied);
            }
            if let Some(first) = known_from(place.1) {
                note = note.min(first);
            }
            log.told = Some(offset);
            moved.push((*place, offset, note));
        }
        moved
    }
}

impl Log {
    fn pop_finished(&mut self) {
        while self.admitted.front().is_some_and(|front| front.open == 0) {
            self.admitted.pop_front();
        }
    }

    fn low_water(&self) -> u64 {
        self.admitted
            .front()
            .map_or(self.next, |front| front.offset)
    }
}

/// The note of a commit: a format byte and the events position.
pub(crate) fn encode_note(events_position: u64) -> Vec<u8> {
    let mut note = vec![NOTE_FORMAT];
    note.extend_from_slice(&events_position.to_be_bytes());
    note
}

/// Reads a note back; `None` when it is not one of ours.
#[must_use]
pub fn decode_note(note: &[u8]) -> Option<u64> {
    let position = note.strip_prefix(&[NOTE_FORMAT])?;
    Some(u64::from_be_bytes(position.try_into().ok()?))
}

const NOTE_FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const PLACE: Place = ("email.send.normal", 3);

    #[derive(Clone, Debug)]
    enum Step {
        /// Deliveries, how far behind the end its first event may stand, gap before the offset.
        Admit(u32, u64, u64),
        /// Finish a delivery of the n-th unfinished record.
        Finish(usize),
        Commit,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u32..4, 0u64..20, 0u64..3).prop_map(|(n, back, gap)| Step::Admit(n, back, gap)),
            (0usize..20).prop_map(Step::Finish),
            Just(Step::Commit),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Laws `committed_at_most_lowest_unfinished`, `every_record_finishes_once` and
        /// `note_covers_every_unfinished`, against a map of everything unfinished.
        #[test]
        fn law_low_water(steps in steps()) {
            let mut tracker = Tracker::default();
            let mut model: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
            let (mut next, mut end, mut committed) = (0u64, 100u64, 0u64);
            for step in steps {
                match step {
                    Step::Admit(open, back, gap) => {
                        let offset = next + gap;
                        let low = end - back;
                        prop_assert!(tracker.admit(PLACE, offset, open, low, end));
                        prop_assert!(!tracker.admit(PLACE, offset, open, low, end));
                        if open > 0 {
                            model.insert(offset, (open, low));
                        }
                        next = offset + 1;
                        end += 1;
                    }
                    Step::Finish(n) => {
                        if let Some(offset) = model.keys().nth(n).copied() {
                            tracker.finish(PLACE, offset);
                            let entry = model.get_mut(&offset).expect("there");
                            entry.0 -= 1;
                            if entry.0 == 0 {
                                model.remove(&offset);
                            }
                        }
                    }
                    Step::Commit => {
                        let lowest = model.keys().next().copied().unwrap_or(next);
                        for (place, offset, note) in tracker.commits(|_| None) {
                            prop_assert_eq!(place, PLACE);
                            prop_assert!(offset >= committed, "a mark never goes back");
                            prop_assert_eq!(offset, lowest);
                            for (_, low) in model.values() {
                                prop_assert!(note <= *low);
                            }
                            committed = offset;
                        }
                        prop_assert!(tracker.commits(|_| None).is_empty(), "only what moved");
                    }
                }
            }
        }

        /// Law `note_stays_below_open_deferrals`.
        #[test]
        fn law_note_stays_below_open_deferrals(applied in prop::option::of(0u64..50)) {
            let mut tracker = Tracker::default();
            tracker.deferred_started(3);
            if let Some(applied) = applied {
                tracker.applied(3, applied);
            }
            tracker.admit(PLACE, 7, 0, 40, 40);
            match (applied, tracker.commits(|_| None).first()) {
                (None, commit) => prop_assert_eq!(commit, None),
                (Some(applied), commit) => {
                    prop_assert_eq!(commit, Some(&(PLACE, 8, applied.min(40))));
                }
            }
            tracker.deferred_ended(3);
            tracker.admit(PLACE, 8, 0, 45, 45);
            prop_assert_eq!(tracker.commits(|_| None), vec![(PLACE, 9, 45)]);
        }
    }

    #[test]
    fn a_note_covers_what_is_known_of_records_not_read_yet() {
        let mut tracker = Tracker::default();
        tracker.admit(PLACE, 0, 1, 40, 40);
        tracker.finish(PLACE, 0);
        let known_from = |partition| (partition == PLACE.1).then_some(12);
        assert_eq!(tracker.commits(known_from), vec![(PLACE, 1, 12)]);
        tracker.admit(PLACE, 1, 0, 41, 41);
        assert_eq!(tracker.commits(|_| None), vec![(PLACE, 2, 41)]);
    }

    #[test]
    fn a_note_is_read_back() {
        assert_eq!(decode_note(&encode_note(77)), Some(77));
        assert_eq!(decode_note(b""), None);
        assert_eq!(decode_note(&[9; 9]), None);
    }
}
