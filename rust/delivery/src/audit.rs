//! Accounting for every accepted delivery from the log alone (G1).
//!
//! **Model.** Per message one byte a recipient: the last event's kind and what else knows of the
//! delivery (a pending record, a deferral, a dead letter). A delivery is accounted for when it came
//! to an end or something still holds it. A message of one recipient, as most are, takes 18 bytes and
//! the map's spare room, 20 to 40 in all; with several it takes a small allocation more. All that
//! speaks of a message stands in one partition, so accounts are made a partition at a time.
//! **Incremental.** [`Audit::save`] keeps what events said; what else knows of a delivery changes
//! and is asked again. The next account goes on with the events after those.
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
    /// Messages of one recipient.
    single: HashMap<MessageId, u8>,
    /// All others.
    several: HashMap<MessageId, Box<[u8]>>,
}

/// Low four bits: the kind of the event that says most.
const KIND: u8 = 0x0F;
const TWICE: u8 = 0x10;
const PENDING: u8 = 0x20;
const DEFERRED: u8 = 0x40;
const DEAD: u8 = 0x80;
/// In place of an event's kind: nothing happened yet, and `email.scheduled` holds the message.
const SCHEDULED: u8 = Kind::Scheduled as u8;
/// In place of an event's kind: delivered, and an attempt in doubt explains one more of these.
const EXPLAINED: u8 = KIND;

