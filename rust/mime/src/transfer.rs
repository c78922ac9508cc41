//! Content-transfer-encodings (RFC 2045 §6): the cheapest that carries a part unchanged.
//!
//! **Model.** One survey of a text bounds what each encoding would cost. 7bit when it is legal;
//! otherwise quoted-printable unless base64 is shorter; where the bounds leave that open, it is written
//! out and counted. Everything that is not text is base64.
//! **Law `quoted_printable_round_trip`.** Decoding gives the text back with CRLF line ends, and no
//! encoded line exceeds 76 octets.
//! **Law `survey_never_picks_the_longer`.** To the octet.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use memchr::{memchr, memchr_iter};

/// RFC 5322 §2.1.1, without the CRLF.
const LINE_LIMIT: usize = 998;
const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// 76 columns of base64 (RFC 2045 §6.8) carry 57 octets.
const B64_LINE: usize = 76;
const B64_OCTETS: usize = 57;
/// The most columns of a quoted-printable line, the `=` of a soft line break included (§6.7 rule 5).
const QP_LINE: usize = 76;
/// A soft line break comes after so many columns at least: two may be left where an escape takes three.
const QP_LEAST: usize = QP_LINE - 3;
/// Lines encoded at once: large enough for the vector code, small enough for the first-level cache.
const B64_BLOCK: usize = 48;

/// How a part's octets become lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    SevenBit,
    QuotedPrintable,
    Base64,
}

impl Transfer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SevenBit => "7bit",
            Self::QuotedPrintable => "quoted-printable",
            Self::Base64 => "base64",
        }
    }
}

/// A text with the encoding chosen for it.
pub(crate) struct Body<'a> {
    octets: Cow<'a, [u8]>,
    pub(crate) transfer: Transfer,
    pub(crate) is_ascii: bool,
    /// Every line already ends with CRLF.
    is_canonical: bool,
}

impl<'a> Body<'a> {
    /// Surveys a text (any of LF, CRLF, CR ends a line) and chooses its encoding.
    pub(crate) fn text(text: &'a [u8]) -> Self {
        let (cr, lf, crlf) = line_ends(text);
        let octets = if cr == crlf {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(without_bare_cr(text))
        };
        let survey = Survey::of(&octets);
        let transfer = if survey.escapes == 0 && !has_long_line(&octets) {
            Transfer::SevenBit
        } else {
            survey.shorter(&octets, (lf + cr - crlf, lf - crlf))
        };
        let is_canonical = cr == crlf && lf == crlf;
        Self {
            octets,
            transfer,
            is_ascii: survey.is_ascii,
            is_canonical,
        }
    }

    /// Octets that are not text.
    pub(crate) fn binary(octets: &'a [u8]) -> Self {
        Self {
            octets: Cow::Borrowed(octets),
            transfer: Transfer::Base64,
            is_ascii: false,
            is_canonical: true,
        }
    }

    /// The octets, if a boundary could occur in what they become: encoded text holds no `=_`.
    pub(crate) fn verbatim(&self) -> Option<&[u8]> {
        (self.transfer == Transfer::SevenBit).then_some(&*self.octets)
    }

    /// An upper bound, in all but contrived cases, of the octets [`Body::write`] adds.
    pub(crate) fn size_hint(&self) -> usize {
        let n = self.octets.len();
        match self.transfer {
            Transfer::SevenBit => n + n / 16 + 4,
            Transfer::QuotedPrintable => n + n / 3 + 128,
            Transfer::Base64 => base64_len(n + n / 16) + 128,
        }
    }

    /// Writes the encoded part. The last line may lack its CRLF.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self.transfer {
            Transfer::SevenBit if self.is_canonical => out.extend_from_slice(&self.octets),
            Transfer::SevenBit => seven_bit(out, &self.octets),
            Transfer::QuotedPrintable => quoted_printable(out, &self.octets),
            Transfer::Base64 if self.is_canonical => base64(out, &self.octets),
            Transfer::Base64 => {
                let mut canonical = Vec::with_capacity(self.octets.len() + self.octets.len() / 16);
                seven_bit(&mut canonical, &self.octets);
                base64(out, &canonical);
            }
        }
    }
}

/// How many CR, LF and CRLF there are.
fn line_ends(text: &[u8]) -> (usize, usize, usize) {
    let lf = memchr_iter(b'\n', text).count();
    let (mut cr, mut crlf) = (0, 0);
    for i in memchr_iter(b'\r', text) {
        cr += 1;
        crlf += usize::from(text.get(i + 1) == Some(&b'\n'));
    }
    (cr, lf, crlf)
}

