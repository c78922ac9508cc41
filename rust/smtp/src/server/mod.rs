//! The receiving side of a submission, without a socket (RFC 5321, RFC 6409).
//!
//! **Problem.** A server that mixes protocol and sockets cannot be fuzzed, and every client is
//! potentially hostile: it may send without end, stop in the middle, or hide a second message in
//! the first.
//! **Model.** A [`Server`] is one connection. The driver hands it what was read
//! ([`Server::receive`]), which takes as much as it can and stops at the first [`Event`] that
//! wants something: TLS, a judgement on credentials, a judgement on a message. Replies collect in
//! [`Server::output`]; whatever order the driver works in, they leave in the order of the
//! commands, so pipelining (RFC 2920) needs no further care.
//! **Order.** STARTTLS where it is required, then AUTH, then MAIL; never MAIL before AUTH.
//! **Invariants.** Memory is bounded by [`Limits`]: a line, the recipients, one message. After
//! [`Event::Closed`] nothing more is read. Plaintext behind STARTTLS is not taken: the driver
//! refuses it (RFC 3207, section 6).
//! **Laws.** `law_any_split_same_events`, `law_unstuffing_inverts`, `law_end_of_data_is_unique`,
//! `law_server_never_panics`.
//! **Not here.** Sockets, deadlines, certificates (`postalynk-submission`); who may send what.

mod answer;
mod client;
mod command;
mod content;
mod envelope;
mod login;
mod session;

pub use answer::Answer;
pub use envelope::{Envelope, Notify, Recipient, Returns};
pub use login::Credentials;
pub use session::Server;

use crate::address::EhloName;
use bytes::Bytes;

/// What a client may make a server hold and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one message, without stuffing (RFC 1870).
    pub max_message_bytes: u64,
    /// Recipients of one message; RFC 5321, 4.5.3.1.8 asks for 100 at least.
    pub max_recipients: usize,
    /// Octets of one command line with its CRLF; AUTH lines are the longest.
    pub max_line: usize,
    /// Wrong commands before the connection is closed; an accepted message forgives them.
    pub max_bad_commands: u32,
    /// NOOP, RSET, EHLO and the like between two messages.
    pub max_idle_commands: u32,
    /// Refused logins before the connection is closed.
    pub max_logins: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 30_000_000,
            max_recipients: 1_000,
            max_line: 4_096,
            max_bad_commands: 50,
            max_idle_commands: 200,
            max_logins: 3,
        }
    }
}

/// How a connection is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's name in its greeting.
    pub host: EhloName,
    /// What a client may cost.
    pub limits: Limits,
    /// STARTTLS is offered.
    pub offers_tls: bool,
    /// Neither AUTH nor MAIL without TLS.
    pub requires_tls: bool,
}

/// Something the driver must do.
#[must_use = "an event that is not handled leaves the client waiting"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Write the output, upgrade the stream, then call [`Server::tls_established`]. Octets that
    /// came behind the command must not be used.
    StartTls,
    /// Judge these, then call [`Server::login_judged`].
    Login(Credentials),
    /// Judge this message, then call [`Server::message_judged`].
    Message(Envelope, Bytes),
    /// Write the output and close.
    Closed,
}
