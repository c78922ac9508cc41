//! How attempts ended, and what of it goes into the queue.
//!
//! **Model.** A [`Finished`] is one delivery whose attempt ended, or that was put back without one.
//! A batch of them goes up to the policy, which answers when to try again; then the batch yields
//! the events and the deferrals to append, and last it is handed to `recorded`.
//! **Invariants.** One event per entry, except those put back without an attempt. A failure nobody
//! decided on is tried again in five minutes: nothing vanishes. The events of a batch do not change
//! after they were asked for.
//! **Format.** Events and deferrals are records of `rust/record`; a deferral carries the original
//! record's bytes, never a re-encoding.

use std::sync::Arc;

use bytes::Bytes;
use postalynk_record::v1::{Attempt, Deferral, Event, InDoubt, Kind};
use postalynk_record::{DEFERRED, EVENTS, encode};

use crate::classify::Class;
use crate::delivery::{Delivery, LastAttempt, Origin};
use crate::tenure::Begun;

/// What to append to a topic. With a key it is an upsert of a compacted topic, and a value of
/// `None` its tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Topic.
    pub topic: &'static str,
    /// Partition.
    pub partition: u32,
    /// Key, on compacted topics only.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Delivered,
    Deferred,
    Bounced,
    InDoubt,
    /// The message's time was over before an attempt.
    Expired,
    /// Taken back while it waited.
    Cancelled,
    /// Its address is on the organization's suppression list.
    Suppressed,
    /// Put back without an attempt.
    Parked,
    /// The log of events knows a deferral that `email.deferred` lost: write it again.
    Rebuilt,
}

impl End {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Bounced => "bounced",
            Self::InDoubt => "in_doubt",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Suppressed => "suppressed",
            Self::Parked => "parked",
            Self::Rebuilt => "rebuilt",
        }
    }

    pub(crate) fn is_attempt(self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::Deferred | Self::Bounced | Self::InDoubt
        )
    }
}

/// A delivery that came to an end, for now or for good.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) end: End,
    pub(crate) class: Option<Class>,
    /// Empty for ends that are no attempts.
    pub(crate) tried: Attempt,
    pub(crate) at_us: u64,
    /// Parked and rebuilt ones: when to go on.
    pub(crate) due_at_us: u64,
    /// Plain words where no reply says it.
    pub(crate) reason: String,
    /// The journal's slot to free when this is recorded.
    pub(crate) slot: Option<u32>,
    /// Held until this is recorded.
    pub(crate) begun: Option<Begun>,
    /// It ended after its partition had gone to another worker.
    pub(crate) is_late: bool,
    /// Its partition went while its event was being written.
    pub(crate) is_withdrawn: bool,
}

impl Finished {
    /// Attempts made, this one included.
    pub(crate) fn attempts(&self) -> u32 {
        self.delivery.history.attempts + u32::from(self.end.is_attempt())
    }

    fn first_attempt_at_us(&self) -> u64 {
        match self.delivery.history.first_attempt_at_us {
            0 if self.end.is_attempt() => self.at_us.saturating_sub(u64::from(self.tried.total_us)),
            first => first,
        }
    }
}

/// What was decided on an entry.
#[derive(Clone, Debug, Default, PartialEq)]
enum Decision {
    #[default]
    None,
    Due(u64),
    Expire(String),
}

/// What `retry` is asked about: an attempt that did not succeed and may be repeated.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its place in the batch.
    pub index: usize,
    /// The delivery.
    pub delivery: Arc<Delivery>,
    /// The source it left by; empty: it came to no path.
    pub source: String,
    /// What the path's limits count for: the site, or the smart host.
    pub receiver: String,
    /// `deferred` or `in_doubt`.
    pub kind: &'static str,
    /// The number of the attempt that failed.
    pub attempt: u32,
    /// Reply code; 0: there was no reply.
    pub code: u32,
    /// RFC 3463 code, may be empty.
    pub enhanced: String,
    /// Reply text, may be empty.
    pub reply: String,
    /// The class of the failure.
    pub class: &'static str,
    /// When the first attempt was made.
    pub first_attempt_at_us: u64,
    /// When this attempt ended.
    pub at_us: u64,
    /// When the message expires; 0: never.
    pub expires_at_us: u64,
    /// The organization's wish: `retry`, `hold` or `assume_delivered`.
    pub in_doubt: &'static str,
}

/// One entry per attempt that ended, and per delivery that was put back, in the order they ended.
#[derive(Debug, Default)]
pub struct OutcomeBatch {
    pub(crate) entries: Vec<Finished>,
    decisions: Vec<Decision>,
}

/// What happens to a delivery after an entry is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It waits in `email.deferred`.
    Wait { due_at_us: u64 },
    /// It is over.
    Over,
}

const LATE: &str =
    "it ended after the partition had gone to another worker, which may have sent it too";
