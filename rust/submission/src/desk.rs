//! Where connections hand in what they want judged, and wait for the answer.
//!
//! **Model.** A queue that is taken as a whole, and a waiting list by id. Verdicts come back by the
//! batch and are dealt out on the connections' own thread ([`Desk::deal`]): to wake each connection
//! from another thread would be a system call for each. An id that nobody waits for any more (the
//! client was told to come again) is answered to no one.

use crate::head::Head;
use parking_lot::{Condvar, Mutex};
use postalynk_smtp::server::{Answer, Credentials, Envelope};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Whose connection it is, in the words of whoever admitted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The organization; limits are per organization.
    pub org: String,
    /// Which of its keys; empty: it is trusted by its address.
    pub key: String,
}

/// Where a message came from, as its Received field says (RFC 5321, 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name given with EHLO; empty: none that may stand in a header.
    pub name: String,
    /// The client's address.
    pub ip: IpAddr,
    /// `ESMTPSA` and the like (RFC 3848).
    pub protocol: String,
}

/// A message with its envelope.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who sends it.
    pub account: Account,
    /// From where.
    pub origin: Origin,
    /// Who gets it.
    pub envelope: Envelope,
    /// What its header says, and its octets.
    pub head: Head,
}

/// Something to judge.
#[derive(Clone, Debug)]
pub enum Request {
    /// Answer with [`Submission::admit`](crate::Submission::admit), or a refusal.
    Login(u64, Credentials),
    /// Answer once it is durable, or with a refusal.
    Message(u64, Box<Message>),
}

/// Of content handed up at once, unless one message has more: a batch is one append, and the queue
/// takes 128 MiB at once.
const MAX_OCTETS: usize = 16_000_000;

impl Request {
    fn octets(&self) -> usize {
        match self {
            Self::Login(..) => 0,
            Self::Message(_, message) => message.head.raw.len(),
        }
    }
}

/// The judgement.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admitted(Account),
    Answered(Answer),
}

#[derive(Debug, Default)]
pub(crate) struct Desk {
    queue: Mutex<Queue>,
    arrived: Condvar,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Verdict>>>,
    judged: Mutex<Vec<(u64, Verdict)>>,
    came: Notify,
    last: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Request>,
    is_closed: bool,
}

impl Desk {
    /// Hands in a request made with the id given, and waits.
    pub(crate) async fn ask(
        &self,
        limit: Duration,
        request: impl FnOnce(u64) -> Request,
    ) -> Option<Verdict> {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let (verdict, judged) = oneshot::channel();
        self.waiting.lock().insert(id, verdict);
        self.queue.lock().requests.push_back(request(id));
        self.arrived.notify_one();
        let answer = tokio::time::timeout(limit, judged).await;
        self.waiting.lock().remove(&id);
        answer.ok()?.ok()
    }

    /// Up to `max` requests of [`MAX_OCTETS`], in order, once there is one; none at the time-out,
    /// `None` at the end.
    pub(crate) fn take(&self, max: usize, timeout: Duration) -> Option<Vec<Request>> {
        let deadline = Instant::now() + timeout;
        let mut queue = self.queue.lock();
        while queue.requests.is_empty() && !queue.is_closed {
            if self.arrived.wait_until(&mut queue, deadline).timed_out() {
                return Some(Vec::new());
            }
        }
        if queue.requests.is_empty() {
            return None;
        }
        let mut octets = 0;
        let fitting = queue.requests.iter().take(max).take_while(|request| {
            octets += request.octets();
            octets <= MAX_OCTETS
        });
        let count = fitting.count().max(1);
        Some(queue.requests.drain(..count).collect())
    }

    /// Judges these requests.
    pub(crate) fn judge(&self, verdicts: impl IntoIterator<Item = (u64, Verdict)>) {
        self.judged.lock().extend(verdicts);
        self.came.notify_one();
    }

    /// Hands verdicts to those who wait, for ever.
    pub(crate) async fn deal(&self) {
        loop {
            self.came.notified().await;
            let judged = std::mem::take(&mut *self.judged.lock());
            let mut waiting = self.waiting.lock();
            for (id, verdict) in judged {
                if let Some(waiting) = waiting.remove(&id) {
                    // A client that hung up meanwhile hears nothing; its message is kept all the
                    // same.
                    let _ = waiting.send(verdict);
                }
            }
        }
    }

    pub(crate) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.arrived.notify_all();
    }
}
