//! Values of header fields: what is built here cannot end a line, a header or a part.
//!
//! **Invariant.** No value holds CR, LF, NUL or another control character, a tab aside.

use crate::error::Reason;
use crate::media::ContentType;
use crate::short::Short;

/// Beyond this a header is more likely an attack than a message.
pub(crate) const VALUE_LIMIT: usize = 16_384;

/// The first character a header may not have: a control other than the tab.
pub(crate) fn control_in(text: &str) -> Option<(usize, char)> {
    let plain = |b: u8| (0x20..0x7f).contains(&b) || b == b'\t';
    if text.bytes().all(plain) {
        return None;
    }
    text.char_indices()
        .find(|(_, c)| c.is_control() && *c != '\t')
}

pub(crate) fn refuse_control(text: &str) -> Result<(), Reason> {
    match control_in(text) {
        Some((at, ch)) => Err(Reason::Control {
            code: u32::from(ch),
            at,
        }),
        None => Ok(()),
    }
}

pub(crate) fn refuse_longer(text: &str, limit: usize) -> Result<(), Reason> {
    if text.len() > limit {
        return Err(Reason::TooLong {
            octets: text.len(),
            limit,
        });
    }
    Ok(())
}

pub(crate) fn refuse_unless(text: &str, legal: impl Fn(char) -> bool) -> Result<(), Reason> {
    refuse_control(text)?;
    match text.char_indices().find(|(_, c)| !legal(*c)) {
        Some((at, ch)) if !ch.is_ascii() => Err(Reason::NotAscii { ch, at }),
        Some((at, ch)) => Err(Reason::Illegal { ch, at }),
        None => Ok(()),
    }
}

/// Unicode text for a person, such as a subject: written so that exactly this text is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// # Errors
    /// [`Reason::Control`] on a control character, [`Reason::TooLong`] beyond 16,384 octets.
    pub fn new(text: &'a str) -> Result<Self, Reason> {
        refuse_longer(text, VALUE_LIMIT)?;
        refuse_control(text)?;
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// The inside of a Message-ID, without angle brackets (RFC 5322 §3.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsgId<'a>(&'a str);

impl<'a> MsgId<'a> {
    /// # Errors
    /// [`Reason`] unless it is `left@right`, both of atom characters and dots, ≤ 250 octets.
    pub fn new(id: &'a str) -> Result<Self, Reason> {
        if id.is_empty() {
            return Err(Reason::Empty);
        }
        refuse_longer(id, 250)?;
        refuse_unless(id, is_id_char)?;
        match id.split_once('@') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains('@') =>
            {
                Ok(Self(id))
            }
            _ => Err(Reason::Form("left@right")),
        }
    }

    /// The identifier without angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_graphic() && !"<>()[]\\,;:\"".contains(c)
}

/// The inside of a Content-ID, as `cid:` URLs in the HTML name it (RFC 2392). An `@` is not asked
/// for: senders write `logo`, and readers take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentId<'a>(&'a str);

impl<'a> ContentId<'a> {
    /// # Errors
    /// [`Reason`] unless it is 1 to 128 characters that may stand in a Message-ID.
    pub fn new(id: &'a str) -> Result<Self, Reason> {
        if id.is_empty() {
            return Err(Reason::Empty);
        }
        refuse_longer(id, 128)?;
        refuse_unless(id, is_id_char)?;
        Ok(Self(id))
    }

    /// The identifier without angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// An instant for the Date header, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(jiff::Timestamp);

impl Date {
    /// From seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Reason::Form`] outside the years 1970 to 9999, which RFC 5322 §3.3 can write.
    pub fn from_unix_s(seconds: u64) -> Result<Self, Reason> {
        let out_of_range = |_| Reason::Form("an instant between the years 1970 and 9999");
        let signed = i64::try_from(seconds).map_err(|_| out_of_range(()))?;
        let at = jiff::Timestamp::from_second(signed).map_err(|_| out_of_range(()))?;
        Ok(Self(at))
    }

    pub(crate) fn to_rfc5322(self) -> Short {
        Short::of(self.0.strftime("%a, %d %b %Y %H:%M:%S +0000"))
    }
}

/// One attachment, or with a content id one inline part of the HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// Shown to the reader; empty: none. Unicode.
    pub filename: Text<'a>,
    /// Its media type.
    pub content_type: ContentType<'a>,
    /// Set: the HTML refers to the part by it.
    pub content_id: Option<ContentId<'a>>,
    /// Any octets.
    pub content: &'a [u8],
}
