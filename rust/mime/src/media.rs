//! Media types (RFC 2045 §5.1) as a sender names them for attachments.

use crate::error::Reason;
use crate::header::starts_with;
use crate::value::{refuse_longer, refuse_unless};

/// A media type with parameters, such as `text/calendar; method=REQUEST` (RFC 2045 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType<'a>(&'a str);

impl<'a> ContentType<'a> {
    /// An empty string is taken as `application/octet-stream`.
    ///
    /// # Errors
    /// [`Reason::Form`] unless it is `type/subtype` with `; name=value` parameters, values being
    /// tokens or quoted strings of ASCII; [`Reason::Illegal`] where a token is not one. `multipart/*`
    /// and the parameters `name` and `boundary` are the composer's and refused.
    pub fn new(text: &'a str) -> Result<Self, Reason> {
        const FORM: Reason = Reason::Form("type/subtype; name=value");
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Ok(Self("application/octet-stream"));
        }
        refuse_longer(text, 200)?;
        refuse_unless(text, |c| c == ' ' || c == '\t' || c.is_ascii_graphic())?;
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_end_matches([' ', '\t']);
        let (kind, subtype) = essence.split_once('/').ok_or(FORM)?;
        if !is_token(kind) || !is_token(subtype) {
            return Err(FORM);
        }
        if kind.eq_ignore_ascii_case("multipart") {
            return Err(Reason::Form("a single part's type (multipart is not)"));
        }
        check_parameters(text[essence.len()..].trim_start_matches([' ', '\t']))?;
        Ok(Self(text))
    }

    /// The type as given, parameters included.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether it is one of `message/*`, which may not be encoded (RFC 2046 §5.2.1).
    pub(crate) fn is_message(&self) -> bool {
        starts_with(self.0, &["message/"])
    }
}

/// What a calendar object asks of its reader (RFC 5546 §1.4), said again in the content type
/// (RFC 6047 §2.4), where mail programs look for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarMethod(&'static str);

impl CalendarMethod {
    const ALL: [(&str, &str); 8] = [
        ("PUBLISH", "text/calendar; charset=utf-8; method=PUBLISH"),
        ("REQUEST", "text/calendar; charset=utf-8; method=REQUEST"),
        ("REPLY", "text/calendar; charset=utf-8; method=REPLY"),
        ("ADD", "text/calendar; charset=utf-8; method=ADD"),
        ("CANCEL", "text/calendar; charset=utf-8; method=CANCEL"),
        ("REFRESH", "text/calendar; charset=utf-8; method=REFRESH"),
        ("COUNTER", "text/calendar; charset=utf-8; method=COUNTER"),
        (
            "DECLINECOUNTER",
            "text/calendar; charset=utf-8; method=DECLINECOUNTER",
        ),
    ];

    /// A method by its name, in any case.
    ///
    /// # Errors
    /// [`Reason::Form`] unless it is one of the eight of RFC 5546.
    pub fn new(name: &str) -> Result<Self, Reason> {
        let known = Self::ALL.iter().find(|m| name.eq_ignore_ascii_case(m.0));
        known.map(|m| Self(m.1)).ok_or(Reason::Form(
            "PUBLISH, REQUEST, REPLY, ADD, CANCEL, REFRESH, COUNTER or DECLINECOUNTER",
        ))
    }

    /// The media type of the part.
    pub(crate) fn content_type(self) -> &'static str {
        self.0
    }
}

fn check_parameters(mut rest: &str) -> Result<(), Reason> {
    const FORM: Reason = Reason::Form("type/subtype; name=value");
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start_matches([' ', '\t']);
        let (name, value) = after.split_once('=').ok_or(FORM)?;
        if !is_token(name) || ["name", "boundary"].iter().any(|n| starts_with(name, &[n])) {
            return Err(Reason::Form(
                "parameters other than name and boundary, name=value",
            ));
        }
        let used = if let Some(quoted) = value.strip_prefix('"') {
            let end = quoted.find(['"', '\\']).ok_or(FORM)?;
            if quoted.as_bytes()[end] == b'\\' {
                return Err(FORM);
            }
            end + 2
        } else {
            let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
            if !is_token(&value[..end]) {
                return Err(FORM);
            }
            end
        };
        rest = value[used..].trim_start_matches([' ', '\t']);
    }
    if rest.is_empty() { Ok(()) } else { Err(FORM) }
}

/// RFC 2045 §5.1 `token`.
fn is_token(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b);
    !text.is_empty() && text.bytes().all(legal)
}
