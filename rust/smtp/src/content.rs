//! The content of a message, proven fit for the wire.
//!
//! **Problem.** A line of content that begins with a dot must be sent with a second one
//! (RFC 5321, 4.5.2); forgetting it where two buffers meet lets a body inject commands
//! (CVE-2021-38189). A bare CR or LF lets the next hop see an end of data we did not send
//! (CVE-2023-51764).
//! **Model.** [`Content::new`] looks once at every octet, across segment borders: it refuses bare
//! CR and LF and notes where dots must be doubled. Sending then only shares slices: a segment is
//! cut *behind* a leading dot and resumed *before* it, so the dot leaves twice without a copy.
//! **Invariants.** The end of data follows CRLF (or nothing) and appears exactly once. `size` is
//! what RFC 1870, section 3 counts: octets without stuffing and final dot.
//! **Laws `law_stuffing_inverts`, `law_one_end_of_data`.**
//! **Not here.** The 998-octet limit on lines (RFC 5322, 2.1.1): the composer's duty, and raw
//! content that breaks it is passed on as it is.

use crate::output::Output;
use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use std::sync::Arc;

/// Beyond this many doubled dots slices cost more memory than the content: copy instead.
const MOST_SLICED_DOTS: usize = 512;

/// Why content cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A CR that no LF follows.
    #[error("bare CR at octet {offset} of the content")]
    BareCr {
        /// Octets before it.
        offset: u64,
    },
    /// A LF that no CR precedes.
    #[error("bare LF at octet {offset} of the content")]
    BareLf {
        /// Octets before it.
        offset: u64,
    },
}

/// Checked content, shared and not copied.
#[derive(Clone, Debug)]
pub struct Content {
    parts: Arc<Parts>,
    octets: u64,
    ends_with_crlf: bool,
    is_eight_bit: bool,
    has_utf8_header: bool,
}

/// Shared, so that a clone allocates nothing.
#[derive(Debug)]
struct Parts {
    segments: Vec<Bytes>,
    dots: Vec<Dot>,
}

/// A dot that begins a line.
#[derive(Clone, Copy, Debug)]
struct Dot {
    segment: usize,
    at: usize,
}

impl Content {
    /// Checks a message given in segments, such as DKIM headers and the rest.
    ///
    /// # Errors
    /// [`ContentError`] at the first bare CR or LF.
    pub fn new(segments: impl IntoIterator<Item = Bytes>) -> Result<Self, ContentError> {
        let segments: Vec<Bytes> = segments.into_iter().filter(|s| !s.is_empty()).collect();
        let mut scan = Scan::default();
        for (index, segment) in segments.iter().enumerate() {
            scan.read(index, segment)?;
        }
        if scan.after_cr {
            return Err(ContentError::BareCr {
                offset: scan.octets - 1,
            });
        }
        let is_eight_bit = segments.iter().any(|segment| !segment.is_ascii());
        Ok(Self {
            has_utf8_header: is_eight_bit && has_eight_bit_header(&segments),
            parts: Arc::new(Parts {
                segments,
                dots: scan.dots,
            }),
            octets: scan.octets,
            ends_with_crlf: scan.at_line_start,
            is_eight_bit,
        })
    }

