//! How a connection is spoken on, and why a transaction is not taken there.

use crate::address::EhloName;
use crate::server::Credentials;
use std::sync::Arc;

/// Whether to ask for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// No: the stream is encrypted already, or plaintext is meant.
    Never,
    /// If offered; plaintext otherwise.
    WhenOffered,
    /// Or not at all.
    Required,
    /// TLS was established before the greeting (RFC 8314, 3.3), by the peer this is meant for.
    Implicit,
}

/// How to speak on a connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who we say we are.
    pub ehlo_name: EhloName,
    /// Whether to ask for TLS.
    pub starttls: StartTls,
    /// What to prove ourselves with before any mail (RFC 4954); it leaves only once the stream is
    /// encrypted, by STARTTLS or from the start. Whether the peer is the one it is meant for, the
    /// driver must have seen when it tells [`Client::tls_established`](crate::Client::tls_established),
    /// or from the start before it gives the client anything to send.
    pub login: Option<Arc<Credentials>>,
    /// Messages that may be in flight at first where CHUNKING is offered; 0: send with DATA. Give
    /// what [`Client::chunk_window`](crate::Client::chunk_window) said of the last connection, 1 for
    /// a stranger.
    pub chunk_window: usize,
}

/// Why a transaction was not taken. It was not attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// [`Client::wants_transaction`](crate::Client::wants_transaction) is false.
    #[error("the connection takes no transaction now")]
    NotReady,
    /// The transaction has no recipient.
    #[error("a transaction needs a recipient")]
    NoRecipients,
    /// Larger than the receiver's SIZE (RFC 1870): permanent, as if answered 552 5.3.4.
    #[error("content of {size} octets is over the receiver's limit of {limit}")]
    TooLarge {
        /// Octets of the content.
        size: u64,
        /// The receiver's limit in octets.
        limit: u64,
    },
    /// 8-bit content and no 8BITMIME (RFC 6152): permanent, as if answered 554 5.6.3.
    #[error("the receiver takes no 8-bit content")]
    EightBitUnsupported,
    /// A non-ASCII address or header and no SMTPUTF8 (RFC 6531, 3.5): permanent, 553 5.6.7.
    #[error("the receiver takes no internationalized mail")]
    Utf8Unsupported,
    /// The message requires TLS and the receiver does not promise it for its own sending, or the
    /// stream is plaintext (RFC 8689, 4.2.1): permanent, 550 5.7.30.
    #[error("the message requires TLS all the way and the receiver does not offer REQUIRETLS")]
    RequireTlsUnsupported,
}
