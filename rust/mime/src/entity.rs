//! Header and body of an entity somebody else wrote (RFC 2045 §2.4), as far as its encoding goes.
//!
//! **Model.** Octets are only borrowed. What two readers may understand differently, such as two
//! Content-Types, is refused where it would matter.

use std::ops::Range;

use memchr::{memchr, memmem};

use crate::eight_bit::NotSevenBit;

/// One header field, in place.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    value: &'a [u8],
    /// In the header, its CRLF included.
    pub(crate) span: Range<usize>,
}

/// How an entity's octets are encoded, by its Content-Transfer-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not: 7bit, 8bit, binary or nothing said.
    Identity,
    /// Quoted-printable, base64, or in a way we do not know.
    Encoded,
}

/// What an entity is, by its Content-Type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Multipart,
    /// Its parts are messages unless they say otherwise (RFC 2046 §5.1.5).
    Digest,
    /// RFC 1847: its parts may not change.
    Signed,
    /// An enclosed message that may not be encoded as a whole.
    Message,
    /// Of `message/*` and neither enclosed nor internationalized.
    Unencodable,
    Other,
}

/// See the module.
pub(crate) struct Entity<'a> {
    /// The header fields.
    pub(crate) header: &'a [u8],
    /// The empty line, if there is one.
    pub(crate) blank: &'a [u8],
    pub(crate) body: &'a [u8],
    content_type: Option<Field<'a>>,
    transfer_encoding: Option<Field<'a>>,
    is_mime: bool,
}

impl<'a> Entity<'a> {
    /// # Errors
    /// 8-bit octets in the header, a line that is no field, a repeated field that matters.
    pub(crate) fn read(octets: &'a [u8]) -> Result<Self, NotSevenBit> {
        let header_len = if octets.starts_with(b"\r\n") {
            0
        } else {
            memmem::find(octets, b"\r\n\r\n").map_or(octets.len(), |at| at + 2)
        };
        let (header, rest) = octets.split_at(header_len);
        let (blank, body) = rest.split_at(rest.len().min(2));
        if !header.is_ascii() {
            return Err(NotSevenBit::HeaderField);
        }
        let mut entity = Self {
            header,
            blank,
            body,
            content_type: None,
            transfer_encoding: None,
            is_mime: false,
        };
        let mut start = 0;
        while start < header.len() {
            let field = field_at(header, start)?;
            start = field.span.end;
            let is = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
            let slot = if is(b"content-type") {
                &mut entity.content_type
            } else if is(b"content-transfer-encoding") {
                &mut entity.transfer_encoding
            } else {
                entity.is_mime |= is(b"mime-version");
                continue;
            };
            if slot.replace(field).is_some() {
                return Err(NotSevenBit::Ambiguous);
            }
        }
        Ok(entity)
    }

    pub(crate) fn is_mime(&self) -> bool {
        self.is_mime
    }

    /// The value of Content-Type.
    pub(crate) fn content_type(&self) -> Option<&'a [u8]> {
        self.content_type.as_ref().map(|field| field.value)
    }

    pub(crate) fn transfer_encoding(&self) -> Option<&Field<'a>> {
        self.transfer_encoding.as_ref()
    }

    /// Whether 8bit or binary is declared.
    pub(crate) fn is_declared(&self) -> bool {
        let token = self.transfer_encoding.as_ref().map(|f| token(f.value));
        token.is_some_and(|t| is_one_of(t, &[b"8bit", b"binary"]))
    }

    pub(crate) fn encoding(&self) -> Encoding {
        let token = self.transfer_encoding.as_ref().map(|f| token(f.value));
        match token {
            Some(token) if !is_one_of(token, &[b"", b"7bit", b"8bit", b"binary"]) => {
                Encoding::Encoded
            }
            _ => Encoding::Identity,
        }
    }

    /// What is not declared is text, or in a digest a message (RFC 2045 §5.2, RFC 2046 §5.1.5).
    pub(crate) fn kind(&self, is_in_digest: bool) -> Kind {
        let declared = self.content_type.as_ref().map(|f| token(f.value));
        let Some(declared) = declared.filter(|t| t.contains(&b'/')) else {
            return if is_in_digest {
                Kind::Message
            } else {
                Kind::Text
            };
        };
        let begins = |prefix: &[u8]| {
            declared
                .get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        };
        if is_one_of(declared, &[b"multipart/signed"]) {
            Kind::Signed
        } else if is_one_of(declared, &[b"multipart/digest"]) {
            Kind::Digest
        } else if begins(b"multipart/") {
            Kind::Multipart
        } else if is_one_of(declared, &[b"message/rfc822", b"message/news"]) {
            Kind::Message
        } else if begins(b"message/global") {
            // RFC 6532 §3.7, RFC 6533 §4: any encoding.
            Kind::Other
        } else if begins(b"message/") {
            Kind::Unencodable
        } else if begins(b"text/") {
            Kind::Text
        } else {
            Kind::Other
        }
    }
}