/// Canonical text has no CR but in CRLF (RFC 2046 §4.1.1).
fn without_bare_cr(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for (i, &b) in text.iter().enumerate() {
        out.push(b);
        if b == b'\r' && text.get(i + 1) != Some(&b'\n') {
            out.push(b'\n');
        }
    }
    out
}

fn has_long_line(text: &[u8]) -> bool {
    let mut start = 0;
    if text.len() <= LINE_LIMIT {
        return false;
    }
    for i in memchr_iter(b'\n', text) {
        if i - start > LINE_LIMIT {
            return true;
        }
        start = i + 1;
    }
    text.len() - start > LINE_LIMIT
}

/// What quoted-printable must escape in a text.
struct Survey {
    /// Octets that 7bit does not allow: non-ASCII and controls other than TAB, CR, LF.
    escapes: usize,
    /// Octets only quoted-printable escapes.
    equals: usize,
    is_ascii: bool,
}

impl Survey {
    /// Branch-free over short blocks, so that the compiler counts many octets at once.
    fn of(text: &[u8]) -> Self {
        let (mut escapes, mut equals, mut all) = (0, 0, 0);
        for block in text.chunks(128) {
            let (mut e, mut q) = (0u8, 0u8);
            for &b in block {
                let white = (b == b'\n') | (b == b'\r') | (b == b'\t');
                e += u8::from(((b < 0x20) & !white) | (b >= 0x7f));
                q += u8::from(b == b'=');
                all |= b;
            }
            escapes += usize::from(e);
            equals += usize::from(q);
        }
        Self {
            escapes,
            equals,
            is_ascii: all < 0x80,
        }
    }

    /// Quoted-printable, unless base64 is shorter. The text has so many line ends, and so many of
    /// them will be given a CR.
    fn shorter(&self, text: &[u8], (line_ends, bare): (usize, usize)) -> Transfer {
        let canonical = text.len() + bare;
        let based = base64_len(canonical);
        let least = canonical + 2 * (self.escapes + self.equals);
        // White space at the end of any line may be escaped.
        let columns = least + 2 * (line_ends + 1);
        let is_quoted = if columns + columns / QP_LEAST * 3 + 2 <= based {
            true
        } else if least > based {
            false
        } else {
            let mut quoted = Vec::with_capacity(based + based / 16);
            quoted_printable(&mut quoted, text);
            // The line end that a message ends with is base64's own.
            let end = if quoted.ends_with(b"\r\n") { 0 } else { 2 };
            quoted.len() + end <= based
        };
        if is_quoted {
            Transfer::QuotedPrintable
        } else {
            Transfer::Base64
        }
    }
}

fn base64_len(octets: usize) -> usize {
    octets.div_ceil(3) * 4 + octets.div_ceil(B64_OCTETS) * 2
}

fn seven_bit(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(i) = memchr(b'\n', rest) {
        let line = &rest[..i];
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
        rest = &rest[i + 1..];
    }
    out.extend_from_slice(rest);
}

/// RFC 2045 §6.7. `text` has no CR but in CRLF.
pub(crate) fn quoted_printable(out: &mut Vec<u8>, text: &[u8]) {
    let (mut i, mut col) = (0, 0);
    while i < text.len() {
        let end = i + literal_run(&text[i..]);
        col = literals(out, &text[i..end], (col, room(text, end)));
        i = end;
        match text.get(i) {
            None => break,
            Some(b'\n') => i += 1,
            Some(b'\r') if text.get(i + 1) == Some(&b'\n') => i += 2,
            Some(b'\t') => {
                col = literals(out, b"\t", (col, room(text, i + 1)));
                i += 1;
                continue;
            }
            Some(&b) => {
                col = escape(out, b, (col, room(text, i + 1)));
                i += 1;
                continue;
            }
        }
        guard_white_space(out, col);
        out.extend_from_slice(b"\r\n");
        col = 0;
    }
    guard_white_space(out, col);
}

/// The columns that what ends at `at` may fill: all where the line ends too, else one less, for the
/// `=` of a soft line break.
fn room(text: &[u8], at: usize) -> usize {
    let is_line_end = match text.get(at) {
        None | Some(b'\n') => true,
        Some(b'\r') => text.get(at + 1) == Some(&b'\n'),
        _ => false,
    };
    QP_LINE - usize::from(!is_line_end)
}

