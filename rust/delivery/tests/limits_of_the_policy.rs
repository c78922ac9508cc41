//! The policy says how mail leaves: lane, source, limits of a path, warm-up, a path backed off.
//!
//! Runs: a sink, and the worker of `common`, which answers as the policy would. Breaks: nothing.
//! Holds: nothing leaves before its path is shaped, by another source than the pinned one, beyond a
//! warm-up's day or on a path that is backed off; and nothing is lost by any of it (G1).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Worker, loopback, message, now_us, smart_host};
use postalynk_delivery::{RouteSpec, SiteLimits, WarmPlan};
use postalynk_record::decode;
use postalynk_record::v1::{Deferral, Kind};
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};

const POOLS: &str = r#"{
    "sources": [{"name": "s1", "ip": "127.0.0.1"}, {"name": "s2", "ip": "127.0.0.1"}],
    "pools": [{"name": "both", "sources": {"s1": 1, "s2": 1}},
              {"name": "one", "sources": {"s1": 1}}, {"name": "two", "sources": {"s2": 1}}]
}"#;

fn start() -> (Sink, Worker) {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let worker = Worker::new(smart_host(sink.address()));
    worker.engine.configure(POOLS).unwrap();
    (sink, worker)
}

fn route(pool: &str) -> RouteSpec {
    RouteSpec {
        pool: pool.into(),
        ..RouteSpec::default()
    }
}

fn sources(worker: &Worker) -> Vec<String> {
    let events = worker.events().into_iter();
    let delivered = events.filter(|event| event.kind() == Kind::Delivered);
    delivered.map(|event| event.tried.unwrap().source).collect()
}

#[test]
fn a_pinned_source_is_taken_by_every_organization() {
    let (_sink, mut worker) = start();
    for pin in ["s1", "s2"] {
        worker.route = RouteSpec {
            pin: pin.into(),
            ..route("both")
        };
        let first = if pin == "s1" { 0 } else { 10 };
        let mail = (first..first + 10).map(|n| {
            let mut mail = message(n, &["ann@example.com"]);
            mail.org = format!("org_{n}");
            mail
        });
        worker.send(mail.collect());
        worker.run_to_end();
    }
    let sources = sources(&worker);
    assert!(sources[..10].iter().all(|source| source == "s1"));
    assert!(sources[10..].iter().all(|source| source == "s2"));
    assert_eq!(sources.len(), 20);
}

#[test]
fn nothing_leaves_before_its_path_is_shaped_and_a_lane_goes_first() {
    let (sink, mut worker) = start();
    worker.engine.shape_by_policy(true, &[]);
    worker.route = RouteSpec {
        lane: Some(2),
        ..route("one")
    };
    worker.send((0..20).map(|n| message(n, &["ann@example.com"])).collect());
    worker.route_waiting();
    worker.route = RouteSpec {
        lane: Some(0),
        ..route("one")
    };
    worker.send(vec![message(99, &["high@example.com"])]);
    let waiting = |worker: &Worker| -> usize {
        let paths = worker.engine.paths_now();
        paths.iter().map(|path| path.waiting).sum()
    };
    worker.run_until("all wait on the path", |w| waiting(w) == 21);
    assert_eq!(
        sink.counts().connections,
        0,
        "an unshaped path sends nothing"
    );

    let asked = worker.engine.paths_asked(10, Duration::ZERO);
    assert_eq!(asked.len(), 1);
    assert_eq!((&*asked[0].source, &*asked[0].org), ("s1", ""));
    let limits = SiteLimits {
        connections: 1,
        rate: "unlimited".into(),
        ..SiteLimits::default()
    };
    worker
        .engine
        .shape(vec![(asked[0].clone(), limits)])
        .unwrap();
    worker.run_to_end();
    assert_eq!(sink.counts().connections, 1);
    assert_eq!(sink.received()[0].recipients, ["high@example.com"]);

    worker.engine.shape_by_policy(true, &[]);
    let again = worker.engine.paths_asked(10, Duration::from_secs(30));
    assert_eq!(again, asked, "a new policy is asked about every path");
    let wrong = SiteLimits {
        tls: "always".into(),
        ..SiteLimits::default()
    };
    assert!(
        worker
            .engine
            .shape(vec![(again[0].clone(), wrong)])
            .is_err()
    );
}

#[test]
fn an_organization_with_a_shape_of_its_own_has_its_own_path() {
    let (_sink, mut worker) = start();
    worker.engine.shape_by_policy(true, &["org_vip".into()]);
    worker.route = route("one");
    let mut vip = message(1, &["ann@example.com"]);
    vip.org = "org_vip".into();
    worker.send(vec![vip, message(2, &["bob@example.com"])]);
    worker.run_until("both wait", |w| {
        w.engine
            .paths_now()
            .iter()
            .map(|p| p.waiting)
            .sum::<usize>()
            == 2
    });
    let mut asked = worker.engine.paths_asked(10, Duration::ZERO);
    asked.sort_by(|a, b| a.org.cmp(&b.org));
    assert_eq!(
        asked.iter().map(|path| &*path.org).collect::<Vec<_>>(),
        ["", "org_vip"]
    );
    worker
        .engine
        .shape(vec![(asked[1].clone(), SiteLimits::default())])
        .unwrap();
    worker.run_until("the one is delivered", |w| w.count(Kind::Delivered) == 1);
    assert_eq!(worker.first(Kind::Delivered).org, "org_vip");
    worker.engine.shape_by_policy(false, &[]);
    worker.run_to_end();
    assert_eq!(
        worker.count(Kind::Delivered),
        2,
        "without a shape nobody waits for one"
    );
}

