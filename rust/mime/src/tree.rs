//! The part tree of a message, and the boundaries between its parts.
//!
//! **Model.** `mixed( body, attachments… )`, where body is `alternative( text, HTML, calendar )` of
//! what there is, and HTML with inline parts is `related( HTML, inline… )` (RFC 2046 §5.1, RFC 2387,
//! RFC 6047 §2.4). A level without company is left out.
//! **Boundaries.** All begin with `=_` and a token drawn from the seed. Encoded parts cannot contain
//! `=_`; text that is sent as it is gets searched, and another token drawn until none occurs.

use memchr::memmem;

use crate::compose::Writer;
use crate::draft::Draft;
use crate::param;
use crate::short::Short;
use crate::transfer::Body;
use crate::value::Attachment;

/// One leaf of the part tree.
struct Leaf<'a> {
    content_type: &'a str,
    body: Body<'a>,
    attachment: Option<&'a Attachment<'a>>,
}

/// The parts in their places.
pub(crate) struct Tree<'a> {
    text: Option<Leaf<'a>>,
    html: Option<Leaf<'a>>,
    calendar: Option<Leaf<'a>>,
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
    pub(crate) fn of(draft: &'a Draft<'a>) -> Self {
        let has_html = draft.html.is_some();
        let leaf = |a: &'a Attachment<'a>| Leaf::attached(a);
        let is_inline = |a: &&Attachment<'_>| has_html && a.content_id.is_some();
        let mut text = draft.text.as_deref().map(|t| Leaf::text(t, true));
        let has_none = draft.html.is_none() && draft.calendar.is_none();
        if text.is_none() && has_none && draft.attachments.is_empty() {
            text = Some(Leaf::text("", true));
        }
        Self {
            text,
            html: draft.html.map(|h| Leaf::text(h, false)),
            calendar: draft.calendar.map(|(method, object)| Leaf {
                content_type: method.content_type(),
                body: Body::text(object.as_bytes()),
                attachment: None,
            }),
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

    pub(crate) fn bodies(&self) -> impl Iterator<Item = &Body<'a>> {
        let own = self.text.iter().chain(&self.html).chain(&self.calendar);
        own.chain(&self.inline)
            .chain(&self.attached)
            .map(|leaf| &leaf.body)
    }

    /// A boundary that no part contains.
    pub(crate) fn boundary(&self, seed: u64) -> Short {
        let mut state = seed;
        loop {
            let boundary = Short::of(format_args!("=_{:016x}", next(&mut state)));
            let occurs = |b: &Body<'_>| {
                b.verbatim()
                    .is_some_and(|t| memmem::find(t, boundary.as_str().as_bytes()).is_some())
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
        let calendar = self.calendar.as_ref().map(Node::Leaf);
        let ways = text.into_iter().chain(html).chain(calendar);
        let body = Node::multi("alternative", "a", ways.collect());
        // A draft without attachments has at least an empty text.
        if self.attached.is_empty() {
            return body;
        }
        let is_empty = matches!(&body, Node::Multi { children, .. } if children.is_empty());
        let first = (!is_empty).then_some(body);
        let attached = self.attached.iter().map(Node::Leaf);
        let children = first.into_iter().chain(attached).collect();
        Node::Multi {
            kind: "mixed",
            mark: "m",
            children,
        }
    }

    /// Writes the root's own header fields, the empty line and everything below; answers the octets
    /// of the header.
    pub(crate) fn write(&self, writer: &mut Writer, boundary: &str) -> usize {
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
