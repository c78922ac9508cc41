//! The operator says for which domains mail leaves in chunks; a receiver says it for its site.
//!
//! Runs: receivers that offer CHUNKING (RFC 3030), behind MX records; two domains share one.
//! Breaks: nothing; then one receiver answers its first BDAT with 502.
//! Holds: mail of the domain that is switched off leaves with DATA while mail of the other leaves
//! with BDAT to the same host; a refusal is remembered for the site, whatever the domain, and for
//! no other site.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Answer, Resolver, Rule, Script, Sink, SinkOptions, Step, Zone};

fn receiver(address: std::net::SocketAddr, script: Script) -> Sink {
    let options = SinkOptions {
        chunking: true,
        script,
        ..SinkOptions::default()
    };
    Sink::start(address, options).unwrap()
}

/// `a.test` and `b.test` have one MX host, `far.test` another.
fn zone() -> Zone {
    let records = [
        ("a.test", Answer::Mx(10, "mx.both.test".into())),
        ("b.test", Answer::Mx(10, "mx.both.test".into())),
        ("far.test", Answer::Mx(10, "mx.far.test".into())),
        ("mx.both.test", Answer::A("127.0.0.1".parse().unwrap())),
        ("mx.far.test", Answer::A("127.0.0.2".parse().unwrap())),
    ];
    records
        .into_iter()
        .fold(Zone::new(), |zone, (name, answer)| {
            zone.with(name, answer).unwrap()
        })
}

fn worker(resolver: &Resolver, port: u16, change: impl FnOnce(&mut Settings)) -> Worker {
    let mut settings = Settings {
        dns_servers: vec![resolver.address()],
        smtp_port: port,
        transcript_sample: 1,
        connections: 1,
        seed: 1,
        ..Settings::default()
    };
    change(&mut settings);
    Worker::new(settings)
}

/// How each message to this domain left, by what was said: (with BDAT, with DATA).
fn manners(worker: &Worker, domain: &str) -> (usize, usize) {
    let events = worker.events().into_iter();
    let told: Vec<String> = events
        .filter(|e| e.kind() == Kind::Delivered && e.address.ends_with(domain))
        .map(|e| e.tried.unwrap().transcript)
        .collect();
    let with = |verb: &str| told.iter().filter(|text| text.contains(verb)).count();
    (with(" C: BDAT "), with(" C: DATA"))
}

fn send(worker: &mut Worker, first: u64, domain: &str) {
    let to = format!("ann@{domain}");
    worker.send((first..first + 10).map(|n| message(n, &[&to])).collect());
    worker.run_to_end();
}

#[test]
fn one_domain_of_a_site_is_switched_off() {
    let sink = receiver(loopback(), Script::new());
    let resolver = Resolver::start(loopback(), zone()).unwrap();
    let mut worker = worker(&resolver, sink.address().port(), |settings| {
        settings.chunking_domains.insert("a.test".into(), false);
    });
    // Turn by turn, so that neither may go on with a connection of the other, or learn from it.
    for (round, domain) in ["a.test", "b.test", "a.test", "b.test"].iter().enumerate() {
        send(&mut worker, round as u64 * 10, domain);
    }
    assert_eq!(manners(&worker, "@a.test"), (0, 20));
    assert_eq!(manners(&worker, "@b.test"), (20, 0));
    assert_eq!(sink.counts().messages, 40);
}

#[test]
fn one_domain_alone_is_switched_on() {
    let sink = receiver(loopback(), Script::new());
    let resolver = Resolver::start(loopback(), zone()).unwrap();
    let mut worker = worker(&resolver, sink.address().port(), |settings| {
        settings.chunking = false;
        settings.chunking_domains.insert("a.test".into(), true);
    });
    send(&mut worker, 0, "a.test");
    send(&mut worker, 10, "b.test");
    assert_eq!(manners(&worker, "@a.test"), (10, 0));
    assert_eq!(manners(&worker, "@b.test"), (0, 10));
}

#[test]
fn a_refusal_is_remembered_for_the_site_and_no_other() {
    let refusal = Rule::at(Step::FinalDot).times(1).reply("502 5.5.1 What?");
    let both = receiver(loopback(), Script::new().with(refusal));
    let port = both.address().port();
    let far = receiver(format!("127.0.0.2:{port}").parse().unwrap(), Script::new());
    let resolver = Resolver::start(loopback(), zone()).unwrap();
    let mut worker = worker(&resolver, port, |_| {});
    for (round, domain) in ["a.test", "b.test", "far.test"].iter().enumerate() {
        send(&mut worker, round as u64 * 10, domain);
    }
    // Only the first BDAT was refused: whatever left so later would have been taken.
    assert_eq!(manners(&worker, "@a.test"), (0, 10));
    assert_eq!(manners(&worker, "@b.test"), (0, 10));
    assert_eq!(manners(&worker, "@far.test"), (10, 0));
    assert_eq!(
        worker.count(Kind::Deferred) + worker.count(Kind::InDoubt),
        0
    );
    assert_eq!((both.counts().messages, far.counts().messages), (20, 10));
}
