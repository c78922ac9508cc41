//! Messages of others with 8-bit octets, rewritten for receivers without 8BITMIME (RFC 6152 §3).
//!
//! **Problem.** Such a receiver would refuse the message or cut off every eighth bit.
//! **Model.** A message is a tree of entities. Where an octet above 127 is in a leaf, the leaf is
//! encoded: text as quoted-printable or base64, whichever is shorter, anything else as base64. The
//! parts of a multipart and an enclosed message are rewritten one by one, for these two may not be
//! encoded themselves (RFC 2045 §6.4). A message that is not MIME becomes it.
//! **Invariants.** What comes out is ASCII, and read it is what went in. All else stays to the octet:
//! header fields and their order, boundaries, parts that were ASCII. No line of an encoded part is a
//! delimiter of a multipart around it. What lies before and after the parts of a multipart, which no
//! reader shows (RFC 2046 §5.1.1), has question marks for its 8-bit octets.
//! **Refused** is what cannot be told apart or may not be changed; see [`NotSevenBit`].
//! **Laws.** `law_seven_bit_reads_back`, `law_seven_bit_changes_nothing_else`.
//! **Not here.** Signing: it comes after. A DKIM-Signature of somebody else that covers what was
//! encoded stays where it is and is valid no more; verifiers take it as if it were not there
//! (RFC 6376 §6.1), and so does DMARC, as long as our own one is beside it.

use memchr::memmem;

use crate::entity::{Encoding, Entity, Field, Kind, boundary_of};
use crate::transfer::{Body, Transfer};

/// Entities within entities; real mail has a handful.
const DEEPEST: usize = 32;

/// Why a message has to keep its 8-bit octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSevenBit {
    /// Header fields in UTF-8 (RFC 6532): no transfer encoding is for them.
    #[error("a header field has 8-bit octets")]
    HeaderField,
    /// RFC 1847 §2.1: a changed part is not the one that was signed.
    #[error("the part with 8-bit octets is signed")]
    Signed,
    /// `message/*` other than an enclosed message: may not be encoded (RFC 2045 §6.4).
    #[error("a part of a message type that may not be encoded has 8-bit octets")]
    Unencodable,
    /// The part says that it is encoded already, or in a way nobody knows.
    #[error("a part with 8-bit octets is declared to have none")]
    Declared,
    /// The boundary is missing, or nothing is behind it.
    #[error("a multipart does not show where its parts are")]
    Boundary,
    /// More than one Content-Type or Content-Transfer-Encoding, or a line that is no field.
    #[error("a header can be read in two ways")]
    Ambiguous,
    /// More than 32 entities in each other.
    #[error("its parts are nested too deep")]
    TooDeep,
}

/// A message without 8-bit octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SevenBit {
    /// The whole message.
    pub bytes: Vec<u8>,
    /// The names of the fields its header ends with and had not before.
    pub added_fields: Vec<&'static str>,
}

/// Rewrites a message with CRLF line ends; see the module.
///
/// # Errors
/// [`NotSevenBit`]: the message can only leave as it is.
pub fn to_seven_bit(message: &[u8]) -> Result<SevenBit, NotSevenBit> {
    let mut writer = Writer {
        out: Vec::with_capacity(message.len() + message.len() / 2),
        delimiters: Vec::new(),
        added_fields: Vec::new(),
    };
    let root = Place {
        depth: 0,
        is_message: true,
        is_digest: false,
    };
    writer.entity(message, root)?;
    Ok(SevenBit {
        bytes: writer.out,
        added_fields: writer.added_fields,
    })
}

/// Where an entity stands.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    /// Not a part of a multipart: it has, or lacks, a MIME-Version.
    is_message: bool,
    /// A part of a multipart/digest, where messages need not be declared.
    is_digest: bool,
}

struct Writer {
    out: Vec<u8>,
    /// `--boundary` of each multipart around.
    delimiters: Vec<Vec<u8>>,
    /// At the end of the outermost header.
    added_fields: Vec<&'static str>,
}

impl Writer {
    fn entity(&mut self, octets: &[u8], place: Place) -> Result<(), NotSevenBit> {
        let (start, within) = (self.out.len(), self.delimiters.len());
        let result = self.rewrite(octets, place);
        if result.is_err() && octets.is_ascii() {
            // Whatever is wrong with it is none of ours.
            self.out.truncate(start);
            self.delimiters.truncate(within);
            self.out.extend_from_slice(octets);
            return Ok(());
        }
        result
    }

    fn rewrite(&mut self, octets: &[u8], place: Place) -> Result<(), NotSevenBit> {
        if place.depth > DEEPEST {
            return Err(NotSevenBit::TooDeep);
        }
        let entity = Entity::read(octets)?;
        let kind = entity.kind(place.is_digest);
        match (kind, entity.encoding()) {
            (Kind::Signed, _) => Err(NotSevenBit::Signed),
            (Kind::Multipart | Kind::Digest, Encoding::Identity) => {
                let boundary = entity.content_type().and_then(boundary_of);
                let boundary = boundary.ok_or(NotSevenBit::Boundary)?;
                self.header(&entity, place, Transfer::SevenBit);
                self.parts(entity.body, (&boundary, kind == Kind::Digest), place)
            }
            (Kind::Message, Encoding::Identity) => {
                self.header(&entity, place, Transfer::SevenBit);
                let within = Place {
                    depth: place.depth + 1,
                    is_message: true,
                    is_digest: false,
                };
                self.entity(entity.body, within)
            }
            (Kind::Unencodable, _) => Err(NotSevenBit::Unencodable),
            (Kind::Text | Kind::Other, Encoding::Identity) => {
                self.leaf(&entity, kind == Kind::Text, place);
                Ok(())
            }
            _ => Err(NotSevenBit::Declared),
        }
    }

