//! A fast SMTP receiver for benchmarks, tests and `postalynk dev`.
//!
//! Prints one JSON line with its addresses when it listens, then serves until it is killed.

use postalynk_testkit::{Certificate, Sink, SinkOptions, TlsFault};
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

const USAGE: &str = "\
usage: postalynk-sink [--listen ADDR] [--fast] [--no-pipelining] [--seven-bit] [--chunking]
                      [--starttls] [--certificate FILE] [--tls-fault cut|garbage|alert]
                      [--login USER:PASSWORD] [--extension LINE] [--plain] [--slow-ms N]
                      [--size-limit BYTES] [--remember N]
                      [--ledger FILE] [--store DIR] [--stats-listen ADDR]
  --listen ADDR        loopback address, default 127.0.0.1:0 (a free port)
  --fast               count messages only: no ledger, no personalities
  --certificate FILE   offer STARTTLS with chain and key of this PEM file
  --tls-fault FAULT    what goes wrong with the handshake
  --login USER:PASS    refuse MAIL without this login
  --extension LINE     one more line in the answer to EHLO
  --plain              no personalities: everyone is accepted
  --slow-ms N          how long slow...@ waits, default 2000
  --remember N         messages kept in memory, default 100000
  --ledger FILE        append Message-ID and recipients of each message taken
  --store DIR          keep each message taken as DIR/00000001.eml, ...
  --stats-listen ADDR  GET / answers the counts, GET /received the messages, as JSON";

fn main() -> Result<(), Box<dyn Error>> {
    let mut address: SocketAddr = "127.0.0.1:0".parse()?;
    let mut options = SinkOptions::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or(format!("{argument} needs a value\n{USAGE}"))
        };
        match argument.as_str() {
            "--listen" => address = value()?.parse()?,
            "--fast" => options.count_only = true,
            "--plain" => options.personalities = false,
            "--no-pipelining" => options.pipelining = false,
            "--seven-bit" => options.eight_bit = false,
            "--chunking" => options.chunking = true,
            "--starttls" => options.starttls = true,
            "--certificate" => {
                options.certificate = Some(Certificate::read(value()?.as_ref())?);
            }
            "--tls-fault" => {
                let name = value()?;
                options.starttls = true;
                options.tls_fault =
                    Some(TlsFault::named(&name).ok_or(format!("no TLS fault {name}"))?);
            }
            "--login" => {
                let pair = value()?;
                let (user, password) = pair.split_once(':').ok_or("--login USER:PASSWORD")?;
                options.login = Some((user.to_owned(), password.to_owned()));
            }
            "--extension" => options.extensions.push(value()?),
            "--slow-ms" => options.slow = Duration::from_millis(value()?.parse()?),
            "--size-limit" => options.size_limit_bytes = value()?.parse()?,
            "--remember" => options.most_remembered = value()?.parse()?,
            "--ledger" => options.ledger = Some(value()?.into()),
            "--store" => options.store = Some(value()?.into()),
            "--stats-listen" => options.stats_listen = Some(value()?.parse()?),
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(format!("unknown argument {other}\n{USAGE}").into()),
        }
    }
    let sink = Sink::start(address, options)?;
    println!(
        "{}",
        serde_json::json!({"address": sink.address(), "stats_address": sink.stats_address()})
    );
    loop {
        std::thread::park();
    }
}
