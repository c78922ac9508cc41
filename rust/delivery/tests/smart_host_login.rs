//! A smart host that wants to know who we are (RFC 4954).
//!
//! Runs: receivers that refuse MAIL without a login, with and without a certificate that proves who
//! they are. Breaks: the certificate, STARTTLS, the password. Holds: the password leaves over verified
//! TLS only, no event or transcript shows it, and a refused login defers mail and loses none.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Worker, loopback, message, smart_host};
use postalynk_delivery::Settings;
use postalynk_record::v1::{Event, Kind};
use postalynk_testkit::{Certificate, Sink, SinkOptions};
use tempfile::TempDir;

const PASSWORD: &str = "hush-hush-sweet";

struct Story {
    sink: Sink,
    settings: Settings,
    _directory: TempDir,
}

/// A receiver at 127.0.0.1 whose certificate is for these names; without: it has none.
fn story(names: Option<&str>, password: &str) -> Story {
    let certificate = names.map(|name| Certificate::issue(&[name]).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let authority = certificate.as_ref().map(|made| made.authority_pem.clone());
    std::fs::write(&ca, authority.clone().unwrap_or_default()).unwrap();
    let options = SinkOptions {
        certificate,
        login: Some(("relay".into(), PASSWORD.into())),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let settings = Settings {
        smart_host_user: "relay".into(),
        smart_host_password: password.into(),
        tls_ca_file: authority.map(|_| ca).unwrap_or_default(),
        transcript_sample: 1,
        ..smart_host(sink.address())
    };
    Story {
        sink,
        settings,
        _directory: directory,
    }
}

impl Story {
    fn send(&self) -> Event {
        let mut worker = Worker::new(self.settings.clone());
        worker.retry_after = common::PATIENCE * 60;
        worker.send(vec![message(1, &["ann@example.com"])]);
        worker.run_until("an event", |worker| !worker.events().is_empty());
        worker.events().remove(0)
    }
}

fn hides(text: &str) -> bool {
    let response = STANDARD.encode(format!("\0relay\0{PASSWORD}"));
    let alone = STANDARD.encode(PASSWORD);
    ![PASSWORD, &response, &alone]
        .iter()
        .any(|secret| text.contains(*secret))
}

#[test]
fn it_logs_in_once_the_host_has_proven_itself() {
    let story = story(Some("127.0.0.1"), PASSWORD);
    let event = story.send();
    assert_eq!(event.kind(), Kind::Delivered, "{}", event.reason);
    let tried = event.tried.unwrap();
    assert_eq!(tried.tls_policy, "verify");
    assert!(
        tried.transcript.contains("AUTH PLAIN ***"),
        "{}",
        tried.transcript
    );
    assert!(hides(&tried.transcript), "{}", tried.transcript);
    assert_eq!(story.sink.counts().messages, 1);
}

#[test]
fn nothing_leaves_to_a_host_that_has_not() {
    for (names, reason) in [
        (Some("other.test"), "not for 127.0.0.1"),
        (None, "not offered"),
    ] {
        let story = story(names, PASSWORD);
        let event = story.send();
        assert_eq!(event.kind(), Kind::Deferred);
        assert!(event.reason.contains(reason), "{}", event.reason);
        assert_eq!(event.tried.unwrap().phase, "starttls");
        assert_eq!(story.sink.counts().messages, 0);
    }
}

#[test]
fn a_wrong_password_defers() {
    let story = story(Some("127.0.0.1"), "wrong");
    let event = story.send();
    assert_eq!(event.kind(), Kind::Deferred);
    let tried = event.tried.unwrap();
    assert_eq!(
        (tried.phase.as_str(), tried.class.as_str()),
        ("auth", "authentication")
    );
    assert_eq!(tried.reply_code, 535);
    assert!(!tried.transcript.contains("wrong"), "{}", tried.transcript);
}

#[test]
fn the_mx_hosts_are_shown_no_password() {
    let settings = Settings {
        smart_host: String::new(),
        smart_host_password: PASSWORD.into(),
        smart_host_user: "relay".into(),
        ..Settings::default()
    };
    assert!(
        settings.check().is_err(),
        "without a smart host there is nobody to log in to"
    );
}
