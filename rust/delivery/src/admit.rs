//! Taking records in: decode, fan out, skip what is done, find out where it goes.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use postalynk_record::v1;
use postalynk_record::{DeliveryKey, Record, SEND_BULK, SEND_HIGH, SEND_NORMAL, decode};

use crate::clock;
use crate::delivery::{Delivery, History, LastAttempt, Origin};
use crate::destination::Destination;
use crate::done::{Done, Waiting};
use crate::ending::{cancelled, crashed, expired, parked, rebuilt};
use crate::engine::{Engine, Row};
use crate::outcome::Finished;
use crate::shared::{Books, Shared};
use crate::tenure::Tenure;
use crate::threads::Threads;
use crate::tls::TlsWish;
use crate::window::Part;

/// A record that cannot be decoded: to be dead-lettered, and then named to [`Engine::discarded`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// The record as it was given.
    pub row: Row,
    /// What is wrong with it.
    pub reason: String,
}

/// What one batch brought.
#[derive(Default)]
struct Admitted {
    /// To be placed and then routed.
    fresh: Vec<Delivery>,
    /// Over before they began.
    finished: Vec<Finished>,
}

impl Engine {
    /// Decodes records of the send topics, fans them out and starts site look-ups; what the
    /// done-set knows is skipped. `events_end`: the end offset of `email.events` per partition,
    /// read before the records were.
    #[must_use]
    pub fn admit(&self, rows: Vec<Row>, events_end: &HashMap<u32, u64>) -> Vec<Undecodable> {
        let now_us = clock::wall_us();
        let mut admitted = Admitted::default();
        let mut undecodable = Vec::new();
        let mut books = self.shared.books.lock();
        for row in rows {
            let end = events_end.get(&row.partition).copied().unwrap_or(0);
            let topic = send_topic(&row.topic);
            let decoded = Record::decode(row.value.clone()).map_err(|error| error.to_string());
            match (topic, decoded) {
                (Some(topic), Ok(record)) => {
                    let is_new = row.appended_at_us > self.shared.started_at_us;
                    let at = (topic, row.partition, row.offset);
                    self.admit_record(&mut books, at, record, (end, now_us), &mut admitted);
                    // Afterwards: the last record before the end asks what is known of it, too.
                    books.done.passed(topic, row.partition, row.offset, is_new);
                }
                (Some(topic), Err(reason)) => {
                    // Held open until it is in the dead-letter topic.
                    books
                        .tracker
                        .admit((topic, row.partition), row.offset, 1, end, end);
                    undecodable.push(Undecodable { row, reason });
                }
                (None, _) => {
                    let reason = format!("{:?} is no send topic", row.topic);
                    undecodable.push(Undecodable { row, reason });
                }
            }
        }
        drop(books);
        self.start(admitted);
        undecodable
    }

    /// Undecodable records that are in the dead-letter topic now.
    pub fn discarded(&self, positions: &[(String, u32, u64)]) {
        let mut books = self.shared.books.lock();
        for (topic, partition, offset) in positions {
            if let Some(topic) = send_topic(topic) {
                books.tracker.finish((topic, *partition), *offset);
            }
        }
    }

    /// Deferrals whose time has come: partition and keys of `email.deferred`.
    #[must_use]
    pub fn due(&self, max: usize) -> Vec<(u32, Vec<DeliveryKey>)> {
        let settings = &self.shared.settings;
        // Retries get an eighth of the window on top, so a full one of fresh mail holds none back.
        let most = settings.max_in_flight + settings.max_in_flight.div_ceil(8);
        let max = max.min(most.saturating_sub(self.shared.window.deliveries()));
        self.shared.books.lock().timers.due(clock::wall_us(), max)
    }

    /// Deferrals read back from the queue; returns those that cannot be decoded, with the reason.
    #[must_use]
    pub fn admit_deferred(
        &self,
        partition: u32,
        deferrals: Vec<(Bytes, Option<Bytes>)>,
    ) -> Vec<(Bytes, String)> {
        let now_us = clock::wall_us();
        let mut admitted = Admitted::default();
        let mut undecodable = Vec::new();
        let mut books = self.shared.books.lock();
        for (key, value) in deferrals {
            let Ok(delivery_key) = DeliveryKey::from_slice(&key) else {
                undecodable.push((key, "the key is no delivery key".to_owned()));
                continue;
            };
            let Some(value) = value else {
                // Cancelled: somebody wrote a tombstone.
                books.timers.remove(&delivery_key);
                continue;
            };
            match decode_deferral(&value, delivery_key) {
                Ok((record, history, _)) => {
                    books.tracker.deferred_started(partition);
                    let tenure = books.tenure(partition);
                    let delivery =
                        deferred_delivery(record, (partition, tenure), delivery_key, history);
                    admitted.take(&mut books, &self.shared, delivery, now_us);
                }
                Err(reason) => {
                    books.timers.remove(&delivery_key);
                    undecodable.push((key, reason));
                }
            }
        }
        drop(books);
        self.start(admitted);
        undecodable
    }

