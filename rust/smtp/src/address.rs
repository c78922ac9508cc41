//! Envelope values that cannot carry a command.
//!
//! **Problem.** An address or EHLO name with a line break, space or angle bracket in it becomes a
//! second SMTP command (CPython #87290, nodemailer GHSA-vvjj-xcjg-gr5g).
//! **Model.** Text becomes a type once, here; the rest of the crate writes it without a look.
//! **Invariants.** No value holds a control character, any Unicode white space, `<` or `>`.
//! **Not here.** Whether a domain exists, IDNA mapping (callers give A-labels), and quoted local
//! parts with a space, which RFC 5321 allows but section 4.1.2 tells everyone to avoid.

use std::fmt;
use std::sync::Arc;

/// Longest local part in octets (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// Longest domain in octets (RFC 5321, 4.5.3.1.2).
const MAX_DOMAIN: usize = 255;
/// Longest path without its brackets (RFC 5321, 4.5.3.1.3).
const MAX_PATH: usize = 254;

/// Why a text is not an envelope value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@`, or nothing on one side of it, or an empty name.
    #[error("not of the form local@domain")]
    Shape,
    /// A control character, white space, an angle bracket, or another character SMTP forbids.
    #[error("character {0:?} is not allowed here")]
    Character(char),
    /// Longer than RFC 5321, 4.5.3.1 allows.
    #[error("longer than RFC 5321 allows")]
    TooLong,
}

/// The MAIL FROM address: an address or the null path `<>` of a bounce (RFC 5321, 4.1.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReversePath(Arc<str>);

/// A RCPT TO address (RFC 5321, 4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardPath(Arc<str>);

/// The name given in EHLO: a domain or an address literal, ASCII (RFC 5321, 4.1.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EhloName(Box<str>);

impl ReversePath {
    /// Checks an address without its brackets; the empty text is the null path.
    ///
    /// # Errors
    /// [`AddressError`] when the text is not an address that is safe in a command.
    pub fn new(address: &str) -> Result<Self, AddressError> {
        if !address.is_empty() {
            check_mailbox(address)?;
        }
        Ok(Self(address.into()))
    }

    /// The null path `<>`, for mail that must not bounce.
    #[must_use]
    pub fn null() -> Self {
        Self("".into())
    }

    /// The address without brackets; empty for the null path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the receiver must support SMTPUTF8 for it (RFC 6531).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl ForwardPath {
    /// Checks an address without its brackets.
    ///
    /// # Errors
    /// [`AddressError`] when the text is not an address that is safe in a command.
    pub fn new(address: &str) -> Result<Self, AddressError> {
        check_mailbox(address)?;
        Ok(Self(address.into()))
    }

    /// The address without brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the receiver must support SMTPUTF8 for it (RFC 6531).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl EhloName {
    /// Checks a host name or an address literal such as `[192.0.2.1]`.
    ///
    /// # Errors
    /// [`AddressError`] when the text is not a name that is safe in a command.
    pub fn new(name: &str) -> Result<Self, AddressError> {
        if let Some(other) = name.chars().find(|c| !c.is_ascii()) {
            return Err(AddressError::Character(other));
        }
        check_domain(name)?;
        Ok(Self(name.into()))
    }

    /// The name as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for EhloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_mailbox(address: &str) -> Result<(), AddressError> {
    if address.len() > MAX_PATH {
        return Err(AddressError::TooLong);
    }
    let (local, domain) = address.rsplit_once('@').ok_or(AddressError::Shape)?;
    if local.is_empty() {
        return Err(AddressError::Shape);
    }
    if local.len() > MAX_LOCAL {
        return Err(AddressError::TooLong);
    }
    check_local(local)?;
    check_domain(domain)
}

