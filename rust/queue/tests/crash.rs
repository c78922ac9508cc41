//! Stories of a process that dies and of a disk that fails (G1): what was acknowledged is there.
//!
//! The process under test is this test binary, started again with `QUEUE_DIR` set: it appends and
//! writes a line to its standard output for every append that returned.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{consumer, drain, open, options, record, upsert};
use postalynk_queue::{Queue, Recovery};

const SIGABRT: i32 = 6;

/// What was acknowledged: (kind, partition, offset or key) → value.
type Acknowledged = BTreeMap<(String, u32, u64), String>;

/// The process under test. Without `QUEUE_DIR` it is an empty test.
#[test]
fn child() {
    let Ok(dir) = std::env::var("QUEUE_DIR") else {
        return;
    };
    let kind = std::env::var("QUEUE_KIND").unwrap();
    let threads: u32 = std::env::var("QUEUE_THREADS").unwrap().parse().unwrap();
    let queue = open(Path::new(&dir));
    let round = queue.usage().records;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (queue, kind) = (&queue, kind.as_str());
            scope.spawn(move || {
                for i in 0..u64::MAX {
                    append(queue, kind, thread, round, i);
                }
            });
        }
    });
}

fn append(queue: &Queue, kind: &str, thread: u32, round: u64, i: u64) {
    let value = format!("{thread}:{round}:{i}:{}", "x".repeat((i % 700) as usize));
    let key = (u64::from(thread) << 40) + i;
    let append = match kind {
        "mail" => record(queue, "mail", thread % 4, value.clone()),
        _ => upsert(
            queue,
            thread % 4,
            &key.to_be_bytes(),
            Some(value.as_bytes()),
        ),
    };
    let offset = queue.append(&[append], i).unwrap()[0];
    let place = if kind == "mail" { offset } else { key };
    let line = format!("\nack {kind} {} {place} {value}\n", thread % 4);
    // One write a line: lines of threads do not mix, and nothing waits in a buffer.
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().lock().flush().unwrap();
}

