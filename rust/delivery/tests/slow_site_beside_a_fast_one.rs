//! One receiver is slow.
//!
//! Runs: two sinks found by MX records, one of which takes a second for every RCPT. Breaks: nothing.
//! Holds: the fast one gets all its mail while the slow one has hardly begun (G6).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Worker, loopback, message};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Answer, Resolver, Rule, Script, Sink, SinkOptions, Step, Zone};

#[test]
fn the_fast_site_keeps_its_pace() {
    let fast = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let port = fast.address().port();
    let delay = Rule::at(Step::Rcpt).after(Duration::from_secs(1));
    let options = SinkOptions {
        script: Script::new().with(delay),
        ..SinkOptions::default()
    };
    let slow = Sink::start(format!("127.0.0.2:{port}").parse().unwrap(), options).unwrap();
    let zone = Zone::new()
        .with("fast.test", Answer::Mx(10, "mx.fast.test".into()))
        .unwrap()
        .with("mx.fast.test", Answer::A("127.0.0.1".parse().unwrap()))
        .unwrap()
        .with("slow.test", Answer::Mx(10, "mx.slow.test".into()))
        .unwrap()
        .with("mx.slow.test", Answer::A("127.0.0.2".parse().unwrap()))
        .unwrap();
    let resolver = Resolver::start(loopback(), zone).unwrap();
    let mut worker = Worker::new(Settings {
        dns_servers: vec![resolver.address()],
        smtp_port: port,
        rate: "unlimited".into(),
        seed: 1,
        ..Settings::default()
    });
    worker.send((0..40).map(|n| message(n, &["ann@slow.test"])).collect());
    worker.send((40..440).map(|n| message(n, &["bob@fast.test"])).collect());
    worker.run_until("the fast site has all", |_| fast.counts().messages == 400);

    assert!(slow.counts().messages < 40);
    worker.run_to_end();
    let delivered = worker.first(Kind::Delivered).tried.unwrap();
    assert!(
        ["fast.test", "slow.test"].contains(&delivered.site.as_str()),
        "{}",
        delivered.site
    );
    assert_eq!(slow.counts().messages, 40);
}
