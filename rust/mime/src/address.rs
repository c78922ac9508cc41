//! Addresses and mailboxes: text becomes a type once, at the edge.
//!
//! **Model.** An [`Address`] is a local part, kept octet for octet because only its receiver may
//! interpret it (RFC 5321 §2.3.11), and a domain in lower case as A-labels, as DNS, EHLO and DKIM
//! need it. A [`Mailbox`] adds a display name in Unicode.
//!
//! **Not here.** Groups, comments, routes and address literals: a sender's API has no use for them.

use std::borrow::Cow;
use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::error::AddressError;
use crate::value::control_in;

/// RFC 5321 §4.5.3.1.1.
const LOCAL_LIMIT: usize = 64;
/// RFC 5321 §4.5.3.1.3 allows a path of 256 octets, and a path has two angle brackets.
const ADDRESS_LIMIT: usize = 254;

/// An address that may stand in an envelope and in a header: `local@domain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address<'a> {
    text: Cow<'a, str>,
    at: usize,
}

impl<'a> Address<'a> {
    /// The whole address; its domain in lower case and as A-labels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`, quotes included.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain, in lower case and as A-labels.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// Whether a receiver must offer SMTPUTF8 for it (RFC 6531 §3.2).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }

    /// The same address without a borrow.
    #[must_use]
    pub fn into_owned(self) -> Address<'static> {
        Address {
            text: Cow::Owned(self.text.into_owned()),
            at: self.at,
        }
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An address and the name shown for it, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox<'a> {
    name: Cow<'a, str>,
    address: Address<'a>,
}

impl<'a> Mailbox<'a> {
    /// A mailbox of a display name (Unicode, unquoted, may be empty) and an address.
    ///
    /// # Errors
    /// Those of [`parse_address`]; a control character in the name.
    pub fn new(name: &'a str, address: &'a str) -> Result<Self, AddressError> {
        check_name(name)?;
        Ok(Self {
            name: Cow::Borrowed(name),
            address: parse_address(address)?,
        })
    }

    /// The display name, unquoted; empty if there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &Address<'a> {
        &self.address
    }

    /// The same mailbox without a borrow.
    #[must_use]
    pub fn into_owned(self) -> Mailbox<'static> {
        Mailbox {
            name: Cow::Owned(self.name.into_owned()),
            address: self.address.into_owned(),
        }
    }
}

/// Reads `local@domain` (RFC 5321 §4.1.2 `Mailbox`, RFC 6531 §3.3 for non-ASCII).
///
/// A quoted local part is accepted; an address literal, a dotless domain, white space and control
/// characters are not. The domain is lower-cased and turned into A-labels (UTS #46).
///
/// # Errors
/// An [`AddressError`] naming what is wrong and where.
pub fn parse_address(text: &str) -> Result<Address<'_>, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let at = local_end(text)?;
    if at == 0 {
        return Err(AddressError::NoLocalPart);
    }
    if at > LOCAL_LIMIT {
        return Err(AddressError::LocalTooLong(at));
    }
    let domain = parse_domain(&text[at + 1..], at + 1)?;
    let octets = at + 1 + domain.len();
    if octets > ADDRESS_LIMIT {
        return Err(AddressError::TooLong(octets));
    }
    let text = match domain {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(domain) => Cow::Owned(format!("{}@{domain}", &text[..at])),
    };
    Ok(Address { text, at })
}

/// Reads `Name <local@domain>`, `"Name" <local@domain>`, `<local@domain>` or `local@domain`
/// (RFC 5322 §3.4 `mailbox`, without comments and folding).
///
/// # Errors
/// An [`AddressError`]; a display name with a comma or another sign that separates mailboxes must be
/// quoted, so that a list is never mistaken for one mailbox.
pub fn parse_mailbox(text: &str) -> Result<Mailbox<'_>, AddressError> {
    let trimmed = text.trim_matches([' ', '\t']);
    let shift = text.len() - text.trim_start_matches([' ', '\t']).len();
    if let Some(rest) = trimmed.strip_prefix('"') {
        // A quoted string is a local part if an @ follows it, a display name if an angle bracket does.
        let (name, used) = unquote(rest).ok_or(AddressError::NameQuote)?;
        if rest[used..].starts_with('@') {
            return Ok(Mailbox {
                name: Cow::Borrowed(""),
                address: parse_address(trimmed)?,
            });
        }
        let after = rest[used..].trim_start_matches([' ', '\t']);
        if after.starts_with('<') {
            check_name(&name)?;
            return Ok(Mailbox {
                name,
                address: parse_angle(after)?,
            });
        }
    }
    let Some(open) = trimmed.find('<') else {
        return Ok(Mailbox {
            name: Cow::Borrowed(""),
            address: parse_address(trimmed)?,
        });
    };
    let name = trimmed[..open].trim_end_matches([' ', '\t']);
    if let Some((at, ch)) = name
        .char_indices()
        .find(|(_, c)| matches!(c, ',' | ';' | '"' | '>'))
    {
        return Err(AddressError::NameChar { ch, at: shift + at });
    }
    check_name(name)?;
    Ok(Mailbox {
        name: Cow::Borrowed(name),
        address: parse_angle(&trimmed[open..])?,
    })
}