    /// Lets deferrals go at once; how many of these wait for their time. Until they have gone, a
    /// restart would find the times they had before.
    pub fn flush_deferred(&self, keys: &[Bytes]) -> usize {
        let mut books = self.shared.books.lock();
        let now_us = clock::wall_us();
        let keys = keys
            .iter()
            .filter_map(|key| DeliveryKey::from_slice(key).ok());
        keys.filter(|key| books.timers.hasten(key, now_us)).count()
    }

    /// Ends deferrals, read back from the queue, that wait for their time; how many did. Their
    /// outcomes are recorded as all others are.
    pub fn cancel_deferred(
        &self,
        partition: u32,
        deferrals: Vec<(Bytes, Bytes)>,
        reason: &str,
    ) -> usize {
        let now_us = clock::wall_us();
        let mut admitted = Admitted::default();
        let mut books = self.shared.books.lock();
        for (key, value) in deferrals {
            let Ok(key) = DeliveryKey::from_slice(&key) else {
                continue;
            };
            let Ok((record, history, _)) = decode_deferral(&value, key) else {
                continue;
            };
            if !books.timers.take(&key) {
                continue;
            }
            books.tracker.deferred_started(partition);
            let tenure = books.tenure(partition);
            let delivery = deferred_delivery(record, (partition, tenure), key, history);
            admitted.finished.push(cancelled(delivery, now_us, reason));
        }
        drop(books);
        let count = admitted.finished.len();
        self.start(admitted);
        count
    }

    /// Starts the timers of deferrals that somebody else made durable.
    pub fn add_deferred(&self, partition: u32, deferrals: &[(Bytes, u64)]) {
        let mut books = self.shared.books.lock();
        for (key, due_at_us) in deferrals {
            if let Ok(key) = DeliveryKey::from_slice(key) {
                books.timers.schedule(partition, key, *due_at_us);
            }
        }
    }

