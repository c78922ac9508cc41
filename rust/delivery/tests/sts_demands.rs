//! MTA-STS (RFC 8461): what a domain's policy demands.
//!
//! Runs: sinks with certificates, a policy host, an authority that both trust. Breaks: a host the
//! policy does not name, a certificate for another name, a policy host that redirects, is not
//! trusted, or dies; our own process. Holds: enforced policies are met or the mail waits, testing
//! ones are only reported, and a policy once seen outlives failures and a restart.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message};
use postalynk_delivery::{Settings, TlsPolicy};
use postalynk_record::v1::{Event, Kind};
use postalynk_testkit::{Certificate, PolicyHost, Resolver, Sink, SinkOptions, Zone};
use std::io::Write;
use tempfile::TempDir;

const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n";
const ZONE: &str = "
d.test            MX    10 mx.d.test
mx.d.test         A     127.0.0.1
_mta-sts.d.test   TXT   v=STSv1; id=1;
mta-sts.d.test    A     127.0.0.1
";

struct Story {
    sink: Sink,
    resolver: Resolver,
    host: PolicyHost,
    directory: TempDir,
}

impl Story {
    fn new(mx_names: &[&str], policy: &str, has_tls: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let of_mx = Certificate::issue(mx_names).unwrap();
        let of_host = Certificate::issue(&["mta-sts.d.test"]).unwrap();
        let mut authorities = std::fs::File::create(directory.path().join("ca.pem")).unwrap();
        authorities
            .write_all(of_mx.authority_pem.as_bytes())
            .unwrap();
        authorities
            .write_all(of_host.authority_pem.as_bytes())
            .unwrap();
        let options = SinkOptions {
            certificate: has_tls.then_some(of_mx),
            ..SinkOptions::default()
        };
        Self {
            sink: Sink::start(loopback(), options).unwrap(),
            resolver: Resolver::start(loopback(), Zone::parse(ZONE).unwrap()).unwrap(),
            host: PolicyHost::start(loopback(), &of_host, policy).unwrap(),
            directory,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            dns_servers: vec![self.resolver.address()],
            dnssec: "off".into(),
            smtp_port: self.sink.address().port(),
            tls_ca_file: self.directory.path().join("ca.pem"),
            sts_port: self.host.address().port(),
            sts_directory: self.directory.path().join("sts"),
            tls_report: self.directory.path().join("tls-report.json"),
            seed: 1,
            ..Settings::default()
        }
    }

    /// What becomes of one message.
    fn send(&self, settings: Settings) -> (Event, String) {
        let mut worker = Worker::new(settings);
        worker.retry_after = common::PATIENCE * 60;
        worker.send(vec![message(1, &["ann@d.test"])]);
        worker.run_until("an event", |worker| !worker.events().is_empty());
        let today = common::now_us() / 86_400_000_000;
        (worker.events().remove(0), worker.engine.tls_report(today))
    }
}

