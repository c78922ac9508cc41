//! `paths`: the memory of a path that has sent and now waits.
//!
//! `--dns HOST:PORT --port N [--sources 1000] [--sites 100]`
//! A whole engine sends one message over each of sources × sites paths to the receiver on `port`,
//! waits until every connection is closed, and tells by how much its memory grew for each path.
//! The sites are `siteN.example`; the zone is the caller's.

use std::time::{Duration, Instant};

use bytes::Bytes;
use postalynk_delivery::Settings;
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::Arguments;
use crate::measure::resident;
use crate::worker::Worker;

const PATIENCE: Duration = Duration::from_secs(300);
/// Messages in the engine at a time: fewer than a listener's backlog of 128, beyond which the kernel
/// answers with SYN cookies and forgets connections whose client waits for a banner.
const MOST_UNDER_WAY: usize = 100;
/// Connections open at a time: little beside the paths.
const MOST_CONNECTIONS: u64 = 2_000;

pub fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let sources: usize = arguments.number("sources", 1_000)?;
    let sites: usize = arguments.number("sites", 100)?;
    let settings = Settings {
        dns_servers: vec![arguments.text("dns")?.parse()?],
        smtp_port: arguments.number("port", 25)?,
        dnssec: "off".into(),
        sts: false,
        rate: "unlimited".into(),
        idle_s: 1,
        seed: 1,
        ..Settings::default()
    };
    let names: Vec<String> = (0..sources).map(|n| format!("source{n}")).collect();
    let content = Bytes::from_static(b"Subject: x\r\n\r\nx\r\n");
    let mut worker = Worker::new(settings, &names, content)?;
    worker.engine.configure(&pools(&names))?;
    // Caches, buffers and the first arenas of the allocator are not the paths'.
    send(&mut worker, 0..sites.min(50))?;
    let before = resident()?;
    send(&mut worker, 0..sources * sites)?;
    let after = resident()?;
    let paths = gauge(&worker, "postalynk_paths")?;
    if paths != (sources * sites) as u64 || gauge(&worker, "postalynk_connections")? != 0 {
        return Err(format!("{paths} paths, and connections that should be closed").into());
    }
    Ok(json!({
        "paths": paths,
        "bytes_per_path": after.saturating_sub(before) as f64 / paths as f64,
        "resident_bytes": after,
    }))
}

/// Path `n` leads from source `n % sources` to site `n / sources`.
fn send(worker: &mut Worker, numbers: std::ops::Range<usize>) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    let (total, sources) = (numbers.len(), worker.pools());
    let mut numbers = numbers.peekable();
    let mut ended = 0;
    while ended < total {
        let room = MOST_UNDER_WAY.saturating_sub(worker.engine.in_flight());
        let is_open = gauge(worker, "postalynk_connections")? < MOST_CONNECTIONS;
        if numbers.peek().is_some() && room > 0 && is_open {
            let next = numbers.by_ref().take(room);
            worker.admit(next.map(|n| format!("{}@site{}.example", n % sources, n / sources)))?;
        }
        worker.route(|address| {
            let source = address.split('@').next().unwrap_or_default();
            source.parse().unwrap_or_default()
        })?;
        ended += worker.record(".example")?;
        if Instant::now() > until {
            return Err(format!("{ended} of {total} after {PATIENCE:?}").into());
        }
    }
    while gauge(worker, "postalynk_connections")? > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn pools(names: &[String]) -> String {
    let sources: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let pool = |name: &String| json!({"name": name, "sources": {name: 1.0}});
    let pools: Vec<Value> = names.iter().map(pool).collect();
    json!({"sources": sources, "pools": pools}).to_string()
}

fn gauge(worker: &Worker, name: &str) -> Result<u64, Failure> {
    let text = worker.engine.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.ok_or("no such metric")?.trim().parse()?)
}
