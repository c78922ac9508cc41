//! From the core's results to outcomes, one for each recipient.
//!
//! **Model.** A transaction ends answered ([`Connection::done`]) or with its connection
//! ([`Connection::lose`]). Either way each recipient gets an outcome, or leaves again at once
//! because nothing was said about it: the whole message when MAIL was never answered, the last
//! recipients when they were only too many. A message whose 8-bit octets the receiver does not take
//! goes back to be made without them, once.

use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::time::Instant;

use postalynk_record::v1::Attempt;
use postalynk_smtp::{
    Phase, RecipientResult, Rejection, TransactionDone, TransactionId, Unfinished,
};

use super::{Connection, MOST_REQUEUES, Open, Why};
use crate::classify::classify;
use crate::clock;
use crate::ending::{attempt_of, ended};
use crate::habits::too_many_from;
use crate::outcome::{End, Finished};
use crate::prepare::{Mail, ToPrepare};
use crate::reply::put_reply;

impl Connection<'_> {
    pub(super) fn done(&mut self, done: TransactionDone) {
        let Some(mut open) = self.close(done.id) else {
            return;
        };
        let rejections: Vec<Option<&Rejection>> = done.recipients.iter().map(rejection).collect();
        if rejections
            .first()
            .is_some_and(|r| r.is_some_and(is_farewell))
            && self.may_requeue(&open)
        {
            return self.requeue(open);
        }
        self.send_rest_again(&mut open, &rejections);
        let recipients = open.mail.recipients.len();
        for (index, rejection) in rejections.into_iter().take(recipients).enumerate() {
            match rejection {
                Some(rejection) => self.rejected(&open, index, rejection),
                None => self.delivered(&open, index, &done),
            }
        }
        let took = clock::now() - open.began;
        self.path.state.borrow_mut().pace.complete(recipients, took);
        if self.session.driver.client.capabilities().chunking {
            self.learn_window();
        }
    }

    /// What the connection shows of CHUNKING; nothing where it was not to be used.
    pub(super) fn learn_window(&self) {
        if self.session.may_chunk {
            let window = self.session.driver.client.chunk_window();
            self.path.state.borrow_mut().habits.showed_window(window);
        }
    }

    /// Sent ahead in vain.
    pub(super) fn returned(&mut self, id: TransactionId) {
        if let Some(open) = self.close(id) {
            self.requeue(open);
        }
    }

    fn delivered(&self, open: &Open, index: usize, done: &TransactionDone) {
        let mut finished = self.finished(open, index, End::Delivered);
        if let Some(reply) = &done.reply {
            put_reply(&mut finished.tried, reply);
        }
        phase_name(done.phase).clone_into(&mut finished.tried.phase);
        self.shard.finish(finished);
    }

    fn rejected(&self, open: &Open, index: usize, rejection: &Rejection) {
        let end = if rejection.is_transient() {
            End::Deferred
        } else {
            End::Bounced
        };
        let mut finished = self.finished(open, index, end);
        put_rejection(&mut finished, rejection);
        self.shard.finish(finished);
    }

    /// The connection is over: whatever is open ends too.
    pub(super) fn lose(&mut self, why: &Why) {
        // The last in front when put back, so they keep their order.
        for unfinished in self.session.driver.client.connection_lost().iter().rev() {
            if let Some(open) = self.close(unfinished.id) {
                self.unfinished(open, unfinished, why);
            }
        }
    }

    fn unfinished(&self, mut open: Open, unfinished: &Unfinished, why: &Why) {
        let rejections: Vec<Option<&Rejection>> =
            unfinished.rejected.iter().map(Option::as_ref).collect();
        let is_untouched = unfinished.phase == Phase::Mail && self.may_requeue(&open);
        let is_manner = why.is_manner && open.mail.requeued < MOST_REQUEUES;
        if !unfinished.in_doubt && (is_untouched || is_manner) {
            return self.requeue(open);
        }
        self.send_rest_again(&mut open, &rejections);
        let recipients = open.mail.recipients.len();
        for (index, rejection) in rejections.into_iter().take(recipients).enumerate() {
            match rejection {
                Some(rejection) => self.rejected(&open, index, rejection),
                None => self.lost(&open, index, unfinished, why),
            }
        }
    }

    fn lost(&self, open: &Open, index: usize, unfinished: &Unfinished, why: &Why) {
        let end = if unfinished.in_doubt {
            End::InDoubt
        } else {
            End::Deferred
        };
        let mut finished = self.finished(open, index, end);
        finished.class = Some(why.class);
        why.class.as_str().clone_into(&mut finished.tried.class);
        phase_name(unfinished.phase).clone_into(&mut finished.tried.phase);
        if let Some(reply) = &why.reply {
            put_reply(&mut finished.tried, reply);
        }
        finished.reason.clone_from(&why.reason);
        self.shard.finish(finished);
    }

    /// Recipients that were only too many leave in a transaction of their own.
    fn send_rest_again(&self, open: &mut Open, rejections: &[Option<&Rejection>]) {
        let Some(from) = too_many_from(rejections) else {
            return;
        };
        self.path.state.borrow_mut().habits.took_only(from);
        let rest = open.mail.split_off(from);
        self.free(open.slots.split_off(from.min(open.slots.len())));
        self.shard.put_back(self.path, rest);
        self.path.wake.notify_last();
    }

    /// Nothing came of it, and nothing was said about it.
    fn requeue(&self, mut open: Open) {
        self.free(std::mem::take(&mut open.slots));
        open.mail.requeued += 1;
        self.shard.put_back(self.path, open.mail);
    }

    /// The receiver takes no 8-bit octets: the message is made without them, and keeps its place.
    pub(super) fn make_again(&self, mail: Mail) {
        let tokens = mail.recipients.len() as u64;
        self.path.site.bucket.borrow_mut().give_back(tokens);
        let mut state = self.path.state.borrow_mut();
        state.habits.is_seven_bit = true;
        let again = ToPrepare {
            jobs: mail.into_jobs().collect(),
            shard: self.shard.links.index,
            path: self.path.id,
            place: state.prepared.reserve_front(),
            is_seven_bit: true,
        };
        // The pool ends after the shards, so it is there.
        let _ = self.shard.links.to_prepare.send(again);
    }

    fn free(&self, slots: Vec<Option<u32>>) {
        let slots: Vec<u32> = slots.into_iter().flatten().collect();
        if !slots.is_empty() {
            // A slot that stays makes the attempt look doubtful after a crash, no more.
            let _ = self.shard.links.shared.journal.end(slots);
        }
    }

    /// A connection that took others and then closed has said nothing about the message it left over.
    fn may_requeue(&self, open: &Open) -> bool {
        !open.is_first && open.mail.requeued < MOST_REQUEUES
    }

    fn close(&mut self, id: TransactionId) -> Option<Open> {
        let at = self.open.iter().position(|open| open.id == id)?;
        self.shard
            .links
            .shared
            .open_transactions
            .fetch_sub(1, AcqRel);
        Some(self.open.remove(at))
    }

    pub(super) fn finished(&self, open: &Open, index: usize, end: End) -> Finished {
        let now = clock::now();
        let job = &open.mail.recipients[index].job;
        let mut finished = ended(Arc::clone(&job.delivery), end, clock::wall_us());
        let between = |from: Option<Instant>, to: Instant| {
            from.map_or(0, |from| clock::micros(to.saturating_duration_since(from)))
        };
        finished.slot = open.slots.get(index).copied().flatten();
        finished.begun = open.begun.get(index).cloned();
        finished.tried = Attempt {
            mx: self.session.mx.to_string(),
            peer: self.session.peer.clone(),
            tls: self.session.tls.clone(),
            tls_refused: self.session.tls_refused.clone(),
            tls_policy: self.session.tls_policy.to_owned(),
            connect_us: if open.is_first {
                self.session.connect_us
            } else {
                0
            },
            mail_us: open
                .content_at
                .map_or(0, |at| between(Some(open.began), at)),
            dot_us: between(open.sent_at.or(open.content_at), now),
            total_us: between(Some(open.began), now),
            size_bytes: u32::try_from(open.mail.content.size()).unwrap_or(u32::MAX),
            relay: self.session.relay.clone(),
            transcript: self.transcript_of(open, end),
            ..attempt_of(job)
        };
        finished
    }
}

