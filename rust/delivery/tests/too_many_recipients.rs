//! A receiver takes fewer recipients in one transaction than a message has.
//!
//! Runs: a message to several recipients of one receiver. Breaks: nothing; then the receiver answers
//! 452 from the third RCPT on; then it announces limits (RFC 9422); then one mailbox is full.
//! Holds: identical content leaves once a transaction, whoever was only too many follows in the
//! next one without a deferral, and each recipient has its own outcome (G1).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::Kind;
use postalynk_testkit::{Received, Rule, Script, Sink, SinkOptions, Step};

const FIVE: [&str; 5] = [
    "a@one.test",
    "b@one.test",
    "c@two.test",
    "d@one.test",
    "e@two.test",
];

fn run(options: SinkOptions, recipients: &[&str]) -> (Worker, Vec<Received>) {
    let sink = Sink::start(loopback(), options).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut settings = smart_host(sink.address());
    settings.journal = directory.path().join("journal");
    let mut worker = Worker::new(settings);
    worker.send(vec![message(1, recipients)]);
    worker.run_to_end();
    // Every slot is free again: a restart finds nothing in doubt.
    assert!(
        std::fs::read(directory.path().join("journal"))
            .unwrap()
            .iter()
            .all(|b| *b == 0)
    );
    (worker, sink.received())
}

fn recipients(received: &[Received]) -> Vec<Vec<&str>> {
    let of = |r: &'_ Received| r.recipients.len();
    assert!(received.iter().all(|r| of(r) > 0));
    received
        .iter()
        .map(|r| r.recipients.iter().map(String::as_str).collect())
        .collect()
}

#[test]
fn one_message_is_one_transaction() {
    let (worker, received) = run(SinkOptions::default(), &FIVE);
    assert_eq!(worker.count(Kind::Delivered), 5);
    assert_eq!(recipients(&received), [FIVE.to_vec()]);
}

#[test]
fn those_too_many_follow_at_once() {
    let script = Script::new()
        .with(
            Rule::at(Step::Rcpt)
                .matching("c@")
                .times(1)
                .reply("452 4.5.3 Too many recipients"),
        )
        .with(
            Rule::at(Step::Rcpt)
                .matching("d@")
                .times(1)
                .reply("452 4.5.3 Too many recipients"),
        )
        .with(
            Rule::at(Step::Rcpt)
                .matching("e@")
                .times(1)
                .reply("552 Too many recipients"),
        );
    let options = SinkOptions {
        script,
        ..SinkOptions::default()
    };
    let (worker, received) = run(options, &FIVE);
    assert_eq!(
        (worker.count(Kind::Delivered), worker.count(Kind::Deferred)),
        (5, 0)
    );
    assert_eq!(
        recipients(&received),
        [
            vec!["a@one.test", "b@one.test"],
            vec!["c@two.test", "d@one.test"],
            vec!["e@two.test"]
        ]
    );
}

#[test]
fn announced_limits_are_kept() {
    let options = SinkOptions {
        extensions: vec!["LIMITS RCPTMAX=2 MAILMAX=2".into()],
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(1, &FIVE)]);
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 5);
    assert!(sink.received().iter().all(|r| r.recipients.len() <= 2));
    assert_eq!((sink.counts().messages, sink.counts().connections), (3, 2));
}

#[test]
fn a_session_keeps_to_its_domains() {
    let options = SinkOptions {
        extensions: vec!["LIMITS RCPTDOMAINMAX=1".into()],
        ..SinkOptions::default()
    };
    let (worker, received) = run(options, &FIVE);
    assert_eq!(worker.count(Kind::Delivered), 5);
    assert_eq!(
        recipients(&received),
        [
            vec!["a@one.test", "b@one.test"],
            vec!["c@two.test"],
            vec!["d@one.test"],
            vec!["e@two.test"]
        ]
    );
}

#[test]
fn one_refusal_costs_one_recipient() {
    let (worker, received) = run(
        SinkOptions::default(),
        &["a@one.test", "bounce@one.test", "defer@one.test"],
    );
    assert_eq!(
        (worker.count(Kind::Delivered), worker.count(Kind::Bounced)),
        (2, 1)
    );
    assert_eq!(worker.first(Kind::Bounced).address, "bounce@one.test");
    assert_eq!(worker.first(Kind::Deferred).address, "defer@one.test");
    assert_eq!(
        recipients(&received),
        [vec!["a@one.test"], vec!["defer@one.test"]]
    );
}

#[test]
fn a_loss_after_the_dot_leaves_those_accepted_in_doubt() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![message(
        1,
        &["drop@one.test", "bounce@one.test", "a@one.test"],
    )]);
    worker.run_to_end();
    let doubts: Vec<_> = worker
        .events()
        .into_iter()
        .filter(|e| e.kind() == Kind::InDoubt)
        .collect();
    assert_eq!(doubts.len(), 2);
    assert_eq!(
        (worker.count(Kind::Bounced), worker.count(Kind::Delivered)),
        (1, 2)
    );
}
