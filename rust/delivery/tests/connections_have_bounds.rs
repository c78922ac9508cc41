//! No connection is kept for ever, and none is opened for nothing.
//!
//! Runs: a sink. Breaks: it takes its time. Holds: a connection takes no more messages than
//! allowed, is closed when it is old or idle, and there are no more than backlog and limits justify.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Worker, loopback, message, smart_host};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

fn deliver(settings: Settings, messages: u64) -> Worker {
    let mut worker = Worker::new(settings);
    worker.send(
        (0..messages)
            .map(|n| message(n, &["ann@example.com"]))
            .collect(),
    );
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), messages as usize);
    worker
}

#[test]
fn messages_per_connection() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let settings = Settings {
        per_connection: 5,
        connections: 1,
        ..smart_host(sink.address())
    };
    deliver(settings, 20);
    assert_eq!(sink.counts().connections, 4);
}

#[test]
fn a_connection_that_is_old_takes_no_more() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let settings = Settings {
        max_age_s: 0,
        connections: 1,
        ..smart_host(sink.address())
    };
    let mut worker = Worker::new(settings);
    worker.send(vec![message(1, &["ann@example.com"])]);
    // Too old from the start: connections come and go and none takes the message.
    worker.run_until("two connections", |_| sink.counts().connections >= 2);
    assert_eq!(sink.counts().messages, 0);
}

#[test]
fn few_messages_open_few_connections() {
    let slow = Rule::at(Step::FinalDot).after(Duration::from_millis(5));
    let options = SinkOptions {
        script: Script::new().with(slow),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let settings = Settings {
        connections: 6,
        ..smart_host(sink.address())
    };
    deliver(settings.clone(), 8);
    assert_eq!(sink.counts().connections, 1);
    deliver(settings, 400);
    let opened = sink.counts().connections - 1;
    assert!((2..=6).contains(&opened), "{opened}");
}

#[test]
fn an_idle_connection_is_closed_by_us() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let settings = Settings {
        idle_s: 0,
        connections: 1,
        ..smart_host(sink.address())
    };
    let mut worker = deliver(settings, 1);
    worker.send(vec![message(2, &["ann@example.com"])]);
    worker.run_to_end();
    assert!(sink.counts().connections >= 2);
}
