//! The process dies and comes back.
//!
//! Runs: a sink, a queue that survives, a journal. Breaks: the worker dies with attempts open, or
//! between the write of events and that of deferrals, or before a commit. Holds: nothing is lost,
//! what was recorded is not sent again, and an attempt whose end nobody knows is labelled (G1, G2).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Worker, loopback, message, smart_host};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

fn slow_dot() -> SinkOptions {
    let delay = Rule::at(Step::FinalDot)
        .times(1)
        .after(Duration::from_secs(60));
    SinkOptions {
        script: Script::new().with(delay),
        ..SinkOptions::default()
    }
}

#[test]
fn an_attempt_open_at_the_crash_is_in_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Sink::start(loopback(), slow_dot()).unwrap();
    let settings = || Settings {
        journal: directory.path().join("journal"),
        ..smart_host(sink.address())
    };
    let mut worker = Worker::new(settings());
    worker.send(vec![message(1, &["ann@example.com"])]);
    let until = std::time::Instant::now() + common::PATIENCE;
    let journal_is_written = || {
        std::fs::read(directory.path().join("journal"))
            .unwrap()
            .iter()
            .any(|byte| *byte != 0)
    };
    while !journal_is_written() {
        assert!(std::time::Instant::now() < until);
        worker.turn();
    }
    let queue = worker.crash();
    assert!(queue.events.is_empty() && queue.committed.is_none_or(|(offset, _)| offset == 0));

    let mut worker = Worker::restart(settings(), queue);
    worker.run_to_end();
    let doubt = worker.first(Kind::InDoubt);
    assert_eq!(
        (doubt.attempt, doubt.tried.unwrap().class.as_str()),
        (1, "crash")
    );
    assert_eq!(worker.first(Kind::Delivered).attempt, 2);
    assert!(!journal_is_written(), "its slots are free again");
}

#[test]
fn what_was_recorded_is_not_sent_again() {
    // One final dot stays unanswered for a minute, so not everything is over at the crash.
    let sink = Sink::start(loopback(), slow_dot()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(
        (0..50)
            .map(|n| message(n, &["ann@example.com", "bob@example.com"]))
            .collect(),
    );
    worker.run_until("some are recorded", |w| w.queue.events.len() > 20);
    let mut queue = worker.crash();
    let recorded = queue.events.len();
    assert!(recorded < 100, "the crash came too late: {recorded}");
    // The commit of the last moments is lost.
    queue.committed = None;

    let mut worker = Worker::restart(smart_host(sink.address()), queue);
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 100);
    let mut seen = std::collections::HashSet::new();
    for event in worker.events() {
        assert!(
            seen.insert((event.message_id, event.recipient)),
            "one final event a delivery"
        );
    }
    assert_eq!(worker.queue.committed.unwrap().0, 50);
    // At most what was on the wire at the crash arrives twice.
    let arrived: usize = sink.received().iter().map(|r| r.recipients.len()).sum();
    assert!((100..=140).contains(&arrived), "{arrived}");
}

#[test]
fn the_last_record_is_looked_up_like_all_others() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send((0..3).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_to_end();
    let mut queue = worker.crash();
    queue.committed = None;

    let mut worker = Worker::restart(smart_host(sink.address()), queue);
    worker.run_to_end();
    assert_eq!(
        (worker.count(Kind::Delivered), sink.counts().messages),
        (3, 3)
    );
}

#[test]
fn a_deferral_whose_write_was_lost_is_rebuilt_from_its_event() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(1, &["defer@example.com"])]);
    let until = std::time::Instant::now() + common::PATIENCE;
    while worker.queue.events.is_empty() {
        assert!(std::time::Instant::now() < until);
        worker.route_waiting();
        worker.record(|_, _| false);
    }
    let queue = worker.crash();
    assert!(queue.deferred.is_empty());

    let mut worker = Worker::restart(smart_host(sink.address()), queue);
    worker.run_to_end();
    assert_eq!(
        (worker.count(Kind::Deferred), worker.count(Kind::Delivered)),
        (1, 1)
    );
    assert_eq!(worker.first(Kind::Delivered).attempt, 2);
}

#[test]
fn a_deferral_that_is_over_gets_its_tombstone() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(1, &["defer@example.com"])]);
    worker.run_until("it is deferred", |w| !w.queue.deferred.is_empty());
    let deferred = worker.queue.deferred.clone();
    worker.run_to_end();
    let mut queue = worker.crash();
    // The tombstone was lost, and the commit is still that of before.
    queue.deferred = deferred;
    queue.committed = None;

    let mut worker = Worker::restart(smart_host(sink.address()), queue);
    worker.run_to_end();
    assert!(worker.queue.deferred.is_empty());
    assert_eq!(
        (worker.count(Kind::Delivered), sink.counts().messages),
        (1, 1)
    );
}

#[test]
fn a_drained_engine_starts_nothing_and_leaves_the_rest_in_the_log() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let settings = || Settings {
        rate: "20/s,max_burst=1".into(),
        ..smart_host(sink.address())
    };
    let mut worker = Worker::new(settings());
    worker.send((0..40).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_until("some went out", |w| w.count(Kind::Delivered) >= 3);
    assert!(worker.engine.drain(Duration::from_secs(5)));
    worker.record(|_, _| true);
    worker.commit();
    let sent = worker.count(Kind::Delivered);
    assert!(sent < 40 && sent as u64 == sink.counts().messages);
    let queue = worker.crash();

    let mut worker = Worker::restart(smart_host(sink.address()), queue);
    worker.run_to_end();
    assert_eq!(
        (worker.count(Kind::Delivered), sink.counts().messages),
        (40, 40)
    );
}