fn start(dir: &Path, kind: &str, threads: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture"])
        .env("QUEUE_DIR", dir)
        .env("QUEUE_KIND", kind)
        .env("QUEUE_THREADS", threads.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn take_ack(line: &str, acknowledged: &mut Acknowledged) -> bool {
    let words: Vec<_> = line.split(' ').collect();
    let ["ack", kind, partition, place, value] = words[..] else {
        return false;
    };
    let place = (
        kind.to_owned(),
        partition.parse().unwrap(),
        place.parse().unwrap(),
    );
    acknowledged.insert(place, value.to_owned());
    true
}

fn assert_all_there(queue: &Queue, acknowledged: &Acknowledged) {
    let all = drain(&consumer(queue, "", &["mail"]));
    assert!(all.damaged.is_empty(), "{:?}", all.damaged.first());
    let records: BTreeMap<_, _> = all
        .records
        .into_iter()
        .map(|r| ((r.partition, r.offset), r.value))
        .collect();
    let state = queue.topic("state").unwrap();
    for ((kind, partition, place), value) in acknowledged {
        let found = match kind.as_str() {
            "mail" => records.get(&(*partition, *place)).cloned(),
            _ => queue.get(state, *partition, &place.to_be_bytes()).unwrap(),
        };
        assert_eq!(
            found.as_deref(),
            Some(value.as_bytes()),
            "{kind} {partition} {place}"
        );
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::new();
    for (round, kind) in ["mail", "state", "mail", "state", "mail"]
        .into_iter()
        .enumerate()
    {
        let mut child = start(dir.path(), kind, 4).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 60 + 97 * round;
        while left > 0 {
            let line = lines
                .next()
                .expect("the child runs until it is killed")
                .unwrap();
            left -= usize::from(take_ack(&line, &mut acknowledged));
        }
        child.kill().unwrap();
        // What was in the pipe when it died was acknowledged too; a line may be cut short.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        for line in rest.iter().take(rest.len().saturating_sub(1)) {
            take_ack(line, &mut acknowledged);
        }
        child.wait().unwrap();
        assert_all_there(&open(dir.path()), &acknowledged);
    }
    assert!(acknowledged.len() > 500);
}

fn shim(dir: &Path) -> PathBuf {
    let library = dir.join("fsync_fails.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fsync_fails.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status()
        .expect("a C compiler (cc) is needed to build the failing fsync");
    assert!(built.success());
    library
}

fn a_failing_fsync_stops_the_process(kind: &str, fails_after: u32) {
    let dir = tempfile::tempdir().unwrap();
    let queue_dir = dir.path().join("queue");
    drop(open(&queue_dir));
    let mut command = start(&queue_dir, kind, 1);
    command
        .env("LD_PRELOAD", shim(dir.path()))
        .env("FSYNC_FAILS_AFTER", fails_after.to_string());
    let mut child = command.spawn().unwrap();
    let mut out = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGABRT), "{status} {errors}");
    assert!(errors.contains("storage failed"), "{errors}");
    let (before, after) = out.split_once("FAILED").expect("fsync failed");
    let mut acknowledged = Acknowledged::new();
    let acks = before
        .lines()
        .filter(|line| take_ack(line, &mut acknowledged))
        .count();
    assert!(acks > 10, "{acks} appends before the failure");
    assert!(
        !after.contains("ack"),
        "acknowledged after the failure: {after}"
    );
    assert_all_there(&open(&queue_dir), &acknowledged);
}

#[test]
fn an_fsync_error_of_the_log_stops_the_process() {
    a_failing_fsync_stops_the_process("mail", 60);
}

#[test]
fn an_fsync_error_of_a_compacted_topic_stops_the_process() {
    a_failing_fsync_stops_the_process("state", 60);
}

/// Ten records of 500 bytes, one write each; then the last log file is given to `damage`.
fn damaged(damage: impl Fn(&mut Vec<u8>)) -> (tempfile::TempDir, Queue, Recovery) {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    for i in 0..10u8 {
        queue
            .append(&[record(&queue, "mail", 0, vec![b'a' + i; 500])], 1)
            .unwrap();
    }
    drop(queue);
    let last = last_log_file(dir.path());
    let mut content = std::fs::read(&last).unwrap();
    damage(&mut content);
    std::fs::write(&last, content).unwrap();
    let (queue, recovery) = Queue::open(options(dir.path())).unwrap();
    (dir, queue, recovery)
}

fn last_log_file(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "raftlog"))
        .max()
        .unwrap()
}

fn assert_cut(dir: &Path, queue: Queue, recovery: &Recovery, kept: usize) {
    let [cut] = &recovery.cuts[..] else {
        panic!("one cut expected: {recovery:?}")
    };
    assert_eq!(cut.file, last_log_file(dir));
    assert!(
        cut.bytes > 0 && cut.to_string().contains("cut at offset"),
        "{cut}"
    );
    let saved = std::fs::metadata(cut.kept_in.as_ref().unwrap())
        .unwrap()
        .len();
    assert_eq!(saved, cut.bytes);
    let all = drain(&consumer(&queue, "", &["mail"]));
    assert_eq!((all.records.len(), all.damaged.len()), (kept, 0));
    assert_eq!(
        queue
            .append(&[record(&queue, "mail", 0, "next")], 2)
            .unwrap(),
        [kept as u64]
    );
    drop(queue);
    let (queue, recovery) = Queue::open(options(dir)).unwrap();
    assert_eq!(recovery, Recovery::default(), "what was cut is cut once");
    assert_eq!(
        drain(&consumer(&queue, "", &["mail"])).records.len(),
        kept + 1
    );
}

#[test]
fn a_torn_write_is_cut_and_said() {
    let (dir, queue, recovery) = damaged(|content| content.truncate(content.len() - 100));
    assert_cut(dir.path(), queue, &recovery, 9);
}

