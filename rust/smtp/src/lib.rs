//! SMTP as a state machine: bytes in, bytes and events out (RFC 5321).
//!
//! **Problem.** A sender that waits for every reply needs four round trips a message, copies the
//! body to stuff its dots, and cannot be tested without a network.
//! **Model.** A [`Client`] is one connection. The driver feeds it what the peer said
//! ([`Client::receive`]), drains [`Client::next_event`], offers it transactions
//! ([`Client::submit`]) while [`Client::wants_transaction`], and writes what
//! [`Client::fill`] lends it, telling [`Client::wrote`] how much left. There is no socket, no
//! clock and no random number below this line; [`Client::deadline`] names the timeout that
//! applies now and the driver enforces it.
//! **Steady state.** With PIPELINING the content and final dot of one message and the whole
//! envelope of the next leave in one vectored write (RFC 2920, section 3.1): one round trip a
//! message. Where CHUNKING is offered too, whole messages leave ahead of the replies to those before.
//! **Invariants.** Whatever leaves is free of bare CR and LF, and the end of data appears exactly
//! once a message: [`Content`] and the envelope types cannot hold anything else. Every submitted
//! transaction ends in exactly one [`TransactionDone`] or one [`Unfinished`]. Memory is bounded by
//! [`MAX_REPLY_LINE`] × [`MAX_REPLY_LINES`] beside the content itself.
//! **Laws.** `law_any_split_same_events`, `law_stuffing_inverts`, `law_one_end_of_data`,
//! `law_parser_never_panics`, `law_every_transaction_settles_once`.
//! **The other side.** [`server`] is the receiver of a submission, by the same rules.
//! **Not here.** Sockets, TLS, DNS, pools, deadlines in real time (`postalynk-delivery`);
//! BINARYMIME.
#![forbid(unsafe_code)]

mod address;
mod capabilities;
mod client;
mod content;
mod dsn;
mod event;
mod limits;
mod output;
mod reply;
mod sent;
pub mod server;
mod timeout;
mod transaction;

pub use address::{AddressError, EhloName, ForwardPath, ReversePath};
pub use capabilities::Capabilities;
pub use client::{Client, Config, StartTls, SubmitError};
pub use content::{Content, ContentError};
pub use dsn::{Dsn, Notify, RecipientDsn, Return, Xtext, XtextError};
pub use event::{CloseReason, Event, ProtocolError};
pub use limits::Limits;
pub use reply::{
    EnhancedCode, MAX_REPLY_LINE, MAX_REPLY_LINES, Reply, ReplyError, ReplyLine, ReplyParser,
    parse_reply_line,
};
pub use sent::Sent;
pub use timeout::{Deadline, Timeout};
pub use transaction::{
    Phase, RecipientResult, Rejection, Transaction, TransactionDone, TransactionId, Unfinished,
};