/// Of [`Audit::save`].
const FORMAT: u8 = 1;

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
                for recipient in (0..accepted.recipients.len() as u32).rev() {
                    raise(self.delivery(id, recipient), Kind::Accepted);
                }
            } else if event.kind() == Kind::Resent {
                let state = self.delivery(id, event.recipient);
                *state = (*state & !KIND) | Kind::Accepted as u8;
            } else {
                // Held: an attempt in doubt without a due time is where it ends.
                let is_held = event.kind() == Kind::InDoubt && event.due_at_us == 0;
                if event.kind() == Kind::InDoubt && explain(self.delivery(id, event.recipient)) {
                    continue;
                }
                let kind = match event.kind() {
                    Kind::InDoubt if !is_held => Kind::Deferred,
                    Kind::Scheduled => Kind::Accepted,
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
            for recipient in (0..record.message().recipients.len() as u32).rev() {
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

    /// Takes in live keys of `email.scheduled`.
    pub fn scheduled<K: AsRef<[u8]>>(&mut self, keys: &[K]) {
        for key in keys {
            let Ok(id) = MessageId::from_slice(key.as_ref()) else {
                continue;
            };
            for recipient in 0..self.recipients(&id) {
                let state = self.delivery(id, recipient);
                if rank(*state & KIND) <= rank(Kind::Accepted as u8) {
                    *state = (*state & !KIND) | SCHEDULED;
                }
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
            for recipient in 0..self.recipients(&id) {
                *self.delivery(id, recipient) |= DEAD;
            }
        }
    }

    /// The account.
    #[must_use]
    pub fn result(&self) -> AuditResult {
        let mut result = AuditResult::default();
        let single = self.single.iter();
        let several = self.several.iter();
        let all = single
            .map(|(id, state)| (id, std::slice::from_ref(state)))
            .chain(several.map(|(id, states)| (id, &**states)));
        for (id, states) in all {
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

    /// What the events said, for [`Self::load`]: a format byte, then per message its id, the number
    /// of its recipients as 4 bytes big-endian, and a byte each.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut saved = Vec::with_capacity(1 + 21 * self.single.len() + 32 * self.several.len());
        saved.push(FORMAT);
        let mut put = |id: &MessageId, states: &[u8]| {
            saved.extend_from_slice(id.as_bytes());
            saved.extend_from_slice(&(states.len() as u32).to_be_bytes());
            saved.extend(states.iter().map(|state| said(*state)));
        };
        self.single
            .iter()
            .for_each(|(id, state)| put(id, std::slice::from_ref(state)));
        self.several.iter().for_each(|(id, states)| put(id, states));
        saved
    }

    /// Goes on where another account ended; `None`: these are not the bytes of [`Self::save`].
    #[must_use]
    pub fn load(saved: &[u8]) -> Option<Self> {
        let (&format, mut rest) = saved.split_first()?;
        if format != FORMAT {
            return None;
        }
        let mut audit = Self {
            single: HashMap::with_capacity(rest.len() / 21),
            several: HashMap::new(),
        };
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(20)?;
            let id = MessageId::from_slice(&head[..16]).ok()?;
            let count = u32::from_be_bytes(head[16..].try_into().ok()?) as usize;
            let (states, next) = after.split_at_checked(count)?;
            match states {
                [state] => drop(audit.single.insert(id, *state)),
                _ => drop(audit.several.insert(id, states.into())),
            }
            rest = next;
        }
        Some(audit)
    }

    /// Forgets messages accepted before then (milliseconds since the Unix epoch) that are all over
    /// and were delivered once; what they came to. Nothing more is expected about them.
    pub fn forget(&mut self, before_ms: u64) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        let mut keeps = |id: &MessageId, states: &[u8]| {
            let is_over = |state: &u8| rank(state & KIND) == OVER && state & TWICE == 0;
            if id.timestamp_ms() >= before_ms || !states.iter().all(is_over) {
                return true;
            }
            for state in states {
                *counts.entry(name(*state).unwrap_or_default()).or_default() += 1;
            }
            false
        };
        self.single
            .retain(|id, state| keeps(id, std::slice::from_ref(state)));
        self.several.retain(|id, states| keeps(id, states));
        counts
    }

    fn recipients(&self, id: &MessageId) -> u32 {
        self.several.get(id).map_or(1, |states| states.len() as u32)
    }

    fn delivery(&mut self, id: MessageId, recipient: u32) -> &mut u8 {
        let index = recipient as usize;
        if index == 0 && !self.several.contains_key(&id) {
            return self.single.entry(id).or_default();
        }
        let first = self.single.remove(&id);
        let states = self
            .several
            .entry(id)
            .or_insert_with(|| first.into_iter().collect());
        if states.len() <= index {
            let mut longer = std::mem::take(states).into_vec();
            longer.resize(index + 1, 0);
            *states = longer.into_boxed_slice();
        }
        &mut states[index]
    }
}

/// The part of a state that events alone decide.
fn said(state: u8) -> u8 {
    let kind = match state & KIND {
        SCHEDULED => Kind::Accepted as u8,
        kind => kind,
    };
    kind | (state & TWICE)
}

/// A final event is not undone by an earlier one that comes later.
fn raise(state: &mut u8, kind: Kind) {
    let before = *state & KIND;
    if kind == Kind::Delivered && before == EXPLAINED {
        *state = (*state & !KIND) | Kind::Delivered as u8;
        return;
    }
    if kind == Kind::Delivered && before == Kind::Delivered as u8 {
        *state |= TWICE;
    }
    if rank(kind as u8) >= rank(before) {
        *state = (*state & !KIND) | kind as u8;
    }
}

/// A doubt about a delivery that was delivered is another worker's: it explains one more of it (G2).
fn explain(state: &mut u8) -> bool {
    if *state & TWICE != 0 {
        *state &= !TWICE;
    } else if *state & KIND == Kind::Delivered as u8 {
        *state |= EXPLAINED;
    } else {
        return false;
    }
    true
}

/// Of an event that ends a delivery.
const OVER: u8 = 4;

fn rank(kind: u8) -> u8 {
    match Kind::try_from(i32::from(kind)) {
        Err(_) if kind == EXPLAINED => OVER,
        Ok(Kind::Unspecified) | Err(_) => 0,
        Ok(Kind::Accepted | Kind::Scheduled | Kind::Resent) => 1,
        Ok(Kind::Deferred) => 2,
        Ok(Kind::InDoubt) => 3,
        Ok(_) => OVER,
    }
}

/// The state's name; `None`: nothing accounts for the delivery.
fn name(state: u8) -> Option<&'static str> {
    let has = |flag: u8| state & flag != 0;
    Some(match Kind::try_from(i32::from(state & KIND)) {
        Ok(Kind::Delivered) => "delivered",
        Err(_) if state & KIND == EXPLAINED => "delivered",
        Ok(Kind::Bounced) => "bounced",
        Ok(Kind::Expired) => "expired",
        Ok(Kind::Suppressed) => "suppressed",
        Ok(Kind::Cancelled) => "cancelled",
        Ok(Kind::DeadLettered) => "dead_lettered",
        _ if has(DEFERRED) => "deferred",
        // Held: it is not sent again, though its record may not be committed yet.
        Ok(Kind::InDoubt) => "in_doubt",
        _ if has(PENDING) => "queued",
        Ok(Kind::Scheduled) => "scheduled",
        _ if has(DEAD) => "dead_lettered",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
