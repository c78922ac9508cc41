//! Endings that no receiver's reply brought about.

use std::sync::Arc;

use postalynk_dns::RouteError;
use postalynk_record::v1::Attempt;

use crate::classify::Class;
use crate::delivery::Delivery;
use crate::done::Waiting;
use crate::outcome::{End, Finished};
use crate::prepare::Unfit;
use crate::route::{Job, RouteSpec};

/// The message's time was over before an attempt.
pub(crate) fn expired(delivery: Arc<Delivery>, now_us: u64) -> Finished {
    let mut finished = ended(delivery, End::Expired, now_us);
    finished.reason = "its expires_at passed before an attempt".to_owned();
    finished
}

/// The organization sends nothing to this address.
pub(crate) fn suppressed(delivery: Arc<Delivery>, reason: &str, now_us: u64) -> Finished {
    let mut finished = ended(delivery, End::Suppressed, now_us);
    finished.reason = format!("on the organization's suppression list: {}", reason);
    finished
}

/// Taken back while it waited for its next attempt.
pub(crate) fn cancelled(delivery: Delivery, now_us: u64, reason: &str) -> Finished {
    let mut finished = ended(Arc::new(delivery), End::Cancelled, now_us);
    finished.reason = reason.to_owned();
    finished
}

/// Put back without an attempt.
pub(crate) fn parked(delivery: Arc<Delivery>, now_us: u64, due_at_us: u64) -> Finished {
    let mut finished = ended(delivery, End::Parked, now_us);
    finished.due_at_us = due_at_us;
    finished
}

/// The deferral that the events speak of is not in `email.deferred`.
pub(crate) fn rebuilt(delivery: Delivery, waiting: &Waiting, now_us: u64) -> Finished {
    let mut finished = ended(Arc::new(delivery), End::Rebuilt, now_us);
    finished.due_at_us = waiting.due_at_us;
    finished
}

/// The journal shows that the attempt was open when the last process ended.
pub(crate) fn crashed(delivery: Delivery, now_us: u64) -> Finished {
    let slot = delivery.doubtful_slot;
    let last = delivery
        .history
        .last
        .as_deref()
        .cloned()
        .unwrap_or_default();
    let mut finished = ended(Arc::new(delivery), End::InDoubt, now_us);
    finished.class = Some(Class::Crash);
    finished.slot = slot;
    finished.tried = Attempt {
        class: Class::Crash.as_str().to_owned(),
        phase: "dot".to_owned(),
        pool: last.pool,
        site: last.site,
        ..Attempt::default()
    };
    finished.reason = "the process ended while the message was being sent".to_owned();
    finished
}

/// DNS shows no way, for now or for good.
pub(crate) fn unroutable(delivery: Delivery, error: &RouteError, now_us: u64) -> Finished {
    let end = if error.is_temporary() {
        End::Deferred
    } else {
        End::Bounced
    };
    let mut finished = ended(Arc::new(delivery), end, now_us);
    finished.class = Some(Class::Dns);
    finished.tried = Attempt {
        class: Class::Dns.as_str().to_owned(),
        phase: "dns".to_owned(),
        enhanced: error.enhanced().to_owned(),
        ..Attempt::default()
    };
    finished.reason = error.to_string();
    finished
}

/// None of the pools that the policy named has a source.
pub(crate) fn poolless(delivery: Arc<Delivery>, route: &RouteSpec, now_us: u64) -> Finished {
    let reason = format!("no source in pool {:?} nor in its fallbacks", route.pool);
    let mut finished = ended(delivery, End::Deferred, now_us);
    finished.class = Some(Class::Policy);
    finished.tried = routed(&finished.delivery, route, &route.pool);
    Class::Policy.as_str().clone_into(&mut finished.tried.class);
    "route".clone_into(&mut finished.tried.phase);
    finished.reason = reason;
    finished
}

/// The message cannot be composed, or not signed yet.
pub(crate) fn unfit(job: &Job, unfit: Unfit, now_us: u64) -> Finished {
    let (end, class, phase, reason) = match unfit {
        Unfit::Content(reason) => (End::Bounced, Class::Content, "compose", reason),
        // Keys are loaded apart from mail, so one may come a moment later.
        Unfit::NoKey(reason) => (End::Deferred, Class::Authentication, "sign", reason),
    };
    let mut finished = ended(Arc::clone(&job.delivery), end, now_us);
    finished.class = Some(class);
    finished.tried = attempt_of(job);
    class.as_str().clone_into(&mut finished.tried.class);
    phase.clone_into(&mut finished.tried.phase);
    finished.reason = reason;
    finished
}

/// What is known of a job's attempt before anything was sent.
pub(crate) fn attempt_of(job: &Job) -> Attempt {
    let mut tried = routed(&job.delivery, &job.route, &job.pool);
    job.source.name.as_ref().clone_into(&mut tried.source);
    if let Some(note) = &job.note {
        let reason = &mut tried.route_reason;
        if !reason.is_empty() {
            reason.push_str("; ");
        }
        reason.push_str(note);
    }
    tried
}

fn routed(delivery: &Delivery, route: &RouteSpec, pool: &str) -> Attempt {
    Attempt {
        pool: pool.to_owned(),
        site: delivery.site().to_owned(),
        policy_version: route.policy_version.clone(),
        route_reason: route.reason.clone(),
        fallback: route.is_fallback,
        explanation: delivery
            .explanation
            .get()
            .map(|text| text.to_string())
            .unwrap_or_default(),
        ..Attempt::default()
    }
}

/// An ending with nothing to tell yet.
pub(crate) fn ended(delivery: Arc<Delivery>, end: End, at_us: u64) -> Finished {
    Finished {
        delivery,
        end,
        class: None,
        tried: Attempt::default(),
        at_us,
        due_at_us: 0,
        reason: String::new(),
        slot: None,
        begun: None,
        is_late: false,
        is_withdrawn: false,
    }
}
