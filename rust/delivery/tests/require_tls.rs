//! A message that requires TLS all the way, and one that would rather arrive (RFC 8689).
//!
//! Runs: receivers with and without REQUIRETLS, good and bad certificates, signed and unsigned zones.
//! Breaks: each step of section 4.2.1 in turn; a host that cannot be reached at all. Holds: such a
//! message leaves only over verified TLS to a host that promises the same, and else bounces with the
//! code of the RFC; a host that may come back is waited for; `TLS-Required: No` gets around what the
//! recipient's domain demands, never around the operator.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message};
use postalynk_delivery::{Settings, TlsPolicy};
use postalynk_record::v1::{self, Event, Kind};
use postalynk_testkit::{Certificate, Resolver, Rule, Script, Sink, SinkOptions, Step, Zone};
use tempfile::TempDir;

/// Where the receiver is, and what vouches for it.
struct Story {
    sink: Sink,
    _resolver: Resolver,
    _directory: TempDir,
    settings: Settings,
}

/// A receiver with this certificate that says these lines, in a signed zone with this mark.
fn story(certificate: Option<Certificate>, extensions: &[&str], zone: &str) -> Story {
    let directory = tempfile::tempdir().unwrap();
    let authority = certificate.as_ref().map(|made| made.authority_pem.clone());
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.clone().unwrap_or_default()).unwrap();
    let options = SinkOptions {
        certificate,
        extensions: extensions.iter().map(ToString::to_string).collect(),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let port = sink.address().port();
    let zone = zone.replace("PORT", &port.to_string());
    let zone = format!("d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n{zone}\n");
    let zone = Zone::parse(&zone).unwrap().signed().unwrap();
    let anchor = directory.path().join("anchor");
    std::fs::write(&anchor, zone.trust_anchor().unwrap()).unwrap();
    let resolver = Resolver::start(loopback(), zone).unwrap();
    let settings = Settings {
        dns_servers: vec![resolver.address()],
        trust_anchor: anchor,
        tls_ca_file: authority.map(|_| ca).unwrap_or_default(),
        smtp_port: port,
        sts: false,
        seed: 1,
        ..Settings::default()
    };
    Story {
        sink,
        _resolver: resolver,
        _directory: directory,
        settings,
    }
}

impl Story {
    fn send(&self, settings: Settings, message: v1::Message) -> Event {
        let mut worker = Worker::new(settings);
        worker.retry_after = common::PATIENCE * 60;
        worker.send(vec![message]);
        worker.run_until("an event", |worker| !worker.events().is_empty());
        worker.events().remove(0)
    }
}

fn demanding() -> v1::Message {
    v1::Message {
        require_tls: true,
        ..message(1, &["ann@d.test"])
    }
}

fn easy() -> v1::Message {
    v1::Message {
        tls_optional: true,
        ..message(1, &["ann@d.test"])
    }
}

fn good() -> Option<Certificate> {
    Some(Certificate::issue(&["mx.d.test"]).unwrap())
}

#[test]
fn it_goes_over_verified_tls_to_a_host_that_promises_the_same() {
    let story = story(good(), &["REQUIRETLS"], "");
    let event = story.send(story.settings.clone(), demanding());
    assert_eq!(event.kind(), Kind::Delivered, "{}", event.reason);
    assert_eq!(event.tried.unwrap().tls_policy, "requiretls");
    let parameters = story.sink.received().remove(0).parameters;
    assert!(parameters[0].ends_with(" REQUIRETLS"), "{parameters:?}");
    let plain = story.send(story.settings.clone(), message(2, &["ann@d.test"]));
    assert_eq!(plain.tried.unwrap().tls_policy, "opportunistic");
    let parameters = story.sink.received().remove(1).parameters;
    assert!(!parameters[0].contains("REQUIRETLS"), "{parameters:?}");
}

#[test]
fn each_step_that_fails_bounces_it_with_its_code() {
    let other = || Some(Certificate::issue(&["other.test"]).unwrap());
    let promise = ["REQUIRETLS"];
    let dane = "_PORT._tcp.mx.d.test TLSA 3 0 1 \
                0000000000000000000000000000000000000000000000000000000000000000";
    for (certificate, extensions, zone, code, reason) in [
        (good(), &[][..], "", "5.7.30", "REQUIRETLS"),
        (None, &promise[..], "", "5.7.10", "not offered"),
        (other(), &promise[..], "", "5.7.10", "not for mx.d.test"),
        (good(), &promise[..], dane, "5.7.10", "TLSA"),
        (good(), &promise[..], "d.test UNSIGNED", "5.7.10", "vouches"),
    ] {
        let story = story(certificate, extensions, zone);
        let event = story.send(story.settings.clone(), demanding());
        assert_eq!(event.kind(), Kind::Bounced, "{reason}");
        assert!(event.reason.contains(reason), "{}", event.reason);
        assert_eq!(event.tried.unwrap().enhanced, code, "{reason}");
        assert_eq!(story.sink.counts().messages, 0);
    }
}

#[test]
fn a_host_that_may_come_back_is_waited_for() {
    let script = Script::new().with(Rule::at(Step::StartTls).reply("454 4.7.0 Not now"));
    let options = SinkOptions {
        certificate: good(),
        script,
        ..SinkOptions::default()
    };
    let busy = Sink::start(loopback(), options).unwrap();
    let story = story(good(), &["REQUIRETLS"], "");
    for port in [busy.address().port(), 9] {
        let settings = Settings {
            smtp_port: port,
            ..story.settings.clone()
        };
        let event = story.send(settings, demanding());
        assert_eq!(event.kind(), Kind::Deferred, "{}", event.reason);
    }
}

#[test]
fn tls_required_no_gets_around_the_domain_and_not_the_operator() {
    let dane = "_PORT._tcp.mx.d.test TLSA 3 0 1 \
                0000000000000000000000000000000000000000000000000000000000000000";
    for certificate in [good(), None] {
        let story = story(certificate, &[], dane);
        let strict = story.send(story.settings.clone(), message(1, &["ann@d.test"]));
        assert_eq!(strict.kind(), Kind::Deferred);
        let event = story.send(story.settings.clone(), easy());
        assert_eq!(event.kind(), Kind::Delivered, "{}", event.reason);
        assert_eq!(event.tried.unwrap().tls_policy, "opportunistic");
    }
    let story = story(None, &[], dane);
    let required = Settings {
        tls: TlsPolicy::Require,
        ..story.settings.clone()
    };
    assert_eq!(story.send(required, easy()).kind(), Kind::Deferred);
    let both = v1::Message {
        require_tls: true,
        ..easy()
    };
    let event = story.send(story.settings.clone(), both);
    assert_eq!(
        event.kind(),
        Kind::Bounced,
        "REQUIRETLS counts, the header does not"
    );
}
