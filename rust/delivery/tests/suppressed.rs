//! Mail to addresses that an organization suppresses.
//!
//! Runs: two organizations' mail to the same addresses, one with a list. Breaks: nothing. Holds: what
//! is suppressed ends before an attempt, whatever case its address is written in; a lifted entry
//! stops nothing, and the delivery knows when it was made; a list counts for its own organization
//! alone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message, now_us, smart_host};
use postalynk_delivery::Suppression;
use postalynk_record::v1::{Kind, Message};
use postalynk_testkit::{Sink, SinkOptions};

fn entry(address: &str, since_us: u64, until_us: u64) -> (String, Suppression) {
    let reason = "it complained".to_owned();
    let entry = Suppression {
        since_us,
        until_us,
        reason,
    };
    (address.to_owned(), entry)
}

fn of(org: &str, n: u64, recipients: &[&str]) -> Message {
    Message {
        org: org.to_owned(),
        ..message(n, recipients)
    }
}

#[test]
fn law_own_list_only() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let now = now_us();
    worker.engine.suppress(
        "org_test",
        vec![
            entry("Ann@example.com", now - 5, 0),
            entry("bob@example.com", now - 5, now - 1),
            entry("cid@example.com", now - 5, now + 3_600_000_000),
        ],
    );
    let everybody = ["aNN@example.com", "bob@example.com", "cid@example.com"];
    worker.send(vec![
        of("org_test", 1, &everybody),
        of("org_other", 2, &everybody),
    ]);
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Suppressed), 2);
    assert_eq!(worker.count(Kind::Delivered), 4);
    let suppressed = worker.first(Kind::Suppressed);
    assert_eq!((suppressed.attempt, suppressed.tried), (0, None));
    assert_eq!(suppressed.org, "org_test");
    assert!(suppressed.reason.ends_with("it complained"));
    // One transaction each.
    assert_eq!(sink.counts().messages, 2);
}

#[test]
fn an_empty_list_stops_nothing() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let list = vec![entry("ann@example.com", now_us() - 5, 0)];
    worker.engine.suppress("org_test", list);
    worker.engine.suppress("org_test", Vec::new());
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 1);
}
