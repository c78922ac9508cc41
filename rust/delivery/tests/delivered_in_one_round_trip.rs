//! Many messages to a receiver that behaves.
//!
//! Runs: a sink with PIPELINING. Breaks: nothing. Holds: each message arrives once, over few
//! connections, with merged pipelining; the events say how; the low-water mark reaches the end (G1).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::Kind;
use postalynk_testkit::{Sink, SinkOptions};

#[test]
fn many_messages_leave_over_few_connections() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send((0..300).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_to_end();

    assert_eq!(worker.count(Kind::Delivered), 300);
    let counts = sink.counts();
    assert_eq!(counts.messages, 300);
    assert!(counts.connections <= 20, "{counts:?}");
    assert_eq!(worker.queue.committed.unwrap().0, 300);
    let event = worker.first(Kind::Delivered);
    let tried = event.tried.unwrap();
    assert_eq!(
        (event.attempt, event.address.as_str()),
        (1, "ann@example.com")
    );
    assert_eq!(
        (tried.pool.as_str(), tried.source.as_str()),
        ("default", "default")
    );
    assert_eq!((tried.reply_code, tried.phase.as_str()), (250, "dot"));
    assert!(tried.total_us > 0 && tried.connect_us > 0 && tried.size_bytes > 1_000);
    assert_eq!(tried.peer, sink.address().to_string());
    let text = worker.engine.metrics();
    assert!(
        text.contains("postalynk_attempts_total{outcome=\"delivered\""),
        "{text}"
    );
}

#[test]
fn every_recipient_is_a_delivery_of_its_own() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(
        1,
        &["a@example.com", "bounce@example.com", "c@example.org"],
    )]);
    worker.run_to_end();

    assert_eq!(
        (worker.count(Kind::Delivered), worker.count(Kind::Bounced)),
        (2, 1)
    );
    let bounced = worker.first(Kind::Bounced);
    assert_eq!(
        (bounced.recipient, bounced.address.as_str()),
        (1, "bounce@example.com")
    );
    assert_eq!(worker.queue.committed.unwrap().0, 1);
}