    /// Octets as RFC 1870 counts them, with the CRLF that is added when the last line lacks one.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.octets + if self.ends_with_crlf { 0 } else { 2 }
    }

    /// Whether an octet above 127 occurs, so that BODY=8BITMIME must be declared.
    #[must_use]
    pub fn is_eight_bit(&self) -> bool {
        self.is_eight_bit
    }

    /// Whether an octet above 127 occurs in the header, so that SMTPUTF8 must be declared.
    #[must_use]
    pub fn has_utf8_header(&self) -> bool {
        self.has_utf8_header
    }

    /// Queues the stuffed content and the end of data; answers the stream position just after the
    /// final dot itself.
    pub(crate) fn queue(&self, output: &mut Output) -> u64 {
        if self.parts.dots.len() > MOST_SLICED_DOTS {
            self.queue_copied(output);
        } else {
            self.queue_sliced(output);
        }
        let end: &'static [u8] = if self.ends_with_crlf {
            b".\r\n"
        } else {
            b"\r\n.\r\n"
        };
        output.push(Bytes::from_static(end));
        output.queued() - 2
    }

    /// Queues the content as one chunk of BDAT, which needs no stuffing (RFC 3030, 2); answers the
    /// stream position just after its last octet.
    pub(crate) fn queue_chunk(&self, output: &mut Output) -> u64 {
        let segments = self.parts.segments.iter();
        segments.for_each(|s| output.push(s.clone()));
        if !self.ends_with_crlf {
            output.push(Bytes::from_static(b"\r\n"));
        }
        output.queued()
    }

    fn queue_sliced(&self, output: &mut Output) {
        let mut dots = self.parts.dots.iter().peekable();
        for (index, segment) in self.parts.segments.iter().enumerate() {
            let mut start = 0;
            while let Some(dot) = dots.next_if(|dot| dot.segment == index) {
                output.push(segment.slice(start..=dot.at));
                start = dot.at;
            }
            output.push(segment.slice(start..));
        }
    }

    fn queue_copied(&self, output: &mut Output) {
        let mut stuffed = BytesMut::with_capacity(self.octets as usize + self.parts.dots.len());
        let mut dots = self.parts.dots.iter().peekable();
        for (index, segment) in self.parts.segments.iter().enumerate() {
            let mut start = 0;
            while let Some(dot) = dots.next_if(|dot| dot.segment == index) {
                stuffed.extend_from_slice(&segment[start..=dot.at]);
                start = dot.at;
            }
            stuffed.extend_from_slice(&segment[start..]);
        }
        output.push(stuffed.freeze());
    }
}

/// What is known after some segments.
struct Scan {
    dots: Vec<Dot>,
    octets: u64,
    at_line_start: bool,
    after_cr: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            dots: Vec::new(),
            octets: 0,
            at_line_start: true,
            after_cr: false,
        }
    }
}

impl Scan {
    fn read(&mut self, index: usize, segment: &[u8]) -> Result<(), ContentError> {
        let before = self.octets;
        let mut at = 0;
        if self.after_cr {
            if segment[0] != b'\n' {
                return Err(ContentError::BareCr { offset: before - 1 });
            }
            (self.after_cr, self.at_line_start, at) = (false, true, 1);
        }
        self.octets += segment.len() as u64;
        while at < segment.len() {
            if self.at_line_start && segment[at] == b'.' {
                self.dots.push(Dot { segment: index, at });
            }
            self.at_line_start = false;
            let Some(found) = memchr2(b'\r', b'\n', &segment[at..]) else {
                break;
            };
            let end = at + found;
            let offset = before + end as u64;
            if segment[end] == b'\n' {
                return Err(ContentError::BareLf { offset });
            }
            match segment.get(end + 1) {
                Some(b'\n') => self.at_line_start = true,
                Some(_) => return Err(ContentError::BareCr { offset }),
                None => self.after_cr = true,
            }
            at = end + 2;
        }
        Ok(())
    }
}

