//! Signing messages with DKIM (RFC 6376, RFC 8301, RFC 8463).
//!
//! **Problem.** One signature per message is most of what sending costs, so everything around the
//! private-key operation must be small beside it, and nothing may be signed that a receiver could
//! see differently.
//!
//! **Model.** Two steps that may run in different places. [`Hashed::new`] reads the message once, in
//! slices, without copying its body: it holds the body hash and the state of SHA-256 after the signed
//! fields. [`Signer::sign`] adds the signature field itself and does the private-key operation: it
//! needs only the `Hashed`, so a pool of signers can work on a batch, and two signers (RSA and
//! Ed25519) share one pass over the message. RSA keys of 2048 bits and more may sign side by side
//! ([`Lanes`]) where a backend for that is at hand.
//!
//! **Invariants.** Fields that receivers act on are signed once more than they occur, so that none can
//! be added (§8.15); `l=` is never written (§8.2); Return-Path, Received and Bcc are never signed.
//!
//! ```
//! use postalynk_dkim::{Domain, Key, Selector, Signer, generate_ed25519, split};
//!
//! let key = Key::from_pkcs8_der(&generate_ed25519()?)?;
//! let signer = Signer::new(Domain::new("example.com")?, Selector::new("s1")?, key);
//! let (fields, body) = split(b"From: a@example.com\r\n\r\nHello\r\n")?;
//! let header = signer.sign_message(&fields, body, 1_790_000_000)?;
//! assert!(header.starts_with(b"DKIM-Signature: v=1;") && header.ends_with(b"\r\n"));
//! # Ok::<(), postalynk_dkim::Error>(())
//! ```
//!
//! A signer without a selector does not compile:
//!
//! ```compile_fail,E0061
//! # use postalynk_dkim::{Domain, Key, Signer};
//! # fn f(domain: Domain, key: Key) {
//! let signer = Signer::new(domain, key);
//! # }
//! ```
//!
//! **Laws** (property tests of these names): `law_chunking_is_irrelevant`, `law_relaxed_is_idempotent`,
//! `law_relaxed_matches_model`, `law_signature_verifies`, `law_changed_byte_is_refused`,
//! `law_added_field_is_refused`, `law_small_keys_sign_as_openssl`, `law_record_reads_back`,
//! `law_lanes_sign_as_alone`.
//!
//! **Not here.** Verifying others' mail, DNS, rotation of selectors. Raw messages must have CRLF line
//! ends before they come here ([`check_line_ends`] says whether they do).
#![forbid(unsafe_code)]

mod body;
mod crt;
mod error;
mod field;
mod hash;
#[cfg(test)]
mod judge;
mod key;
mod lanes;
mod name;
mod record;
mod rsa_key;
mod sign;
#[cfg(test)]
mod sizes;

pub use body::{BodyHash, BodyHasher};
pub use crt::Crt;
pub use error::Error;
pub use field::{HeaderField, check_line_ends, split};
pub use hash::{Canonicalization, Hashed};
pub use key::{Algorithm, Key, PrivateKeyDer, generate_ed25519, generate_rsa_2048};
pub use lanes::{LANES, LONGEST_WAIT, Lane, LaneBackend, LaneCounts, Lanes};
pub use name::{Domain, Selector};
pub use record::PublishedKey;
pub use sign::{MessageSigner, Signer};