#[test]
fn a_path_that_is_backed_off_waits_without_an_attempt() {
    let (sink, mut worker) = start();
    worker.route = route("one");
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_to_end();
    let until_us = now_us() + 1_500_000;
    let receiver = sink.address().to_string();
    worker.engine.back_off(&[("s1".into(), receiver, until_us)]);
    worker.send(vec![message(2, &["bob@example.com"])]);
    worker.run_to_end();
    let events = worker.events();
    assert_eq!(worker.count(Kind::Delivered), 2);
    assert!(
        events[1].at_us >= until_us - 1_000,
        "a millisecond of clocks"
    );
    assert_eq!(events[1].attempt, 1);
}

fn plan(overflow: &str) -> WarmPlan {
    WarmPlan {
        source: "s1".into(),
        provider: String::new(),
        org: String::new(),
        // One by the end of every hour.
        per_day: Some(1),
        overflow: overflow.into(),
        hold_above: 1.0,
    }
}

#[test]
fn what_a_warm_up_has_no_room_for_overflows() {
    let (_sink, mut worker) = start();
    worker.engine.warm_up(vec![plan("two")]);
    worker.route = route("one");
    worker.send((0..20).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_to_end();
    let sources = sources(&worker);
    let warmed = sources.iter().filter(|source| *source == "s1").count();
    // Two, if midnight passed meanwhile.
    assert!((1..=2).contains(&warmed), "{warmed}");
    assert_eq!(sources.len(), 20);
    assert!(worker.engine.warmth()[0].sent >= 1);
    let reason = |event: &postalynk_record::v1::Event| {
        let tried = event.tried.as_ref().unwrap();
        (tried.pool == "two") == tried.route_reason.contains("warm-up of s1")
    };
    assert!(worker.events().iter().all(reason));
}

#[test]
fn other_sources_of_the_pool_come_before_the_overflow() {
    let (_sink, mut worker) = start();
    worker.engine.warm_up(vec![plan("one")]);
    worker.route = route("both");
    let mail = (0..20).map(|n| {
        let mut mail = message(n, &["ann@example.com"]);
        mail.org = format!("org_{n}");
        mail
    });
    worker.send(mail.collect());
    worker.run_to_end();
    let sources = sources(&worker);
    assert!(sources.iter().filter(|source| *source == "s1").count() <= 2);
    assert_eq!(sources.len(), 20);
}

#[test]
fn without_an_overflow_it_waits_for_an_hour_with_room() {
    let (_sink, mut worker) = start();
    worker.engine.warm_up(vec![plan("")]);
    worker.route = route("one");
    worker.send((0..20).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_until("all are away", |w| w.engine.in_flight() == 0);
    let delivered = worker.count(Kind::Delivered);
    assert!((1..=2).contains(&delivered), "{delivered}");
    assert_eq!(worker.queue.deferred.len() + delivered, 20);
    for value in worker.queue.deferred.values() {
        let deferral: Deferral = decode(value).unwrap();
        assert_eq!(
            (deferral.attempt, deferral.due_at_us % 3_600_000_000),
            (0, 0)
        );
    }
}

#[test]
fn how_a_source_stands_is_what_became_of_its_attempts() {
    let script = Script::new().with(
        Rule::at(Step::Rcpt)
            .times(10)
            .reply("550 5.7.1 poor reputation"),
    );
    let options = SinkOptions {
        script,
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.engine.configure(POOLS).unwrap();
    let watched = WarmPlan {
        per_day: Some(1_000_000),
        hold_above: 0.05,
        ..plan("")
    };
    worker.engine.warm_up(vec![watched]);
    worker.route = route("one");
    worker.send((0..40).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_to_end();
    let standings = worker.engine.standings();
    assert_eq!(standings.len(), 1);
    let stands = &standings[0];
    assert_eq!(
        (stands.source.as_str(), stands.site.as_str()),
        ("s1", "example.com")
    );
    // A fortieth that is half an hour old would weigh less; seconds do not show.
    assert!((stands.attempts - 40.0).abs() < 1.0, "{stands:?}");
    assert!((stands.bounced - 0.25).abs() < 0.01 && (stands.blamed - 0.25).abs() < 0.01);
    assert_eq!(worker.engine.warm_up_held(), [], "today is not over");
    let text = worker.engine.metrics();
    assert!(
        text.contains("postalynk_warmup_used{source=\"s1\",provider=\"\",org=\"\"} 40"),
        "{text}"
    );
}
