//! Writing a draft: header fields, then the part tree, into one buffer.
//!
//! **Model.** `mixed( body, attachments… )`, where body is the text, the HTML, or
//! `alternative( text, HTML )`, and HTML with inline parts is `related( HTML, inline… )` (RFC 2046
//! §5.1, RFC 2387). A level without company is left out.
//! **Boundaries.** All begin with `=_` and a token drawn from the seed. Encoded parts cannot contain
//! `=_`; text that is sent as it is gets searched, and another token drawn until none occurs.

use std::ops::Range;

use memchr::memmem;

use crate::draft::Draft;
use crate::fold::Line;
use crate::param;
use crate::transfer::Body;
use crate::value::{Attachment, Header};

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
        let header_len = tree.write(&mut writer, &boundary);
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
        writer.field("Date", |line| line.ascii(&self.date.to_rfc5322()));
        writer.field("Message-ID", |line| {
            line.word(&["<", self.message_id.as_str(), ">"])
        });
    }
}

fn custom(line: &mut Line<'_>, header: &Header<'_>) {
    // An ASCII value is passed on with the encoded words it may have: they were checked.
    if header.value.is_ascii()
        && crate::value::longest_word(header.value) <= crate::value::WORD_LIMIT
    {
        line.ascii(header.value);
    } else {
        line.unstructured(header.value);
    }
}

/// The buffer, and the header fields noted so far.
struct Writer {
    out: Vec<u8>,
    fields: Vec<FieldSpan>,
    is_body: bool,
}

impl Writer {
    /// Writes one header field of the message.
    fn field(&mut self, name: &str, value: impl FnOnce(&mut Line<'_>)) {
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

/// One leaf of the part tree.
struct Leaf<'a> {
    content_type: &'a str,
    body: Body<'a>,
    attachment: Option<&'a Attachment<'a>>,
}

/// The parts in their places.
struct Tree<'a> {
    text: Option<Leaf<'a>>,
    html: Option<Leaf<'a>>,
    inline: Vec<Leaf<'a>>,
    attached: Vec<Leaf<'a>>,
}

/// A node written so far: what stands in its header decides how it is entered.
enum Node<'t, 'a> {
    Leaf(&'t Leaf<'a>),
    Multi {
        kind: &'static str,
        mark: &'static str,
        children: Vec<Node<'t, 'a>>,
    },
}

impl<'a> Tree<'a> {
    fn of(draft: &'a Draft<'a>) -> Self {
        let has_html = draft.html.is_some();
        let leaf = |a: &'a Attachment<'a>| Leaf::attached(a);
        let is_inline = |a: &&Attachment<'_>| has_html && a.content_id.is_some();
        let mut text = draft.text.map(|t| Leaf::text(t, true));
        if text.is_none() && !has_html && draft.attachments.is_empty() {
            text = Some(Leaf::text("", true));
        }
        Self {
            text,
            html: draft.html.map(|h| Leaf::text(h, false)),
            inline: draft
                .attachments
                .iter()
                .filter(is_inline)
                .map(leaf)
                .collect(),
            attached: draft
                .attachments
                .iter()
                .filter(|a| !is_inline(a))
                .map(leaf)
                .collect(),
        }
    }

    fn bodies(&self) -> impl Iterator<Item = &Body<'a>> {
        let own = self.text.iter().chain(&self.html);
        own.chain(&self.inline)
            .chain(&self.attached)
            .map(|leaf| &leaf.body)
    }

    /// A boundary that no part contains.
    fn boundary(&self, seed: u64) -> String {
        let mut state = seed;
        loop {
            let boundary = format!("=_{:016x}", next(&mut state));
            let occurs = |b: &Body<'_>| {
                b.verbatim()
                    .is_some_and(|t| memmem::find(t, boundary.as_bytes()).is_some())
            };
            if !self.bodies().any(occurs) {
                return boundary;
            }
        }
    }

    fn root(&self) -> Node<'_, 'a> {
        let html = self.html.as_ref().map(|html| match self.inline.len() {
            0 => Node::Leaf(html),
            _ => {
                let first = std::iter::once(html);
                Node::multi(
                    "related",
                    "r",
                    first.chain(&self.inline).map(Node::Leaf).collect(),
                )
            }
        });
        let text = self.text.as_ref().map(Node::Leaf);
        let body = Node::multi("alternative", "a", text.into_iter().chain(html).collect());
        let mut children: Vec<_> = match body {
            Node::Multi { ref children, .. } if children.is_empty() => Vec::new(),
            body => vec![body],
        };
        if self.attached.is_empty() {
            return children
                .pop()
                .expect("a draft without attachments has a text part");
        }
        children.extend(self.attached.iter().map(Node::Leaf));
        Node::Multi {
            kind: "mixed",
            mark: "m",
            children,
        }
    }

    /// Writes the root's own header fields, the empty line and everything below; answers the octets
    /// of the header.
    fn write(&self, writer: &mut Writer, boundary: &str) -> usize {
        let root = self.root();
        root.write_fields(writer, boundary);
        let header_len = writer.out.len();
        writer.is_body = true;
        writer.out.extend_from_slice(b"\r\n");
        root.write_body(writer, boundary);
        if !writer.out.ends_with(b"\r\n") {
            writer.out.extend_from_slice(b"\r\n");
        }
        header_len
    }
}

