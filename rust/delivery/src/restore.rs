//! Starting where the last process ended: events first, then deferrals, then records.

use bytes::Bytes;
use postalynk_record::v1::Event;
use postalynk_record::{DEFERRED, DeliveryKey, decode, encode};

use crate::admit::decode_deferral;
use crate::done::Done;
use crate::engine::{Engine, Row};
use crate::error::EngineError;
use crate::outcome::{Append, encode_history};
use crate::shared::Books;

impl Engine {
    /// Takes in `email.events` from the noted position to the end. What is no event is passed over:
    /// it says nothing about a delivery.
    pub fn restore_events(&self, rows: &[Row]) {
        let mut books = self.shared.books.lock();
        for row in rows {
            if let Ok(event) = decode::<Event>(&row.value) {
                books.done.learn(row.partition, row.offset, &event);
            }
            books.tracker.applied(row.partition, row.offset + 1);
        }
    }

    /// Starts the timers of `email.deferred`. Returns what to append to it, before the first
    /// record is admitted: tombstones of deferrals that the events show to be over, and newer
    /// versions of those that the events know a later attempt of.
    #[must_use]
    pub fn restore_deferred(&self, partition: u32, pairs: &[(Bytes, Bytes)]) -> Vec<Append> {
        let mut books = self.shared.books.lock();
        let mut appends = Vec::new();
        for (key_bytes, value) in pairs {
            let Ok(key) = DeliveryKey::from_slice(key_bytes) else {
                continue;
            };
            let Ok((record, history, due_at_us)) = decode_deferral(value, key) else {
                // Due at once, so `admit_deferred` reports it for the dead-letter topic.
                books.timers.restore(partition, key, 0);
                continue;
            };
            let upsert = |value| Append {
                topic: DEFERRED,
                partition,
                key: Some(key_bytes.clone()),
                value,
            };
            match books.done.get(partition, &key) {
                Some((Done::Final, _)) => appends.push(upsert(None)),
                Some((Done::Waiting(waiting), _)) if waiting.attempts > history.attempts => {
                    let first = match history.first_attempt_at_us {
                        0 => waiting.at_us,
                        first => first,
                    };
                    let newer = encode_history(
                        record.raw().clone(),
                        key.recipient,
                        waiting.attempts,
                        waiting.due_at_us,
                        (first, waiting.last.clone()),
                    );
                    let due_at_us = waiting.due_at_us;
                    books.timers.restore(partition, key, due_at_us);
                    appends.push(upsert(Some(encode(&newer))));
                }
                _ => books.timers.restore(partition, key, due_at_us),
            }
        }
        appends
    }

    /// Restoring is complete; the number of attempts in doubt that the journal shows. `is_shared`:
    /// others may have sent what it shows open, so [`Self::answer_doubts`] is to look.
    ///
    /// # Errors
    /// [`EngineError::Journal`] when answered slots cannot be freed.
    pub fn restored(&self, is_shared: bool) -> Result<usize, EngineError> {
        let mut books = self.shared.books.lock();
        books.is_shared = is_shared;
        if is_shared {
            return Ok(books.doubts.len());
        }
        let Books { done, doubts, .. } = &mut *books;
        let mut answered = Vec::new();
        doubts.retain(|key, doubt| {
            let is_open = done
                .last_attempt(key)
                .is_none_or(|attempt| attempt < doubt.attempt);
            if !is_open {
                answered.push(doubt.slot);
            }
            is_open
        });
        let open = doubts.len();
        drop(books);
        self.shared
            .journal
            .end(answered)
            .map_err(|cause| EngineError::Journal {
                path: self.shared.settings.journal.display().to_string(),
                cause,
            })?;
        Ok(open)
    }
}
