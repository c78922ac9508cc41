//! SMTP in: mail from applications, handed up in batches and acknowledged once it is durable.
//!
//! **Problem.** An acknowledgement must follow a durable append, an append costs an fdatasync, and
//! who may send what is known in Python. One call per message would be slow thrice.
//! **Model.** One thread with a current-thread runtime serves all connections; the protocol is
//! `postalynk_smtp::server`. Logins and messages queue at a desk; above, [`Submission::requests`]
//! takes everything that waits, one group commit makes it durable, and each is answered by its
//! id ([`Submission::admit`], [`Submission::answer`]). So group commit spans connections, and a
//! connection has at most one request under way: the desk is bounded by the connections.
//! **Judging.** [`judge`] makes the record of a message that is plainly in order, a whole batch
//! without a word from above; of every other it says nothing, and it is judged there one by one.
//! **What changes in a message.** `Bcc`, `Resent-Bcc` and `X-Postalynk-*` fields are taken out
//! ([`Head`]); above, `Received` and a missing `Date` and `Message-ID` are put in front. All else stays as it is.
//! **Bounds.** Connections in total and half of them per address and per organization; octets of
//! content held, likewise ([`Options`]); a deadline for the login, for each command and for a
//! whole transaction, so one octet a second holds nothing for long.
//! **Invariants.** 250 after content only when [`Submission::answer`] said so. A connection that
//! is closed by us is told why.
//! **Not here.** Where keys and domains are kept, refusals, the queue (Python); BINARYMIME.
#![forbid(unsafe_code)]

mod certificate;
mod connection;
mod counts;
mod desk;
mod error;
mod head;
mod judge;
mod options;
mod rules;
mod service;
mod shares;
mod shown;
mod tls;
mod trusted;

pub use desk::{Account, Message, Origin, Request};
pub use error::Error;
pub use head::Head;
pub use judge::{Judged, judge};
pub use options::{Options, Timeouts};
pub use rules::{Domain, Organization, Rules};
pub use service::Submission;
pub use trusted::Trusted;
