//! More mail than the rate limit lets out soon.
//!
//! Runs: a sink behind a path of 2 messages a second. Breaks: nothing. Holds: what could not start
//! within the time is put back with a due time, no attempt counted and no event written, so the
//! low-water mark goes on; and the limit is kept.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Worker, loopback, message, now_us, smart_host};
use postalynk_delivery::{RouteSpec, Settings};
use postalynk_record::decode;
use postalynk_record::v1::{Deferral, Kind};
use postalynk_testkit::{Sink, SinkOptions};

#[test]
fn what_cannot_start_soon_is_put_back() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let settings = Settings {
        rate: "2/s".into(),
        park_after_s: 3,
        ..smart_host(sink.address())
    };
    let mut worker = Worker::new(settings);
    let before = now_us();
    worker.send((0..100).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_until("most are parked", |w| w.parked >= 90);

    assert!(worker.count(Kind::Delivered) <= 10);
    let mut due: Vec<u64> = Vec::new();
    for value in worker.queue.deferred.values() {
        let deferral: Deferral = decode(value).unwrap();
        assert_eq!((deferral.attempt, deferral.first_attempt_at_us), (0, 0));
        due.push(deferral.due_at_us);
    }
    due.sort_unstable();
    assert!(due[0] >= before + 5_000_000, "at least five seconds");
    let spread = Duration::from_micros(due[due.len() - 1] - due[0]);
    assert!(
        spread >= Duration::from_secs(40),
        "90 at 2/s come back at their rate: {spread:?}"
    );
    assert!(
        worker.failures.is_empty(),
        "nobody is asked about what was not tried"
    );
    worker.run_until("the first are delivered", |w| w.engine.in_flight() == 0);
    assert_eq!(worker.queue.committed.unwrap().0, 100);
}

#[test]
fn not_before_is_kept() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let not_before_us = now_us() + 600_000;
    worker.route = RouteSpec {
        pool: "default".into(),
        not_before_us,
        ..Default::default()
    };
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_to_end();
    let delivered = worker.first(Kind::Delivered);
    assert_eq!(delivered.attempt, 1);
    assert!(delivered.at_us >= not_before_us);
    assert_eq!(worker.parked, 1);
}

#[test]
fn an_expired_message_is_not_tried() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let mut late = message(1, &["ann@example.com"]);
    late.expires_at_us = now_us() - 1;
    worker.send(vec![late]);
    worker.run_to_end();
    let expired = worker.first(Kind::Expired);
    assert_eq!((expired.attempt, expired.tried), (0, None));
    assert_eq!(sink.counts().connections, 0);
}