fn check_local(local: &str) -> Result<(), AddressError> {
    if let Some(bad) = local.chars().find(|&c| is_never_allowed(c)) {
        return Err(AddressError::Character(bad));
    }
    if let Some(inside) = local.strip_prefix('"') {
        return check_quoted(inside);
    }
    match local.chars().find(|&c| !is_atext_or_dot(c)) {
        Some(bad) => Err(AddressError::Character(bad)),
        None => Ok(()),
    }
}

/// The rest of a quoted string after its opening quote: escapes are pairs and the one bare quote
/// is the last character, so the receiver cannot see the address end elsewhere.
fn check_quoted(inside: &str) -> Result<(), AddressError> {
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next().ok_or(AddressError::Shape)?;
            }
            '"' => {
                return if chars.next().is_none() {
                    Ok(())
                } else {
                    Err(AddressError::Shape)
                };
            }
            _ => {}
        }
    }
    Err(AddressError::Shape)
}

fn check_domain(domain: &str) -> Result<(), AddressError> {
    if domain.is_empty() {
        return Err(AddressError::Shape);
    }
    if domain.len() > MAX_DOMAIN {
        return Err(AddressError::TooLong);
    }
    if let Some(literal) = domain.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(AddressError::Shape)?;
        return match literal
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || ".:-".contains(*c)))
        {
            Some(bad) => Err(AddressError::Character(bad)),
            None if literal.is_empty() => Err(AddressError::Shape),
            None => Ok(()),
        };
    }
    let allowed = |c: char| {
        if c.is_ascii() {
            c.is_ascii_alphanumeric() || "-._".contains(c)
        } else {
            !is_never_allowed(c)
        }
    };
    match domain.chars().find(|&c| !allowed(c)) {
        Some(bad) => Err(AddressError::Character(bad)),
        None if domain.starts_with('.') || domain.contains("..") => Err(AddressError::Shape),
        None => Ok(()),
    }
}

fn is_never_allowed(c: char) -> bool {
    c.is_control() || c.is_whitespace() || c == '<' || c == '>'
}

fn is_atext_or_dot(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_addresses_are_accepted() {
        for good in [
            "a@b.example",
            "a.b+c=d@x-y.example",
            "\"a\\\"b\"@c.example",
            "x@[192.0.2.1]",
            "ü@ü.example",
        ] {
            assert_eq!(
                ForwardPath::new(good).map(|p| p.to_string()).as_deref(),
                Ok(good)
            );
        }
        assert_eq!(ReversePath::new(""), Ok(ReversePath::null()));
        assert!(ForwardPath::new("ü@b.example").is_ok_and(|p| p.needs_smtputf8()));
    }

    #[test]
    fn addresses_that_would_be_commands_are_refused() {
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b c",
            "a@b\r\nRSET",
            "a\n@b",
            "<a@b>",
            "a@b>",
            "a\0@b",
            "\"a@b",
            "\"a\"b\"@c",
            "\"a\\\"@c",
            "a@[1.2.3.4",
            "a@[]",
            "a@.b",
            "a@b..c",
            "a\u{85}@b",
            "a@b\u{2028}",
            "a\u{a0}b@c",
        ] {
            assert!(ForwardPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(ForwardPath::new(&format!("{}@b.example", "a".repeat(65))).is_err());
        assert!(ReversePath::new(&format!("a@{}", "b".repeat(260))).is_err());
        for bad in ["", "a b", "a\r\n", "ü.example", "a>b", "[1.2.3.4"] {
            assert!(EhloName::new(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// Law: no envelope value holds what could end or split a command.
        #[test]
        fn law_envelope_values_cannot_split_a_command(text in "\\PC{0,20}|[ -~\r\n]{0,20}") {
            let unsafe_char = |c: char| c.is_control() || c.is_whitespace() || c == '<' || c == '>';
            if let Ok(path) = ForwardPath::new(&text) {
                prop_assert!(!path.as_str().contains(unsafe_char));
            }
            if let Ok(name) = EhloName::new(&text) {
                prop_assert!(!name.as_str().contains(unsafe_char));
            }
        }
    }
}
