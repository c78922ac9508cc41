//! Following conversations live.
//!
//! **Model.** A watcher opens a trace of one site or of all, and reads what was said since it last
//! read. Connections publish to the traces that are open; while none is, they look at one number.
//! **Bounds.** A trace holds [`MOST_LINES`] lines: who reads too slowly is told how many it missed.
//! A trace nobody reads for [`FORGOTTEN`] is closed, and no more than [`MOST_TRACES`] are open.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::clock;

const MOST_LINES: usize = 10_000;
const MOST_TRACES: usize = 16;
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Which conversation a line is of.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) site: Arc<str>,
    pub(crate) source: Arc<str>,
    pub(crate) mx: Arc<str>,
}

/// A line of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// Microseconds since the Unix epoch.
    pub at_us: u64,
    /// Numbers the conversations of one process.
    pub session: u64,
    /// Whose limits count: the site, or the smart host as `host:port`.
    pub site: Arc<str>,
    /// The egress source.
    pub source: Arc<str>,
    /// The host spoken to.
    pub mx: Arc<str>,
    /// `seconds C: command`, `seconds S: reply` or `seconds *: note`.
    pub text: String,
}

/// What a watcher reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceBatch {
    /// Oldest first.
    pub lines: Vec<TraceLine>,
    /// Lines that had to be dropped since the last reading.
    pub lost: u64,
}

#[derive(Debug)]
struct Trace {
    /// `None`: all.
    site: Option<Box<str>>,
    lines: VecDeque<TraceLine>,
    lost: u64,
    read_at: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    watchers: AtomicUsize,
    last: AtomicU64,
    open: Mutex<HashMap<u64, Trace>>,
    published: Condvar,
}

impl Traces {
    /// Whether anybody watches; all that a line costs otherwise.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Relaxed) > 0
    }

    /// A number for a conversation or a trace.
    pub(crate) fn next_number(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }

    /// Begins to follow a site, or all; `None`: too many do.
    pub(crate) fn open(&self, site: &str, now: Instant) -> Option<u64> {
        let mut open = self.open.lock();
        open.retain(|_, trace| now.saturating_duration_since(trace.read_at) < FORGOTTEN);
        if open.len() >= MOST_TRACES {
            return None;
        }
        let number = self.next_number();
        let trace = Trace {
            site: (!site.is_empty()).then(|| site.into()),
            lines: VecDeque::new(),
            lost: 0,
            read_at: now,
        };
        open.insert(number, trace);
        self.watchers.store(open.len(), Relaxed);
        Some(number)
    }

    /// What was said since; waits for the first line, at most `timeout`. `None`: no such trace.
    pub(crate) fn read(&self, number: u64, timeout: Duration, now: Instant) -> Option<TraceBatch> {
        let until = now + timeout;
        let mut open = self.open.lock();
        loop {
            let trace = open.get_mut(&number)?;
            trace.read_at = clock::now();
            if !trace.lines.is_empty() || trace.lost > 0 {
                return Some(TraceBatch {
                    lines: trace.lines.drain(..).collect(),
                    lost: std::mem::take(&mut trace.lost),
                });
            }
            if self.published.wait_until(&mut open, until).timed_out() {
                return Some(TraceBatch::default());
            }
        }
    }

    pub(crate) fn close(&self, number: u64) {
        let mut open = self.open.lock();
        open.remove(&number);
        self.watchers.store(open.len(), Relaxed);
    }

    pub(crate) fn publish(&self, session: &Session, texts: Vec<String>) {
        let (now, at_us) = (clock::now(), clock::wall_us());
        let mut open = self.open.lock();
        open.retain(|_, trace| now.saturating_duration_since(trace.read_at) < FORGOTTEN);
        self.watchers.store(open.len(), Relaxed);
        let follows = |trace: &&mut Trace| {
            let site = trace.site.as_deref();
            site.is_none_or(|site| site == &*session.site || site == &*session.mx)
        };
        for trace in open.values_mut().filter(follows) {
            for text in &texts {
                if trace.lines.len() >= MOST_LINES {
                    trace.lines.pop_front();
                    trace.lost += 1;
                }
                trace.lines.push_back(TraceLine {
                    at_us,
                    session: session.number,
                    site: Arc::clone(&session.site),
                    source: Arc::clone(&session.source),
                    mx: Arc::clone(&session.mx),
                    text: text.clone(),
                });
            }
        }
        self.published.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(site: &str) -> Session {
        Session {
            number: 1,
            site: site.into(),
            source: "s".into(),
            mx: "mx".into(),
        }
    }

    #[test]
    fn a_slow_watcher_is_told_what_it_missed() {
        let traces = Traces::default();
        assert!(!traces.is_watched());
        let number = traces.open("google", clock::now()).expect("room");
        assert!(traces.is_watched());
        traces.publish(&session("yahoo"), vec!["no".into()]);
        traces.publish(&session("google"), vec!["line".into(); MOST_LINES + 5]);
        let batch = traces
            .read(number, Duration::ZERO, clock::now())
            .expect("open");
        assert_eq!((batch.lines.len(), batch.lost), (MOST_LINES, 5));
        traces.close(number);
        assert!(!traces.is_watched());
        assert!(traces.read(number, Duration::ZERO, clock::now()).is_none());
    }

    #[test]
    fn a_trace_nobody_reads_is_closed() {
        let traces = Traces::default();
        let now = clock::now();
        for _ in 0..MOST_TRACES {
            assert!(traces.open("", now).is_some());
        }
        assert!(traces.open("", now).is_none());
        assert!(traces.open("", now + FORGOTTEN).is_some());
    }
}
