//! What the core tells its driver.

use crate::capabilities::Capabilities;
use crate::reply::{Reply, ReplyError};
use crate::transaction::{TransactionDone, TransactionId};

/// Something the driver must know or do.
#[must_use = "an event that is not handled may be a lost message"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Upgrade the stream now, then call [`Client::tls_established`](crate::Client::tls_established).
    /// Nothing may be read from the plaintext stream any more.
    StartTls,
    /// The receiver offered STARTTLS and refused it; plaintext follows, which is to be recorded.
    StartTlsRefused(Reply),
    /// Transactions may be submitted.
    Ready(Capabilities),
    /// A transaction is settled.
    TransactionDone(TransactionDone),
    /// The receiver was not ready for a transaction sent ahead, because the one before it failed
    /// and left it with an envelope: nothing was attempted, it may be submitted again.
    Returned(TransactionId),
    /// The connection is over: close it and collect
    /// [`Client::connection_lost`](crate::Client::connection_lost).
    Closed(CloseReason),
}

/// Why the connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The banner, the greeting or the login was refused.
    Refused(Reply),
    /// 421: the receiver is closing (RFC 5321, 3.8).
    ServiceClosing(Reply),
    /// TLS is required and not to be had; the reply when STARTTLS was refused.
    TlsUnavailable(Option<Reply>),
    /// A login is wanted, and the receiver offers no mechanism we have.
    LoginUnavailable,
    /// The receiver does not speak SMTP.
    Protocol(ProtocolError),
    /// QUIT was answered.
    Quit,
}

/// How the receiver broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Bytes that are no reply.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A reply to nothing.
    #[error("a reply nobody asked for")]
    Unsolicited,
    /// A reply whose class does not fit the command.
    #[error("reply {code} does not fit the command")]
    Unexpected {
        /// The reply's code.
        code: u16,
    },
    /// Plaintext after the 220 to STARTTLS: an injection (RFC 3207, section 6; CVE-2011-0411).
    #[error("plaintext after STARTTLS")]
    PlaintextAfterStartTls,
    /// CHUNKING was offered, and BDAT is not understood: what followed it may be taken for commands.
    #[error("BDAT refused with {code} although CHUNKING is offered")]
    ChunkingRefused {
        /// The reply's code.
        code: u16,
    },
    /// The content was acknowledged before its final dot left.
    #[error("content acknowledged before it was sent")]
    EarlyAcceptance,
}
