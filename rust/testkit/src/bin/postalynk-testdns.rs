//! A DNS server that answers from a zone file, for tests.
//!
//! `postalynk-testdns ZONE [ADDR]` prints one JSON line with its address when it listens, then
//! serves until it is killed. The format is described at `postalynk_testkit::Zone`.

use postalynk_testkit::{Resolver, Zone};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let zone = arguments
        .next()
        .ok_or("usage: postalynk-testdns ZONE_FILE [ADDR]")?;
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:0".to_owned())
        .parse()?;
    let resolver = Resolver::start(address, Zone::parse(&std::fs::read_to_string(zone)?)?)?;
    println!("{}", serde_json::json!({"address": resolver.address()}));
    loop {
        std::thread::park();
    }
}
