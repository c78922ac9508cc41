//! Everything that can be wrong with a receiver's TLS, and what is decided on it.
//!
//! Runs: a receiver at a domain's MX host, our three settings. Breaks: its certificate (another
//! name, expired, nobody's), its handshake (cut, no TLS, an alert). Holds: mail goes in plaintext or to
//! an unproven host only under `opportunistic`, `require` takes any certificate and no failed
//! handshake, `verify` takes nothing but the right one; the event and the metric say what happened.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message};
use postalynk_delivery::{Settings, TlsPolicy};
use postalynk_record::v1::{Attempt, Kind};
use postalynk_testkit::{Certificate, Resolver, Sink, SinkOptions, TlsFault, Zone};

const ZONE: &str = "d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n";

/// What became of a message, how it was tried, and the metrics.
fn run(options: SinkOptions, authority: &str, tls: TlsPolicy) -> (Kind, Attempt, String) {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority).unwrap();
    let sink = Sink::start(loopback(), options).unwrap();
    let resolver = Resolver::start(loopback(), Zone::parse(ZONE).unwrap()).unwrap();
    let mut worker = Worker::new(Settings {
        dns_servers: vec![resolver.address()],
        dnssec: "off".into(),
        sts: false,
        smtp_port: sink.address().port(),
        tls_ca_file: if authority.is_empty() {
            Default::default()
        } else {
            ca
        },
        tls,
        seed: 1,
        ..Settings::default()
    });
    worker.retry_after = common::PATIENCE * 60;
    worker.send(vec![message(1, &["ann@d.test"])]);
    worker.run_until("an event", |worker| !worker.events().is_empty());
    let event = worker.events().remove(0);
    let (kind, metrics) = (event.kind(), worker.engine.metrics());
    assert_eq!(sink.counts().messages, u64::from(kind == Kind::Delivered));
    (kind, event.tried.unwrap(), metrics)
}

fn with(certificate: Certificate) -> SinkOptions {
    SinkOptions {
        certificate: Some(certificate),
        ..SinkOptions::default()
    }
}

/// Whether connections of this kind were counted.
fn counts(metrics: &str, result: &str, version: &str, policy: &str) -> bool {
    let labels = format!("result=\"{result}\",version=\"{version}\",policy=\"{policy}\"");
    metrics.contains(&format!("postalynk_tls_connections_total{{{labels}}}"))
}

#[test]
fn a_certificate_that_proves_nothing_is_enough_until_proof_is_wanted() {
    let trusted = Certificate::issue(&["mx.d.test"]).unwrap();
    let other = Certificate::issue(&["other.test"]).unwrap();
    let expired = Certificate::expired(&["mx.d.test"]).unwrap();
    for (made, is_known, reason) in [
        (&other, true, "not for mx.d.test"),
        (&expired, true, "certificate: "),
        (&trusted, false, "certificate: "),
    ] {
        let authority = if is_known {
            &made.authority_pem
        } else {
            &other.authority_pem
        };
        for tls in [TlsPolicy::Opportunistic, TlsPolicy::Require] {
            let (kind, tried, metrics) = run(with(made.clone()), authority, tls);
            assert_eq!(kind, Kind::Delivered, "{reason} {tls:?}");
            assert!(tried.tls.starts_with("TLSv1.3"), "{}", tried.tls);
            assert!(
                counts(&metrics, "encrypted", "TLSv1.3", tls.as_str()),
                "{metrics}"
            );
        }
        let (kind, tried, metrics) = run(with(made.clone()), authority, TlsPolicy::Verify);
        assert_eq!(kind, Kind::Deferred, "{reason}");
        assert_eq!(tried.phase, "starttls");
        assert!(tried.tls_refused.contains(reason), "{}", tried.tls_refused);
        assert!(counts(&metrics, "failed", "", "verify"), "{metrics}");
    }
    let authority = trusted.authority_pem.clone();
    let (kind, _, metrics) = run(with(trusted), &authority, TlsPolicy::Verify);
    assert_eq!(kind, Kind::Delivered);
    assert!(
        counts(&metrics, "verified", "TLSv1.3", "verify"),
        "{metrics}"
    );
}

#[test]
fn a_handshake_that_comes_to_nothing_leaves_plaintext_where_it_is_allowed() {
    for fault in [TlsFault::Cut, TlsFault::Garbage, TlsFault::Alert] {
        let made = Certificate::issue(&["mx.d.test"]).unwrap();
        let authority = made.authority_pem.clone();
        let faulty = SinkOptions {
            tls_fault: Some(fault),
            ..with(made)
        };
        let (kind, tried, metrics) = run(faulty.clone(), &authority, TlsPolicy::Opportunistic);
        assert_eq!(
            (kind, tried.tls.as_str()),
            (Kind::Delivered, ""),
            "{fault:?}"
        );
        assert!(
            tried.tls_refused.starts_with("handshake: "),
            "{}",
            tried.tls_refused
        );
        assert!(counts(&metrics, "failed", "", "opportunistic"), "{metrics}");
        assert!(
            counts(&metrics, "plaintext", "", "opportunistic"),
            "{metrics}"
        );
        for tls in [TlsPolicy::Require, TlsPolicy::Verify] {
            let (kind, tried, metrics) = run(faulty.clone(), &authority, tls);
            assert_eq!(kind, Kind::Deferred, "{fault:?} {tls:?}");
            assert_eq!(tried.tls_policy, tls.as_str());
            assert!(
                !counts(&metrics, "plaintext", "", tls.as_str()),
                "{metrics}"
            );
        }
    }
}

#[test]
fn no_starttls_at_all() {
    let (kind, tried, metrics) = run(SinkOptions::default(), "", TlsPolicy::Opportunistic);
    assert_eq!((kind, tried.tls.as_str()), (Kind::Delivered, ""));
    assert!(
        counts(&metrics, "plaintext", "", "opportunistic"),
        "{metrics}"
    );
    let (kind, _, metrics) = run(SinkOptions::default(), "", TlsPolicy::Require);
    assert_eq!(kind, Kind::Deferred);
    assert!(counts(&metrics, "unavailable", "", "require"), "{metrics}");
}
