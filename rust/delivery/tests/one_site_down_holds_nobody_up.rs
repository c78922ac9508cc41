//! One receiver is down, and its organization has more mail for it than fits.
//!
//! Runs: two sites found by MX records, one of which nobody listens at, in a window of 40. Breaks: one
//! organization sends 120 messages to the site that is down before another sends to the one that is
//! up. Holds: the other's mail is delivered meanwhile, and the low-water mark passes all of both
//! while the site is still down (G6).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Worker, loopback, message};
use postalynk_delivery::Settings;
use postalynk_record::v1::{self, Kind};
use postalynk_testkit::{Answer, Resolver, Sink, SinkOptions, Zone};

fn from(org: &str, numbers: std::ops::Range<u64>, rcpt: &str) -> Vec<v1::Message> {
    let one = |n| v1::Message {
        org: org.into(),
        ..message(n, &[rcpt])
    };
    numbers.map(one).collect()
}

#[test]
fn the_mark_moves_while_a_site_is_down() {
    let up = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let zone = Zone::new()
        .with("up.test", Answer::Mx(10, "mx.up.test".into()))
        .unwrap()
        .with("mx.up.test", Answer::A("127.0.0.1".parse().unwrap()))
        .unwrap()
        .with("down.test", Answer::Mx(10, "mx.down.test".into()))
        .unwrap()
        .with("mx.down.test", Answer::A("127.0.0.2".parse().unwrap()))
        .unwrap();
    let resolver = Resolver::start(loopback(), zone).unwrap();
    let mut worker = Worker::new(Settings {
        dns_servers: vec![resolver.address()],
        smtp_port: up.address().port(),
        rate: "unlimited".into(),
        max_in_flight: 40,
        park_after_s: 8,
        seed: 1,
        ..Settings::default()
    });
    worker.retry_after = Duration::from_secs(3_600);
    worker.send(from("org_blocked", 0..30, "ann@down.test"));
    assert_eq!(
        worker.engine.crowded(),
        [common::PARTITION],
        "it is read no further for now"
    );
    worker.send(from("org_other", 30..35, "bob@up.test"));
    worker.run_until("others are delivered beside it", |_| {
        up.counts().messages == 5
    });
    worker.run_until("it had time to show that nothing leaves", |w| {
        w.engine.crowded().is_empty()
    });

    // From here on what it has too much of is parked as it is read, and all others are read on.
    worker.send(from("org_blocked", 35..120, "ann@down.test"));
    worker.send(from("org_other", 120..130, "bob@up.test"));
    worker.run_until("the other's mail behind it is delivered", |_| {
        up.counts().messages == 15
    });
    worker.run_until("the mark has passed all of it", |w| {
        w.queue.committed.is_some_and(|(offset, _)| offset == 130)
    });
    assert_eq!(worker.count(Kind::Delivered), 15);
    assert_eq!(
        worker.queue.deferred.len(),
        115,
        "all that is for the site that is down"
    );
}
