//! Receivers that say "later", "never" and nothing.
//!
//! Runs: a sink with its personalities. Breaks: RCPT is answered 451, 452, 550, or by hanging up
//! after DATA. Holds: 4xx is tried again with the attempt counted, 5xx ends it, and a connection
//! lost before the final dot is a deferral and no doubt (G1, G2).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::Kind;
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

#[test]
fn a_greylisted_delivery_is_delivered_by_its_second_attempt() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(1, &["defer@example.com"])]);
    worker.run_to_end();

    let deferred = worker.first(Kind::Deferred);
    let tried = deferred.tried.unwrap();
    assert_eq!((deferred.attempt, tried.reply_code), (1, 451));
    assert_eq!(
        (tried.class.as_str(), tried.phase.as_str()),
        ("policy", "rcpt")
    );
    assert_eq!(tried.enhanced, "4.7.1");
    assert!(deferred.due_at_us > deferred.at_us);
    let delivered = worker.first(Kind::Delivered);
    assert_eq!(delivered.attempt, 2);
    assert!(
        worker.queue.deferred.is_empty(),
        "its tombstone was written"
    );
    assert_eq!(worker.failures[0].class, "policy");
    assert_eq!(worker.failures[0].delivery.attempt(), 1);
}

#[test]
fn an_unknown_user_bounces_at_once() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(
        (0..20)
            .map(|n| message(n, &["bounce@example.com"]))
            .collect(),
    );
    worker.send((20..40).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_to_end();

    assert_eq!(
        (worker.count(Kind::Bounced), worker.count(Kind::Delivered)),
        (20, 20)
    );
    let tried = worker.first(Kind::Bounced).tried.unwrap();
    assert_eq!((tried.class.as_str(), tried.reply_code), ("mailbox", 550));
    assert!(worker.failures.is_empty(), "nobody is asked about a bounce");
}

#[test]
fn hanging_up_before_the_content_is_no_doubt() {
    let script = Script::new().with(Rule::at(Step::Data).times(1).close());
    let options = SinkOptions {
        script,
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_to_end();

    let tried = worker.first(Kind::Deferred).tried.unwrap();
    assert_eq!((tried.class.as_str(), tried.reply_code), ("transport", 0));
    assert_eq!(worker.count(Kind::InDoubt), 0);
    assert_eq!(worker.count(Kind::Delivered), 1);
    assert_eq!(sink.counts().messages, 1);
}

#[test]
fn a_receiver_that_is_down_costs_one_attempt_and_not_the_queue() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let address = sink.address();
    sink.stop();
    let mut worker = Worker::new(smart_host(address));
    worker.send((0..50).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_until("the first attempt fails", |w| w.count(Kind::Deferred) > 0);

    let tried = worker.first(Kind::Deferred).tried.unwrap();
    assert_eq!(
        (tried.class.as_str(), tried.phase.as_str()),
        ("transport", "connect")
    );
    assert!(worker.count(Kind::Deferred) < 5, "one a probe");
    let _sink = Sink::start(address, SinkOptions::default()).unwrap();
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 50);
}