    fn admit_record(
        &self,
        books: &mut Books,
        (topic, partition, offset): (&'static str, u32, u64),
        record: Record,
        (events_end, now_us): (u64, u64),
        admitted: &mut Admitted,
    ) {
        let record = Arc::new(record);
        let recipients = record.message().recipients.len();
        let mut low = events_end;
        let tenure = books.tenure(partition);
        let mut open: Vec<(Delivery, Option<Box<Waiting>>)> = Vec::with_capacity(recipients);
        for recipient in 0..recipients as u32 {
            let key = DeliveryKey {
                id: record.id(),
                recipient,
            };
            let known = books.done.get(partition, &key);
            let waiting = match known {
                Some((done, first_event)) => {
                    low = low.min(first_event);
                    match done {
                        Done::Final => continue,
                        Done::Waiting(waiting) => Some(waiting.clone()),
                    }
                }
                None => None,
            };
            if books.timers.contains(&key) {
                continue;
            }
            let delivery = Delivery {
                record: Arc::clone(&record),
                recipient,
                partition,
                tenure: Arc::clone(&tenure),
                origin: Origin::Log { topic, offset },
                history: waiting.as_deref().map(Waiting::history).unwrap_or_default(),
                destination: None,
                weight: record.raw().len().div_ceil(recipients),
                doubtful_slot: None,
                explanation: OnceLock::new(),
                suppressed_at_us: AtomicU64::new(0),
            };
            open.push((delivery, waiting));
        }
        let place = (topic, partition);
        if !books
            .tracker
            .admit(place, offset, open.len() as u32, low, events_end)
        {
            return;
        }
        for (delivery, waiting) in open {
            match waiting {
                Some(waiting) => admitted.finished.push(rebuilt(delivery, &waiting, now_us)),
                None => admitted.take(books, &self.shared, delivery, now_us),
            }
        }
    }

    fn start(&self, admitted: Admitted) {
        let Admitted { fresh, finished } = admitted;
        let ended = finished.iter().map(|finished| &*finished.delivery);
        let parts = fresh.iter().chain(ended).map(|d| part(d, false));
        self.shared.window.enter(parts, clock::now());
        if !finished.is_empty() {
            self.shared.outcomes.push_all(finished);
        }
        place(&self.shared, &self.threads, fresh);
    }
}

impl Admitted {
    /// An open delivery: fresh, or over at once.
    fn take(&mut self, books: &mut Books, shared: &Shared, mut delivery: Delivery, now_us: u64) {
        if let Some(doubt) = books.doubts.remove(&delivery.key()) {
            if doubt.attempt == delivery.attempt() {
                delivery.doubtful_slot = Some(doubt.slot);
                self.finished.push(crashed(delivery, now_us));
                return;
            }
            if books.is_shared {
                // Another worker's attempt: `answer_doubts` tells.
                books.doubts.insert(delivery.key(), doubt);
            } else {
                // Answered by a later attempt; a failed write leaves it to the next start.
                let _ = shared.journal.end(vec![doubt.slot]);
            }
        }
        if delivery.is_expired(now_us) {
            self.finished.push(expired(Arc::new(delivery), now_us));
            return;
        }
        // What an organization has no room for comes again later, so that others are read on.
        let crowds = shared.window.park(delivery.org(), clock::now(), now_us);
        if let Some(due_at_us) = crowds {
            self.finished
                .push(parked(Arc::new(delivery), now_us, due_at_us));
            return;
        }
        self.fresh.push(delivery);
    }
}

impl Waiting {
    fn history(&self) -> History {
        History {
            attempts: self.attempts,
            first_attempt_at_us: self.at_us,
            last: Some(Box::new(self.last.clone())),
        }
    }
}

/// Gives deliveries their destination, or sends them to the resolver for it.
fn place(shared: &Arc<Shared>, threads: &Threads, fresh: Vec<Delivery>) {
    let now = clock::now();
    let mut routable = Vec::with_capacity(fresh.len());
    let mut unknown: HashMap<String, Vec<Delivery>> = HashMap::new();
    let mut places = shared.places.lock();
    for mut delivery in fresh {
        let domain = delivery.domain().to_ascii_lowercase();
        let known = places.get(&domain, now).or_else(|| {
            let destination = Destination::of_smart_host(&shared.settings, &domain).map(Arc::new);
            if let Some(destination) = &destination {
                places.put(&domain, destination, None);
            }
            destination
        });
        match known {
            Some(destination) => {
                let wish = TlsWish::of(delivery.message());
                delivery.destination = Some(destination.with_wish(wish));
                routable.push(Arc::new(delivery));
            }
            None => unknown.entry(domain).or_default().push(delivery),
        }
    }
    drop(places);
    if !routable.is_empty() {
        shared.routable.push_all(routable);
    }
    if !unknown.is_empty() {
        threads.resolve(unknown.into_iter().collect());
    }
}

/// A delivery as the window counts it.
pub(crate) fn part(delivery: &Delivery, is_progress: bool) -> Part<'_> {
    Part {
        org: delivery.org(),
        partition: delivery.partition,
        bytes: delivery.weight,
        is_progress,
    }
}

fn deferred_delivery(
    record: Record,
    (partition, tenure): (u32, Arc<Tenure>),
    key: DeliveryKey,
    history: History,
) -> Delivery {
    Delivery {
        weight: record.raw().len(),
        record: Arc::new(record),
        recipient: key.recipient,
        partition,
        tenure,
        origin: Origin::Deferred,
        history,
        destination: None,
        doubtful_slot: None,
        explanation: OnceLock::new(),
        suppressed_at_us: AtomicU64::new(0),
    }
}

pub(crate) fn send_topic(name: &str) -> Option<&'static str> {
    [SEND_HIGH, SEND_NORMAL, SEND_BULK]
        .into_iter()
        .find(|topic| *topic == name)
}

/// The record, the past and the due time of a deferral.
pub(crate) fn decode_deferral(
    value: &Bytes,
    key: DeliveryKey,
) -> Result<(Record, History, u64), String> {
    let deferral: v1::Deferral = decode(value).map_err(|error| error.to_string())?;
    let record = Record::decode(deferral.record).map_err(|error| error.to_string())?;
    if record.id() != key.id || deferral.recipient != key.recipient {
        return Err("the key is that of another delivery".to_owned());
    }
    if record.message().recipients.len() <= key.recipient as usize {
        return Err(format!("recipient {} is not in the message", key.recipient));
    }
    let last = LastAttempt {
        code: deferral.last_reply_code,
        enhanced: deferral.last_enhanced,
        reply: deferral.last_reply,
        class: deferral.last_class,
        pool: deferral.pool,
        site: deferral.site,
    };
    let history = History {
        attempts: deferral.attempt,
        first_attempt_at_us: deferral.first_attempt_at_us,
        last: (deferral.attempt > 0).then(|| Box::new(last)),
    };
    Ok((record, history, deferral.due_at_us))
}
