//! A small queue for tests: two append topics, one compacted, four partitions, small files.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by tests, which may panic"
)]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use postalynk_queue::{
    Append, Batch, Consumer, Options, Position, Queue, Retention, TopicKind, TopicSpec,
};

pub const PARTITIONS: u32 = 4;
/// A poll that does not wait.
pub const NOW: Duration = Duration::ZERO;

pub fn options(path: &Path) -> Options {
    let spec = |name: &str, kind| TopicSpec {
        name: name.into(),
        kind,
        max_age: None,
    };
    let mut options = Options::new(path);
    options.partitions = PARTITIONS;
    options.topics = vec![
        spec("mail", TopicKind::Append),
        spec("events", TopicKind::Append),
        spec("state", TopicKind::Compacted),
    ];
    options.retention = Retention {
        max_age: Duration::ZERO,
        max_bytes: 0,
        max_records: 0,
    };
    options.segment_bytes = 64 << 10;
    options
}

pub fn open(path: &Path) -> Queue {
    Queue::open(options(path)).unwrap().0
}

pub fn record(queue: &Queue, topic: &str, partition: u32, value: impl Into<Bytes>) -> Append {
    let (topic, value) = (queue.topic(topic).unwrap(), Some(value.into()));
    Append {
        topic,
        partition,
        key: None,
        value,
    }
}

pub fn upsert(queue: &Queue, partition: u32, key: &[u8], value: Option<&[u8]>) -> Append {
    Append {
        topic: queue.topic("state").unwrap(),
        partition,
        key: Some(Bytes::copy_from_slice(key)),
        value: value.map(Bytes::copy_from_slice),
    }
}

pub fn at(queue: &Queue, topic: &str, partition: u32) -> Position {
    (queue.topic(topic).unwrap(), partition)
}

pub fn consumer(queue: &Queue, group: &str, topics: &[&str]) -> Consumer {
    let topics: Vec<_> = topics
        .iter()
        .map(|name| queue.topic(name).unwrap())
        .collect();
    queue.consumer(group, &topics).unwrap()
}

/// Everything there is, in polls of a few records.
pub fn drain(consumer: &Consumer) -> Batch {
    let mut all = Batch::default();
    loop {
        let batch = consumer.poll(7, 1 << 20, NOW).unwrap();
        if batch.is_empty() {
            return all;
        }
        all.records.extend(batch.records);
        all.damaged.extend(batch.damaged);
    }
}
