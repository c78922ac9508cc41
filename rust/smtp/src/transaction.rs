//! One mail transaction and how it ended.
//!
//! **Model.** A transaction goes in with an identity the driver chose and comes out once: as a
//! [`TransactionDone`] when the receiver answered for every recipient, or as an [`Unfinished`]
//! when the connection ended first. A rejection of MAIL, of the last RCPT or of DATA settles a
//! transaction at once, so a connection lost later puts nothing in doubt that was answered.

use crate::address::{ForwardPath, ReversePath};
use crate::content::Content;
use crate::dsn::Dsn;
use crate::reply::Reply;

/// The driver's name for a transaction; unique among those of one connection that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub u64);

/// What is to be sent: an envelope and its content.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Comes back with the result.
    pub id: TransactionId,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO, at least one; results come in this order.
    pub recipients: Vec<ForwardPath>,
    /// The message.
    pub content: Content,
    /// REQUIRETLS (RFC 8689): taken only where the receiver offers it over TLS.
    pub require_tls: bool,
    /// What the sender wants to be told, where the receiver offers DSN; `None`: no parameter.
    pub dsn: Option<Box<Dsn>>,
}

impl Transaction {
    /// Whether the receiver must offer SMTPUTF8: a non-ASCII address or header (RFC 6531).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        self.content.has_utf8_header()
            || self.reverse_path.needs_smtputf8()
            || self.recipients.iter().any(ForwardPath::needs_smtputf8)
    }
}

/// Where in a transaction something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, before any content.
    Data,
    /// Content is leaving, or its end was sent and is not answered.
    FinalDot,
}

/// A negative reply and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The command it answered.
    pub phase: Phase,
    /// The reply.
    pub reply: Reply,
}

impl Rejection {
    /// Whether a later attempt may succeed: 4yz, and 552 to RCPT, which RFC 5321, 4.5.3.1.10 tells
    /// clients to treat as 452 (too many recipients).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.reply.is_transient() || (self.phase == Phase::Rcpt && self.reply.code() == 552)
    }
}

/// The receiver's last word on one recipient.
#[must_use = "a result that is not recorded is a lost message"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientResult {
    /// The receiver took responsibility (RFC 5321, 4.2.5).
    Accepted,
    /// It did not.
    Rejected(Rejection),
}

/// A transaction the receiver answered.
#[must_use = "a result that is not recorded is a lost message"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDone {
    /// As submitted.
    pub id: TransactionId,
    /// One result a recipient, in the order submitted.
    pub recipients: Vec<RecipientResult>,
    /// The reply to the final dot; `None` when no content was sent.
    pub reply: Option<Reply>,
    /// How far it came: the phase whose reply settled it.
    pub phase: Phase,
}

/// A transaction the connection's end left open.
#[must_use = "a result that is not recorded is a lost message"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// As submitted.
    pub id: TransactionId,
    /// How far it came.
    pub phase: Phase,
    /// The final dot could have left, so only the receiver knows about the recipients that were
    /// not rejected. When false, trying again cannot make a duplicate.
    pub in_doubt: bool,
    /// One entry a recipient, in the order submitted: the rejection it got, if any.
    pub rejected: Vec<Option<Rejection>>,
}

/// A transaction under way.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) transaction: Transaction,
    pub(crate) rejected: Vec<Option<Rejection>>,
    pub(crate) phase: Phase,
    /// Its result has been told; only replies to what was already sent are awaited.
    pub(crate) settled: bool,
    /// MAIL was accepted, so the receiver holds an envelope.
    pub(crate) mail_accepted: bool,
    /// Stream position just after the final dot or the last chunk, once content was queued.
    pub(crate) dot_at: Option<u64>,
    /// Its content is a chunk.
    pub(crate) is_chunk: bool,
}

impl Open {
    pub(crate) fn new(transaction: Transaction) -> Self {
        let rejected = vec![None; transaction.recipients.len()];
        Self {
            transaction,
            rejected,
            phase: Phase::Mail,
            settled: false,
            mail_accepted: false,
            dot_at: None,
            is_chunk: false,
        }
    }

    /// Gives every recipient that has no rejection yet this one.
    pub(crate) fn reject_rest(&mut self, phase: Phase, reply: &Reply) {
        for slot in self.rejected.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(Rejection {
                phase,
                reply: reply.clone(),
            });
        }
    }

    pub(crate) fn is_all_rejected(&self) -> bool {
        self.rejected.iter().all(Option::is_some)
    }

    /// Takes the results; recipients without a rejection were accepted.
    pub(crate) fn settle(&mut self, phase: Phase, reply: Option<Reply>) -> TransactionDone {
        self.settled = true;
        let result = |slot: Option<Rejection>| {
            slot.map_or(RecipientResult::Accepted, RecipientResult::Rejected)
        };
        let recipients = std::mem::take(&mut self.rejected)
            .into_iter()
            .map(result)
            .collect();
        TransactionDone {
            id: self.transaction.id,
            recipients,
            reply,
            phase,
        }
    }
}
