//! Writing a draft: header fields, then the part tree, into one buffer, each octet once.

use std::ops::Range;

use crate::draft::Draft;
use crate::fold::Line;
use crate::header::{self, Header};
use crate::tree::Tree;

/// Where one header field lies in [`Composed::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpan {
    start: u32,
    end: u32,
    name: u8,
}

/// A message as it goes over the wire (before dot-stuffing), and where its fields are.
///
/// A signature goes in front: `[signature headers][bytes]`, two slices of one vectored write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The whole message: header fields, an empty line, the body; it ends with CRLF.
    pub bytes: Vec<u8>,
    /// Octets of the header fields, without the empty line.
    pub header_len: usize,
    /// The header fields in order.
    pub fields: Vec<FieldSpan>,
    /// Whether the receiver must offer SMTPUTF8 (RFC 6531), for a header has a non-ASCII address.
    pub needs_smtputf8: bool,
}

impl Composed {
    /// The header fields in order: the length of the name, and the field with its final CRLF.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = (usize, &[u8])> {
        let slice = |f: &FieldSpan| (usize::from(f.name), &self.bytes[f.range()]);
        self.fields.iter().map(slice)
    }

    /// The body: what follows the empty line.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.header_len + 2..]
    }
}

impl FieldSpan {
    /// The field's octets, its final CRLF included.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Octets of the name, which begins the range and is followed by a colon.
    #[must_use]
    pub fn name_len(&self) -> usize {
        usize::from(self.name)
    }
}

impl Draft<'_> {
    /// Writes the message. Equal drafts give equal octets.
    #[must_use]
    pub fn compose(&self) -> Composed {
        let tree = Tree::of(self);
        let size: usize = tree.bodies().map(|b| b.size_hint() + 256).sum();
        let headers: usize = self
            .headers
            .iter()
            .map(|h| h.name.as_str().len() + h.value.len() + 16)
            .sum();
        let mailboxes = 2 + self.to.len() + self.cc.len() + self.reply_to.len();
        let mut writer = Writer {
            out: Vec::with_capacity(size + headers + 96 * mailboxes + 512),
            fields: Vec::with_capacity(12 + self.headers.len()),
            is_body: false,
        };
        self.write_own_fields(&mut writer);
        for header in &self.headers {
            writer.field(header.name.as_str(), |line| custom(line, header));
        }
        writer.field("MIME-Version", |line| line.word(&["1.0"]));
        let boundary = tree.boundary(self.seed);
        let header_len = tree.write(&mut writer, boundary.as_str());
        let needs_smtputf8 = self.addresses().any(|a| a.needs_smtputf8());
        Composed {
            bytes: writer.out,
            header_len,
            fields: writer.fields,
            needs_smtputf8,
        }
    }

    fn write_own_fields(&self, writer: &mut Writer) {
        writer.field("From", |line| line.mailbox(&self.from));
        for (name, list) in [
            ("Reply-To", &self.reply_to),
            ("To", &self.to),
            ("Cc", &self.cc),
        ] {
            let Some((last, others)) = list.split_last() else {
                continue;
            };
            writer.field(name, |line| {
                for mailbox in others {
                    line.mailbox(mailbox);
                    line.glue(b",");
                }
                line.mailbox(last);
            });
        }
        writer.field("Subject", |line| line.unstructured(self.subject.as_str()));
        writer.field("Date", |line| line.ascii(self.date.to_rfc5322().as_str()));
        writer.field("Message-ID", |line| {
            line.word(&["<", self.message_id.as_str(), ">"])
        });
    }
}

fn custom(line: &mut Line<'_>, custom: &Header<'_>) {
    // An ASCII value is passed on with the encoded words it may have: they were checked.
    if custom.value.is_ascii() && header::longest_word(custom.value) <= header::WORD_LIMIT {
        line.ascii(custom.value);
    } else {
        line.unstructured(custom.value);
    }
}

/// The buffer, and the header fields noted so far.
pub(crate) struct Writer {
    pub(crate) out: Vec<u8>,
    fields: Vec<FieldSpan>,
    pub(crate) is_body: bool,
}

impl Writer {
    /// Writes one header field of the message.
    pub(crate) fn field(&mut self, name: &str, value: impl FnOnce(&mut Line<'_>)) {
        let start = self.out.len();
        let mut line = Line::begin(&mut self.out, name);
        value(&mut line);
        line.end();
        self.note(start, name.len());
    }

    fn note(&mut self, start: usize, name: usize) {
        // Parts have fields too, but those are body as far as the message is concerned.
        if self.is_body {
            return;
        }
        let offset = |n: usize| u32::try_from(n).expect("header fields lie before 4 GiB");
        let name = u8::try_from(name).expect("header names are at most 76 octets");
        self.fields.push(FieldSpan {
            start: offset(start),
            end: offset(self.out.len()),
            name,
        });
    }
}
