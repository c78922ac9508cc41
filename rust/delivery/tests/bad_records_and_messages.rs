//! Records and messages that cannot be sent.
//!
//! Runs: a sink. Breaks: a corrupt record, an address that no SMTP command can carry, a message over
//! the receiver's SIZE, a domain whose key is missing, a policy whose pool does not exist. Holds: each
//! ends in an outcome with its reason, the others are delivered, and the mark goes on (G4, G7).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use common::{PARTITION, Worker, loopback, message, now_us, smart_host};
use postalynk_delivery::{HeaderOp, RouteSpec, Row, SignerKey};
use postalynk_record::SEND_NORMAL;
use postalynk_record::v1::{Event, Kind};
use postalynk_testkit::{Sink, SinkOptions};

fn of<'a>(events: &'a [Event], address: &str) -> &'a Event {
    events
        .iter()
        .find(|event| event.address == address)
        .unwrap()
}

#[test]
fn a_corrupt_record_stops_none_of_the_others() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let corrupt = Row {
        topic: SEND_NORMAL.into(),
        partition: PARTITION,
        offset: 0,
        appended_at_us: now_us(),
        value: Bytes::from_static(b"\x9b\x01\xff\xff"),
    };
    let undecodable = worker.engine.admit(vec![corrupt.clone()], &HashMap::new());
    assert_eq!(undecodable.len(), 1);
    assert_eq!(undecodable[0].row, corrupt);
    assert!(
        undecodable[0].reason.contains("protobuf"),
        "{}",
        undecodable[0].reason
    );
    worker.queue.log.push(corrupt);
    worker.commit();
    assert!(
        worker.queue.committed.is_none_or(|(offset, _)| offset == 0),
        "not yet dead-lettered"
    );
    worker
        .engine
        .discarded(&[(SEND_NORMAL.into(), PARTITION, 0)]);
    worker.commit();
    assert_eq!(worker.queue.committed.unwrap().0, 1);
}

#[test]
fn what_cannot_be_sent_says_why() {
    let options = SinkOptions {
        size_limit_bytes: 20_000,
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.retry_after = Duration::from_secs(600);
    let injecting = message(1, &["a b@example.com"]);
    let mut large = message(2, &["large@example.com"]);
    if let Some(postalynk_record::v1::message::Content::Composed(composed)) = &mut large.content {
        composed.html = Bytes::from("<p>much</p>\n".repeat(4_000));
    }
    let mut unsigned = message(3, &["key@example.com"]);
    unsigned.dkim_domain = "nokey.example".into();
    let mut empty = message(4, &["empty@example.com"]);
    empty.content = None;
    worker.send(vec![
        injecting,
        large,
        unsigned,
        empty,
        message(5, &["fine@example.com"]),
    ]);
    worker.run_until("all have an event", |w| w.queue.events.len() == 5);

    let events = worker.events();
    for (address, kind, class, word) in [
        ("a b@example.com", Kind::Bounced, "content", "RCPT TO"),
        ("large@example.com", Kind::Bounced, "content", "limit"),
        (
            "key@example.com",
            Kind::Deferred,
            "authentication",
            "nokey.example",
        ),
        ("empty@example.com", Kind::Bounced, "content", "no content"),
    ] {
        let event = of(&events, address);
        assert_eq!(
            (event.kind(), event.tried.as_ref().unwrap().class.as_str()),
            (kind, class)
        );
        assert!(event.reason.contains(word), "{address}: {}", event.reason);
    }
    assert_eq!(of(&events, "fine@example.com").kind(), Kind::Delivered);
}

#[test]
fn a_pool_that_does_not_exist_defers_and_a_fallback_is_taken() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.retry_after = Duration::from_secs(600);
    let pools = r#"{"sources": [{"name": "s1", "ip": "127.0.0.1", "ehlo": "s1.example"}],
                    "pools": [{"name": "good", "sources": {"s1": 1}}]}"#;
    worker.engine.configure(pools).unwrap();
    worker.route = RouteSpec {
        pool: "none".into(),
        ..RouteSpec::default()
    };
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_until("it is deferred", |w| w.count(Kind::Deferred) == 1);
    let tried = worker.first(Kind::Deferred).tried.unwrap();
    assert_eq!(
        (tried.class.as_str(), tried.phase.as_str()),
        ("policy", "route")
    );

    worker.route.fallback = vec!["good".into()];
    worker.route.is_fallback = true;
    worker.route.policy_version = "v7".into();
    worker.send(vec![message(2, &["bob@example.com"])]);
    worker.run_until("it is delivered", |w| w.count(Kind::Delivered) == 1);
    let tried = worker.first(Kind::Delivered).tried.unwrap();
    assert_eq!((tried.pool.as_str(), tried.source.as_str()), ("good", "s1"));
    assert!(tried.fallback && tried.policy_version == "v7");
}

#[test]
fn a_signed_message_carries_the_headers_of_its_policy() {
    let directory = tempfile::tempdir().unwrap();
    let options = SinkOptions {
        store: Some(directory.path().to_owned()),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let key = |algorithm: &str, der: Vec<u8>| SignerKey {
        domain: "sender.example".into(),
        selector: format!("s-{algorithm}"),
        algorithm: algorithm.into(),
        pkcs8_der: der,
        lanes: None,
    };
    let ed25519 = postalynk_dkim::generate_ed25519().unwrap();
    let rsa = postalynk_dkim::generate_rsa_2048().unwrap();
    worker
        .engine
        .set_signers(&[key("ed25519", ed25519.to_vec()), key("rsa", rsa.to_vec())])
        .unwrap();
    worker.route.headers = vec![
        HeaderOp::Add("X-Campaign".into(), "autumn".into()),
        HeaderOp::Add("X-Bad".into(), "a\r\nBcc: evil@example.com".into()),
    ];
    let mut signed = message(1, &["ann@example.com"]);
    signed.dkim_domain = "sender.example".into();
    worker.send(vec![signed]);
    worker.run_to_end();

    assert_eq!(worker.count(Kind::Delivered), 1, "{:#?}", worker.events());
    let file = std::fs::read_dir(directory.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.matches("DKIM-Signature:").count(), 2, "{text}");
    assert!(text.contains("X-Campaign: autumn\r\n"), "{text}");
    assert!(!text.contains("evil@example.com"), "{text}");
    assert!(text.contains("Subject: Message 1\r\n"), "{text}");
}

#[test]
fn a_raw_message_is_passed_on_with_its_headers_edited() {
    let directory = tempfile::tempdir().unwrap();
    let options = SinkOptions {
        store: Some(directory.path().to_owned()),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.route.headers = vec![
        HeaderOp::Set("X-Stream".into(), "new".into()),
        HeaderOp::Remove("X-Internal".into()),
    ];
    let mut raw = message(1, &["ann@example.com"]);
    let text = "From: me@sender.example\r\nX-Internal: secret\r\nX-Stream: old\r\n\
                Subject: raw\r\n\r\n.dot\r\nbody\r\n";
    raw.content = Some(postalynk_record::v1::message::Content::Raw(
        Bytes::from_static(text.as_bytes()),
    ));
    worker.send(vec![raw]);
    worker.run_to_end();

    let file = std::fs::read_dir(directory.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.starts_with("X-Stream: new\r\nFrom: me@sender.example\r\n"),
        "{text}"
    );
    assert!(
        !text.contains("secret") && !text.contains("X-Stream: old"),
        "{text}"
    );
    assert!(text.contains("Subject: raw\r\n\r\n"), "{text}");
}