fn has_eight_bit_header(segments: &[Bytes]) -> bool {
    let mut line_is_empty = true;
    for &octet in segments.iter().flatten() {
        match octet {
            b'\n' if line_is_empty => return false,
            b'\n' => line_is_empty = true,
            b'\r' => {}
            0x80.. => return true,
            _ => line_is_empty = false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::IoSlice;

    fn cut(whole: &[u8], cuts: &[prop::sample::Index]) -> Vec<Bytes> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        at.sort_unstable();
        let mut start = 0;
        let mut segments = Vec::new();
        for end in at.into_iter().chain([whole.len()]) {
            segments.push(Bytes::copy_from_slice(&whole[start..end]));
            start = end;
        }
        segments
    }

    fn wire(content: &Content) -> Vec<u8> {
        let mut output = Output::default();
        let dot_at = content.queue(&mut output) as usize;
        let mut sent = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = output.fill(&mut slices);
            if count == 0 {
                break;
            }
            // Odd sizes, so that writes end inside segments.
            let lent: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            let written = lent.len().min(7);
            sent.extend_from_slice(&lent[..written]);
            output.wrote(written);
        }
        assert_eq!(sent[dot_at - 1], b'.');
        assert_eq!(&sent[dot_at..], b"\r\n");
        sent
    }

    /// What a receiver makes of the octets after DATA: the content and what follows its end.
    fn receive(wire: &[u8]) -> (Vec<u8>, &[u8]) {
        let mut content = Vec::new();
        let mut rest = wire;
        loop {
            let end = memchr::memmem::find(rest, b"\r\n").expect("the end of data comes") + 2;
            let (line, after) = rest.split_at(end);
            rest = after;
            if line == b".\r\n" {
                return (content, rest);
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
    }

    fn one(text: &str) -> Result<Content, ContentError> {
        Content::new([Bytes::copy_from_slice(text.as_bytes())])
    }

    #[test]
    fn dots_are_doubled_at_line_starts_only() {
        assert_eq!(
            wire(&one(".a\r\nb.c\r\n..\r\n").unwrap()),
            b"..a\r\nb.c\r\n...\r\n.\r\n"
        );
        assert_eq!(wire(&one("").unwrap()), b".\r\n");
        assert_eq!(wire(&one("a").unwrap()), b"a\r\n.\r\n");
        assert_eq!(one("a").unwrap().size(), 3);
        assert_eq!(one(".\r\n").unwrap().size(), 3);
    }

    #[test]
    fn bare_line_breaks_are_refused_with_their_place() {
        assert_eq!(one("a\nb").unwrap_err(), ContentError::BareLf { offset: 1 });
        assert_eq!(
            one("a\r\n\n").unwrap_err(),
            ContentError::BareLf { offset: 3 }
        );
        assert_eq!(one("a\rb").unwrap_err(), ContentError::BareCr { offset: 1 });
        assert_eq!(
            one("a\r\r\n").unwrap_err(),
            ContentError::BareCr { offset: 1 }
        );
        assert_eq!(one("a\r").unwrap_err(), ContentError::BareCr { offset: 1 });
        let split = |parts: [&'static str; 3]| {
            Content::new(parts.map(|p| Bytes::from_static(p.as_bytes())))
        };
        assert_eq!(
            split(["a\r", "", "b"]).unwrap_err(),
            ContentError::BareCr { offset: 1 }
        );
        assert_eq!(
            split(["a\r\n", "b", "\n"]).unwrap_err(),
            ContentError::BareLf { offset: 4 }
        );
        assert!(split(["a\r", "", "\n"]).is_ok());
    }

    #[test]
    fn eight_bit_in_the_header_is_told_from_eight_bit_in_the_body() {
        let flags = |text: &str| {
            one(text)
                .map(|c| (c.is_eight_bit(), c.has_utf8_header()))
                .unwrap()
        };
        assert_eq!(flags("Subject: x\r\n\r\nü"), (true, false));
        assert_eq!(flags("Subject: ü\r\n\r\nx"), (true, true));
        assert_eq!(flags("Subject: x\r\n\r\nx"), (false, false));
    }

    #[test]
    fn a_body_of_dots_is_copied_and_equal() {
        let body = ".\r\n".repeat(MOST_SLICED_DOTS + 1);
        assert_eq!(receive(&wire(&one(&body).unwrap())).0, body.as_bytes());
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "\r\n",
            ".",
            "..",
            "\r\n.\r\n",
            "a",
            "\u{fc}",
            "\0",
            "bc.d",
        ]);
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        /// Law: unstuff(stuff(x)) = x, plus the CRLF a last line may lack, for any segmentation.
        #[test]
        fn law_stuffing_inverts(text in hostile(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let content = Content::new(cut(&text, &cuts)).unwrap();
            let sent = wire(&content);
            let (received, _) = receive(&sent);
            let mut expected = text.clone();
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(content.size(), expected.len() as u64);
            prop_assert_eq!(received, expected);
        }

        /// Law: a chunk is the content itself, of the size declared.
        #[test]
        fn law_chunk_is_content(text in hostile(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let content = Content::new(cut(&text, &cuts)).unwrap();
            let mut output = Output::default();
            let end = content.queue_chunk(&mut output);
            let mut slices = [IoSlice::new(&[]); 16];
            let count = output.fill(&mut slices);
            let sent: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            prop_assert!(sent.starts_with(&text) && sent.len() <= text.len() + 2);
            prop_assert_eq!((sent.len() as u64, end), (content.size(), content.size()));
        }

        /// Law: the end of data appears exactly once, at the end, and no bare CR or LF leaves.
        #[test]
        fn law_one_end_of_data(
            text in "[a.\r\n]{0,60}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let lone = text.replace("\r\n", "");
            let content = Content::new(cut(text.as_bytes(), &cuts));
            prop_assert_eq!(content.is_err(), lone.contains(['\r', '\n']));
            if let Ok(content) = content {
                let sent = wire(&content);
                prop_assert!(receive(&sent).1.is_empty());
                let text = String::from_utf8(sent).unwrap();
                prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
                prop_assert_eq!(format!("\r\n{text}").matches("\r\n.\r\n").count(), 1);
            }
        }
    }
}