const WITHDRAWN: &str =
    "the partition went to another worker while this was written; it may have sent it too";
/// Where a failure goes that nobody decided on.
const UNDECIDED_US: u64 = 300_000_000;

impl OutcomeBatch {
    pub(crate) fn new(mut entries: Vec<Finished>) -> Self {
        for entry in &mut entries {
            entry.is_late = entry.delivery.tenure.is_gone();
        }
        let decisions = vec![Decision::None; entries.len()];
        Self { entries, decisions }
    }

    /// Entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries that need [`Self::schedule`] or [`Self::expire`]. In-doubt ones are among them
    /// only where the organization wants a retry.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| needs_decision(entry))
            .map(|(i, e)| failure(i, e))
            .collect()
    }

    /// When to try again, in microseconds since the Unix epoch.
    pub fn schedule(&mut self, index: usize, due_at_us: u64) {
        if let Some(decision) = self.decisions.get_mut(index) {
            *decision = Decision::Due(due_at_us);
        }
    }

    /// No further attempt: the delivery expires, for this reason.
    pub fn expire(&mut self, index: usize, reason: &str) {
        if let Some(decision) = self.decisions.get_mut(index) {
            *decision = Decision::Expire(reason.to_owned());
        }
    }

    /// The events to append, in the order of the entries.
    #[must_use]
    pub fn events(&self) -> Vec<Append> {
        self.iter()
            .filter_map(|(entry, decision)| event(entry, decision))
            .collect()
    }

    /// Asked when whose the partitions are was uncertain while the events were written, and is known
    /// now: of what has gone no deferral is written, and what these events say beside "delivered".
    /// They stand in the log too late for the new owner's done-set, so it may have sent it again.
    #[must_use]
    pub fn withdraw(&mut self) -> Vec<Append> {
        let mut said = Vec::new();
        for (entry, decision) in self.entries.iter_mut().zip(&self.decisions) {
            if entry.is_late || entry.is_withdrawn || !entry.delivery.tenure.is_gone() {
                continue;
            }
            entry.is_withdrawn = true;
            if told(entry, decision).is_some_and(|(kind, _)| kind == Kind::Delivered) {
                let reason = WITHDRAWN.to_owned();
                said.push(event_of(entry, Kind::InDoubt, reason, entry.at_us));
            }
        }
        said
    }

    /// Upserts and tombstones of `email.deferred`.
    #[must_use]
    pub fn deferrals(&self) -> Vec<Append> {
        self.iter()
            .filter_map(|(entry, decision)| deferral(entry, decision))
            .collect()
    }

    pub(crate) fn iter_next(&self) -> impl Iterator<Item = (&Finished, Next, bool)> {
        self.iter().map(|(entry, decision)| {
            let has_event = match entry.is_late {
                true => is_told_late(entry),
                false => !matches!(entry.end, End::Parked | End::Rebuilt),
            };
            (entry, next(entry, decision), has_event)
        })
    }

    fn iter(&self) -> impl Iterator<Item = (&Finished, &Decision)> {
        self.entries.iter().zip(&self.decisions)
    }
}

fn wish(entry: &Finished) -> InDoubt {
    entry.delivery.message().in_doubt()
}

/// Of what ended late only this matters: the receiver may have it twice.
fn is_told_late(entry: &Finished) -> bool {
    matches!(entry.end, End::Delivered | End::InDoubt)
}

fn needs_decision(entry: &Finished) -> bool {
    if entry.is_late {
        return false;
    }
    match entry.end {
        End::Deferred => true,
        End::InDoubt => wish(entry) == InDoubt::Retry,
        _ => false,
    }
}

fn failure(index: usize, entry: &Finished) -> Failure {
    Failure {
        index,
        delivery: Arc::clone(&entry.delivery),
        source: entry.tried.source.clone(),
        receiver: {
            let destination = entry.delivery.destination.as_ref();
            destination.map_or_else(String::new, |to| to.limited_as().to_string())
        },
        kind: entry.end.as_str(),
        attempt: entry.attempts(),
        code: entry.tried.reply_code,
        enhanced: entry.tried.enhanced.clone(),
        reply: entry.tried.reply.clone(),
        class: entry.class.map_or("", Class::as_str),
        first_attempt_at_us: entry.first_attempt_at_us(),
        at_us: entry.at_us,
        expires_at_us: entry.delivery.expires_at_us(),
        in_doubt: match wish(entry) {
            InDoubt::Retry => "retry",
            InDoubt::Hold => "hold",
            InDoubt::AssumeDelivered => "assume_delivered",
        },
    }
}

