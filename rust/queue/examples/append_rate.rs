//! How fast the queue appends, reads back and opens again: `append_rate DIR [RECORDS]`.
//!
//! Two loads of 8 KB records: one producer with batches of 100, and eight producers with batches of
//! 16; each append is durable when it returns. CPU is that of the whole process (/proc/self/stat).
//! Then RECORDS (default 1,000,000) records of 100 bytes, and the time to open the queue again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use postalynk_queue::{Append, Options, Queue};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: append_rate DIR [RECORDS]")?);
    let records = arguments
        .next()
        .map_or(Ok(1_000_000), |count| count.parse())?;
    let queue = Queue::open(Options::new(dir.join("a")))?.0;
    run(&queue, "1 producer x 100, 8 KB", 1, 100, 200, 8_192)?;
    run(&queue, "8 producers x 16, 8 KB", 8, 16, 150, 8_192)?;
    read(&queue)?;
    drop(queue);
    reopen(&dir.join("b"), records)
}

fn run(
    queue: &Queue,
    name: &str,
    producers: u32,
    batch: usize,
    rounds: u32,
    bytes: usize,
) -> Outcome<()> {
    let topic = queue.topic("email.send.normal")?;
    let value = Bytes::from(vec![b'x'; bytes]);
    let (begun, cpu, syncs) = (Instant::now(), cpu_us()?, queue.usage().syncs);
    std::thread::scope(|threads| {
        for producer in 0..producers {
            let value = &value;
            threads.spawn(move || {
                let one = |i| Append {
                    topic,
                    partition: (producer * 7 + i) % queue.partitions(),
                    key: None,
                    value: Some(value.clone()),
                };
                let records: Vec<_> = (0..batch as u32).map(one).collect();
                for round in 0..rounds {
                    queue
                        .append(&records, u64::from(round))
                        .expect("the disk works");
                }
            });
        }
    });
    let appends = f64::from(producers * rounds) * batch as f64;
    let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), cpu_us()? - cpu);
    println!(
        "{name}: {:.0} appends/s, {:.1} us CPU/append, {:.1} appends/fdatasync",
        appends / elapsed,
        cpu / appends,
        appends / (queue.usage().syncs - syncs) as f64,
    );
    Ok(())
}

/// The tail is still in memory for the newest of them; the others come from the files.
fn read(queue: &Queue) -> Outcome<()> {
    let reader = queue.consumer("", &[queue.topic("email.send.normal")?])?;
    let (begun, cpu) = (Instant::now(), cpu_us()?);
    let mut records = 0;
    loop {
        let batch = reader.poll(1_000, 64 << 20, Duration::ZERO)?;
        if batch.is_empty() {
            break;
        }
        records += batch.records.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = (cpu_us()? - cpu) / records as f64;
    println!(
        "read back: {:.0} records/s, {cpu:.1} us CPU/record",
        records as f64 / seconds
    );
    Ok(())
}

fn reopen(dir: &Path, records: u32) -> Outcome<()> {
    let queue = Queue::open(Options::new(dir))?.0;
    run(
        &queue,
        "1 producer x 1,000, 100 B",
        1,
        1_000,
        records / 1_000,
        100,
    )?;
    drop(queue);
    let begun = Instant::now();
    let queue = Queue::open(Options::new(dir))?.0;
    println!(
        "opened again with {} records in {:.2?}",
        queue.usage().records,
        begun.elapsed()
    );
    Ok(())
}

/// User and system time of this process, in microseconds (proc(5): fields 14 and 15, in ticks of 10 ms).
fn cpu_us() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 * 10_000.0)
}
