//! The first MX host is down or refuses.
//!
//! Runs: a sink behind the second MX. Breaks: nothing listens at the first, or it greets with 554.
//! Holds: the second is tried on the same attempt, and the event names it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Answer, Resolver, Rule, Script, Sink, SinkOptions, Step, Zone};

fn zone() -> Zone {
    Zone::new()
        .with("two.test", Answer::Mx(10, "first.two.test".into()))
        .and_then(|zone| zone.with("two.test", Answer::Mx(20, "second.two.test".into())))
        .and_then(|zone| zone.with("first.two.test", Answer::A("127.0.0.3".parse().unwrap())))
        .and_then(|zone| zone.with("second.two.test", Answer::A("127.0.0.1".parse().unwrap())))
        .unwrap()
}

fn run(port: u16) -> Worker {
    let resolver = Resolver::start(loopback(), zone()).unwrap();
    let mut worker = Worker::new(Settings {
        dns_servers: vec![resolver.address()],
        smtp_port: port,
        seed: 1,
        ..Settings::default()
    });
    worker.send((0..20).map(|n| message(n, &["ann@two.test"])).collect());
    worker.run_to_end();
    assert_eq!(
        (worker.count(Kind::Delivered), worker.count(Kind::Deferred)),
        (20, 0)
    );
    let tried = worker.first(Kind::Delivered).tried.unwrap();
    assert_eq!(
        (tried.mx.as_str(), tried.site.as_str()),
        ("second.two.test", "two.test")
    );
    worker
}

#[test]
fn a_host_that_is_down_is_passed_over() {
    let second = Sink::start(loopback(), SinkOptions::default()).unwrap();
    run(second.address().port());
    assert_eq!(second.counts().messages, 20);
}

#[test]
fn a_host_that_refuses_is_passed_over() {
    let second = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let port = second.address().port();
    let script = Script::new().with(Rule::at(Step::Banner).reply("554 5.3.2 no mail here"));
    let options = SinkOptions {
        script,
        ..SinkOptions::default()
    };
    let _first = Sink::start(format!("127.0.0.3:{port}").parse().unwrap(), options).unwrap();
    run(port);
}
