//! DANE (RFC 7672): what signed TLSA records demand.
//!
//! Runs: sinks with certificates, signed zones. Breaks: records that do not match, that nobody can
//! use, whose signatures do not hold, whose server fails; a receiver without STARTTLS. Holds: mail
//! leaves only where the records are met, never in plaintext where there are records, and an
//! unsigned zone demands nothing, unless a signed alias leads there.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use aws_lc_rs::digest::{SHA256, digest};
use common::{Worker, loopback, message};
use postalynk_delivery::Settings;
use postalynk_record::v1::{Event, Kind};
use postalynk_testkit::{Certificate, Resolver, Sink, SinkOptions, Zone};

fn sha256(der: &[u8]) -> String {
    let octets = digest(&SHA256, der);
    octets
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

/// One receiver, one record; what became of a message, and what the receiver took.
fn run(record: &str, options: SinkOptions, marks: &str) -> (Event, u64) {
    run_to("ann@d.test", record, options, marks)
}

fn run_to(to: &str, record: &str, options: SinkOptions, marks: &str) -> (Event, u64) {
    let sink = Sink::start(loopback(), options).unwrap();
    let port = sink.address().port();
    let zone = format!(
        "d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n{marks}\n_{port}._tcp.mx.d.test {record}\n"
    )
    .replace("PORT", &port.to_string());
    let zone = Zone::parse(&zone).unwrap().signed().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let anchor = directory.path().join("anchor");
    std::fs::write(&anchor, zone.trust_anchor().unwrap()).unwrap();
    let resolver = Resolver::start(loopback(), zone).unwrap();
    let mut worker = Worker::new(Settings {
        dns_servers: vec![resolver.address()],
        trust_anchor: anchor,
        smtp_port: port,
        seed: 1,
        ..Settings::default()
    });
    worker.retry_after = common::PATIENCE * 60;
    worker.send(vec![message(1, &[to])]);
    worker.run_until("an event", |worker| !worker.events().is_empty());
    (worker.events().remove(0), sink.counts().messages)
}

fn with(certificate: &Certificate) -> SinkOptions {
    SinkOptions {
        certificate: Some(certificate.clone()),
        ..SinkOptions::default()
    }
}

#[test]
fn a_record_that_matches_is_enough() {
    let made = Certificate::issue(&["other.test"]).unwrap();
    let (event, taken) = run(
        &format!("TLSA 3 0 1 {}", sha256(&made.chain[0])),
        with(&made),
        "",
    );
    assert_eq!((event.kind(), taken), (Kind::Delivered, 1));
    let tried = event.tried.unwrap();
    assert_eq!(tried.tls_policy, "dane");
    assert!(tried.tls.starts_with("TLSv1.3"), "{}", tried.tls);
}

#[test]
fn an_authority_vouches_for_the_host_and_for_the_domain_it_serves() {
    let made = Certificate::issue(&["mx.d.test"]).unwrap();
    let record = |made: &Certificate| format!("TLSA 2 0 1 {}", sha256(&made.chain[1]));
    let (event, _) = run(&record(&made), with(&made), "");
    assert_eq!(event.kind(), Kind::Delivered);
    // RFC 7672 section 3.2.2: the next-hop domain is a name of the host as well.
    let domain = Certificate::issue(&["d.test"]).unwrap();
    let (event, _) = run(&record(&domain), with(&domain), "");
    assert_eq!(event.kind(), Kind::Delivered, "{}", event.reason);
    let other = Certificate::issue(&["other.test"]).unwrap();
    let (event, taken) = run(&record(&other), with(&other), "");
    assert_eq!((event.kind(), taken), (Kind::Deferred, 0));
}

#[test]
fn a_mismatch_defers_and_never_falls_back() {
    let made = Certificate::issue(&["mx.d.test"]).unwrap();
    let (event, taken) = run(
        &format!("TLSA 3 0 1 {}", sha256(b"another")),
        with(&made),
        "",
    );
    assert_eq!((event.kind(), taken), (Kind::Deferred, 0));
    let tried = event.tried.unwrap();
    assert_eq!(
        (tried.phase.as_str(), tried.tls_policy.as_str()),
        ("starttls", "dane")
    );
    assert!(
        event.reason.contains("no TLSA record matches"),
        "{}",
        event.reason
    );
}

#[test]
fn no_starttls_defers_where_there_are_records() {
    let record = format!("TLSA 3 0 1 {}", sha256(b"any"));
    let (event, taken) = run(&record, SinkOptions::default(), "");
    assert_eq!((event.kind(), taken), (Kind::Deferred, 0));
    assert!(event.reason.contains("not offered"), "{}", event.reason);
}

#[test]
fn unusable_records_demand_encryption_alone() {
    let made = Certificate::issue(&["other.test"]).unwrap();
    let record = format!("TLSA 1 0 1 {}", sha256(b"another"));
    let (event, _) = run(&record, with(&made), "");
    assert_eq!(event.kind(), Kind::Delivered);
    assert_eq!(event.tried.unwrap().tls_policy, "dane-unusable");
    let (event, taken) = run(&record, SinkOptions::default(), "");
    assert_eq!((event.kind(), taken), (Kind::Deferred, 0));
}

#[test]
fn records_that_cannot_be_had_defer() {
    let made = Certificate::issue(&["mx.d.test"]).unwrap();
    let record = format!("TLSA 3 0 1 {}", sha256(&made.chain[0]));
    let (event, taken) = run(&record, with(&made), "_PORT._tcp.mx.d.test BOGUS");
    assert_eq!((event.kind(), taken), (Kind::Deferred, 0));
    assert_eq!(event.tried.unwrap().phase, "dns");
    let (event, taken) = run("SERVFAIL", with(&made), "");
    assert_eq!((event.kind(), taken), (Kind::Deferred, 0));
}

#[test]
fn an_unsigned_zone_demands_nothing() {
    let record = format!("TLSA 3 0 1 {}", sha256(b"another"));
    let (event, taken) = run(&record, SinkOptions::default(), "d.test UNSIGNED");
    assert_eq!((event.kind(), taken), (Kind::Delivered, 1));
    assert_eq!(event.tried.unwrap().tls_policy, "opportunistic");
}

/// A host that is an alias from the signed zone to another, with this mark there; its records stand
/// at the alias (RFC 7672 section 2.2.2).
fn through_alias(record: &str, options: SinkOptions, mark: &str) -> (Event, u64) {
    let alias = format!("mx.e.test CNAME host.other.test\nhost.other.test A 127.0.0.1\n{mark}");
    let marks = format!("e.test MX 10 mx.e.test\n{alias}\n_PORT._tcp.mx.e.test {record}");
    run_to("ann@e.test", "TXT unused", options, &marks)
}

#[test]
fn an_alias_out_of_the_signed_zone_keeps_its_records() {
    let made = Certificate::issue(&["any.test"]).unwrap();
    let right = format!("TLSA 3 0 1 {}", sha256(&made.chain[0]));
    let wrong = format!("TLSA 3 0 1 {}", sha256(b"another"));
    for mark in ["", "other.test UNSIGNED"] {
        let (event, taken) = through_alias(&right, with(&made), mark);
        assert_eq!((event.kind(), taken), (Kind::Delivered, 1), "{mark}");
        assert_eq!(event.tried.unwrap().tls_policy, "dane", "{mark}");
        let (event, taken) = through_alias(&wrong, with(&made), mark);
        assert_eq!((event.kind(), taken), (Kind::Deferred, 0), "{mark}");
    }
    // Without records it demands nothing, wherever it leads.
    let (event, _) = through_alias("TXT none", SinkOptions::default(), "other.test UNSIGNED");
    assert_eq!(event.kind(), Kind::Delivered, "{}", event.reason);
}
