//! The done-set: what `email.events` says about deliveries the log will show again.
//!
//! **Problem.** After a restart the log is read again from the low-water mark; what was already
//! attempted must not be attempted again.
//! **Model.** From the noted position on, the last event of each delivery. It is filled before the
//! first record is admitted, and forgotten per partition once all three lanes were read past where
//! they ended when the partition was assigned (or, where nobody said, a record appended after the
//! start was seen): nothing older can come after that.

use std::collections::{HashMap, HashSet};

use postalynk_record::DeliveryKey;
use postalynk_record::v1::{Event, Kind};

use crate::delivery::LastAttempt;

/// What is known of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Done {
    /// No further attempt.
    Final,
    /// To be tried again.
    Waiting(Box<Waiting>),
}

/// A delivery between two attempts, as its last event tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) attempts: u32,
    pub(crate) due_at_us: u64,
    pub(crate) at_us: u64,
    pub(crate) last: LastAttempt,
}

#[derive(Debug)]
struct Entry {
    done: Done,
    attempt: u32,
    /// Lowest offset of an event of this delivery: a replay must not start after it.
    offset: u64,
}

#[derive(Debug, Default)]
struct Partition {
    entries: HashMap<DeliveryKey, Entry>,
    /// The lowest offset of an event that an entry comes from.
    first: Option<u64>,
    /// Where the topics ended when the partition was assigned.
    ends: HashMap<&'static str, u64>,
    /// Topics read past their end.
    caught_up: HashSet<&'static str>,
    is_over: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct DoneSet {
    partitions: HashMap<u32, Partition>,
}

/// Lanes whose topics must be caught up before a partition's entries are forgotten.
const SEND_TOPICS: usize = 3;

impl DoneSet {
    /// Takes in an event of the replay.
    pub(crate) fn learn(&mut self, partition: u32, offset: u64, event: &Event) {
        let Some(done) = meaning(event) else { return };
        let Ok(id) = postalynk_record::MessageId::from_slice(&event.message_id) else {
            return;
        };
        let key = DeliveryKey {
            id,
            recipient: event.recipient,
        };
        let known = self.partitions.entry(partition).or_default();
        known.first = Some(known.first.map_or(offset, |first| first.min(offset)));
        let entries = &mut known.entries;
        match entries.get_mut(&key) {
            None => {
                entries.insert(
                    key,
                    Entry {
                        done,
                        attempt: event.attempt,
                        offset,
                    },
                );
            }
            Some(entry) => {
                entry.offset = entry.offset.min(offset);
                // A final event ends it, whatever comes after but an operator who sends it anew;
                // else the later attempt counts.
                let is_newer = event.attempt >= entry.attempt;
                let is_reopened = event.kind() == Kind::Resent && is_newer;
                if is_reopened || (entry.done != Done::Final && (done == Done::Final || is_newer)) {
                    entry.done = done;
                    entry.attempt = event.attempt;
                }
            }
        }
    }

    /// Notes the end of a deferral that stood in `email.deferred` at start: its record may still
    /// come up in the log.
    pub(crate) fn finish(&mut self, partition: u32, key: DeliveryKey) {
        let partition = self.partitions.entry(partition).or_default();
        if !partition.is_over {
            let offset = u64::MAX;
            let entry = Entry {
                done: Done::Final,
                attempt: u32::MAX,
                offset,
            };
            partition.entries.insert(key, entry);
        }
    }

    /// What is known of a delivery, and the position its first event has.
    pub(crate) fn get(&self, partition: u32, key: &DeliveryKey) -> Option<(&Done, u64)> {
        let entry = self.partitions.get(&partition)?.entries.get(key)?;
        Some((&entry.done, entry.offset))
    }

    /// Where a replay must start to learn all this again; `None`: nothing of it is needed any more.
    pub(crate) fn known_from(&self, partition: u32) -> Option<u64> {
        self.partitions.get(&partition)?.first
    }

    /// As [`Self::get`], when the partition is not at hand.
    pub(crate) fn last_attempt(&self, key: &DeliveryKey) -> Option<u32> {
        let entry = self.partitions.values().find_map(|p| p.entries.get(key))?;
        Some(entry.attempt)
    }

    /// Notes where a topic ends of a partition that was just assigned; 0: nothing is to be read.
    pub(crate) fn expect(&mut self, topic: &'static str, partition: u32, end: u64) {
        let entry = self.partitions.entry(partition).or_default();
        entry.ends.insert(topic, end);
        if end == 0 {
            entry.caught_up.insert(topic);
        }
    }

    /// A record is admitted; `is_new`: it was appended after the engine had started.
    pub(crate) fn passed(
        &mut self,
        topic: &'static str,
        partition: u32,
        offset: u64,
        is_new: bool,
    ) {
        let known = self.partitions.get(&partition);
        let end = known.and_then(|partition| partition.ends.get(topic));
        if end.map_or(is_new, |end| offset + 1 >= *end) {
            self.caught_up(topic, partition);
        }
    }

    /// Nothing is known of the partition any more.
    pub(crate) fn forget(&mut self, partition: u32) {
        self.partitions.remove(&partition);
    }

