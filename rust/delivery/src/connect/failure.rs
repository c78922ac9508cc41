//! Why there is no connection, and what that means for the mail that was to go over it.

use std::sync::Arc;
use std::time::Duration;

use postalynk_smtp::Reply;

use crate::classify::Class;
use crate::clock;
use crate::ending::{attempt_of, ended};
use crate::outcome::{End, Finished};
use crate::reply::put_reply;
use crate::route::Job;

/// Why there is none; of several tries the last.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(super) phase: &'static str,
    pub(super) class: Class,
    pub(super) reply: Option<Reply>,
    pub(super) reason: String,
    pub(super) mx: String,
    pub(super) peer: String,
    pub(super) tls_refused: String,
    pub(super) relay: String,
    pub(super) transcript: String,
    pub(super) tls_policy: &'static str,
    /// No later attempt can succeed: the enhanced code (RFC 3463).
    pub(super) for_good: Option<&'static str>,
    pub(super) took: Duration,
}

impl Failure {
    /// Whether no later attempt can succeed.
    pub(crate) fn is_for_good(&self) -> bool {
        self.for_good.is_some()
    }

    /// Of two tries the one that counts: where one may yet succeed, the path may.
    pub(super) fn after(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) if self.is_for_good() && !earlier.is_for_good() => earlier,
            _ => self,
        }
    }

    /// The outcome of a delivery that was to go over the connection.
    pub(crate) fn finish(&self, job: &Job, now_us: u64) -> Finished {
        let end = if self.is_for_good() {
            End::Bounced
        } else {
            End::Deferred
        };
        let mut finished = ended(Arc::clone(&job.delivery), end, now_us);
        finished.class = Some(self.class);
        finished.tried = attempt_of(job);
        let tried = &mut finished.tried;
        self.phase.clone_into(&mut tried.phase);
        self.class.as_str().clone_into(&mut tried.class);
        tried.mx.clone_from(&self.mx);
        tried.peer.clone_from(&self.peer);
        tried.tls_refused.clone_from(&self.tls_refused);
        tried.relay.clone_from(&self.relay);
        tried.transcript.clone_from(&self.transcript);
        self.tls_policy.clone_into(&mut tried.tls_policy);
        tried.total_us = clock::micros(self.took);
        if let Some(reply) = &self.reply {
            put_reply(tried, reply);
        }
        if let Some(code) = self.for_good {
            code.clone_into(&mut tried.enhanced);
        }
        finished.reason.clone_from(&self.reason);
        finished
    }
}

/// A failure before any host was connected to.
pub(super) fn failed(phase: &'static str, class: Class, reason: String, mx: &str) -> Failure {
    Failure {
        phase,
        class,
        reply: None,
        reason,
        mx: mx.to_owned(),
        peer: String::new(),
        tls_refused: String::new(),
        relay: String::new(),
        transcript: String::new(),
        tls_policy: "",
        for_good: None,
        took: Duration::ZERO,
    }
}
