//! Content as it comes in: the end of data found, dots unstuffed, line ends judged.
//!
//! **Problem.** Receivers that take `LF . LF` or a bare CR for the end of data let a message carry
//! a second one (SMTP smuggling, CVE-2023-51764 and its kin).
//! **Model.** Octets come in any pieces; [`Intake`] keeps one octet of state between them. Only
//! `CRLF . CRLF` ends data, and content that holds a bare CR or LF is refused as a whole, after
//! its true end, so that both sides agree on where that was.
//! **Bounds.** What is kept never exceeds the limit; what is read past it and thrown away does not
//! exceed the limit once more.
//! **Laws.** `law_unstuffing_inverts`, `law_end_of_data_is_unique`.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// Why content cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A CR that no LF follows, after so many octets.
    BareCr(u64),
    /// A LF that no CR precedes.
    BareLf(u64),
    /// More octets than the limit.
    TooLarge,
    /// The driver has no room for it.
    NoRoom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Line,
    Cr,
    /// Behind a dot that began a line.
    Dot,
    /// Behind such a dot and a CR.
    DotCr,
}

/// The content of one message.
#[derive(Debug)]
pub(super) struct Intake {
    kept: BytesMut,
    limit: u64,
    seen: u64,
    at: At,
    flaw: Option<Flaw>,
}

