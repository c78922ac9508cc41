//! What a connection must prove before mail goes over it.
//!
//! **Problem.** SMTP's TLS is opportunistic: whoever sits between two servers may strip it. Receivers
//! publish what senders may insist on, in DNS (DANE, RFC 7672) or on the web (MTA-STS, RFC 8461), and
//! an operator or a policy may insist on more, and so may a message (REQUIRETLS, RFC 8689).
//! **Model.** Three steps, each a value: [`dane`] says what the TLSA records of a host mean,
//! [`Demand::decide`] what host and domain demand together, [`check`](verify::check) whether the
//! certificates that were shown meet it. `connect` asks them in this order and hangs up when the last
//! says no.
//! **Invariant.** Plaintext only where nothing demands TLS.
//! **Laws.** See `demand` and `verify`.

pub(crate) mod dane;
mod demand;
mod policy;
pub(crate) mod report;
mod roots;
mod verify;
mod wish;

pub(crate) use dane::Dane;
pub(crate) use demand::{Check, Demand};
pub use policy::TlsPolicy;
pub(crate) use report::{Reports, ResultType};
pub(crate) use roots::Roots;
pub(crate) use verify::{Problem, check};
pub(crate) use wish::TlsWish;
