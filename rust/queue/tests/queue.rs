//! What each call promises, one test a promise.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{NOW, at, consumer, drain, open, options, record, upsert};
use postalynk_queue::{Append, Commit, Error, Queue, To};

fn commit(offset: u64, note: &'static str) -> Commit {
    Commit {
        offset,
        note: Bytes::from_static(note.as_bytes()),
    }
}

#[test]
fn records_come_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3u64 {
        let (queue, recovery) = Queue::open(options(dir.path())).unwrap();
        assert!(
            recovery.cuts.is_empty(),
            "after a clean stop nothing is cut: {recovery:?}"
        );
        let records = [
            record(&queue, "mail", 1, "a"),
            record(&queue, "mail", 1, "b"),
        ];
        assert_eq!(
            queue.append(&records, 10 + round).unwrap(),
            [2 * round, 2 * round + 1]
        );
        let all = drain(&consumer(&queue, "", &["mail"])).records;
        let offsets: Vec<_> = all.iter().map(|r| r.offset).collect();
        assert_eq!(offsets, (0..2 * round + 2).collect::<Vec<_>>());
        assert_eq!(all[0].value, "a");
        assert_eq!(all[0].appended_at_us, 10);
    }
}

#[test]
fn a_commit_and_its_note_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    queue
        .append(&["a", "b", "c"].map(|v| record(&queue, "mail", 0, v)), 1)
        .unwrap();
    let position = at(&queue, "mail", 0);
    consumer(&queue, "g", &["mail"])
        .commit(&[(position, commit(2, "note"))])
        .unwrap();
    drop(queue);
    let queue = open(dir.path());
    let reader = consumer(&queue, "g", &["mail"]);
    assert_eq!(reader.committed(), [(position, commit(2, "note"))].into());
    assert_eq!(queue.committed("g"), reader.committed());
    assert_eq!(reader.lag()[&position], 1);
    assert_eq!(drain(&reader).records[0].value, "c");
    assert!(queue.committed("other").is_empty());
}

#[test]
fn an_append_and_a_commit_are_synced_before_they_return() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    let reader = consumer(&queue, "g", &["mail"]);
    for i in 0..5 {
        let before = queue.usage().syncs;
        queue.append(&[record(&queue, "mail", 0, "a")], 1).unwrap();
        assert_eq!(queue.usage().syncs, before + 1);
        reader
            .commit(&[(at(&queue, "mail", 0), commit(i, ""))])
            .unwrap();
        assert_eq!(queue.usage().syncs, before + 2);
    }
}

/// Same file number, same place, same length: only the directory differs.
#[test]
fn two_queues_read_on_one_thread_do_not_mix() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut queues = Vec::new();
    for (dir, value) in dirs.iter().zip(["one", "two"]) {
        let mut settings = options(dir.path());
        settings.tail_bytes = 0;
        let queue = Queue::open(settings).unwrap().0;
        queue
            .append(&[record(&queue, "mail", 0, value)], 1)
            .unwrap();
        queues.push(queue);
    }
    for (queue, value) in queues.iter().zip(["one", "two"]) {
        assert_eq!(
            drain(&consumer(queue, "", &["mail"])).records[0].value,
            value
        );
    }
}

#[test]
fn a_compacted_topic_keeps_the_newest_value() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    let both = [
        upsert(&queue, 2, b"k", Some(b"1")),
        upsert(&queue, 2, b"k", Some(b"2")),
    ];
    assert_eq!(queue.append(&both, 1).unwrap(), [0, 0]);
    let rest = [
        upsert(&queue, 2, b"gone", Some(b"x")),
        upsert(&queue, 2, b"gone", None),
        upsert(&queue, 2, b"l", Some(b"")),
        upsert(&queue, 3, b"k", Some(b"other partition")),
    ];
    queue.append(&rest, 2).unwrap();
    drop(queue);
    let queue = open(dir.path());
    let state = queue.topic("state").unwrap();
    let got = queue
        .get_many(state, 2, &["k", "gone", "l", "none"])
        .unwrap();
    assert_eq!(got, [Some("2".into()), None, Some("".into()), None]);
    let pairs = |after: Option<&[u8]>| -> Vec<(Bytes, Bytes)> {
        queue
            .compacted(state, 2, after)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(
        pairs(None),
        [("k".into(), "2".into()), ("l".into(), "".into())]
    );
    assert_eq!(pairs(Some(b"k")), [(Bytes::from("l"), Bytes::new())]);
    assert_eq!(pairs(Some(b"l")), []);
}