impl Intake {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            kept: BytesMut::new(),
            limit,
            seen: 0,
            at: At::LineStart,
            flaw: None,
        }
    }

    /// Octets held in memory.
    pub(super) fn held(&self) -> usize {
        self.kept.len()
    }

    /// Octets of content so far, kept or not.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether the sender goes on far beyond the limit and is better cut off.
    pub(super) fn is_hopeless(&self) -> bool {
        self.seen > self.limit.saturating_mul(2)
    }

    /// Marks the content as refused; the first flaw is the one that is told.
    pub(super) fn refuse(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
        self.kept = BytesMut::new();
    }

    /// Reads stuffed content; the octets taken, and whether the end of data was among them.
    pub(super) fn read_stuffed(&mut self, input: &[u8]) -> (usize, bool) {
        let mut at = 0;
        // Where what is not kept yet begins: runs are copied whole, over many lines.
        let mut run = 0;
        while at < input.len() {
            match (self.at, input[at]) {
                (At::LineStart, b'.') => {
                    self.keep(&input[run..at]);
                    self.at = At::Dot;
                    at += 1;
                    run = at;
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    at += 1;
                    run = at;
                }
                (At::DotCr, b'\n') => return (at + 1, true),
                (At::DotCr, _) => {
                    self.keep(b"\r");
                    self.at = At::Cr;
                }
                _ => at = self.read_line(input, at, run),
            }
        }
        self.keep(&input[run..]);
        (input.len(), false)
    }

    /// Reads a chunk: nothing is stuffed in it (RFC 3030).
    pub(super) fn read_chunk(&mut self, input: &[u8]) {
        let mut at = 0;
        while at < input.len() {
            at = self.read_line(input, at, 0);
        }
        self.keep(input);
    }

    /// Moves on to behind the next line end, judging it; answers where that is. `run` is where
    /// the octets begin that [`Intake::keep`] has not seen.
    fn read_line(&mut self, input: &[u8], at: usize, run: usize) -> usize {
        let before = self.seen;
        let offset = |place: usize| before + (place - run) as u64;
        if self.at == At::Cr {
            if input[at] == b'\n' {
                self.at = At::LineStart;
                return at + 1;
            }
            self.refuse(Flaw::BareCr(offset(at) - 1));
            self.at = At::Line;
        }
        let Some(found) = memchr2(b'\r', b'\n', &input[at..]) else {
            self.at = At::Line;
            return input.len();
        };
        let end = at + found;
        if input[end] == b'\r' {
            self.at = At::Cr;
        } else {
            self.refuse(Flaw::BareLf(offset(end)));
            self.at = At::Line;
        }
        end + 1
    }

    fn keep(&mut self, octets: &[u8]) {
        self.seen += octets.len() as u64;
        if self.seen > self.limit {
            self.refuse(Flaw::TooLarge);
        }
        if self.flaw.is_none() {
            self.kept.extend_from_slice(octets);
        }
    }

    /// The content, once its end was seen.
    pub(super) fn finish(mut self) -> Result<Bytes, Flaw> {
        if self.at == At::Cr {
            self.refuse(Flaw::BareCr(self.seen - 1));
        }
        match self.flaw {
            Some(flaw) => Err(flaw),
            None => Ok(self.kept.freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces<'a>(whole: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        at.sort_unstable();
        let mut start = 0;
        let mut pieces = Vec::new();
        for end in at.into_iter().chain([whole.len()]) {
            pieces.push(&whole[start..end]);
            start = end;
        }
        pieces
    }

    /// Content and how many octets it took, if its end came.
    fn read(pieces: &[&[u8]]) -> Option<(Result<Bytes, Flaw>, usize)> {
        let mut intake = Intake::new(1_000);
        let mut total = 0;
        for piece in pieces {
            let (taken, is_end) = intake.read_stuffed(piece);
            total += taken;
            if is_end {
                return Some((intake.finish(), total));
            }
            assert_eq!(taken, piece.len());
        }
        None
    }

    fn stuff(text: &[u8]) -> Vec<u8> {
        let mut stuffed = Vec::new();
        for line in text.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        stuffed
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_data_and_its_relatives_are_refused() {
        // Table of sequences that real receivers honour: each is content here, and refused.
        for smuggled in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\n.\r\r\n",
            "\r.\r",
            "\r\n.\r",
            "\r.\r\n",
            "\r\n.\r\r\n",
        ] {
            let wire = format!("a{smuggled}MAIL FROM:<b@c.example>\r\n.\r\n");
            let (content, taken) = read(&[wire.as_bytes()]).unwrap();
            assert!(content.is_err(), "{smuggled:?}");
            assert_eq!(taken, wire.len(), "{smuggled:?}");
        }
        let nul = b"a\r\n\0.\r\nb\r\n.\r\n";
        assert_eq!(read(&[nul]).unwrap().0.unwrap(), &b"a\r\n\0.\r\nb\r\n"[..]);
    }

    #[test]
    fn what_exceeds_the_limit_is_not_kept() {
        let mut intake = Intake::new(10);
        intake.read_stuffed(b"12345678901234567890");
        assert_eq!((intake.held(), intake.is_hopeless()), (0, false));
        intake.read_stuffed(b"1");
        assert!(intake.is_hopeless());
        assert_eq!(intake.read_stuffed(b"\r\n.\r\n"), (5, true));
        assert_eq!(intake.finish().unwrap_err(), Flaw::TooLarge);
        let mut exact = Intake::new(3);
        assert_eq!(exact.read_stuffed(b"a\r\n.\r\n"), (6, true));
        assert_eq!(exact.finish().unwrap(), &b"a\r\n"[..]);
    }

    #[test]
    fn chunks_hold_dots_as_they_are_and_no_bare_line_ends() {
        let mut intake = Intake::new(100);
        intake.read_chunk(b".a\r");
        intake.read_chunk(b"\n.\r\nb");
        assert_eq!(intake.finish().unwrap(), &b".a\r\n.\r\nb"[..]);
        let mut bare = Intake::new(100);
        bare.read_chunk(b"a\r");
        assert_eq!(bare.finish().unwrap_err(), Flaw::BareCr(1));
    }

    proptest! {
        /// Law: unstuff(stuff(x)) = x for any split, and nothing behind the end is touched.
        #[test]
        fn law_unstuffing_inverts(
            text in prop::collection::vec(prop::sample::select(vec!["\r\n", ".", "..", "a", "\0", "ü"]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut text = text.concat().into_bytes();
            if !text.is_empty() && !text.ends_with(b"\r\n") {
                text.extend_from_slice(b"\r\n");
            }
            let stuffed = stuff(&text);
            let (content, taken) = read(&pieces(&stuffed, &cuts)).unwrap();
            prop_assert_eq!(content.unwrap(), text);
            prop_assert_eq!(taken, stuffed.len());
        }

        /// Law: for hostile octets in any split, data ends where CRLF . CRLF first stands and
        /// nowhere else, and content with a bare CR or LF is refused.
        #[test]
        fn law_end_of_data_is_unique(
            text in "[a.\r\n]{0,40}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let wire = format!("{text}\r\n.\r\nrest");
            let framed = format!("\r\n{wire}");
            let end = framed.find("\r\n.\r\n").unwrap() + 3;
            let (content, taken) = read(&pieces(wire.as_bytes(), &cuts)).unwrap();
            prop_assert_eq!(taken, end);
            let body = &wire[..end - 3];
            let is_bare = body.replace("\r\n", "").contains(['\r', '\n']);
            prop_assert_eq!(content.is_err(), is_bare, "{:?}", body);
        }
    }
}
