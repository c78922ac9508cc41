//! Where mail for a domain goes: MX resolution, sites, mailbox providers.
//!
//! **Problem.** A delivery knows a domain; the engine needs the hosts that take its mail, in an order,
//! and the *site*: all domains whose mail the same hosts take share their limits.
//! **Model.** [`Resolver`] does the asking (hickory, with its TTL cache); what an answer means is
//! decided by pure functions: [`targets`] (RFC 5321 section 5.1, RFC 7505), [`Site::of`] and
//! [`provider_of_domain`].
//! **Invariants.** A DNS *error* is never taken for "no such record": it defers, it does not bounce.
//! A null MX yields no target, so no connection can be made.
//! **Not here.** DNSSEC, DANE, MTA-STS; connecting.
#![forbid(unsafe_code)]

mod error;
mod provider;
mod resolver;
mod site;
mod targets;

pub use error::RouteError;
pub use provider::{provider_of_domain, providers};
pub use resolver::{Resolver, ResolverError};
pub use site::Site;
pub use targets::{MxHost, MxRecord, Targets, targets};