impl<'t, 'a> Node<'t, 'a> {
    /// A level of one child is that child.
    fn multi(kind: &'static str, mark: &'static str, mut children: Vec<Self>) -> Self {
        match children.len() {
            1 => children.remove(0),
            _ => Node::Multi {
                kind,
                mark,
                children,
            },
        }
    }

    fn write_fields(&self, writer: &mut Writer, boundary: &str) {
        match self {
            Node::Leaf(leaf) => leaf.write_fields(writer),
            Node::Multi { kind, mark, .. } => writer.field("Content-Type", |line| {
                line.word(&["multipart/", kind, ";"]);
                if *kind == "related" {
                    line.word(&["type=\"text/html\";"]);
                }
                line.word(&["boundary=\"", boundary, "_", mark, "\""]);
            }),
        }
    }

    fn write_body(&self, writer: &mut Writer, boundary: &str) {
        let (mark, children) = match self {
            Node::Leaf(leaf) => return leaf.body.write(&mut writer.out),
            Node::Multi { mark, children, .. } => (*mark, children),
        };
        let delimiter = |out: &mut Vec<u8>, end: &[u8]| {
            out.extend_from_slice(b"--");
            out.extend_from_slice(boundary.as_bytes());
            out.push(b'_');
            out.extend_from_slice(mark.as_bytes());
            out.extend_from_slice(end);
            out.extend_from_slice(b"\r\n");
        };
        for child in children {
            delimiter(&mut writer.out, b"");
            child.write_fields(writer, boundary);
            writer.out.extend_from_slice(b"\r\n");
            child.write_body(writer, boundary);
            // This line end is the delimiter's, not the part's (RFC 2046 §5.1.1).
            writer.out.extend_from_slice(b"\r\n");
        }
        delimiter(&mut writer.out, b"--");
    }
}

impl<'a> Leaf<'a> {
    fn text(text: &'a str, is_plain: bool) -> Self {
        let body = Body::text(text.as_bytes());
        let content_type = match (is_plain, body.is_ascii) {
            (true, true) => "text/plain; charset=us-ascii",
            (true, false) => "text/plain; charset=utf-8",
            (false, true) => "text/html; charset=us-ascii",
            (false, false) => "text/html; charset=utf-8",
        };
        Self {
            content_type,
            body,
            attachment: None,
        }
    }

    fn attached(attachment: &'a Attachment<'a>) -> Self {
        let content_type = attachment.content_type.as_str();
        let whole = Some(attachment);
        if attachment.content_type.is_message() {
            // Neither quoted-printable nor base64 may wrap a message, so one that is not clean
            // travels as opaque octets.
            let body = Body::text(attachment.content);
            return if body.verbatim().is_some() {
                Self {
                    content_type,
                    body,
                    attachment: whole,
                }
            } else {
                let body = Body::binary(attachment.content);
                Self {
                    content_type: "application/octet-stream",
                    body,
                    attachment: whole,
                }
            };
        }
        Self {
            content_type,
            body: Body::binary(attachment.content),
            attachment: whole,
        }
    }

    fn write_fields(&self, writer: &mut Writer) {
        writer.field("Content-Type", |line| line.ascii(self.content_type));
        writer.field("Content-Transfer-Encoding", |line| {
            line.word(&[self.body.transfer.name()]);
        });
        let Some(attachment) = self.attachment else {
            return;
        };
        writer.field("Content-Disposition", |line| {
            let inline = attachment.content_id.is_some();
            line.word(&[if inline { "inline" } else { "attachment" }]);
            param::filename(line, attachment.filename.as_str());
        });
        if let Some(id) = attachment.content_id {
            writer.field("Content-ID", |line| line.word(&["<", id.as_str(), ">"]));
        }
    }
}

/// One step of SplitMix64: spreads neighbouring seeds over all tokens.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
