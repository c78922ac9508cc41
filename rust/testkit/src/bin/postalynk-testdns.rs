//! A DNS server that answers from a zone file, for tests.
//!
//! `postalynk-testdns ZONE [ADDR] [--anchor FILE]` prints one JSON line with its address when it
//! listens, then serves until it is killed. With `--anchor` the zone is signed by a new key, which is
//! written there as a validator's trust anchor. The format is described at `postalynk_testkit::Zone`.

use postalynk_testkit::{Resolver, Zone};
use std::error::Error;

const USAGE: &str = "usage: postalynk-testdns ZONE_FILE [ADDR] [--anchor FILE]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut anchor = None;
    if let Some(at) = arguments.iter().position(|word| word == "--anchor") {
        anchor = Some(arguments.drain(at..).nth(1).ok_or(USAGE)?);
    }
    let mut arguments = arguments.into_iter();
    let file = arguments.next().ok_or(USAGE)?;
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:0".to_owned())
        .parse()?;
    let mut zone = Zone::parse(&std::fs::read_to_string(file)?)?;
    if let Some(anchor) = anchor {
        zone = zone.signed()?;
        std::fs::write(anchor, zone.trust_anchor().unwrap_or_default())?;
    }
    let resolver = Resolver::start(address, zone)?;
    println!("{}", serde_json::json!({"address": resolver.address()}));
    loop {
        std::thread::park();
    }
}