#[test]
fn an_enforced_policy_is_met() {
    let story = Story::new(&["mx.d.test"], ENFORCE, true);
    let (event, report) = story.send(story.settings());
    assert_eq!(event.kind(), Kind::Delivered);
    assert_eq!(event.tried.unwrap().tls_policy, "sts-enforce");
    assert!(report.contains(r#""policy-type":"sts""#), "{report}");
    assert!(
        report.contains(r#""total-successful-session-count":1"#),
        "{report}"
    );
}

#[test]
fn an_enforced_policy_that_is_not_met_defers() {
    let unnamed = ENFORCE.replace("mx.d.test", "other.d.test");
    for (names, policy, has_tls, reason) in [
        (["other.test"], ENFORCE, true, "not for mx.d.test"),
        (["mx.d.test"], ENFORCE, false, "not offered"),
        (
            ["mx.d.test"],
            unnamed.as_str(),
            true,
            "does not name this host",
        ),
    ] {
        let story = Story::new(&names, policy, has_tls);
        let (event, report) = story.send(story.settings());
        assert_eq!(event.kind(), Kind::Deferred, "{reason}");
        assert_eq!(story.sink.counts().messages, 0);
        assert!(event.reason.contains(reason), "{}", event.reason);
        // A path that failed is probed again, so there may be more than one session by now.
        assert!(
            !report.contains(r#""total-failure-session-count":0"#) && report != "[]",
            "{report}"
        );
    }
}

#[test]
fn a_testing_policy_is_reported_only() {
    let policy = ENFORCE.replace("enforce", "testing");
    let story = Story::new(&["other.test"], &policy, true);
    let (event, report) = story.send(story.settings());
    assert_eq!(event.kind(), Kind::Delivered);
    assert_eq!(event.tried.unwrap().tls_policy, "sts-testing");
    assert!(
        report.contains(r#""result-type":"certificate-host-mismatch""#),
        "{report}"
    );
}

#[test]
fn a_policy_outlives_failures_and_a_restart() {
    let story = Story::new(&["other.test"], ENFORCE, true);
    assert_eq!(story.send(story.settings()).0.kind(), Kind::Deferred);
    assert_eq!(story.host.requests(), 1);
    // Another id, and a host that redirects; then no record at all: the policy stands.
    story.host.replace_answer(
        "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.d.test/x\r\nContent-Length: 0\r\n\r\n",
    );
    let changed = ZONE.replace("id=1", "id=2");
    story.resolver.replace_zone(Zone::parse(&changed).unwrap());
    let (event, report) = story.send(story.settings());
    assert_eq!(event.tried.unwrap().tls_policy, "sts-enforce");
    assert!(
        report.contains("sts-policy-fetch-error") && report.contains("301"),
        "{report}"
    );
    story
        .resolver
        .replace_zone(Zone::parse(&ZONE.replace("_mta-sts", "x")).unwrap());
    let (event, _) = story.send(story.settings());
    assert_eq!(event.tried.unwrap().tls_policy, "sts-enforce");
}

#[test]
fn what_is_no_policy_demands_nothing() {
    for answer in [
        "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.d.test/x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n",
        "no HTTP at all\r\n\r\n",
    ] {
        let story = Story::new(&["other.test"], ENFORCE, true);
        story.host.replace_answer(answer);
        let (event, report) = story.send(story.settings());
        assert_eq!(event.kind(), Kind::Delivered, "{answer}");
        assert_eq!(event.tried.unwrap().tls_policy, "opportunistic");
        assert!(report.contains("sts-policy-"), "{report}");
    }
    let story = Story::new(&["other.test"], ENFORCE, true);
    let untrusted = Settings {
        tls_ca_file: Default::default(),
        ..story.settings()
    };
    let (event, report) = story.send(untrusted);
    assert_eq!(event.kind(), Kind::Delivered);
    assert!(report.contains("sts-webpki-invalid"), "{report}");
}

#[test]
fn the_settings_demand_by_site_and_domain() {
    let story = Story::new(&["other.test"], ENFORCE, true);
    let plain = Settings {
        sts: false,
        ..story.settings()
    };
    let required = Settings {
        tls: TlsPolicy::Require,
        ..plain.clone()
    };
    let (event, _) = story.send(required.clone());
    assert_eq!(event.kind(), Kind::Delivered);
    assert_eq!(event.tried.unwrap().tls_policy, "require");
    let verified = Settings {
        tls_domains: [("d.test".to_owned(), TlsPolicy::Verify)].into(),
        ..required.clone()
    };
    let (event, _) = story.send(verified.clone());
    assert_eq!(event.kind(), Kind::Deferred);
    assert!(
        event.reason.contains("verify is demanded"),
        "{}",
        event.reason
    );
    let relaxed = Settings {
        tls: TlsPolicy::Verify,
        tls_domains: [("d.test".to_owned(), TlsPolicy::Opportunistic)].into(),
        ..plain
    };
    assert_eq!(story.send(relaxed).0.kind(), Kind::Delivered);
    let without = Story::new(&["mx.d.test"], ENFORCE, false);
    let refused = Settings {
        tls: TlsPolicy::Require,
        sts: false,
        ..without.settings()
    };
    let (event, _) = without.send(refused);
    assert_eq!(event.kind(), Kind::Deferred);
    assert_eq!(without.sink.counts().messages, 0);
}