    fn leaf(&mut self, entity: &Entity<'_>, is_text: bool, place: Place) {
        let plain = Body::text(entity.body);
        if entity.body.is_ascii() && (!entity.is_declared() || plain.transfer == Transfer::SevenBit)
        {
            self.header(entity, place, Transfer::SevenBit);
            return self.out.extend_from_slice(entity.body);
        }
        let body = if is_text {
            plain
        } else {
            Body::binary(entity.body)
        };
        let (start, added) = (self.out.len(), self.added_fields.len());
        self.header(entity, place, body.transfer);
        let content = self.out.len();
        body.write(&mut self.out);
        if self.has_delimiter_from(content) {
            // Base64 has no hyphen.
            self.out.truncate(start);
            self.added_fields.truncate(added);
            self.header(entity, place, Transfer::Base64);
            Body::binary(entity.body).write(&mut self.out);
        }
    }

    /// Whether a line begins as a delimiter of a multipart around does.
    fn has_delimiter_from(&self, start: usize) -> bool {
        let written = &self.out[start..];
        self.delimiters.iter().any(|delimiter| {
            memmem::find_iter(written, delimiter).any(|at| at == 0 || written[at - 1] == b'\n')
        })
    }

    /// The entity's header with the transfer encoding that holds now, and the empty line.
    fn header(&mut self, entity: &Entity<'_>, place: Place, transfer: Transfer) {
        let own = entity.transfer_encoding();
        let is_new = own.is_none() && transfer != Transfer::SevenBit;
        match own {
            // What is declared as encoded, or as 7bit, and was left alone stays to the letter.
            Some(field) if transfer != Transfer::SevenBit || entity.is_declared() => {
                let Field { name, span, .. } = field;
                self.out.extend_from_slice(&entity.header[..span.start]);
                self.out.extend_from_slice(name);
                self.out.extend_from_slice(b": ");
                self.out.extend_from_slice(transfer.name().as_bytes());
                self.out.extend_from_slice(b"\r\n");
                self.out.extend_from_slice(&entity.header[span.end..]);
            }
            _ => self.out.extend_from_slice(entity.header),
        }
        let is_changed = transfer != Transfer::SevenBit || !entity.body.is_ascii();
        if place.is_message && is_changed && !entity.is_mime() {
            self.add("MIME-Version", "1.0", place);
            if entity.content_type().is_none() {
                // RFC 1428 §3 for what nobody can know.
                let content_type = match std::str::from_utf8(entity.body) {
                    Ok(_) => "text/plain; charset=utf-8",
                    Err(_) => "text/plain; charset=unknown-8bit",
                };
                self.add("Content-Type", content_type, place);
            }
        }
        if is_new {
            self.add("Content-Transfer-Encoding", transfer.name(), place);
        }
        self.out.extend_from_slice(entity.blank);
    }

    fn add(&mut self, name: &'static str, value: &str, place: Place) {
        if place.depth == 0 {
            self.added_fields.push(name);
        }
        for piece in [name, ": ", value, "\r\n"] {
            self.out.extend_from_slice(piece.as_bytes());
        }
    }

    fn parts(
        &mut self,
        body: &[u8],
        (boundary, is_digest): (&[u8], bool),
        place: Place,
    ) -> Result<(), NotSevenBit> {
        let delimiter = [b"--", boundary].concat();
        let lines = delimiter_lines(body, &delimiter);
        let Some(first) = lines.first() else {
            return Err(NotSevenBit::Boundary);
        };
        self.unseen(&body[..first.start]);
        self.delimiters.push(delimiter);
        let within = Place {
            depth: place.depth + 1,
            is_message: false,
            is_digest,
        };
        for (n, line) in lines.iter().enumerate() {
            self.out.extend_from_slice(&body[line.start..line.end]);
            if line.is_last {
                self.delimiters.pop();
                self.unseen(&body[line.end..]);
                return Ok(());
            }
            // The line end before a delimiter is the delimiter's (RFC 2046 §5.1.1).
            let next = lines.get(n + 1).map_or(body.len(), |next| next.start);
            let end = match lines.get(n + 1) {
                Some(next) => next.start.saturating_sub(2).max(line.end),
                None => body.len(),
            };
            self.entity(&body[line.end..end], within)?;
            self.out.extend_from_slice(&body[end..next]);
        }
        self.delimiters.pop();
        Ok(())
    }

    /// What no reader shows.
    fn unseen(&mut self, octets: &[u8]) {
        let ascii = |b: &u8| if b.is_ascii() { *b } else { b'?' };
        self.out.extend(octets.iter().map(ascii));
    }
}

/// A line that is a delimiter, its CRLF included.
struct DelimiterLine {
    start: usize,
    end: usize,
    /// It ends the multipart.
    is_last: bool,
}

/// The delimiters up to the last one (RFC 2046 §5.1.1: white space may follow one).
fn delimiter_lines(body: &[u8], delimiter: &[u8]) -> Vec<DelimiterLine> {
    let mut lines = Vec::new();
    for start in memmem::find_iter(body, delimiter) {
        if start > 0 && body[start - 1] != b'\n' {
            continue;
        }
        let rest = &body[start + delimiter.len()..];
        let (rest, is_last) = match rest.strip_prefix(b"--") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let spaces = rest
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        let rest = &rest[spaces..];
        let end = body.len() - rest.len();
        let end = match rest.strip_prefix(b"\r\n") {
            Some(_) => end + 2,
            None if rest.is_empty() => end,
            None => continue,
        };
        lines.push(DelimiterLine {
            start,
            end,
            is_last,
        });
        if is_last {
            break;
        }
    }
    lines
}
