//! A worker in miniature: the engine between a log, events and deferrals in memory.
#![allow(dead_code, reason = "each story uses its own part")]

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use postalynk_delivery::{Engine, Failure, RouteSpec, Row, Settings, decode_note};
use postalynk_record::v1::{self, Event, Kind};
use postalynk_record::{EVENTS, MessageId, Record, SEND_BULK, SEND_HIGH, SEND_NORMAL, decode};

pub const PARTITION: u32 = 3;
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_micros() as u64
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

pub fn smart_host(address: SocketAddr) -> Settings {
    Settings {
        smart_host: address.to_string(),
        seed: 1,
        ..Settings::default()
    }
}

/// A message of some 2 kB to these recipients.
pub fn message(n: u64, recipients: &[&str]) -> v1::Message {
    let mut random = [7; 10];
    random[..8].copy_from_slice(&n.to_be_bytes());
    let id = MessageId::new(now_us() / 1_000, random);
    v1::Message {
        id: Bytes::copy_from_slice(id.as_bytes()),
        org: "org_test".into(),
        accepted_at_us: now_us(),
        reverse_path: format!("bounce{n}@sender.example"),
        recipients: recipients
            .iter()
            .map(|a| v1::Recipient {
                address: (*a).into(),
                ..Default::default()
            })
            .collect(),
        message_id: format!("{n}@sender.example"),
        content: Some(v1::message::Content::Composed(v1::Composed {
            from: Some(v1::Mailbox {
                name: "Sender".into(),
                address: "me@sender.example".into(),
            }),
            to: vec![v1::Mailbox {
                name: String::new(),
                address: recipients[0].into(),
            }],
            subject: format!("Message {n}"),
            text: Bytes::from("A line of text.\r\n.with a dot\r\n".repeat(60)),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// What survives a crash of the process: the queue's topics.
#[derive(Default)]
pub struct Queue {
    pub log: Vec<Row>,
    pub events: Vec<Row>,
    pub deferred: BTreeMap<Bytes, Bytes>,
    pub committed: Option<(u64, u64)>,
}

pub struct Worker {
    pub engine: Engine,
    pub queue: Queue,
    /// Delay of every retry.
    pub retry_after: Duration,
    /// What the policy was asked about.
    pub failures: Vec<Failure>,
    pub route: RouteSpec,
    pub parked: usize,
    next_offset: u64,
}

impl Worker {
    pub fn new(settings: Settings) -> Self {
        Self::restart(settings, Queue::default())
    }

    /// Starts on what another worker left behind.
    pub fn restart(settings: Settings, queue: Queue) -> Self {
        let engine = Engine::new(settings).expect("the engine starts");
        let (offset, position) = queue.committed.unwrap_or((0, 0));
        let next_offset = queue.log.last().map_or(0, |row| row.offset + 1);
        let mut worker = Self {
            engine,
            queue,
            retry_after: Duration::from_millis(50),
            failures: Vec::new(),
            route: RouteSpec {
                pool: "default".into(),
                ..Default::default()
            },
            parked: 0,
            next_offset,
        };
        let unread = |end: u64| if offset < end { end } else { 0 };
        let ends = [
            (SEND_HIGH, 0),
            (SEND_NORMAL, unread(next_offset)),
            (SEND_BULK, 0),
        ];
        let ends = ends.map(|(topic, end)| (topic.to_owned(), end));
        worker.engine.assigned(PARTITION, &HashMap::from(ends));
        worker
            .engine
            .restore_events(&worker.queue.events[position as usize..]);
        let pairs: Vec<_> = worker
            .queue
            .deferred
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let appends = worker.engine.restore_deferred(PARTITION, &pairs);
        worker.apply(appends);
        worker
            .engine
            .restored(false)
            .expect("the journal can be written");
        let rows: Vec<Row> = worker
            .queue
            .log
            .iter()
            .filter(|row| row.offset >= offset)
            .cloned()
            .collect();
        worker.admit(rows);
        worker
    }

    pub fn send(&mut self, messages: Vec<v1::Message>) {
        let mut rows = Vec::new();
        for message in messages {
            let record = Record::encode(message).expect("a valid message");
            rows.push(Row {
                topic: SEND_NORMAL.into(),
                partition: PARTITION,
                offset: self.next_offset,
                appended_at_us: now_us(),
                value: record.raw().clone(),
            });
            self.next_offset += 1;
        }
        self.queue.log.extend(rows.iter().cloned());
        self.admit(rows);
    }

    fn admit(&mut self, rows: Vec<Row>) {
        let ends = HashMap::from([(PARTITION, self.queue.events.len() as u64)]);
        assert!(
            self.engine.admit(rows, &ends).is_empty(),
            "all can be decoded"
        );
    }

    fn apply(&mut self, appends: Vec<postalynk_delivery::Append>) {
        for append in appends {
            let key = append.key.expect("deferrals have keys");
            match append.value {
                Some(value) => self.queue.deferred.insert(key, value),
                None => self.queue.deferred.remove(&key),
            };
        }
    }

    /// One round of a worker: due → route → record → commit.
    pub fn turn(&mut self) {
        for (partition, keys) in self.engine.due(1_000) {
            let read = |key: Bytes| (key.clone(), self.queue.deferred.get(&key).cloned());
            let keys = keys
                .into_iter()
                .map(|k| Bytes::copy_from_slice(&k.to_bytes()));
            let undecodable = self
                .engine
                .admit_deferred(partition, keys.map(read).collect());
            assert!(undecodable.is_empty(), "{undecodable:?}");
        }
        self.route_waiting();
        self.record(|_, _| true);
        self.commit();
    }

    pub fn route_waiting(&mut self) {
        let batch = self.engine.routable(1_000, Duration::from_millis(1));
        let choice = vec![0; batch.deliveries.len()];
        self.engine
            .dispatch(batch, vec![self.route.clone()], &choice)
            .expect("choices fit");
    }

    /// Appends what ended; `keeps` decides whether the deferrals are written too (false: crash
    /// between the two writes).
    pub fn record(&mut self, keeps: impl Fn(&Queue, usize) -> bool) {
        let mut batch = self.engine.outcomes(1_000, Duration::from_millis(2));
        for failure in batch.failures() {
            batch.schedule(
                failure.index,
                now_us() + self.retry_after.as_micros() as u64,
            );
            self.failures.push(failure);
        }
        let events = batch.events();
        self.parked += batch.len() - events.len();
        let mut offsets = Vec::new();
        for event in events {
            offsets.push(self.queue.events.len() as u64);
            self.queue.events.push(Row {
                topic: EVENTS.into(),
                partition: event.partition,
                offset: self.queue.events.len() as u64,
                appended_at_us: now_us(),
                value: event.value.expect("an event is no tombstone"),
            });
        }
        if keeps(&self.queue, batch.len()) {
            let deferrals = batch.deferrals();
            self.apply(deferrals);
            self.engine.recorded(&batch, &offsets).expect("recorded");
        }
    }

    pub fn commit(&mut self) {
        for commit in self.engine.commits() {
            let position = decode_note(&commit.note).expect("our note");
            let before = self.queue.committed.map_or(0, |(offset, _)| offset);
            assert!(commit.offset >= before, "the mark never goes back");
            self.queue.committed = Some((commit.offset, position));
        }
    }

    /// Turns until this holds.
    pub fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(
                Instant::now() < until,
                "{what}: not within {PATIENCE:?}; {}; {:#?}",
                self.engine.snapshot(),
                self.events()
            );
            self.turn();
        }
    }

    /// Turns until everything sent has a final event.
    pub fn run_to_end(&mut self) {
        self.run_until("every delivery comes to an end", |worker| {
            worker.engine.in_flight() == 0 && worker.engine.deferred() == 0
        });
    }

    pub fn events(&self) -> Vec<Event> {
        self.queue
            .events
            .iter()
            .map(|row| decode(&row.value).expect("an event"))
            .collect()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.events()
            .iter()
            .filter(|event| event.kind() == kind)
            .count()
    }

    pub fn first(&self, kind: Kind) -> Event {
        let found = self.events().into_iter().find(|event| event.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind:?} among {:#?}", self.events()))
    }

    /// The process dies: nothing is drained, recorded or committed any more.
    pub fn crash(self) -> Queue {
        self.engine.stop();
        self.queue
    }
}
