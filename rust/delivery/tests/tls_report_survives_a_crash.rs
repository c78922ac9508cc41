//! The process dies without a word, and what it counted for the daily TLS report is not lost.
//!
//! Runs: one message to an MX host; the counts are written every second. Breaks: the process, so far
//! as a test can: the engine is never stopped and another one begins with its file. Holds: the session
//! is in the report of the second.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Resolver, Sink, SinkOptions, Zone};

#[test]
fn counts_are_written_while_it_runs() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let zone = Zone::parse("d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n").unwrap();
    let resolver = Resolver::start(loopback(), zone).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let settings = || Settings {
        dns_servers: vec![resolver.address()],
        dnssec: "off".into(),
        sts: false,
        smtp_port: sink.address().port(),
        tls_report: directory.path().join("tls-report.json"),
        tls_report_every_s: 1,
        seed: 1,
        ..Settings::default()
    };
    let mut worker = Worker::new(settings());
    worker.send(vec![message(1, &["ann@d.test"])]);
    worker.run_until("it is delivered", |w| w.count(Kind::Delivered) == 1);
    let is_written = |_: &Worker| {
        let text = std::fs::read_to_string(directory.path().join("tls-report.json"));
        text.is_ok_and(|text| text.contains("\"policy-domain\":\"d.test\""))
    };
    worker.run_until("the counts are on disk", is_written);
    let today = common::now_us() / 86_400_000_000;
    let counted = worker.engine.tls_report(today);
    std::mem::forget(worker);

    let worker = Worker::new(settings());
    assert_eq!(worker.engine.tls_report(today), counted);
    assert!(counted.contains("starttls-not-supported"), "{counted}");
}
