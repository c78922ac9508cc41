//! What tests send to: a receiver that can misbehave, and a DNS server that can lie.
//!
//! **Problem.** A sender is judged by what receivers do to it: refuse, defer, stall, hang up at
//! the worst moment. Real receivers do that rarely and never on request.
//! **Model.** [`Sink`] is an SMTP receiver fast enough never to be what a benchmark measures; it
//! plays [personalities](personality) by recipient and follows a [`Script`]. [`Resolver`] answers
//! DNS from a static [`Zone`]. Both run on a thread of their own, so any language can embed them.
//! **Invariants.** Both bind loopback addresses only: nothing here can reach, or be reached from,
//! another machine.
#![forbid(unsafe_code)]

mod delay;
pub mod personality;
mod policy_host;
mod provider;
mod resolver;
mod script;
mod sink;

pub use delay::DelayProxy;
pub use policy_host::PolicyHost;
pub use provider::Provider;
pub use resolver::{Answer, Resolver, Zone, ZoneError};
pub use script::{Rule, Script, Step};
pub use sink::{Certificate, Counts, Received, Sink, SinkOptions, TlsFault};

use std::io;
use std::net::SocketAddr;

/// Refuses every address that another machine could reach.
fn require_loopback(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let why = format!("{address} is not a loopback address; test servers listen nowhere else");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}
