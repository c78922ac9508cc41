//! Header fields as slices of a message, and their canonical forms (RFC 6376 §3.4.1, §3.4.2).

use memchr::{memchr, memchr_iter, memchr2_iter};

use crate::error::Error;
use crate::hash::{Canonicalization, Sink};

/// One header field of a message, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    raw: &'a [u8],
    colon: usize,
}

impl<'a> HeaderField<'a> {
    /// A field of its octets, with or without the final CRLF, and the length of its name. White space
    /// may stand between name and colon.
    ///
    /// # Errors
    /// [`Error::Header`] when the name is empty or no colon follows it.
    pub fn new(raw: &'a [u8], name_len: usize) -> Result<Self, Error> {
        let raw = raw.strip_suffix(b"\r\n").unwrap_or(raw);
        let after = raw.get(name_len..).unwrap_or_default();
        let spaces = after
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        if name_len == 0 || after.get(spaces) != Some(&b':') {
            return Err(Error::Header { at: 0 });
        }
        Ok(Self {
            raw,
            colon: name_len + spaces,
        })
    }

    /// The name, without white space.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.raw[..self.colon].trim_ascii_end()
    }

    /// The value as it stands, folds included, without the final CRLF.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        &self.raw[self.colon + 1..]
    }

    /// Feeds the canonical field, without its final CRLF.
    pub(crate) fn canonicalize(&self, form: Canonicalization, sink: &mut impl Sink) {
        if form == Canonicalization::Simple {
            return sink.put(self.raw);
        }
        for b in self.name() {
            sink.put(&[b.to_ascii_lowercase()]);
        }
        sink.put(b":");
        relaxed_value(self.value(), sink);
    }
}

/// Unfolds, makes every run of white space one space, drops it at both ends.
fn relaxed_value(value: &[u8], sink: &mut impl Sink) {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let words = value.split(is_space).filter(|w| !w.is_empty());
    for (n, word) in words.enumerate() {
        if n > 0 {
            sink.put(b" ");
        }
        sink.put(word);
    }
}

/// Takes a message with CRLF line ends apart: its header fields and its body.
///
/// # Errors
/// [`Error::Header`] on a line that is neither a field, nor a continuation, nor the empty line.
pub fn split(message: &[u8]) -> Result<(Vec<HeaderField<'_>>, &[u8]), Error> {
    let mut fields = Vec::with_capacity(24);
    let mut start = 0;
    for lf in memchr_iter(b'\n', message) {
        if start < lf
            && matches!(message.get(lf + 1), Some(b' ' | b'\t'))
            && !is_empty_line(message, start)
        {
            continue;
        }
        if is_empty_line(message, start) {
            return Ok((fields, &message[start + 2..]));
        }
        fields.push(field_at(message, start, lf + 1)?);
        start = lf + 1;
    }
    if start < message.len() {
        fields.push(field_at(message, start, message.len())?);
    }
    Ok((fields, &[]))
}

/// Sees to it that every line ends with CRLF, as it must before a message is signed (RFC 6376 §5.3).
///
/// # Errors
/// [`Error::BareLineEnd`].
pub fn check_line_ends(message: &[u8]) -> Result<(), Error> {
    let mut cr = None;
    for at in memchr2_iter(b'\r', b'\n', message) {
        let is_lf = message[at] == b'\n';
        match cr.take() {
            Some(before) if !is_lf || before + 1 != at => {
                return Err(Error::BareLineEnd { at: before });
            }
            None if is_lf => return Err(Error::BareLineEnd { at }),
            _ => {}
        }
        cr = (!is_lf).then_some(at);
    }
    cr.map_or(Ok(()), |at| Err(Error::BareLineEnd { at }))
}

fn is_empty_line(message: &[u8], start: usize) -> bool {
    message[start..].starts_with(b"\r\n")
}

fn field_at(message: &[u8], start: usize, end: usize) -> Result<HeaderField<'_>, Error> {
    let raw = &message[start..end];
    let colon = memchr(b':', raw).ok_or(Error::Header { at: start })?;
    let name = raw[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return Err(Error::Header { at: start });
    }
    HeaderField::new(raw, name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_must_be_crlf() {
        assert_eq!(check_line_ends(b""), Ok(()));
        assert_eq!(check_line_ends(b"a\r\n\r\nb\r\n"), Ok(()));
        for (message, at) in [
            (&b"a\n"[..], 1),
            (b"a\r\nb\n", 4),
            (b"a\rb\r\n", 1),
            (b"a\r\r\n", 1),
            (b"a\r\n\n", 3),
            (b"a\r", 1),
        ] {
            assert_eq!(check_line_ends(message), Err(Error::BareLineEnd { at }));
        }
    }
}