fn next(entry: &Finished, decision: &Decision) -> Next {
    match (entry.end, decision) {
        (End::Parked | End::Rebuilt, _) => Next::Wait {
            due_at_us: entry.due_at_us,
        },
        _ if !needs_decision(entry) => Next::Over,
        (_, Decision::Due(due_at_us)) => Next::Wait {
            due_at_us: *due_at_us,
        },
        (_, Decision::Expire(_)) => Next::Over,
        (_, Decision::None) => Next::Wait {
            due_at_us: entry.at_us + UNDECIDED_US,
        },
    }
}

/// The kind of its event and why.
fn told(entry: &Finished, decision: &Decision) -> Option<(Kind, String)> {
    if entry.is_late && !is_told_late(entry) {
        return None;
    }
    Some(match (entry.end, decision) {
        _ if entry.is_late => (Kind::InDoubt, LATE.to_owned()),
        (End::Parked | End::Rebuilt, _) => return None,
        (End::Delivered, _) => (Kind::Delivered, entry.reason.clone()),
        (End::Bounced, _) => (Kind::Bounced, entry.reason.clone()),
        (End::Expired, _) => (Kind::Expired, entry.reason.clone()),
        (End::Cancelled, _) => (Kind::Cancelled, entry.reason.clone()),
        (End::Suppressed, _) => (Kind::Suppressed, entry.reason.clone()),
        (End::InDoubt, _) if wish(entry) == InDoubt::AssumeDelivered => (
            Kind::Delivered,
            format!(
                "assumed delivered, as the organization wishes: {}",
                entry.reason
            ),
        ),
        (End::InDoubt, _) if wish(entry) == InDoubt::Hold => (
            Kind::InDoubt,
            format!("held, as the organization wishes: {}", entry.reason),
        ),
        (_, Decision::Expire(reason)) => (Kind::Expired, reason.clone()),
        (End::Deferred, _) => (Kind::Deferred, entry.reason.clone()),
        (End::InDoubt, _) => (Kind::InDoubt, entry.reason.clone()),
    })
}

fn event(entry: &Finished, decision: &Decision) -> Option<Append> {
    let (kind, reason) = told(entry, decision)?;
    let due_at_us = match next(entry, decision) {
        Next::Wait { due_at_us } => due_at_us,
        // With a time it is no end: the delivery's story is the new owner's.
        Next::Over if entry.is_late => entry.at_us,
        Next::Over => 0,
    };
    Some(event_of(entry, kind, reason, due_at_us))
}

fn event_of(entry: &Finished, kind: Kind, reason: String, due_at_us: u64) -> Append {
    let message = entry.delivery.message();
    let event = Event {
        message_id: message.id.clone(),
        org: message.org.clone(),
        kind: kind.into(),
        at_us: entry.at_us,
        recipient: entry.delivery.recipient,
        attempt: entry.attempts(),
        address: entry.delivery.address().to_owned(),
        accepted: None,
        tried: entry.end.is_attempt().then(|| entry.tried.clone()),
        due_at_us,
        lane: message.lane,
        reason,
    };
    Append {
        topic: EVENTS,
        partition: entry.delivery.partition,
        key: None,
        value: Some(encode(&event)),
    }
}

fn deferral(entry: &Finished, decision: &Decision) -> Option<Append> {
    if entry.is_late || entry.is_withdrawn {
        return None;
    }
    let value = match next(entry, decision) {
        Next::Over if entry.delivery.origin == Origin::Deferred => None,
        Next::Over => return None,
        Next::Wait { due_at_us } => Some(encode(&waiting(entry, due_at_us))),
    };
    Some(Append {
        topic: DEFERRED,
        partition: entry.delivery.partition,
        key: Some(Bytes::copy_from_slice(&entry.delivery.key().to_bytes())),
        value,
    })
}

fn waiting(entry: &Finished, due_at_us: u64) -> Deferral {
    let last = if entry.end.is_attempt() {
        last_attempt(&entry.tried)
    } else {
        entry
            .delivery
            .history
            .last
            .as_deref()
            .cloned()
            .unwrap_or_default()
    };
    encode_history(
        entry.delivery.record.raw().clone(),
        entry.delivery.recipient,
        entry.attempts(),
        due_at_us,
        (entry.first_attempt_at_us(), last),
    )
}

pub(crate) fn encode_history(
    record: Bytes,
    recipient: u32,
    attempt: u32,
    due_at_us: u64,
    (first_attempt_at_us, last): (u64, LastAttempt),
) -> Deferral {
    Deferral {
        record,
        recipient,
        attempt,
        due_at_us,
        last_reply_code: last.code,
        last_enhanced: last.enhanced,
        last_reply: last.reply,
        last_class: last.class,
        pool: last.pool,
        first_attempt_at_us,
        site: last.site,
    }
}

fn last_attempt(tried: &Attempt) -> LastAttempt {
    LastAttempt {
        code: tried.reply_code,
        enhanced: tried.enhanced.clone(),
        reply: tried.reply.clone(),
        class: tried.class.clone(),
        pool: tried.pool.clone(),
        site: tried.site.clone(),
    }
}