impl Connection<'_> {
    /// Of what did not go well, and of a sample of the rest.
    fn transcript_of(&self, open: &Open, end: End) -> String {
        let sample = u64::from(self.shard.links.shared.settings.transcript_sample);
        let is_kept =
            end != End::Delivered || (sample > 0 && self.shard.chance().is_multiple_of(sample));
        if is_kept {
            self.session.driver.transcript.text(open.began)
        } else {
            String::new()
        }
    }
}

fn rejection(result: &RecipientResult) -> Option<&Rejection> {
    match result {
        RecipientResult::Accepted => None,
        RecipientResult::Rejected(rejection) => Some(rejection),
    }
}

/// 421 in answer to MAIL: the receiver had enough of the connection, not of the message.
fn is_farewell(rejection: &Rejection) -> bool {
    rejection.reply.code() == 421 && rejection.phase == Phase::Mail
}

fn put_rejection(finished: &mut Finished, rejection: &Rejection) {
    let class = classify(&rejection.reply, rejection.phase);
    finished.class = Some(class);
    class.as_str().clone_into(&mut finished.tried.class);
    phase_name(rejection.phase).clone_into(&mut finished.tried.phase);
    put_reply(&mut finished.tried, &rejection.reply);
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Mail => "mail",
        Phase::Rcpt => "rcpt",
        Phase::Data => "data",
        Phase::FinalDot => "dot",
    }
}
