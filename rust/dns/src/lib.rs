//! Where mail for a domain goes: MX resolution, sites, mailbox providers.
//!
//! **Problem.** A delivery knows a domain; the engine needs the hosts that take its mail, in an order,
//! and the *site*: all domains whose mail the same hosts take share their limits.
//! **Model.** [`Resolver`] does the asking (hickory below caches of our own) and says of each answer
//! whether DNSSEC vouches for it; what an answer means is decided by pure functions: [`targets`]
//! (RFC 5321 section 5.1, RFC 7505), [`Site::of`], [`provider_of_domain`], and the readers of what
//! domains publish about TLS: [`Tlsa`], [`StsPolicy`], [`tlsrpt_rua`].
//! **Invariants.** A DNS *error* is never taken for "no such record": it defers, it does not bounce;
//! nor is a bogus answer. A null MX yields no target, so no connection can be made.
//! **Not here.** Connecting, certificates, fetching MTA-STS policies.
#![forbid(unsafe_code)]

mod cache;
mod error;
mod provider;
mod resolver;
mod security;
mod site;
mod sts;
mod targets;
mod tlsa;
mod tlsrpt;
mod validation;

pub use error::RouteError;
pub use provider::{provider_of_domain, providers};
pub use resolver::{Addresses, Resolver, ResolverError, TlsaAnswer};
pub use security::{Dnssec, Mode as DnssecMode, Security};
pub use site::Site;
pub use sts::{MAX_AGE_MAX, POLICY_MAX, StsMode, StsPolicy, StsPolicyError, sts_id};
pub use targets::{MxHost, MxRecord, Targets, targets};
pub use tlsa::Tlsa;
pub use tlsrpt::{Rua, tlsrpt_rua};