#[test]
fn keys_expire_by_the_time_of_their_last_write() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    queue
        .append(
            &[
                upsert(&queue, 0, b"old", Some(b"1")),
                upsert(&queue, 1, b"renewed", Some(b"1")),
            ],
            10,
        )
        .unwrap();
    queue
        .append(
            &[
                upsert(&queue, 1, b"renewed", Some(b"2")),
                upsert(&queue, 3, b"new", Some(b"1")),
            ],
            20,
        )
        .unwrap();
    let state = queue.topic("state").unwrap();
    assert_eq!(queue.expire(state, 20).unwrap(), 1);
    assert_eq!(queue.get(state, 0, b"old").unwrap(), None);
    assert_eq!(queue.get(state, 1, b"renewed").unwrap(), Some("2".into()));
    assert_eq!(queue.expire(state, 21).unwrap(), 2);
}

#[test]
fn seek_by_offset_and_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = options(dir.path());
    settings.tail_bytes = 0;
    let queue = Queue::open(settings).unwrap().0;
    for i in 0..100u64 {
        queue
            .append(&[record(&queue, "mail", 0, i.to_string())], 1_000 + 10 * i)
            .unwrap();
    }
    let (reader, position) = (consumer(&queue, "", &["mail"]), at(&queue, "mail", 0));
    let first = |to| {
        reader.seek(position, to).unwrap();
        reader
            .poll(1, 1, NOW)
            .unwrap()
            .records
            .first()
            .map(|r| r.offset)
    };
    assert_eq!(first(To::Offset(40)), Some(40));
    assert_eq!(first(To::TimeUs(0)), Some(0));
    assert_eq!(first(To::TimeUs(1_000)), Some(0));
    assert_eq!(first(To::TimeUs(1_001)), Some(1));
    assert_eq!(first(To::TimeUs(1_500)), Some(50));
    assert_eq!(first(To::TimeUs(1_990)), Some(99));
    assert_eq!(first(To::TimeUs(1_991)), None);
    assert_eq!(first(To::Offset(1_000)), None);
    assert_eq!(queue.oldest_at_us(position.0, 0, 3).unwrap(), Some(1_030));
    assert_eq!(queue.oldest_at_us(position.0, 0, 100).unwrap(), None);
}

#[test]
fn time_never_runs_backwards_within_a_partition() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    queue
        .append(&[record(&queue, "mail", 0, "a")], 100)
        .unwrap();
    queue.append(&[record(&queue, "mail", 0, "b")], 50).unwrap();
    drop(queue);
    let queue = open(dir.path());
    queue.append(&[record(&queue, "mail", 0, "c")], 60).unwrap();
    let all = drain(&consumer(&queue, "", &["mail"])).records;
    assert_eq!(
        all.iter().map(|r| r.appended_at_us).collect::<Vec<_>>(),
        [100, 100, 100]
    );
}

#[test]
fn a_paused_partition_gives_nothing_until_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    queue
        .append(
            &[
                record(&queue, "mail", 0, "a"),
                record(&queue, "mail", 1, "b"),
            ],
            1,
        )
        .unwrap();
    let reader = consumer(&queue, "", &["mail"]);
    reader.pause(at(&queue, "mail", 0)).unwrap();
    assert_eq!(
        drain(&reader)
            .records
            .iter()
            .map(|r| r.partition)
            .collect::<Vec<_>>(),
        [1]
    );
    reader.resume(at(&queue, "mail", 0)).unwrap();
    assert_eq!(
        drain(&reader)
            .records
            .iter()
            .map(|r| r.partition)
            .collect::<Vec<_>>(),
        [0]
    );
}

#[test]
fn a_waiting_poll_is_woken_by_an_append_and_by_close() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    let reader = consumer(&queue, "", &["mail"]);
    let begun = Instant::now();
    assert!(
        reader
            .poll(1, 1, Duration::from_millis(30))
            .unwrap()
            .is_empty()
    );
    assert!(begun.elapsed() >= Duration::from_millis(30));
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| reader.poll(1, 1, Duration::from_secs(60)).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        queue.append(&[record(&queue, "mail", 3, "a")], 1).unwrap();
        assert_eq!(waiting.join().unwrap().records.len(), 1);
        let waiting = threads.spawn(|| reader.poll(1, 1, Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(20));
        queue.close();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(matches!(
        queue.append(&[record(&queue, "mail", 0, "a")], 1),
        Err(Error::Closed)
    ));
}

#[test]
fn a_poll_keeps_its_bounds_and_gives_at_least_one() {
    let dir = tempfile::tempdir().unwrap();
    for tail_bytes in [0, 1 << 20] {
        let mut settings = options(dir.path());
        settings.tail_bytes = tail_bytes;
        let queue = Queue::open(settings).unwrap().0;
        queue
            .append(&vec![record(&queue, "mail", 0, vec![b'x'; 1_000]); 20], 1)
            .unwrap();
        let reader = consumer(&queue, "", &["mail"]);
        assert_eq!(reader.poll(5, 1 << 20, NOW).unwrap().records.len(), 5);
        assert_eq!(reader.poll(5, 1, NOW).unwrap().records.len(), 1);
        let some = reader.poll(100, 5_000, NOW).unwrap().records.len();
        assert!((1..=5).contains(&some), "{some}");
    }
}

