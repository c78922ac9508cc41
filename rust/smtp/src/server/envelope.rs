//! The envelope of a submission and its parameters.

use crate::address::{ForwardPath, ReversePath};

/// Who gets a message, and what the sender asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO, in order, each address once.
    pub recipients: Vec<Recipient>,
    /// BODY=8BITMIME was declared (RFC 6152).
    pub is_eight_bit: bool,
    /// SMTPUTF8 was declared (RFC 6531).
    pub is_smtputf8: bool,
    /// REQUIRETLS was demanded (RFC 8689).
    pub requires_tls: bool,
    /// RET (RFC 3461, 4.3).
    pub returns: Option<Returns>,
    /// ENVID, as it came, xtext (RFC 3461, 4.4).
    pub envelope_id: Option<String>,
}

/// One RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub path: ForwardPath,
    /// NOTIFY (RFC 3461, 4.1); none given: the default.
    pub notify: Option<Notify>,
    /// ORCPT, as it came: an address type and xtext (RFC 3461, 4.2).
    pub original: Option<String>,
}

/// How much of a message a report gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// RET=FULL
    Full,
    /// RET=HDRS
    Headers,
}

/// When the sender wants a report; all false is NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it cannot be.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}
