//! Law `model`: any sequence of appends, commits, seeks, retention and restarts does what a naive
//! model in memory does.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use common::{PARTITIONS, at, consumer, open, options, record, upsert};
use postalynk_queue::{Commit, Options, Queue, Retention, To};
use proptest::prelude::*;

const TOPICS: [&str; 2] = ["mail", "events"];
const MAX_AGE_US: u64 = 40;
const MAX_RECORDS: u64 = 60;

#[derive(Clone, Debug)]
enum Step {
    /// Records (topic, partition, length) and upserts (partition, key, value) of one call.
    Append(Vec<(usize, u32, usize)>, Vec<(u32, u8, Option<u8>)>),
    /// Share of the log of a partition that the worker has done.
    Commit(u32, f64),
    /// Read a partition from a share of its offsets, or of the time passed.
    Read(usize, u32, f64, bool),
    Retain,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = 0..PARTITIONS;
    let record = (0..2usize, partition.clone(), 0..3_000usize);
    let state = (partition.clone(), 0..4u8, any::<Option<u8>>());
    let append = (
        prop::collection::vec(record, 0..12),
        prop::collection::vec(state, 0..4),
    );
    let step = prop_oneof![
        6 => append.prop_map(|(records, upserts)| Step::Append(records, upserts)),
        3 => (partition.clone(), 0.0..=1.0).prop_map(|(p, share)| Step::Commit(p, share)),
        3 => (0..2usize, partition, 0.0..=1.0, any::<bool>())
            .prop_map(|(t, p, share, by_time)| Step::Read(t, p, share, by_time)),
        2 => Just(Step::Retain),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Default)]
struct Log {
    start: u64,
    /// All ever appended: (time, value).
    records: Vec<(u64, Bytes)>,
}

struct Run {
    path: PathBuf,
    queue: Queue,
    now_us: u64,
    logs: BTreeMap<(usize, u32), Log>,
    commits: BTreeMap<u32, Commit>,
    state: BTreeMap<(u32, u8), u8>,
}

fn settings(path: &Path) -> Options {
    let mut settings = options(path);
    let max_age = Duration::from_micros(MAX_AGE_US);
    settings.retention = Retention {
        max_age,
        max_bytes: 0,
        max_records: MAX_RECORDS,
    };
    settings.keep_for = vec!["worker".into()];
    // Small enough that some reads find the tail and some the files.
    settings.tail_bytes = 20_000;
    settings
}

impl Run {
    fn new(path: PathBuf) -> Self {
        let queue = Queue::open(settings(&path)).unwrap().0;
        consumer(&queue, "worker", &["mail"]);
        let keys = (0..2).flat_map(|topic| (0..PARTITIONS).map(move |p| (topic, p)));
        let logs = keys.map(|key| (key, Log::default())).collect();
        Self {
            path,
            queue,
            now_us: 1_000,
            logs,
            commits: BTreeMap::new(),
            state: BTreeMap::new(),
        }
    }

    fn step(mut self, step: &Step) -> Self {
        self.now_us += 3;
        match step {
            Step::Append(records, upserts) => self.append(records, upserts),
            Step::Commit(partition, share) => self.commit(*partition, *share),
            Step::Read(topic, partition, share, by_time) => {
                self.read((*topic, *partition), *share, *by_time);
            }
            Step::Retain => self.retain(),
            Step::Restart => {
                let path = self.path.clone();
                drop(self.queue);
                self.queue = Queue::open(settings(&path)).unwrap().0;
            }
        }
        self
    }

    fn append(&mut self, records: &[(usize, u32, usize)], upserts: &[(u32, u8, Option<u8>)]) {
        let mut expected = Vec::new();
        let mut appends = Vec::new();
        for &(topic, partition, length) in records {
            let log = self.logs.get_mut(&(topic, partition)).unwrap();
            let value = Bytes::from(vec![log.records.len() as u8; length]);
            expected.push(log.records.len() as u64);
            log.records.push((self.now_us, value.clone()));
            appends.push(record(&self.queue, TOPICS[topic], partition, value));
        }
        for &(partition, key, value) in upserts {
            expected.push(0);
            appends.push(upsert(
                &self.queue,
                partition,
                &[key],
                value.as_ref().map(std::slice::from_ref),
            ));
            match value {
                Some(value) => self.state.insert((partition, key), value),
                None => self.state.remove(&(partition, key)),
            };
        }
        assert_eq!(self.queue.append(&appends, self.now_us).unwrap(), expected);
    }

    fn commit(&mut self, partition: u32, share: f64) {
        let end = self.logs[&(0, partition)].records.len() as f64;
        let offset = (end * share) as u64;
        let note = Bytes::from(offset.to_string());
        let commit = Commit { offset, note };
        let worker = consumer(&self.queue, "worker", &["mail"]);
        worker
            .commit(&[(at(&self.queue, "mail", partition), commit.clone())])
            .unwrap();
        self.commits.insert(partition, commit);
    }