#[test]
fn garbage_at_the_end_is_cut_and_said() {
    let (dir, queue, recovery) = damaged(|content| content.extend(vec![0xab; 999]));
    assert_cut(dir.path(), queue, &recovery, 10);
}

#[test]
fn a_last_write_with_a_wrong_checksum_is_cut_and_said() {
    let (dir, queue, recovery) = damaged(|content| {
        let at = content.iter().rposition(|&byte| byte == b'j').unwrap();
        content[at] ^= 1;
    });
    assert_cut(dir.path(), queue, &recovery, 9);
}

#[test]
fn preallocated_space_is_no_cut() {
    let (_dir, queue, recovery) = damaged(|content| content.extend(vec![0; 1 << 20]));
    assert_eq!(recovery, Recovery::default());
    assert_eq!(drain(&consumer(&queue, "", &["mail"])).records.len(), 10);
}

/// A bit flips in a record that is not the last: the others are given, and this one is named.
#[test]
fn a_flipped_bit_costs_one_record_and_stops_nobody() {
    let (_dir, queue, recovery) = damaged(|content| {
        let at = content.iter().rposition(|&byte| byte == b'd').unwrap();
        content[at] ^= 1;
    });
    assert_eq!(recovery, Recovery::default());
    let all = drain(&consumer(&queue, "", &["mail"]));
    assert_eq!(all.records.len(), 9);
    let [damaged] = &all.damaged[..] else {
        panic!("one expected: {:?}", all.damaged)
    };
    assert_eq!((damaged.partition, damaged.offset), (0, 3));
    assert!(damaged.detail.contains("hecksum"), "{}", damaged.detail);
    assert_eq!(all.next_offsets().into_values().collect::<Vec<_>>(), [10]);
}

#[test]
fn a_torn_journal_of_a_compacted_topic_is_cut_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    for key in 0..5u8 {
        queue
            .append(&[upsert(&queue, 0, &[key], Some(b"value"))], 1)
            .unwrap();
    }
    drop(queue);
    let journals = std::fs::read_dir(dir.path().join("compacted")).unwrap();
    let journal = journals
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "jnl"))
        .unwrap();
    let mut content = std::fs::read(&journal).unwrap();
    let end = content.iter().rposition(|&byte| byte != 0).unwrap();
    content.truncate(end - 10);
    std::fs::write(&journal, content).unwrap();
    let (queue, recovery) = Queue::open(options(dir.path())).unwrap();
    let [cut] = &recovery.cuts[..] else {
        panic!("one cut expected: {recovery:?}")
    };
    assert_eq!(cut.file, journal);
    let state = queue.topic("state").unwrap();
    let left = queue.compacted(state, 0, None).unwrap().count();
    assert_eq!(left, 4);
}

/// Storage that fails while the process is let live (a test's hook): nothing more is acknowledged.
#[test]
fn the_hook_is_told_once_and_nothing_is_acknowledged_after() {
    use std::sync::{Arc, Mutex};
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut settings = options(dir.path());
    let hook = told.clone();
    settings.on_storage_failure = Arc::new(move |what| hook.lock().unwrap().push(what.to_owned()));
    // A log file that cannot be begun: its name is taken by a directory.
    let queue = Queue::open(settings).unwrap().0;
    let next = last_log_file(dir.path()).with_file_name("0000000000000002.raftlog");
    std::fs::create_dir(&next).unwrap();
    let append = || queue.append(&[record(&queue, "mail", 0, vec![1; 40_000])], 1);
    let failed = (0..10)
        .map(|_| append())
        .skip_while(Result::is_ok)
        .collect::<Vec<_>>();
    assert!(!failed.is_empty() && failed.iter().all(Result::is_err));
    assert_eq!(told.lock().unwrap().len(), 1);
    std::mem::forget(queue);
}