#[test]
fn law_fair_share() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    queue
        .append(&vec![record(&queue, "mail", 0, "flood"); 1_000], 1)
        .unwrap();
    let short = [1, 2, 3].map(|partition| record(&queue, "mail", partition, "short"));
    queue.append(&short, 1).unwrap();
    let reader = consumer(&queue, "", &["mail"]);
    let batch = reader.poll(4, 1 << 20, NOW).unwrap();
    let mut partitions: Vec<_> = batch.records.iter().map(|r| r.partition).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2, 3]);
    assert_eq!(
        reader.poll(10_000, 1 << 20, NOW).unwrap().records.len(),
        999
    );
}

#[test]
fn misuse_is_refused_and_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    let good = record(&queue, "mail", 0, "a");
    let state = upsert(&queue, 0, b"k", Some(b"v"));
    for bad in [
        Append {
            partition: 4,
            ..good.clone()
        },
        Append {
            value: None,
            ..good.clone()
        },
        Append {
            key: Some("k".into()),
            ..good.clone()
        },
        Append {
            key: None,
            ..state.clone()
        },
        Append {
            key: Some(vec![0; 70_000].into()),
            ..state.clone()
        },
        Append {
            partition: 4,
            ..state
        },
    ] {
        assert!(
            queue.append(&[good.clone(), bad.clone()], 1).is_err(),
            "{bad:?}"
        );
    }
    assert_eq!(queue.offsets(good.topic).unwrap(), [(0, 0); 4]);
    assert_eq!(queue.append(&[], 1).unwrap(), [0; 0]);
    assert!(matches!(queue.topic("nope"), Err(Error::UnknownTopic(_))));
    let position = at(&queue, "mail", 0);
    let anonymous = consumer(&queue, "", &["mail"]);
    assert!(matches!(
        anonymous.commit(&[(position, commit(0, ""))]),
        Err(Error::NoGroup)
    ));
    let reader = consumer(&queue, "g", &["mail"]);
    assert!(matches!(
        reader.commit(&[(position, commit(1, ""))]),
        Err(Error::BeyondEnd { .. })
    ));
    let events = at(&queue, "events", 0);
    assert!(matches!(
        reader.commit(&[(events, commit(0, ""))]),
        Err(Error::NotSubscribed(_))
    ));
    assert!(
        queue
            .consumer("g", &[queue.topic("state").unwrap()])
            .is_err()
    );
}

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    let error = Queue::open(options(dir.path())).err().unwrap();
    assert!(matches!(error, Error::Locked { .. }));
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    drop(queue);
    open(dir.path());
}

#[test]
fn another_layout_is_refused_and_a_new_topic_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    queue.append(&[record(&queue, "mail", 3, "a")], 1).unwrap();
    drop(queue);
    let mut other = options(dir.path());
    other.partitions = 8;
    let error = Queue::open(other.clone()).err().unwrap().to_string();
    assert!(
        error.contains("partitions 4") && error.contains("partitions 8"),
        "{error}"
    );
    other.partitions = 3;
    assert!(Queue::open(other).is_err());
    let mut more = options(dir.path());
    more.topics.push(postalynk_queue::TopicSpec {
        name: "new".into(),
        kind: postalynk_queue::TopicKind::Append,
        max_age: None,
    });
    let queue = Queue::open(more).unwrap().0;
    queue.append(&[record(&queue, "new", 0, "n")], 1).unwrap();
    assert_eq!(
        drain(&consumer(&queue, "", &["mail", "new"])).records.len(),
        2
    );
    drop(queue);
    assert!(
        Queue::open(options(dir.path())).is_err(),
        "a topic must not vanish"
    );
}

#[test]
fn any_bytes_are_handed_over_as_they_came() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    for value in [&b""[..], &[0; 100], &[0xff; 3], b"not a protobuf"] {
        queue
            .append(&[record(&queue, "events", 0, value.to_vec())], 1)
            .unwrap();
    }
    drop(queue);
    let all = drain(&consumer(&open(dir.path()), "", &["events"])).records;
    let values: Vec<_> = all.iter().map(|r| r.value.to_vec()).collect();
    assert_eq!(
        values,
        [
            vec![],
            vec![0; 100],
            vec![0xff; 3],
            b"not a protobuf".to_vec()
        ]
    );
}