/// Writes octets that stand for themselves, with soft line breaks; answers the column.
fn literals(out: &mut Vec<u8>, mut run: &[u8], (mut col, room): (usize, usize)) -> usize {
    while col + run.len() > room {
        let (head, tail) = run.split_at(QP_LINE - 1 - col);
        out.extend_from_slice(head);
        out.extend_from_slice(b"=\r\n");
        (run, col) = (tail, 0);
    }
    out.extend_from_slice(run);
    col + run.len()
}

fn escape(out: &mut Vec<u8>, b: u8, (mut col, room): (usize, usize)) -> usize {
    if col + 3 > room {
        out.extend_from_slice(b"=\r\n");
        col = 0;
    }
    out.extend_from_slice(&[b'=', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
    col + 3
}

/// White space does not stand at the end of a line, where relays may drop it (§6.7 rule 3): it is
/// escaped, or a soft line break follows it where that is shorter.
fn guard_white_space(out: &mut Vec<u8>, col: usize) {
    let Some(&b @ (b' ' | b'\t')) = out.last().filter(|_| col > 0) else {
        return;
    };
    if col == QP_LINE - 1 {
        out.extend_from_slice(b"=\r\n");
    } else {
        out.pop();
        escape(out, b, (col - 1, QP_LINE));
    }
}

/// How many octets at the start stand for themselves: printable ASCII other than `=`.
fn literal_run(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // In each test false positives lie above a true one only, so the lowest bit set is exact.
    let zero = |v: u64| v.wrapping_sub(ONES) & !v & HIGH;
    let (words, tail) = text.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let v = u64::from_le_bytes(*word);
        let below_space = v.wrapping_sub(ONES * 0x20) & !v & HIGH;
        let found = (v & HIGH) | below_space | zero(v ^ (ONES * 0x3d)) | zero(v ^ (ONES * 0x7f));
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let literal = |b: &u8| (0x20..0x7f).contains(b) && *b != b'=';
    words.len() * 8 + tail.iter().take_while(|b| literal(b)).count()
}

/// RFC 2045 §6.8, lines of 76 columns, each ended by CRLF.
fn base64(out: &mut Vec<u8>, octets: &[u8]) {
    let engine = Simd::standard(PAD);
    let mut block = [0u8; B64_LINE * B64_BLOCK];
    out.reserve(base64_len(octets.len()) + 4);
    for chunk in octets.chunks(B64_OCTETS * B64_BLOCK) {
        let n = engine
            .encode_slice(chunk, &mut block)
            .expect("the block holds the encoding of a chunk");
        for line in block[..n].chunks(B64_LINE) {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]
mod tests {
    use mail_parser::decoders::quoted_printable::quoted_printable_decode;
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        let pieces = prop_oneof![
            Just("\n"),
            Just("\r\n"),
            Just(" "),
            Just("\t"),
            Just("="),
            Just("=\r\n"),
            Just("."),
            Just("é"),
            Just("日本"),
            Just("\0"),
            Just("\u{7f}"),
            Just("a word"),
            Just("x"),
            Just("exactly 25 octets of text"),
            Just("<td align=\"left\">"),
        ];
        proptest::collection::vec(pieces, 0..80).prop_map(|p| p.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn law_quoted_printable_round_trip(text in text()) {
            let mut out = Vec::new();
            quoted_printable(&mut out, text.as_bytes());
            for line in out.split(|b| *b == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert!(line.len() <= 76 && line.is_ascii());
                prop_assert!(!matches!(line.last(), Some(b' ' | b'\t')));
            }
            let mut canonical = Vec::new();
            seven_bit(&mut canonical, text.as_bytes());
            prop_assert_eq!(quoted_printable_decode(&out).unwrap(), canonical);
        }

        #[test]
        fn law_literal_run_is_exact(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let literal = |b: &&u8| (0x20..0x7f).contains(*b) && **b != b'=';
            prop_assert_eq!(literal_run(&octets), octets.iter().take_while(literal).count());
        }

        #[test]
        fn law_survey_never_picks_the_longer(text in text()) {
            let body = Body::text(text.as_bytes());
            let (mut chosen, mut quoted, mut based) = (Vec::new(), Vec::new(), Vec::new());
            body.write(&mut chosen);
            quoted_printable(&mut quoted, text.as_bytes());
            let mut canonical = Vec::new();
            seven_bit(&mut canonical, text.as_bytes());
            base64(&mut based, &canonical);
            // As they would stand at the end of a message.
            for written in [&mut chosen, &mut quoted, &mut based] {
                if !written.ends_with(b"\r\n") {
                    written.extend_from_slice(b"\r\n");
                }
            }
            let best = quoted.len().min(based.len());
            prop_assert!(chosen.len() <= best, "{} octets, {best} would do", chosen.len());
        }
    }
}
