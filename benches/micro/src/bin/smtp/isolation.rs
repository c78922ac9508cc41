//! `isolation`: a fast receiver, alone and beside one that takes seconds for every reply.
//!
//! `--dns HOST:PORT --port N --messages N [--slow N] [--bytes 10000]`
//! One engine sends to `fast.example`, while `--slow` messages wait for `slow.example` (0: alone).
//! The zone is the caller's: it puts the fast receiver on 127.0.0.1, which is the caller's too, and
//! the slow one on 127.0.0.2, which is here; both on `port`. The slow mail is in the engine first.

use std::time::{Duration, Instant};

use bytes::Bytes;
use postalynk_delivery::Settings;
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::Arguments;
use crate::measure::cpu_ns;
use crate::send::content;
use crate::worker::Worker;

/// What the slow receiver takes for each reply.
const REPLY: Duration = Duration::from_secs(2);
/// Given to the slow mail to be found out about, before the fast mail comes.
const HEAD_START: Duration = Duration::from_secs(1);
/// Without an outcome for so long, something waits for what will not come.
const STALLED: Duration = Duration::from_secs(20);
const FAST: &str = "fast.example";

pub fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let messages: usize = arguments.number("messages", 20_000)?;
    let slow: usize = arguments.number("slow", 0)?;
    let port = arguments.number("port", 25)?;
    let receiver = receiver(port)?;
    let settings = Settings {
        dns_servers: vec![arguments.text("dns")?.parse()?],
        smtp_port: port,
        dnssec: "off".into(),
        sts: false,
        rate: "unlimited".into(),
        per_connection: 1_000,
        // What is parked comes back by way of the queue, which is not here.
        park_after_s: 3_600,
        seed: 1,
        ..Settings::default()
    };
    let window = settings.max_in_flight;
    let content = Bytes::from(content(arguments.number("bytes", 10_000)?).concat());
    let mut worker = Worker::new(settings, &["default".to_owned()], content)?;
    worker.admit((0..slow).map(|_| "a@slow.example".to_owned()))?;
    let began = Instant::now();
    while slow > 0 && began.elapsed() < HEAD_START {
        worker.route(|_| 0)?;
        worker.record(FAST)?;
    }
    let (cpu, began) = (cpu_ns()?, Instant::now());
    let (mut given, mut ended, mut moved) = (0, 0, began);
    while ended < messages {
        let room = window.saturating_sub(worker.engine.in_flight());
        let more = room.min(messages - given).min(1_000);
        if more > 0 {
            worker.admit((0..more).map(|_| format!("b@{FAST}")))?;
            given += more;
        }
        worker.route(|_| 0)?;
        let more = worker.record(FAST)?;
        ended += more;
        if more > 0 {
            moved = Instant::now();
        } else if moved.elapsed() > STALLED {
            let (engine, waiting) = (&worker.engine, worker.engine.deferred());
            return Err(format!(
                "{given} given, {ended} ended, {} in flight, {waiting} deferred: {}",
                engine.in_flight(),
                engine.snapshot()
            )
            .into());
        }
    }
    let took_s = began.elapsed().as_secs_f64();
    let cpu_us = (cpu_ns()? - cpu) as f64 / 1e3 / ended as f64;
    let slow_taken = receiver.counts().messages;
    Ok(json!({
        "messages": ended,
        "took_s": took_s,
        "cpu_us_per_message": cpu_us,
        "slow_taken": slow_taken,
    }))
}

fn receiver(port: u16) -> Result<Sink, Failure> {
    let steps = [Step::Banner, Step::Ehlo, Step::Mail, Step::Rcpt, Step::Data];
    let slow = |script: Script, step| script.with(Rule::at(step).after(REPLY));
    let script = steps.into_iter().fold(Script::new(), slow);
    let options = SinkOptions {
        script: slow(script, Step::FinalDot),
        personalities: false,
        ..SinkOptions::default()
    };
    Ok(Sink::start(format!("127.0.0.2:{port}").parse()?, options)?)
}
