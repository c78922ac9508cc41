//! The last look at a header before it leaves: the fields in it are the intended ones, no other.
//!
//! **Problem.** Values cannot become fields by construction. If a bug ever breaks that, a stranger's
//! text would speak as a header in the sender's name, and nothing after us would notice.
//! **Model.** The octets that leave are read once more by the plainest reader there is, which shares
//! nothing with the writer: a line that begins with white space belongs to the one before; the name is
//! what stands before the colon. The names it finds must be those meant, in number and order.
//! **Law `intended_fields_only`.** A draft's own octets pass; with any line put in, they do not.

use memchr::memchr;

use crate::draft::Draft;

/// The names of the header fields at the start of a message, as far as the empty line.
#[derive(Clone, Debug)]
pub struct FieldNames<'m> {
    rest: &'m [u8],
}

impl<'m> FieldNames<'m> {
    /// Of these octets.
    #[must_use]
    pub fn of(message: &'m [u8]) -> Self {
        Self { rest: message }
    }
}

impl<'m> Iterator for FieldNames<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        if self.rest.is_empty() || self.rest.starts_with(b"\r\n") {
            return None;
        }
        let mut end = 0;
        loop {
            end = memchr(b'\n', &self.rest[end..]).map_or(self.rest.len(), |at| end + at + 1);
            if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        // A line without a colon is its own name, and nobody's intended one.
        let name = memchr(b':', field).map_or(field, |colon| &field[..colon]);
        Some(name.trim_ascii_end())
    }
}

/// A header that would leave is not the one meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "internal error: header field {number} would leave as {found:?} where {intended:?} is meant; \
     nothing was sent"
)]
pub struct Unintended {
    /// From 1.
    pub number: usize,
    /// Its name; empty: the header ends before it.
    pub found: String,
    /// The name meant; empty: none.
    pub intended: String,
}

/// Reads the header of a message and compares it with the names meant. A header may come in several
/// segments, each of whole fields, the last one with the empty line.
///
/// # Errors
/// [`Unintended`], the first that differs.
pub fn check_fields<'n, S: AsRef<[u8]>>(
    segments: &[S],
    intended: impl IntoIterator<Item = &'n [u8]>,
) -> Result<(), Unintended> {
    let mut segments = segments.iter();
    let mut names = FieldNames::of(&[]);
    let mut found = || loop {
        if let Some(name) = names.next() {
            return Some(name);
        }
        if !names.rest.is_empty() {
            return None;
        }
        names = FieldNames::of(segments.next()?.as_ref());
    };
    let mut intended = intended.into_iter();
    for number in 1.. {
        let pair = (found(), intended.next());
        if pair.0 != pair.1 {
            let shown = |name: Option<&[u8]>| {
                let name = name.unwrap_or_default();
                String::from_utf8_lossy(&name[..name.len().min(80)]).into_owned()
            };
            return Err(Unintended {
                number,
                found: shown(pair.0),
                intended: shown(pair.1),
            });
        }
        if pair.0.is_none() {
            break;
        }
    }
    Ok(())
}

impl Draft<'_> {
    /// The names of the header fields that [`Draft::compose`] is to write, in order.
    pub fn field_names(&self) -> impl Iterator<Item = &[u8]> {
        let lists = [
            (&b"Reply-To"[..], &self.reply_to),
            (&b"To"[..], &self.to),
            (&b"Cc"[..], &self.cc),
        ];
        let lists = lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, _)| name);
        let texts = [
            self.text.is_some(),
            self.html.is_some(),
            self.calendar.is_some(),
        ];
        let is_leaf = self.attachments.is_empty() && texts.into_iter().filter(|t| *t).count() < 2;
        let custom = self.headers.iter().map(|h| h.name.as_str().as_bytes());
        let own: [&[u8]; 3] = [b"Subject", b"Date", b"Message-ID"];
        let root: [&[u8]; 2] = [b"MIME-Version", b"Content-Type"];
        let encoding = is_leaf.then_some(&b"Content-Transfer-Encoding"[..]);
        std::iter::once(&b"From"[..])
            .chain(lists)
            .chain(own)
            .chain(custom)
            .chain(root)
            .chain(encoding)
    }
}
