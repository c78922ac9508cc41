//! Accounting for every accepted delivery from the log alone (G1).
//!
//! **Model.** Per message one byte a recipient: the last event's kind and what else knows of the
//! delivery (a pending record, a deferral, a dead letter). A delivery is accounted for when it came
//! to an end or something still holds it. Sixteen bytes of id and a few for the recipients make some
//! 80 bytes a message.
//! **Order.** Events before everything else; the rest in any order.

use std::collections::{BTreeMap, HashMap};

use postalynk_record::v1::{DeadLetter, Event, Kind};
use postalynk_record::{DeliveryKey, MessageId, Record, decode};

use crate::engine::Row;

/// What [`Audit::result`] answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditResult {
    /// Deliveries accepted.
    pub accepted: u64,
    /// Deliveries per state.
    pub states: BTreeMap<&'static str, u64>,
    /// Ids of messages with a delivery that nothing accounts for.
    pub unaccounted: Vec<String>,
    /// Ids of messages with a delivery that was delivered twice.
    pub twice: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Audit {
    messages: HashMap<MessageId, Box<[u8]>>,
}

/// Low four bits: the kind of the event that says most.
const KIND: u8 = 0x0F;
const TWICE: u8 = 0x10;
const PENDING: u8 = 0x20;
const DEFERRED: u8 = 0x40;
const DEAD: u8 = 0x80;

impl Audit {
    /// Takes in records of `email.events`; what is none is passed over.
    pub fn events(&mut self, rows: &[Row]) {
        for row in rows {
            let Ok(event) = decode::<Event>(&row.value) else {
                continue;
            };
            let Ok(id) = MessageId::from_slice(&event.message_id) else {
                continue;
            };
            if let Some(accepted) = &event.accepted {
                for recipient in 0..accepted.recipients.len() as u32 {
                    raise(self.delivery(id, recipient), Kind::Accepted);
                }
            } else {
                // Held: an attempt in doubt without a due time is where it ends.
                let is_held = event.kind() == Kind::InDoubt && event.due_at_us == 0;
                let kind = match event.kind() {
                    Kind::InDoubt if !is_held => Kind::Deferred,
                    kind => kind,
                };
                raise(self.delivery(id, event.recipient), kind);
            }
        }
    }

    /// Takes in records of `email.send.*` at or above the low-water mark.
    pub fn pending(&mut self, rows: &[Row]) {
        for row in rows {
            let Ok(record) = Record::decode(row.value.clone()) else {
                continue;
            };
            for recipient in 0..record.message().recipients.len() as u32 {
                *self.delivery(record.id(), recipient) |= PENDING;
            }
        }
    }

    /// Takes in live keys of `email.deferred`.
    pub fn deferred<K: AsRef<[u8]>>(&mut self, keys: &[K]) {
        for key in keys {
            if let Ok(key) = DeliveryKey::from_slice(key.as_ref()) {
                *self.delivery(key.id, key.recipient) |= DEFERRED;
            }
        }
    }

    /// Takes in records of `email.dlq`.
    pub fn dead(&mut self, rows: &[Row]) {
        for row in rows {
            let Ok(letter) = decode::<DeadLetter>(&row.value) else {
                continue;
            };
            let Ok(id) = MessageId::from_slice(&letter.message_id) else {
                continue;
            };
            let recipients = self.messages.get(&id).map_or(1, |states| states.len());
            for recipient in 0..recipients as u32 {
                *self.delivery(id, recipient) |= DEAD;
            }
        }
    }

    /// The account.
    #[must_use]
    pub fn result(&self) -> AuditResult {
        let mut result = AuditResult::default();
        for (id, states) in &self.messages {
            let (mut is_lost, mut is_twice) = (false, false);
            for state in states {
                // Known only from a pending record or a dead letter: its acceptance is older than
                // the events kept, and it counts all the same.
                result.accepted += 1;
                let name = name(*state);
                is_lost |= name.is_none();
                is_twice |= state & TWICE != 0;
                *result
                    .states
                    .entry(name.unwrap_or("unaccounted"))
                    .or_default() += 1;
            }
            if is_lost {
                result.unaccounted.push(id.to_string());
            }
            if is_twice {
                result.twice.push(id.to_string());
            }
        }
        result.unaccounted.sort_unstable();
        result.twice.sort_unstable();
        result
    }

    fn delivery(&mut self, id: MessageId, recipient: u32) -> &mut u8 {
        let states = self.messages.entry(id).or_default();
        let index = recipient as usize;
        if states.len() <= index {
            let mut longer = std::mem::take(states).into_vec();
            longer.resize(index + 1, 0);
            *states = longer.into_boxed_slice();
        }
        &mut states[index]
    }
}

