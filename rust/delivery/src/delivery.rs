//! One message to one recipient: the unit everything below the log works on.
//!
//! **Model.** The deliveries of one record share it (no copy of a body); each knows where it came
//! from, how often it was tried, and, once its site is known, where it goes. From then on it is
//! shared between threads and with Python, and nothing of it changes but what is noted as it is
//! routed: an explanation, once, and when its address was suppressed last.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use postalynk_record::v1::{self, message::Content};
use postalynk_record::{DeliveryKey, Record};

use crate::destination::Destination;
use crate::tenure::Tenure;

/// Where a delivery was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A record of a send topic: finishing the delivery moves that partition's low-water mark.
    Log {
        /// The topic's name.
        topic: &'static str,
        /// The record's offset.
        offset: u64,
    },
    /// `email.deferred`: finishing the delivery ends with a tombstone or a newer deferral there.
    Deferred,
}

/// What the last attempt left behind, for the policy and for the next deferral.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LastAttempt {
    pub(crate) code: u32,
    pub(crate) enhanced: String,
    pub(crate) reply: String,
    pub(crate) class: String,
    pub(crate) pool: String,
    pub(crate) site: String,
}

/// What a delivery's past says.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Attempts made so far.
    pub(crate) attempts: u32,
    /// 0: none was made.
    pub(crate) first_attempt_at_us: u64,
    pub(crate) last: Option<Box<LastAttempt>>,
}

/// A delivery; the public methods are what a policy may see.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) record: Arc<Record>,
    pub(crate) recipient: u32,
    pub(crate) partition: u32,
    /// Under which it was admitted.
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) origin: Origin,
    pub(crate) history: History,
    /// Set before anyone but the admitting code sees the delivery.
    pub(crate) destination: Option<Arc<Destination>>,
    /// Its share of the window, in bytes.
    pub(crate) weight: usize,
    /// The journal showed this attempt open when the last process ended.
    pub(crate) doubtful_slot: Option<u32>,
    /// Why the policy sends it where it does, for the record of its next attempt.
    pub(crate) explanation: OnceLock<Box<str>>,
    /// See [`Self::suppressed_at_us`].
    pub(crate) suppressed_at_us: AtomicU64,
}

impl Delivery {
    /// Notes why it goes where it goes; the first note counts.
    pub fn explain(&self, text: String) {
        let _ = self.explanation.set(text.into());
    }

    /// When the organization suppressed the address last, as its batch was routed, in microseconds
    /// since the Unix epoch; 0: never, as far as is known.
    #[must_use]
    pub fn suppressed_at_us(&self) -> u64 {
        self.suppressed_at_us.load(Relaxed)
    }

    pub(crate) fn suppressed(&self, at_us: u64) {
        self.suppressed_at_us.store(at_us, Relaxed);
    }

    /// Message id and recipient.
    #[must_use]
    pub fn key(&self) -> DeliveryKey {
        DeliveryKey {
            id: self.record.id(),
            recipient: self.recipient,
        }
    }

    /// The message id as text.
    #[must_use]
    pub fn id(&self) -> String {
        self.record.id().to_string()
    }

    /// The organization.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.message().org
    }

    /// The organization's plan at acceptance.
    #[must_use]
    pub fn plan(&self) -> &str {
        &self.message().plan
    }

    /// `high`, `normal` or `bulk`.
    #[must_use]
    pub fn lane(&self) -> &'static str {
        match self.message().lane() {
            v1::Lane::High => "high",
            v1::Lane::Normal => "normal",
            v1::Lane::Bulk => "bulk",
        }
    }

    /// The lane's place in their precedence.
    pub(crate) fn lane_index(&self) -> usize {
        match self.message().lane() {
            v1::Lane::High => 0,
            v1::Lane::Normal => 1,
            v1::Lane::Bulk => 2,
        }
    }

    /// The message's tags, in order.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.message()
            .tags
            .iter()
            .map(|tag| (tag.name.as_str(), tag.value.as_str()))
    }

    /// The id of the stored template it is made from; empty: of none.
    #[must_use]
    pub fn template(&self) -> &str {
        match &self.message().content {
            Some(Content::Composed(composed)) => composed
                .template
                .as_ref()
                .map_or("", |template| template.id.as_str()),
            _ => "",
        }
    }

    /// The author's address, or MAIL FROM of a raw message.
    #[must_use]
    pub fn sender(&self) -> &str {
        match &self.message().content {
            Some(Content::Composed(composed)) => composed
                .from
                .as_ref()
                .map_or("", |from| from.address.as_str()),
            _ => &self.message().reverse_path,
        }
    }

    /// What follows the `@` of [`Self::sender`].
    #[must_use]
    pub fn sender_domain(&self) -> &str {
        domain_of(self.sender())
    }

    /// The recipient's address.
    #[must_use]
    pub fn address(&self) -> &str {
        let recipient = self.message().recipients.get(self.recipient as usize);
        recipient.map_or("", |recipient| &recipient.address)
    }

    /// The recipient's domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        domain_of(self.address())
    }

    /// The site that takes the recipient's mail; empty while it is not known.
    #[must_use]
    pub fn site(&self) -> &str {
        self.destination
            .as_ref()
            .map_or("", |destination| &destination.site)
    }

    /// The mailbox provider behind the site; empty when it is none of the known ones.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.destination
            .as_ref()
            .and_then(|destination| destination.provider)
            .unwrap_or("")
    }

    /// Bytes of the record.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.record.raw().len()
    }

    /// The number of the attempt that comes next, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.history.attempts + 1
    }

    /// When the message was accepted, in microseconds since the Unix epoch.
    #[must_use]
    pub fn accepted_at_us(&self) -> u64 {
        self.message().accepted_at_us
    }

    /// When the message expires; 0: never.
    #[must_use]
    pub fn expires_at_us(&self) -> u64 {
        self.message().expires_at_us
    }

    /// The reply to the last attempt; empty when there was none.
    #[must_use]
    pub fn last_reply(&self) -> &str {
        self.history.last.as_ref().map_or("", |last| &last.reply)
    }

    pub(crate) fn message(&self) -> &v1::Message {
        self.record.message()
    }

    pub(crate) fn is_expired(&self, wall_us: u64) -> bool {
        let expires_at_us = self.expires_at_us();
        expires_at_us != 0 && expires_at_us <= wall_us
    }
}

/// What follows the last `@`, in lower case where it is ASCII already.
pub(crate) fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}
