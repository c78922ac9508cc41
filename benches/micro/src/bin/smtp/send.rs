//! `send`: the engine's connections with prepared messages (see `postalynk_delivery::bench`).
//!
//! `--to HOST:PORT --messages N [--connections 50] [--per-connection N] [--bytes 10000]
//! [--starttls 0|1] [--journal FILE]`

use bytes::Bytes;
use postalynk_delivery::{Settings, bench};
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::Arguments;
use crate::measure::cpu_ns;

/// A message of so many octets: a header like that of a signed message, and lines of text.
pub fn content(octets: usize) -> Vec<Bytes> {
    let header = "From: Shop <orders@sender.example>\r\nTo: someone@receiver.example\r\n\
                  Subject: Your order\r\nMIME-Version: 1.0\r\n\r\n";
    let signature = format!("DKIM-Signature: v=1;\r\n b={}\r\n", "b".repeat(344));
    let line = format!("{}\r\n", "X".repeat(78));
    let mut body = header.to_owned();
    let room = octets.saturating_sub(signature.len() + header.len());
    body.push_str(&line.repeat(room / line.len()));
    vec![signature.into(), body.into()]
}

pub fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let messages = arguments.number("messages", 100_000)?;
    let settings = Settings {
        smart_host: arguments.text("to")?.to_owned(),
        connections: arguments.number("connections", 50)?,
        per_connection: arguments.number("per-connection", usize::MAX)?,
        starttls: arguments.number("starttls", 0)? == 1,
        journal: arguments.number("journal", String::new())?.into(),
        seed: 1,
        ..Settings::default()
    };
    let content = content(arguments.number("bytes", 10_000)?);
    let cpu = cpu_ns()?;
    let sent = bench::send(settings, content, messages)?;
    let cpu = cpu_ns()? - cpu;
    if sent.delivered != messages {
        return Err(format!("{} of {messages} were delivered", sent.delivered).into());
    }
    Ok(json!({
        "messages": messages,
        "took_s": sent.took.as_secs_f64(),
        "cpu_us_per_message": cpu as f64 / 1e3 / messages as f64,
    }))
}
