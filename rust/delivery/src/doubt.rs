//! What became of attempts that the journal of a worker shows open, told to all.
//!
//! **Problem.** A worker dies with attempts on the wire; others take its partitions and begin these
//! attempts anew, for the journal is on its disk. The receiver may then have two copies, and the log
//! shows one attempt that went well: a silent duplicate.
//! **Model.** When the worker is back it reads what the log says of these attempts since, whoever has
//! the partitions now. An outcome that fits the slot is its own, written before the end; anything else
//! means that somebody began again, and it says so with an attempt in doubt beside it. While nothing
//! is said the doubt stays: its partition's owner, maybe this worker, has not come to it.
//! **Invariant.** A slot is freed when what it showed is in the log.
//! **Law.** `own_answer_is_no_copy`: an outcome whose attempt was on the wire when the slot was written
//! is the slot's own.
//! **Not here.** A worker whose disk is lost: its copies stay without a label.

use std::collections::HashMap;

use postalynk_record::v1::{Event, Kind};
use postalynk_record::{DeliveryKey, EVENTS, MessageId, decode, encode};

use crate::engine::{Engine, Row};
use crate::error::EngineError;
use crate::journal::Doubt;
use crate::outcome::Append;

const REASON: &str = "the worker that had begun to send it ended; another has sent it too";

/// What an event says about a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing: it is older, or about an earlier attempt.
    Nothing,
    /// It is the outcome, or says already that it is in doubt.
    Known,
    /// Somebody began again.
    Copied,
}

impl Engine {
    /// Partitions of attempts that the journal shows open, and when the first of them was begun
    /// (microseconds since the Unix epoch).
    #[must_use]
    pub fn doubts(&self) -> Vec<(u32, u64)> {
        let books = self.shared.books.lock();
        let mut first: HashMap<u32, u64> = HashMap::new();
        for doubt in books.doubts.values() {
            if let Some(partition) = doubt.partition {
                let at_us = first.entry(partition).or_insert(doubt.at_us);
                *at_us = (*at_us).min(doubt.at_us);
            }
        }
        first.into_iter().collect()
    }

    /// Takes in `email.events` of these partitions from then on; returns what is to be appended
    /// there before [`Self::doubts_told`].
    #[must_use]
    pub fn answer_doubts(&self, rows: &[Row]) -> Vec<Append> {
        let mut books = self.shared.books.lock();
        let mut appends = Vec::new();
        for row in rows {
            let Ok(event) = decode::<Event>(&row.value) else {
                continue;
            };
            let Ok(id) = MessageId::from_slice(&event.message_id) else {
                continue;
            };
            let recipient = event.recipient;
            let key = DeliveryKey { id, recipient };
            let Some(doubt) = books.doubts.get(&key).copied() else {
                continue;
            };
            match answer(&doubt, &event) {
                Answer::Nothing => continue,
                Answer::Known => {}
                Answer::Copied => appends.push(label(row.partition, &doubt, event)),
            }
            books.doubts.remove(&key);
            books.answered.push(doubt.slot);
        }
        appends
    }

    /// What [`Self::answer_doubts`] gave is durable.
    ///
    /// # Errors
    /// [`EngineError::Journal`] when slots cannot be freed.
    pub fn doubts_told(&self) -> Result<(), EngineError> {
        let answered = std::mem::take(&mut self.shared.books.lock().answered);
        let freed = self.shared.journal.end(answered);
        freed.map_err(|cause| EngineError::Journal {
            path: self.shared.settings.journal.display().to_string(),
            cause,
        })
    }
}

fn answer(doubt: &Doubt, event: &Event) -> Answer {
    let total_us = event.tried.as_ref().map_or(0, |tried| tried.total_us);
    let began_at_us = event.at_us.saturating_sub(u64::from(total_us));
    let is_same = event.attempt == doubt.attempt;
    let is_over = !matches!(
        event.kind(),
        Kind::Unspecified | Kind::Accepted | Kind::Scheduled | Kind::Resent | Kind::Deferred
    );
    let is_own = began_at_us <= doubt.at_us && doubt.at_us <= event.at_us;
    if is_same && (is_own || event.kind() == Kind::InDoubt) {
        Answer::Known
    } else if event.at_us > doubt.at_us && (event.attempt >= doubt.attempt || is_over) {
        Answer::Copied
    } else {
        Answer::Nothing
    }
}

/// With a time it is no end: the delivery's story is told by the others.
fn label(partition: u32, doubt: &Doubt, about: Event) -> Append {
    let event = Event {
        kind: Kind::InDoubt.into(),
        at_us: doubt.at_us,
        attempt: doubt.attempt,
        tried: None,
        due_at_us: doubt.at_us,
        reason: REASON.to_owned(),
        ..about
    };
    Append {
        topic: EVENTS,
        partition,
        key: None,
        value: Some(encode(&event)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postalynk_record::v1::Attempt;
    use proptest::prelude::*;

    fn event(kind: Kind, attempt: u32, at_us: u64, total_us: u32) -> Event {
        Event {
            kind: kind.into(),
            attempt,
            at_us,
            tried: Some(Attempt {
                total_us,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn doubt(attempt: u32, at_us: u64) -> Doubt {
        Doubt {
            attempt,
            slot: 0,
            at_us,
            partition: Some(0),
        }
    }

    #[test]
    fn who_began_again_is_told_from_who_ended() {
        let doubt = doubt(2, 1_000);
        let said =
            |kind, attempt, at_us, total_us| answer(&doubt, &event(kind, attempt, at_us, total_us));
        assert_eq!(said(Kind::Delivered, 2, 1_100, 150), Answer::Known);
        assert_eq!(said(Kind::Delivered, 2, 9_100, 150), Answer::Copied);
        assert_eq!(said(Kind::Deferred, 2, 9_100, 150), Answer::Copied);
        assert_eq!(said(Kind::Delivered, 3, 9_100, 150), Answer::Copied);
        assert_eq!(said(Kind::Expired, 1, 9_100, 0), Answer::Copied);
        assert_eq!(said(Kind::InDoubt, 2, 9_100, 0), Answer::Known);
        assert_eq!(said(Kind::Deferred, 1, 900, 10), Answer::Nothing);
        assert_eq!(said(Kind::Accepted, 0, 900, 0), Answer::Nothing);
    }

    proptest! {
        /// Law `own_answer_is_no_copy`.
        #[test]
        fn law_own_answer_is_no_copy(
            at_us in 1_000u64..2_000, before in 0u32..900, after in 0u32..900, attempt in 1u32..5,
        ) {
            let ended = event(
                Kind::Delivered, attempt, at_us + u64::from(after), before + after,
            );
            prop_assert_eq!(answer(&doubt(attempt, at_us), &ended), Answer::Known);
        }
    }
}