/// The field that begins at `start`, its continuation lines included.
fn field_at(header: &[u8], start: usize) -> Result<Field<'_>, NotSevenBit> {
    let mut end = start;
    loop {
        end = memchr(b'\n', &header[end..]).map_or(header.len(), |at| end + at + 1);
        if !matches!(header.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    let line = &header[start..end];
    let colon = memchr(b':', line).ok_or(NotSevenBit::Ambiguous)?;
    let name = line[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return Err(NotSevenBit::Ambiguous);
    }
    Ok(Field {
        name,
        value: &line[colon + 1..],
        span: start..end,
    })
}

/// The first word of a structured value, which parameters or a comment may follow.
fn token(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|b| matches!(b, b';' | b'('));
    value[..end.unwrap_or(value.len())].trim_ascii()
}

fn is_one_of(token: &[u8], known: &[&[u8]]) -> bool {
    known.iter().any(|one| token.eq_ignore_ascii_case(one))
}

/// The boundary a Content-Type names, if it names exactly one that may be one (RFC 2046 §5.1.1).
pub(crate) fn boundary_of(content_type: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    let mut rest = &content_type[memchr(b';', content_type)?..];
    while let Some(after) = rest.strip_prefix(b";") {
        let name_len = after.iter().position(|b| matches!(b, b'=' | b';'));
        let name_len = name_len.unwrap_or(after.len());
        let name = after[..name_len].trim_ascii();
        let (value, used) = match after.get(name_len) {
            Some(b'=') => parameter_value(&after[name_len + 1..])?,
            _ => (Vec::new(), 0),
        };
        let at = name_len + usize::from(after.get(name_len) == Some(&b'=')) + used;
        rest = &after[at..];
        if name.eq_ignore_ascii_case(b"boundary") && found.replace(value).is_some() {
            return None;
        }
    }
    let boundary = found.filter(|b| (1..=200).contains(&b.len()) && !b.ends_with(b" "))?;
    boundary
        .iter()
        .all(|b| (b' '..=b'~').contains(b))
        .then_some(boundary)
}

/// A parameter's value, and the octets up to the next semicolon or the end.
fn parameter_value(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let white = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let end_from = |at: usize| memchr(b';', &text[at..]).map_or(text.len(), |n| at + n);
    if text.get(white) != Some(&b'"') {
        let end = end_from(white);
        return Some((text[white..end].trim_ascii().to_vec(), end));
    }
    let mut value = Vec::new();
    let mut at = white + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some((value, end_from(at + 1))),
            b'\\' => {
                value.push(*text.get(at + 1)?);
                at += 2;
            }
            b => {
                value.push(*b);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_read_as_they_are_written() {
        for (content_type, boundary) in [
            (
                &b" multipart/mixed; boundary=abc\r\n"[..],
                Some(&b"abc"[..]),
            ),
            (
                b" multipart/mixed;\r\n\tboundary=\"a b=c\"; x=y",
                Some(b"a b=c"),
            ),
            (
                b" multipart/x; type=\"a;boundary=no\"; Boundary = \"y\\\"es\"",
                Some(b"y\"es"),
            ),
            (b" multipart/x; charset; boundary=b", Some(b"b")),
            (b" multipart/x; boundary=a; boundary=b", None),
            (b" multipart/x; boundary=\"a", None),
            (b" multipart/x; boundary=\"a \"", None),
            (b" multipart/x; boundary=\"\"", None),
            (b" multipart/x", None),
        ] {
            assert_eq!(boundary_of(content_type).as_deref(), boundary);
        }
    }
}