    fn read(&self, key: (usize, u32), share: f64, by_time: bool) {
        let log = &self.logs[&key];
        let reader = consumer(&self.queue, "", &[TOPICS[key.0]]);
        for partition in (0..PARTITIONS).filter(|&partition| partition != key.1) {
            reader
                .pause(at(&self.queue, TOPICS[key.0], partition))
                .unwrap();
        }
        let (to, from) = if by_time {
            let time = 1_000 + ((self.now_us - 1_000) as f64 * share) as u64;
            let first = log.records.iter().position(|&(at, _)| at >= time);
            (To::TimeUs(time), first.unwrap_or(log.records.len()) as u64)
        } else {
            let offset = (log.records.len() as f64 * share) as u64;
            (To::Offset(offset), offset)
        };
        reader
            .seek(at(&self.queue, TOPICS[key.0], key.1), to)
            .unwrap();
        let batch = common::drain(&reader);
        assert!(batch.damaged.is_empty());
        let found: Vec<_> = batch
            .records
            .iter()
            .map(|r| (r.offset, r.appended_at_us, r.value.clone()))
            .collect();
        let from = from.max(log.start) as usize;
        let kept = log.records.iter().enumerate().skip(from);
        let expected: Vec<_> = kept
            .map(|(offset, (at, value))| (offset as u64, *at, value.clone()))
            .collect();
        assert!(
            found == expected,
            "{key:?} from {from}: {} of {}",
            found.len(),
            expected.len()
        );
    }

    /// Which records go is the queue's choice; that it keeps its bounds and its promise is not.
    fn retain(&mut self) {
        self.queue.apply_retention(self.now_us).unwrap();
        let mut droppable = 0;
        let mut kept = 0;
        for (&(topic, partition), log) in &mut self.logs {
            let id = self.queue.topic(TOPICS[topic]).unwrap();
            let (start, end) = self.queue.offsets(id).unwrap()[partition as usize];
            assert_eq!(end, log.records.len() as u64);
            assert!(start >= log.start, "what was dropped came back");
            let floor = match topic {
                0 => self
                    .commits
                    .get(&partition)
                    .map_or(0, |commit| commit.offset),
                _ => end,
            };
            assert!(
                start == log.start || start <= floor,
                "law never_uncommitted"
            );
            let old = |(at, _): &(u64, Bytes)| *at < self.now_us - MAX_AGE_US;
            let live = log.records.iter().take(floor as usize).skip(start as usize);
            assert!(!live.clone().any(old), "an old record stayed");
            droppable += live.count() as u64;
            kept += end - start;
            log.start = start;
        }
        assert!(
            kept <= MAX_RECORDS || droppable == 0,
            "{kept} kept, {droppable} too many"
        );
    }

    fn check(&self) {
        for &key in self.logs.keys() {
            self.read(key, 0.0, false);
        }
        let committed = self.queue.committed("worker");
        let expected = self.commits.iter();
        let expected: BTreeMap<_, _> = expected
            .map(|(&p, commit)| (at(&self.queue, "mail", p), commit.clone()))
            .collect();
        assert_eq!(committed, expected);
        let state = self.queue.topic("state").unwrap();
        for partition in 0..PARTITIONS {
            let pairs = self.queue.compacted(state, partition, None).unwrap();
            let found: Vec<_> = pairs
                .map(|pair| pair.unwrap())
                .map(|(k, v)| (k[0], v[0]))
                .collect();
            let expected = self.state.range((partition, 0)..=(partition, u8::MAX));
            assert_eq!(
                found,
                expected.map(|(&(_, k), &v)| (k, v)).collect::<Vec<_>>()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn law_model(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let run = steps.iter().fold(Run::new(dir.path().join("queue")), Run::step);
        run.check();
        run.step(&Step::Restart).check();
    }
}

/// Law `contiguous`, and that appends share their fdatasync: eight threads, one partition and all.
#[test]
fn law_contiguous_offsets_under_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    let appends = 8 * 40;
    let before = queue.usage().syncs;
    let mut offsets: Vec<u64> = std::thread::scope(|threads| {
        let append = |thread: usize| {
            let queue = &queue;
            threads.spawn(move || {
                let mut own = Vec::new();
                for i in 0..40 {
                    let value = format!("{thread}:{i}");
                    let other = record(queue, "events", (i % 4) as u32, value.clone());
                    let records = [
                        record(queue, "mail", 0, value.clone()),
                        other,
                        record(queue, "mail", 0, value),
                    ];
                    let given = queue.append(&records, 1).unwrap();
                    assert_eq!(given[2], given[0] + 1, "records of one call stand together");
                    own.extend([given[0], given[2]]);
                }
                assert!(own.is_sorted());
                own
            })
        };
        let running: Vec<_> = (0..8).map(append).collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    offsets.sort_unstable();
    assert_eq!(offsets, (0..2 * appends).collect::<Vec<_>>());
    let syncs = queue.usage().syncs - before;
    assert!(syncs < appends, "{syncs} syncs for {appends} appends");
    drop(queue);
    let all = common::drain(&consumer(&open(dir.path()), "", &["mail", "events"])).records;
    assert_eq!(all.len() as u64, 3 * appends);
}