fn parse_angle(text: &str) -> Result<Address<'_>, AddressError> {
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    let inner = inner.ok_or(AddressError::Angle)?;
    // A quoted local part may hold an angle bracket, anything else may not.
    if !inner.starts_with('"') && inner.contains(['<', '>']) {
        return Err(AddressError::Angle);
    }
    parse_address(inner)
}

fn check_name(name: &str) -> Result<(), AddressError> {
    match control_in(name) {
        Some((at, ch)) => Err(AddressError::NameControl {
            code: u32::from(ch),
            at,
        }),
        None => Ok(()),
    }
}

/// Undoes the quoting of `name" …`: the name, and how many octets it took with its closing quote.
fn unquote(rest: &str) -> Option<(Cow<'_, str>, usize)> {
    let end = rest.find(['"', '\\'])?;
    if rest.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&rest[..end]), end + 1));
    }
    let mut name = String::from(&rest[..end]);
    let mut chars = rest[end..].char_indices();
    while let Some((i, ch)) = chars.next() {
        match ch {
            '"' => return Some((Cow::Owned(name), end + i + 1)),
            '\\' => name.push(chars.next()?.1),
            _ => name.push(ch),
        }
    }
    None
}

/// The offset of the `@` that ends a well-formed local part.
fn local_end(text: &str) -> Result<usize, AddressError> {
    if text.starts_with('"') {
        return quoted_local_end(text);
    }
    let mut dot = true;
    for (at, ch) in text.char_indices() {
        match ch {
            '@' if dot && at > 0 => return Err(AddressError::LocalDot(at - 1)),
            '@' => return Ok(at),
            '.' if dot => return Err(AddressError::LocalDot(at)),
            '.' => dot = true,
            _ if is_atext(ch) => dot = false,
            _ => {
                // Without any @ the offending sign is not in a local part at all.
                if !text.contains('@') {
                    return Err(AddressError::NoAt);
                }
                return Err(AddressError::LocalChar { ch, at });
            }
        }
    }
    Err(AddressError::NoAt)
}

fn quoted_local_end(text: &str) -> Result<usize, AddressError> {
    let mut escaped = false;
    for (at, ch) in text.char_indices().skip(1) {
        match ch {
            _ if ch.is_control() => return Err(AddressError::LocalChar { ch, at }),
            _ if escaped && !ch.is_ascii() => return Err(AddressError::LocalChar { ch, at }),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if text[at + 1..].starts_with('@') => return Ok(at + 1),
            '"' if at + 1 == text.len() => return Err(AddressError::NoAt),
            '"' => return Err(AddressError::LocalChar { ch, at }),
            _ => {}
        }
    }
    Err(AddressError::LocalQuote)
}

/// RFC 5322 §3.2.3 with the widening of RFC 6532 §3.2; white space and controls beyond ASCII are
/// refused because no reader can tell them from their absence.
fn is_atext(ch: char) -> bool {
    if ch.is_ascii() {
        ch.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(ch)
    } else {
        !ch.is_control() && !ch.is_whitespace() && !is_invisible(ch)
    }
}

/// Format characters that reorder or hide text around them.
fn is_invisible(ch: char) -> bool {
    matches!(ch, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFF}')
}

/// A domain in lower case and A-labels; `offset` is where it stands in the address.
fn parse_domain(domain: &str, offset: usize) -> Result<Cow<'_, str>, AddressError> {
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    if domain.starts_with('[') {
        return Err(AddressError::Literal);
    }
    let wrong = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '-' && c != '.';
    if let Some((at, ch)) = domain.char_indices().find(|(_, c)| wrong(*c)) {
        return Err(AddressError::DomainChar {
            ch,
            at: offset + at,
        });
    }
    // Names beyond DNS's reach are refused before IDNA spends time on them.
    if domain.len() > 4 * ADDRESS_LIMIT {
        return Err(AddressError::TooLong(offset + domain.len()));
    }
    let ascii = if is_plain(domain) {
        Cow::Borrowed(domain)
    } else {
        to_ascii(domain)?
    };
    if ascii.len() > 253 {
        return Err(AddressError::TooLong(ascii.len()));
    }
    for label in ascii.split('.') {
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            return Err(AddressError::DomainLabel(label.to_owned()));
        }
    }
    let Some((_, top)) = ascii.rsplit_once('.') else {
        return Err(AddressError::DomainNotQualified(ascii.into_owned()));
    };
    if top.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::Literal);
    }
    Ok(ascii)
}

/// Whether IDNA would leave the domain as it is: lower case, ASCII, no A-label to check.
fn is_plain(domain: &str) -> bool {
    domain
        .bytes()
        .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
        && !domain.contains("xn--")
}

fn to_ascii(domain: &str) -> Result<Cow<'_, str>, AddressError> {
    let ascii = Uts46::new().to_ascii(
        domain.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::Allow,
        DnsLength::Ignore,
    );
    ascii.map_err(|_| AddressError::DomainIdna(domain.to_owned()))
}
