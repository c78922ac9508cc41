//! Domains without a way.
//!
//! Runs: a DNS server and a sink. Breaks: null MX, a name that does not exist, SERVFAIL, an MX host
//! without an address. Holds: null MX and NXDOMAIN bounce without a connection, an error defers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message};
use postalynk_delivery::Settings;
use postalynk_record::v1::Kind;
use postalynk_testkit::{Answer, Resolver, Sink, SinkOptions, Zone};

#[test]
fn no_means_no_and_trouble_means_later() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let zone = Zone::new()
        .with("null.test", Answer::Mx(0, ".".into()))
        .unwrap()
        .with("broken.test", Answer::ServFail)
        .unwrap()
        .with("implicit.test", Answer::A("127.0.0.1".parse().unwrap()))
        .unwrap()
        .with("adrift.test", Answer::Mx(10, "nowhere.test".into()))
        .unwrap();
    let resolver = Resolver::start(loopback(), zone).unwrap();
    let mut worker = Worker::new(Settings {
        dns_servers: vec![resolver.address()],
        smtp_port: sink.address().port(),
        seed: 1,
        ..Settings::default()
    });
    worker.retry_after = std::time::Duration::from_secs(600);
    let domains = ["null", "missing", "broken", "implicit", "adrift"];
    let to = |(n, domain): (usize, &str)| message(n as u64, &[&format!("ann@{domain}.test")]);
    worker.send(domains.into_iter().enumerate().map(to).collect());
    worker.run_until("all have an event", |w| w.queue.events.len() == 5);

    let of = |domain: &str| {
        let address = format!("ann@{domain}.test");
        worker
            .events()
            .into_iter()
            .find(|e| e.address == address)
            .unwrap()
    };
    for (domain, kind, enhanced) in [
        ("null", Kind::Bounced, "5.1.10"),
        ("missing", Kind::Bounced, "5.1.2"),
        ("broken", Kind::Deferred, "4.4.3"),
        ("adrift", Kind::Deferred, ""),
    ] {
        let event = of(domain);
        let tried = event.tried.clone().unwrap();
        assert_eq!(
            (event.kind(), tried.class.as_str()),
            (kind, "dns"),
            "{event:#?}"
        );
        assert_eq!(tried.enhanced, enhanced, "{domain}");
        assert!(event.reason.contains(".test"), "{event:#?}");
    }
    assert_eq!(of("implicit").kind(), Kind::Delivered);
    assert_eq!(sink.counts().connections, 1);
}
