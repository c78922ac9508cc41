//! The queue stops taking events while mail flows.
//!
//! Runs: a sink, a backlog. Breaks: outcomes are taken and their events are not stored. Holds: soon
//! nothing more is sent, so a crash would repeat some and not the backlog (G2); when events are
//! taken again, the rest goes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::{Duration, Instant};

use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::Kind;
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

const MESSAGES: u64 = 600;

#[test]
fn law_bounded_in_hand() {
    // Slow enough that the backlog outlasts the wait by far.
    let delay = Rule::at(Step::FinalDot).after(Duration::from_millis(100));
    let options = SinkOptions {
        script: Script::new().with(delay),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(
        (0..MESSAGES)
            .map(|n| message(n, &["ann@example.com"]))
            .collect(),
    );
    let until = Instant::now() + common::PATIENCE;
    let batch = loop {
        worker.route_waiting();
        let batch = worker.engine.outcomes(1_000, Duration::from_millis(10));
        if !batch.is_empty() {
            break batch;
        }
        assert!(Instant::now() < until, "nothing ended");
    };
    // It stands still once nothing has arrived for as long as ten of the sink's answers take.
    let (mut arrived, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        worker.route_waiting();
        assert!(Instant::now() < until, "it goes on and on: {arrived}");
        if sink.received().len() > arrived {
            (arrived, since) = (sink.received().len(), Instant::now());
        }
    }
    assert!(
        (arrived as u64) < MESSAGES,
        "all was sent, nothing recorded"
    );
    let offsets: Vec<u64> = (0..batch.len() as u64).collect();
    worker.engine.recorded(&batch, &offsets).unwrap();
    let rest = MESSAGES as usize - batch.len();
    worker.run_until("the rest is sent", |w| w.count(Kind::Delivered) == rest);
}