    /// The topic is read past its end.
    fn caught_up(&mut self, topic: &'static str, partition: u32) {
        let Some(partition) = self.partitions.get_mut(&partition) else {
            return;
        };
        partition.caught_up.insert(topic);
        // Also when this topic was before: where no lane had anything to read, none ever is the last.
        if !partition.is_over && partition.caught_up.len() == SEND_TOPICS {
            partition.entries = HashMap::new();
            partition.first = None;
            partition.is_over = true;
        }
    }
}

/// What an event says about its delivery; nothing when it speaks of none.
fn meaning(event: &Event) -> Option<Done> {
    let waiting = || {
        let tried = event.tried.clone().unwrap_or_default();
        Done::Waiting(Box::new(Waiting {
            attempts: event.attempt,
            due_at_us: event.due_at_us,
            at_us: event.at_us,
            last: LastAttempt {
                code: tried.reply_code,
                enhanced: tried.enhanced,
                reply: tried.reply,
                class: tried.class,
                pool: tried.pool,
                site: tried.site,
            },
        }))
    };
    match event.kind() {
        Kind::Accepted | Kind::Scheduled | Kind::Unspecified => None,
        Kind::Deferred | Kind::Resent => Some(waiting()),
        // Without a due time it is held: no further attempt.
        Kind::InDoubt if event.due_at_us > 0 => Some(waiting()),
        _ => Some(Done::Final),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postalynk_record::MessageId;

    fn event(recipient: u32, attempt: u32, kind: Kind, due_at_us: u64) -> Event {
        Event {
            message_id: MessageId::new(1, [1; 10]).as_bytes().to_vec().into(),
            recipient,
            attempt,
            kind: kind.into(),
            due_at_us,
            ..Default::default()
        }
    }

    fn key(recipient: u32) -> DeliveryKey {
        DeliveryKey {
            id: MessageId::new(1, [1; 10]),
            recipient,
        }
    }

    #[test]
    fn the_last_word_counts_and_a_final_one_stays() {
        let mut done = DoneSet::default();
        done.learn(0, 10, &event(0, 1, Kind::Deferred, 50));
        done.learn(0, 11, &event(0, 2, Kind::Deferred, 90));
        let Some((Done::Waiting(waiting), 10)) = done.get(0, &key(0)) else {
            panic!("waiting")
        };
        assert_eq!((waiting.attempts, waiting.due_at_us), (2, 90));
        done.learn(0, 12, &event(0, 3, Kind::Delivered, 0));
        done.learn(0, 13, &event(0, 2, Kind::Deferred, 90));
        assert_eq!(done.get(0, &key(0)), Some((&Done::Final, 10)));
    }

    #[test]
    fn accepted_is_no_attempt_and_held_is_final() {
        let mut done = DoneSet::default();
        done.learn(0, 1, &event(0, 0, Kind::Accepted, 0));
        assert_eq!(done.get(0, &key(0)), None);
        done.learn(0, 2, &event(0, 1, Kind::InDoubt, 0));
        done.learn(0, 3, &event(1, 1, Kind::InDoubt, 7));
        assert_eq!(done.get(0, &key(0)), Some((&Done::Final, 2)));
        assert!(matches!(done.get(0, &key(1)), Some((Done::Waiting(_), 3))));
    }

    #[test]
    fn sending_again_opens_what_was_over() {
        let mut done = DoneSet::default();
        done.learn(0, 1, &event(0, 1, Kind::Delivered, 0));
        done.learn(0, 2, &event(0, 1, Kind::Resent, 70));
        let Some((Done::Waiting(waiting), 1)) = done.get(0, &key(0)) else {
            panic!("waiting")
        };
        assert_eq!((waiting.attempts, waiting.due_at_us), (1, 70));
        done.learn(0, 3, &event(0, 2, Kind::Delivered, 0));
        assert_eq!(done.get(0, &key(0)), Some((&Done::Final, 1)));
        done.learn(0, 4, &event(1, 0, Kind::Scheduled, 90));
        assert_eq!(done.get(0, &key(1)), None);
    }

    #[test]
    fn it_is_forgotten_when_all_lanes_are_caught_up() {
        let mut done = DoneSet::default();
        done.learn(5, 1, &event(0, 1, Kind::Delivered, 0));
        done.caught_up("email.send.high", 5);
        done.caught_up("email.send.high", 5);
        done.caught_up("email.send.normal", 5);
        assert!(done.get(5, &key(0)).is_some());
        assert_eq!(done.known_from(5), Some(1));
        done.caught_up("email.send.bulk", 5);
        assert!(done.get(5, &key(0)).is_none());
        assert_eq!(done.known_from(5), None);
        done.finish(5, key(1));
        assert!(done.get(5, &key(1)).is_none());
    }

    #[test]
    fn with_nothing_to_read_it_is_forgotten_at_the_first_record() {
        let mut done = DoneSet::default();
        for topic in ["email.send.high", "email.send.normal", "email.send.bulk"] {
            done.expect(topic, 5, 0);
        }
        done.learn(5, 1, &event(0, 1, Kind::Delivered, 0));
        assert!(done.get(5, &key(0)).is_some());
        done.passed("email.send.normal", 5, 0, true);
        assert!(done.get(5, &key(0)).is_none());
        done.finish(5, key(1));
        assert!(done.get(5, &key(1)).is_none(), "nothing is kept any more");
    }
}
