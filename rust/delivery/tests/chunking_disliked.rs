//! A receiver offers CHUNKING (RFC 3030) and does not mean it.
//!
//! Runs: fifty messages to a receiver that offers CHUNKING. Breaks: nothing; then it answers the
//! first BDAT with 502; then it resets the connection after the first chunk; last the operator
//! switches CHUNKING off.
//! Holds: messages sent ahead arrive once (G2); a refused BDAT costs no attempt; a loss after the
//! last chunk is in doubt, and mail goes on with DATA.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::HashSet;

use common::{Worker, loopback, message, smart_host};
use postalynk_delivery::{Settings, SiteLimits};
use postalynk_record::v1::Kind;
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

const MESSAGES: u64 = 50;

fn run(script: Script) -> (Worker, Sink) {
    let options = SinkOptions {
        chunking: true,
        script,
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut settings = smart_host(sink.address());
    settings.connections = 1;
    let mut worker = Worker::new(settings);
    worker.send(
        (0..MESSAGES)
            .map(|n| message(n, &["ann@one.test"]))
            .collect(),
    );
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), MESSAGES as usize);
    (worker, sink)
}

fn distinct(sink: &Sink) -> usize {
    let ids: HashSet<String> = sink.received().into_iter().map(|r| r.message_id).collect();
    ids.len()
}

#[test]
fn messages_sent_ahead_arrive_once() {
    let (_, sink) = run(Script::new());
    assert_eq!(
        (sink.counts().messages, sink.counts().connections),
        (MESSAGES, 1)
    );
    assert_eq!(distinct(&sink), MESSAGES as usize);
}

#[test]
fn a_refused_bdat_costs_no_attempt() {
    let (worker, sink) =
        run(Script::new().with(Rule::at(Step::FinalDot).times(1).reply("502 5.5.1 What?")));
    assert_eq!(
        (worker.count(Kind::Deferred), worker.count(Kind::InDoubt)),
        (0, 0)
    );
    assert_eq!(
        (sink.counts().messages, sink.counts().connections),
        (MESSAGES, 2)
    );
}

#[test]
fn a_loss_after_the_chunk_is_in_doubt_and_data_follows() {
    let (worker, sink) = run(Script::new().with(Rule::at(Step::FinalDot).times(1).reset()));
    assert_eq!(
        (worker.count(Kind::Deferred), worker.count(Kind::InDoubt)),
        (0, 1)
    );
    assert_eq!(distinct(&sink), MESSAGES as usize);
}

/// Whether one message leaves with BDAT: a sink that refuses it tells by a lost connection.
fn uses_chunks(change: impl FnOnce(&mut Settings)) -> bool {
    let options = SinkOptions {
        chunking: true,
        script: Script::new().with(Rule::at(Step::FinalDot).times(1).reply("502 5.5.1 What?")),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut settings = smart_host(sink.address());
    settings.connections = 1;
    change(&mut settings);
    let mut worker = Worker::new(settings);
    worker.send(vec![message(1, &["ann@one.test"])]);
    worker.run_until("an event", |worker| !worker.events().is_empty());
    // BDAT refused is nobody's fault; the dot of DATA answered so is a refusal of the message.
    worker.count(Kind::Delivered) == 1
}

#[test]
fn it_is_switched_off_by_default_site_or_domain() {
    assert!(uses_chunks(|_| {}));
    assert!(!uses_chunks(|settings| settings.chunking = false));
    let off = |settings: &mut Settings| {
        let limits = SiteLimits {
            chunking: Some(false),
            ..SiteLimits::default()
        };
        settings.sites.insert(settings.smart_host.clone(), limits);
    };
    assert!(!uses_chunks(off));
}