/// A final event is not undone by an earlier one that comes later.
fn raise(state: &mut u8, kind: Kind) {
    let before = *state & KIND;
    if kind == Kind::Delivered && before == Kind::Delivered as u8 {
        *state |= TWICE;
    }
    if rank(kind as u8) >= rank(before) {
        *state = (*state & !KIND) | kind as u8;
    }
}

fn rank(kind: u8) -> u8 {
    match Kind::try_from(i32::from(kind)) {
        Ok(Kind::Unspecified) | Err(_) => 0,
        Ok(Kind::Accepted) => 1,
        Ok(Kind::Deferred) => 2,
        Ok(Kind::InDoubt) => 3,
        Ok(_) => 4,
    }
}

/// The state's name; `None`: nothing accounts for the delivery.
fn name(state: u8) -> Option<&'static str> {
    let has = |flag: u8| state & flag != 0;
    Some(match Kind::try_from(i32::from(state & KIND)) {
        Ok(Kind::Delivered) => "delivered",
        Ok(Kind::Bounced) => "bounced",
        Ok(Kind::Expired) => "expired",
        Ok(Kind::Suppressed) => "suppressed",
        Ok(Kind::Cancelled) => "cancelled",
        Ok(Kind::DeadLettered) => "dead_lettered",
        _ if has(DEFERRED) => "deferred",
        _ if has(PENDING) => "queued",
        _ if has(DEAD) => "dead_lettered",
        Ok(Kind::InDoubt) => "in_doubt",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postalynk_record::encode;
    use postalynk_record::v1::Accepted;
    use proptest::prelude::*;

    fn id(n: u64) -> MessageId {
        MessageId::new(n, [9; 10])
    }

    fn row(value: Bytes) -> Row {
        Row {
            topic: String::new(),
            partition: 0,
            offset: 0,
            appended_at_us: 0,
            value,
        }
    }

    fn event(n: u64, recipient: u32, kind: Kind, due_at_us: u64) -> Row {
        row(encode(&Event {
            message_id: Bytes::copy_from_slice(id(n).as_bytes()),
            org: "org_1".into(),
            kind: kind.into(),
            recipient,
            due_at_us,
            ..Default::default()
        }))
    }

    fn accepted(n: u64, recipients: usize) -> Row {
        row(encode(&Event {
            message_id: Bytes::copy_from_slice(id(n).as_bytes()),
            org: "org_1".into(),
            kind: Kind::Accepted.into(),
            accepted: Some(Accepted {
                recipients: vec!["a@example.com".into(); recipients],
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    #[test]
    fn every_delivery_has_one_state() {
        let mut audit = Audit::default();
        audit.events(&[
            accepted(1, 3),
            event(1, 0, Kind::Delivered, 0),
            event(1, 1, Kind::Deferred, 9),
            event(1, 2, Kind::InDoubt, 0),
            accepted(2, 1),
            accepted(3, 1),
            event(3, 0, Kind::Deferred, 9),
            event(3, 0, Kind::Delivered, 0),
            event(3, 0, Kind::Delivered, 0),
        ]);
        audit.deferred(&[DeliveryKey {
            id: id(1),
            recipient: 1,
        }
        .to_bytes()]);
        let result = audit.result();
        assert_eq!(result.accepted, 5);
        assert_eq!(
            result.states,
            BTreeMap::from([
                ("delivered", 2),
                ("deferred", 1),
                ("in_doubt", 1),
                ("unaccounted", 1)
            ])
        );
        assert_eq!(result.unaccounted, [id(2).to_string()]);
        assert_eq!(result.twice, [id(3).to_string()]);
    }

    #[test]
    fn a_lost_deferral_is_seen() {
        let mut audit = Audit::default();
        audit.events(&[accepted(1, 1), event(1, 0, Kind::InDoubt, 9)]);
        assert_eq!(audit.result().unaccounted.len(), 1);
        let letter = DeadLetter {
            message_id: Bytes::copy_from_slice(id(1).as_bytes()),
            ..Default::default()
        };
        audit.dead(&[row(encode(&letter))]);
        assert_eq!(
            audit.result().states,
            BTreeMap::from([("dead_lettered", 1)])
        );
    }

    proptest! {
        /// Law `states_add_up`: every accepted delivery is counted in exactly one state.
        #[test]
        fn law_states_add_up(events in prop::collection::vec((0u64..4, 0u32..3, 1i32..10, 0u64..2), 0..60)) {
            let mut audit = Audit::default();
            audit.events(&(0..4).map(|n| accepted(n, 3)).collect::<Vec<_>>());
            for (n, recipient, kind, due) in events {
                let kind = Kind::try_from(kind).expect("in range");
                audit.events(&[event(n, recipient, kind, due)]);
            }
            let result = audit.result();
            prop_assert_eq!(result.accepted, 12);
            prop_assert_eq!(result.states.values().sum::<u64>(), 12);
        }
    }
}
