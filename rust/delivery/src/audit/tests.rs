//! Of the audit: what states events add up to, and what it finds.

use super::*;
use bytes::Bytes;
use postalynk_record::encode;
use postalynk_record::v1::{self, Accepted};
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
fn what_is_held_is_not_queued_though_its_record_is_not_committed() {
    let message = v1::Message {
        id: Bytes::copy_from_slice(id(1).as_bytes()),
        org: "org_1".into(),
        recipients: vec![v1::Recipient::default(); 2],
        ..Default::default()
    };
    let record = Record::encode(message).expect("a valid message");
    let mut audit = Audit::default();
    audit.events(&[accepted(1, 2), event(1, 0, Kind::InDoubt, 0)]);
    audit.pending(&[row(record.raw().clone())]);
    let wanted = BTreeMap::from([("in_doubt", 1), ("queued", 1)]);
    assert_eq!(audit.result().states, wanted);
    audit.events(&[event(1, 0, Kind::Resent, 9)]);
    assert_eq!(audit.result().states, BTreeMap::from([("queued", 2)]));
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

#[test]
fn a_scheduled_message_is_held_by_its_schedule_alone() {
    let mut audit = Audit::default();
    audit.events(&[accepted(1, 2), accepted(2, 1), accepted(3, 1)]);
    audit.events(&[
        event(3, 0, Kind::Scheduled, 9),
        event(2, 0, Kind::Cancelled, 0),
    ]);
    audit.scheduled(&[id(1).as_bytes(), id(2).as_bytes()]);
    let states = audit.result().states;
    let wanted = [("cancelled", 1), ("scheduled", 2), ("unaccounted", 1)];
    assert_eq!(states, BTreeMap::from(wanted));
}

#[test]
fn sent_again_is_not_twice() {
    let mut audit = Audit::default();
    let (delivered, resent) = (
        || event(1, 0, Kind::Delivered, 0),
        event(1, 0, Kind::Resent, 9),
    );
    audit.events(&[accepted(1, 1), delivered(), resent]);
    assert_eq!(audit.result().unaccounted, [id(1).to_string()]);
    audit.events(&[delivered()]);
    assert_eq!(audit.result().states, BTreeMap::from([("delivered", 1)]));
    assert!(audit.result().twice.is_empty());
}

#[test]
fn a_doubt_explains_one_more_delivery() {
    let delivered = || event(1, 0, Kind::Delivered, 0);
    let doubt = || event(1, 0, Kind::InDoubt, 9);
    let twice = |events: &[Row]| {
        let mut audit = Audit::default();
        audit.events(&[accepted(1, 1)]);
        audit.events(events);
        let result = audit.result();
        assert_eq!(result.states, BTreeMap::from([("delivered", 1)]));
        !result.twice.is_empty()
    };
    assert!(twice(&[delivered(), delivered()]));
    assert!(!twice(&[delivered(), doubt(), delivered()]));
    assert!(!twice(&[delivered(), delivered(), doubt()]));
    assert!(twice(&[delivered(), doubt(), delivered(), delivered()]));
    // The usual doubt comes first and explains nothing but the attempt after it.
    assert!(!twice(&[doubt(), delivered()]));
    assert!(twice(&[doubt(), delivered(), delivered()]));
}

#[test]
fn what_is_over_for_long_is_counted_and_forgotten() {
    let mut audit = Audit::default();
    audit.events(&[accepted(1, 2), accepted(2, 1), accepted(9, 1)]);
    audit.events(&[
        event(1, 0, Kind::Delivered, 0),
        event(1, 1, Kind::Bounced, 0),
    ]);
    audit.events(&[event(9, 0, Kind::Delivered, 0)]);
    let forgotten = audit.forget(9);
    assert_eq!(
        forgotten,
        BTreeMap::from([("bounced", 1), ("delivered", 1)])
    );
    assert_eq!(audit.result().accepted, 2);
}

proptest! {
    /// Law `save_goes_on`: an account cut in two by `save` and `load` is the account of all.
    #[test]
    fn law_save_goes_on(
        events in prop::collection::vec((0u64..4, 0u32..3, 1i32..12, 0u64..2), 0..60),
        cut in 0usize..60,
    ) {
        let rows: Vec<Row> = events.iter().map(|(n, recipient, kind, due)| {
            event(*n, *recipient, Kind::try_from(*kind).expect("in range"), *due)
        }).collect();
        let mut whole = Audit::default();
        whole.events(&(0..4).map(|n| accepted(n, 1 + n as usize % 3)).collect::<Vec<_>>());
        let mut cut_audit = Audit::load(&whole.save()).expect("our own bytes");
        whole.events(&rows);
        let (before, after) = rows.split_at(cut.min(rows.len()));
        cut_audit.events(before);
        cut_audit.pending(&[]);
        cut_audit.scheduled(&[id(1).as_bytes()]);
        let mut cut_audit = Audit::load(&cut_audit.save()).expect("our own bytes");
        cut_audit.events(after);
        prop_assert_eq!(cut_audit.result(), whole.result());
    }

    /// Law `load_never_panics`.
    #[test]
    fn law_load_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Audit::load(&bytes);
        let _ = Audit::load(&[&[FORMAT][..], &bytes].concat());
    }

    /// Law `states_add_up`: every accepted delivery is counted in exactly one state.
    #[test]
    fn law_states_add_up(events in prop::collection::vec((0u64..4, 0u32..3, 1i32..12, 0u64..2), 0..60)) {
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
