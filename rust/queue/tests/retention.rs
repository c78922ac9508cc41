//! What is dropped, what is kept, and that disk comes back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{at, consumer, drain, options, record};
use postalynk_queue::{Commit, Options, Queue, Retention};

fn settings(path: &std::path::Path, max_age_us: u64, max_bytes: u64, max_records: u64) -> Options {
    let mut settings = options(path);
    let max_age = Duration::from_micros(max_age_us);
    settings.retention = Retention {
        max_age,
        max_bytes,
        max_records,
    };
    settings.keep_for = vec!["worker".into()];
    settings
}

fn fill(queue: &Queue, topic: &str, count: u64, bytes: usize) {
    let (id, mut now_us) = (queue.topic(topic).unwrap(), 0);
    for (_, end) in queue.offsets(id).unwrap() {
        now_us += end;
    }
    for i in 0..count {
        let value = vec![b'x'; bytes];
        queue
            .append(&[record(queue, topic, (i % 4) as u32, value)], now_us + i)
            .unwrap();
    }
}

fn commit_all(queue: &Queue, group: &str, topic: &str) {
    let reader = consumer(queue, group, &[topic]);
    let ends = queue.offsets(queue.topic(topic).unwrap()).unwrap();
    let commits: Vec<_> = (0..4u32)
        .map(|p| {
            (
                at(queue, topic, p),
                Commit {
                    offset: ends[p as usize].1,
                    note: Bytes::new(),
                },
            )
        })
        .collect();
    reader.commit(&commits).unwrap();
}

#[test]
fn old_records_go_and_offsets_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(settings(dir.path(), 10, 0, 0)).unwrap().0;
    fill(&queue, "events", 40, 10);
    assert_eq!(queue.apply_retention(29).unwrap().records, 19);
    assert_eq!(queue.usage().records, 21);
    assert_eq!(queue.apply_retention(1_000).unwrap().records, 21);
    assert!(drain(&consumer(&queue, "", &["events"])).is_empty());
    drop(queue);
    let queue = Queue::open(settings(dir.path(), 10, 0, 0)).unwrap().0;
    let events = queue.topic("events").unwrap();
    assert_eq!(queue.offsets(events).unwrap(), [(10, 10); 4]);
    assert_eq!(
        queue
            .append(&[record(&queue, "events", 0, "a")], 1_001)
            .unwrap(),
        [10]
    );
    drop(queue);
    let queue = Queue::open(settings(dir.path(), 10, 0, 0)).unwrap().0;
    assert_eq!(queue.offsets(events).unwrap()[0], (10, 11));
    let all = drain(&consumer(&queue, "", &["events"])).records;
    assert_eq!((all.len(), all[0].offset), (1, 10));
}

#[test]
fn a_topic_may_keep_longer_than_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut longer = settings(dir.path(), 10, 0, 0);
    longer.topics[1].max_age = Some(Duration::from_secs(1));
    let queue = Queue::open(longer).unwrap().0;
    fill(&queue, "mail", 8, 10);
    fill(&queue, "events", 8, 10);
    assert_eq!(queue.apply_retention(1_000).unwrap().records, 8);
    assert_eq!(queue.usage().records, 8);
}

#[test]
fn records_beyond_the_bound_go_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(settings(dir.path(), 0, 0, 100)).unwrap().0;
    fill(&queue, "events", 200, 10);
    queue.apply_retention(200).unwrap();
    let left = queue.usage().records;
    assert!((80..=100).contains(&left), "{left}");
    let oldest = drain(&consumer(&queue, "", &["events"])).records;
    assert!(oldest.iter().all(|r| r.appended_at_us >= 200 - left - 4));
}

#[test]
fn bytes_beyond_the_bound_give_disk_back() {
    let dir = tempfile::tempdir().unwrap();
    let bound = 1 << 20;
    let open = || Queue::open(settings(dir.path(), 0, bound, 0)).unwrap().0;
    let queue = open();
    consumer(&queue, "worker", &["mail"]);
    // An idle partition with one old commit must not hold the files of all others.
    fill(&queue, "mail", 4, 10);
    commit_all(&queue, "worker", "mail");
    commit_all(&queue, "other", "mail");
    fill(&queue, "events", 300, 10_000);
    assert!(queue.usage().bytes > 2 * bound);
    let dropped = queue.apply_retention(300).unwrap();
    assert!(dropped.bytes > bound, "{dropped:?}");
    let used = queue.usage();
    assert!(used.bytes <= bound, "{used:?}");
    assert!(used.records > 50, "no more than needed went: {used:?}");
    let on_disk: u64 = std::fs::read_dir(dir.path().join("log"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk <= bound + (4 << 20), "{on_disk}");
    drop(queue);
    let queue = open();
    assert_eq!(queue.usage().records, used.records);
    assert_eq!(queue.committed("other").len(), 4);
    assert_eq!(queue.committed("worker")[&at(&queue, "mail", 3)].offset, 1);
    fill(&queue, "events", 1, 10);
}

#[test]
fn law_never_uncommitted() {
    let dir = tempfile::tempdir().unwrap();
    let bound = 1 << 20;
    let open = || Queue::open(settings(dir.path(), 10, bound, 50)).unwrap().0;
    let queue = open();
    consumer(&queue, "worker", &["mail"]);
    drop(queue);
    // Not even before the worker is there again.
    let queue = open();
    fill(&queue, "mail", 200, 10_000);
    queue.apply_retention(1_000_000).unwrap();
    assert_eq!(queue.usage().records, 200);
    let position = at(&queue, "mail", 2);
    let done = Commit {
        offset: 30,
        note: Bytes::new(),
    };
    consumer(&queue, "worker", &["mail"])
        .commit(&[(position, done)])
        .unwrap();
    queue.apply_retention(1_000_000).unwrap();
    assert_eq!(
        queue.offsets(position.0).unwrap(),
        [(0, 50), (0, 50), (30, 50), (0, 50)]
    );
    commit_all(&queue, "worker", "mail");
    queue.apply_retention(1_000_000).unwrap();
    assert_eq!(queue.usage().records, 0);
}

#[test]
fn a_reader_behind_the_oldest_record_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(settings(dir.path(), 10, 0, 0)).unwrap().0;
    let (reader, late) = (
        consumer(&queue, "", &["events"]),
        consumer(&queue, "late", &["events"]),
    );
    fill(&queue, "events", 40, 10);
    let position = at(&queue, "events", 0);
    late.commit(&[(
        position,
        Commit {
            offset: 1,
            note: Bytes::new(),
        },
    )])
    .unwrap();
    queue.apply_retention(39).unwrap();
    let first = drain(&reader).records.iter().map(|r| r.offset).min();
    assert_eq!(first, Some(7));
    assert_eq!(
        drain(&consumer(&queue, "late", &["events"])).records.len(),
        11
    );
}
