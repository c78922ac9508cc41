//! What was said is kept where it explains something.
//!
//! Runs: a sink that refuses, that hangs up, or that behaves. Holds: the event of a failure has the
//! conversation, without content; of attempts that went well only a sample has it; whoever follows
//! the receiver sees it live, and one who follows another sees nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Worker, loopback, message, smart_host};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

fn sink(script: Script) -> Sink {
    let options = SinkOptions {
        script,
        ..SinkOptions::default()
    };
    Sink::start(loopback(), options).unwrap()
}

fn transcripts(worker: &Worker, kind: Kind) -> Vec<String> {
    let events = worker.events().into_iter();
    let tried = events.filter(|e| e.kind() == kind).filter_map(|e| e.tried);
    tried.map(|tried| tried.transcript).collect()
}

#[test]
fn a_refusal_tells_what_was_said() {
    let sink = sink(Script::new().with(Rule::at(Step::FinalDot).reply("550 5.7.1 No")));
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_to_end();
    let told = transcripts(&worker, Kind::Bounced).remove(0);
    let parts = [
        " S: 220 sink.test",
        " C: EHLO localhost",
        " S: 250-PIPELINING",
        " C: MAIL FROM:<bounce1@sender.example>",
        " C: RCPT TO:<ann@example.com>",
        " S: 354 ",
        " C: [content of ",
        " S: 550 5.7.1 No",
    ];
    let mut rest = told.as_str();
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part:?} in {told}"));
        rest = &rest[at..];
    }
    assert!(!told.contains("A line of text"), "{told}");
}

#[test]
fn a_hang_up_is_noted_and_so_is_one_before_the_greeting() {
    for step in [Step::Data, Step::Banner] {
        let sink = sink(Script::new().with(Rule::at(step).close()));
        let mut worker = Worker::new(smart_host(sink.address()));
        worker.send(vec![message(1, &["ann@example.com"])]);
        worker.run_until("an attempt fails", |worker| {
            worker.count(Kind::Deferred) > 0
        });
        let told = transcripts(&worker, Kind::Deferred).remove(0);
        let end = " *: the receiver closed the connection\n";
        assert!(told.ends_with(end), "{told}");
    }
}

#[test]
fn of_what_went_well_a_sample_is_kept() {
    let sink = sink(Script::new());
    for (sample, least, most) in [(0, 0, 0), (1, 60, 60), (4, 1, 59)] {
        let mut worker = Worker::new(Settings {
            transcript_sample: sample,
            ..smart_host(sink.address())
        });
        worker.send((0..60).map(|n| message(n, &["ann@example.com"])).collect());
        worker.run_to_end();
        let told = transcripts(&worker, Kind::Delivered);
        let kept = told.iter().filter(|text| !text.is_empty()).count();
        assert!((least..=most).contains(&kept), "{kept} at one in {sample}");
        assert!(told.iter().all(|text| text.len() < 8_400));
    }
}

#[test]
fn whoever_follows_a_receiver_sees_it_live() {
    let sink = sink(Script::new());
    let mut worker = Worker::new(smart_host(sink.address()));
    let here = worker
        .engine
        .trace_open(&sink.address().to_string())
        .unwrap();
    let elsewhere = worker.engine.trace_open("google").unwrap();
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_to_end();
    let batch = worker.engine.trace_read(here, Duration::ZERO).unwrap();
    assert_eq!(batch.lost, 0);
    let is_there = |text: &str| batch.lines.iter().any(|line| line.text.contains(text));
    assert!(is_there("C: RCPT TO:<ann@example.com>") && is_there("S: 250 2.0.0 OK"));
    let none = worker.engine.trace_read(elsewhere, Duration::ZERO).unwrap();
    assert_eq!(none.lines, []);
    worker.engine.trace_close(here);
    assert!(worker.engine.trace_read(here, Duration::ZERO).is_none());
}
