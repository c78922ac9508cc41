//! Rust's side of the SMTP benchmarks: `benches/load/smtp_*.py` and `isolation.py` run it.
//!
//! One subcommand, options as `--name value`, and one JSON object on stdout.
//!
//! | subcommand | does |
//! |---|---|
//! | `send` | sends one message many times over the engine's own connections, on one thread |
//! | `flood` | writes ready-made octets at a sink as fast as it takes them |
//! | `paths` | makes many paths, leaves them idle and tells the memory they hold |
//! | `isolation` | sends to a fast receiver, alone and beside one that takes 2 s a reply |
//! | `proxy` | stands a round trip away from a receiver until it is killed |
#![forbid(unsafe_code)]

mod arguments;
mod flood;
mod isolation;
mod measure;
mod paths;
mod send;
mod worker;

use std::error::Error;
use std::time::Duration;

use arguments::Arguments;
use postalynk_testkit::DelayProxy;
use serde_json::json;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let (subcommand, arguments) = Arguments::read(std::env::args().skip(1))?;
    let figures = match subcommand.as_str() {
        "send" => send::run(&arguments)?,
        "flood" => flood::run(&arguments)?,
        "paths" => paths::run(&arguments)?,
        "isolation" => isolation::run(&arguments)?,
        "proxy" => return proxy(&arguments),
        other => return Err(format!("{other:?} is no subcommand").into()),
    };
    println!("{figures}");
    Ok(())
}

fn proxy(arguments: &Arguments) -> Result<(), Failure> {
    let round_trip = Duration::from_millis(arguments.number("round-trip-ms", 50)?);
    let to = arguments.text("to")?.parse()?;
    let proxy = DelayProxy::start("127.0.0.1:0".parse()?, to, round_trip)?;
    println!("{}", json!({"address": proxy.address()}));
    loop {
        std::thread::park();
    }
}
