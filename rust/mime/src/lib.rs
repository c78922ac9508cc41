//! Composing messages: typed parts in, the octets of an RFC 5322 message out.
//!
//! **Problem.** Whatever an application hands over (any Unicode, any bytes) must leave as a message
//! every receiver reads alike, and no value may grow into a header, a part or an address of its own.
//!
//! **Model.** A [`Draft`] is filled with values that were checked when they were made: an
//! [`Address`], a [`Text`], a [`Header`], a [`MsgId`]. [`Draft::compose`] cannot fail: it writes one
//! buffer, each octet once, and notes where each header field lies, so that a signer need not parse.
//!
//! **Invariants.** Line ends are CRLF and nothing else; no line exceeds 998 octets, header lines fold
//! at 78; octets are ASCII, except header addresses whose local part is not
//! ([`Composed::needs_smtputf8`]); a boundary occurs in no part; encoded words are at most 75 long and
//! split no character. The same draft with the same seed gives the same octets.
//!
//! **Laws** (property tests of these names): `law_reads_back`, `law_intended_headers_only`,
//! `law_wire_form`, `law_quoted_printable_round_trip`, `law_literal_run_is_exact`,
//! `law_survey_never_picks_the_longer`, `law_address_parse_is_stable`, `law_plain_is_total`,
//! `law_intended_fields_only`, `law_seven_bit_reads_back`, `law_seven_bit_changes_nothing_else`.
//!
//! A message of somebody else is only touched where its receiver takes no 8-bit octets
//! ([`to_seven_bit`]). [`check_fields`] is the last look at any header.
//!
//! **Not here.** Templates, signing (its own crate), choosing what to send.
//!
//! **Sources.** RFC 5322 (form), 2045–2047 and 2231 (MIME), 2387 (related), 2183 (disposition), 5321
//! (addresses), 6531/6532 (internationalized mail), 5890 (A-labels).
#![forbid(unsafe_code)]

mod address;
mod compose;
mod draft;
mod eight_bit;
mod entity;
mod error;
mod fold;
mod header;
mod intended;
mod media;
mod param;
mod plain;
mod short;
mod transfer;
mod tree;
mod value;
mod word;

pub use address::{Address, Mailbox, parse_address, parse_mailbox};
pub use compose::{Composed, FieldSpan};
pub use draft::{Draft, Origin};
pub use eight_bit::{NotSevenBit, SevenBit, to_seven_bit};
pub use error::{AddressError, Error, Field, Reason};
pub use header::{Header, HeaderName};
pub use intended::{FieldNames, Unintended, check_fields};
pub use media::{CalendarMethod, ContentType};
pub use plain::plain_text;
pub use value::{Attachment, ContentId, Date, MsgId, Text};
