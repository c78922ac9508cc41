//! STARTTLS: used, refused, broken.
//!
//! Runs: a sink with a certificate nobody vouches for. Breaks: STARTTLS is answered 454, or the
//! handshake gets bytes that are no TLS, or the sink hangs up. Holds: mail is encrypted where it can be, goes in plaintext
//! where not, and the event says which and why.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::{Attempt, Kind};
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

fn run(script: Script) -> Attempt {
    let options = SinkOptions {
        starttls: true,
        script,
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send((0..30).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 30);
    assert_eq!(sink.counts().messages, 30);
    worker.first(Kind::Delivered).tried.unwrap()
}

#[test]
fn it_is_used_with_any_certificate() {
    let tried = run(Script::new());
    assert!(tried.tls.starts_with("TLSv1.3 TLS_"), "{}", tried.tls);
    assert_eq!(tried.tls_refused, "");
}

#[test]
fn a_refusal_is_recorded() {
    let tried = run(Script::new().with(Rule::at(Step::StartTls).reply("454 4.7.0 no TLS today")));
    assert_eq!(tried.tls, "");
    assert!(
        tried.tls_refused.contains("no TLS today"),
        "{}",
        tried.tls_refused
    );
}

#[test]
fn a_failed_handshake_falls_back_on_a_new_connection() {
    // After the 220 the sink goes on in plaintext.
    let rule = Rule::at(Step::StartTls).raw(b"220 go ahead\r\n");
    let tried = run(Script::new().with(rule));
    assert_eq!(tried.tls, "");
    assert!(
        tried.tls_refused.starts_with("handshake: "),
        "{}",
        tried.tls_refused
    );
}

#[test]
fn hanging_up_at_starttls_falls_back_too() {
    let tried = run(Script::new().with(Rule::at(Step::StartTls).close()));
    assert_eq!(tried.tls, "");
    assert!(
        tried.tls_refused.starts_with("after STARTTLS: "),
        "{}",
        tried.tls_refused
    );
}
