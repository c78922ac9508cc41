//! Why a value cannot stand in a message: always the field, always one reason.

use std::fmt;

/// A field of a draft, named as an application would name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The author.
    From,
    /// The nth of the mailboxes replies go to, from 0.
    ReplyTo(usize),
    /// The nth primary recipient, from 0.
    To(usize),
    /// The nth copied recipient, from 0.
    Cc(usize),
    /// The subject.
    Subject,
    /// The message identifier.
    MessageId,
    /// The origination date.
    Date,
    /// The plain text.
    Text,
    /// The HTML text.
    Html,
    /// The calendar object, or its method.
    Calendar,
    /// A custom header, by the name it was given.
    Header(String),
    /// A part of the nth attachment, from 0.
    Attachment(usize, &'static str),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From => f.write_str("from"),
            Self::ReplyTo(n) => write!(f, "reply_to[{n}]"),
            Self::To(n) => write!(f, "to[{n}]"),
            Self::Cc(n) => write!(f, "cc[{n}]"),
            Self::Subject => f.write_str("subject"),
            Self::MessageId => f.write_str("message_id"),
            Self::Date => f.write_str("date"),
            Self::Text => f.write_str("text"),
            Self::Html => f.write_str("html"),
            Self::Calendar => f.write_str("calendar"),
            Self::Header(name) => write!(f, "headers[{name:?}]"),
            Self::Attachment(n, part) => write!(f, "attachments[{n}].{part}"),
        }
    }
}

/// A field and what is wrong with its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Error {
    /// Where.
    pub field: Field,
    /// What.
    pub reason: Reason,
}

/// What is wrong with a value. Offsets are octets from its start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A control character, which could end the line or the header.
    #[error("contains the control character U+{code:04X} at offset {at}")]
    Control {
        /// The character.
        code: u32,
        /// Where it stands.
        at: usize,
    },
    /// An encoded word (RFC 2047) whose decoded form has a line break or NUL.
    #[error("the encoded word at offset {at} hides a line break or NUL")]
    EncodedControl {
        /// Where the encoded word begins.
        at: usize,
    },
    /// This value allows ASCII only.
    #[error("contains the non-ASCII character {ch:?} at offset {at}")]
    NotAscii {
        /// The character.
        ch: char,
        /// Where it stands.
        at: usize,
    },
    /// A character this kind of value does not allow.
    #[error("contains the illegal character {ch:?} at offset {at}")]
    Illegal {
        /// The character.
        ch: char,
        /// Where it stands.
        at: usize,
    },
    /// Longer than the limit, in octets.
    #[error("is {octets} octets long, the limit is {limit}")]
    TooLong {
        /// The length found.
        octets: usize,
        /// The length allowed.
        limit: usize,
    },
    /// Nothing where something must be.
    #[error("is empty")]
    Empty,
    /// Not of the form named.
    #[error("is not of the form {0}")]
    Form(&'static str),
    /// A header that the composer or the receiving side writes.
    #[error("this header is not the sender's to set; {0}")]
    Reserved(&'static str),
    /// A header that may stand only once.
    #[error("this header may be given only once")]
    Repeated,
    /// Octets that are not UTF-8.
    #[error("is not UTF-8 at offset {at}")]
    NotUtf8 {
        /// The first wrong octet.
        at: usize,
    },
}

/// Why a string is no address or mailbox (RFC 5321 §4.1.2, RFC 5322 §3.4). Offsets are octets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// No `@` between a local part and a domain.
    #[error("has no @")]
    NoAt,
    /// Nothing before the `@`.
    #[error("has nothing before the @")]
    NoLocalPart,
    /// Nothing after the `@`.
    #[error("has nothing after the @")]
    NoDomain,
    /// The local part exceeds 64 octets.
    #[error("the part before the @ is {0} octets long, the limit is 64")]
    LocalTooLong(usize),
    /// The whole exceeds 254 octets, or the domain 253.
    #[error("is {0} octets long, the limit is 254 (and 253 for the domain)")]
    TooLong(usize),
    /// A character the local part allows only in quotes, or never.
    #[error("the part before the @ contains {ch:?} at offset {at}")]
    LocalChar {
        /// The character.
        ch: char,
        /// Where it stands.
        at: usize,
    },
    /// A dot at the start, at the end or beside another.
    #[error("the part before the @ has a misplaced dot at offset {0}")]
    LocalDot(usize),
    /// A quoted local part without its end.
    #[error("the quoted part before the @ does not end")]
    LocalQuote,
    /// An address literal such as `[192.0.2.1]`, or a bare IP address.
    #[error("an IP address in place of the domain is not accepted")]
    Literal,
    /// A character no domain has.
    #[error("the domain contains {ch:?} at offset {at}")]
    DomainChar {
        /// The character.
        ch: char,
        /// Where it stands.
        at: usize,
    },
    /// An empty or overlong label, or a hyphen at its edge.
    #[error("the domain has a malformed label {0:?}")]
    DomainLabel(String),
    /// One label only.
    #[error("the domain {0:?} has no dot, so it cannot be a mail domain of the Internet")]
    DomainNotQualified(String),
    /// Not a domain under IDNA (RFC 5890, UTS #46).
    #[error("the domain {0:?} is not a valid internationalized domain name")]
    DomainIdna(String),
    /// A display name with `,` `;` `<` `>` or `"` that is not in quotes.
    #[error("put the display name in quotes: it contains {ch:?} at offset {at}")]
    NameChar {
        /// The character.
        ch: char,
        /// Where it stands.
        at: usize,
    },
    /// A quoted display name without its end.
    #[error("the quoted display name does not end")]
    NameQuote,
    /// A control character in the display name.
    #[error("the display name contains the control character U+{code:04X} at offset {at}")]
    NameControl {
        /// The character.
        code: u32,
        /// Where it stands.
        at: usize,
    },
    /// `<` without `>` at the end, or text after it.
    #[error("expected the address to end with '>' and nothing after it")]
    Angle,
}
