//! The connection breaks after the final dot.
//!
//! Runs: a sink that takes the message and resets the connection. Breaks: no reply to the dot.
//! Holds: the attempt is labelled in doubt, and what the organization wishes is done (G2).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::{InDoubt, Kind};
use postalynk_testkit::{Sink, SinkOptions};

fn run(wish: InDoubt) -> (Worker, Sink) {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let mut message = message(1, &["drop@example.com"]);
    message.in_doubt = wish.into();
    worker.send(vec![message]);
    worker.run_to_end();
    (worker, sink)
}

#[test]
fn retry_sends_it_again_and_says_so() {
    let (worker, sink) = run(InDoubt::Retry);
    let doubt = worker.first(Kind::InDoubt);
    assert_eq!(
        (doubt.attempt, doubt.tried.unwrap().phase.as_str()),
        (1, "dot")
    );
    assert!(doubt.due_at_us > 0);
    assert_eq!(worker.first(Kind::Delivered).attempt, 2);
    assert_eq!(worker.failures[0].kind, "in_doubt");
    // Its first copy was never acknowledged, so the sink counts it or not; it took at most two.
    assert!(sink.counts().messages <= 2);
}

#[test]
fn hold_leaves_it_in_doubt() {
    let (worker, _sink) = run(InDoubt::Hold);
    let doubt = worker.first(Kind::InDoubt);
    assert_eq!((doubt.attempt, doubt.due_at_us), (1, 0));
    assert!(worker.failures.is_empty());
    assert_eq!(worker.queue.committed.unwrap().0, 1);
}

#[test]
fn assume_delivered_counts_it_as_delivered() {
    let (worker, _sink) = run(InDoubt::AssumeDelivered);
    let delivered = worker.first(Kind::Delivered);
    assert!(
        delivered.reason.starts_with("assumed delivered"),
        "{}",
        delivered.reason
    );
    assert_eq!(worker.count(Kind::InDoubt), 0);
}
