//! Writing header lines: words go out with a space before them, or with a fold where the line is full.
//!
//! **Invariant.** A fold stands only before white space that was there, and never makes a line of
//! white space alone (RFC 5322 §2.2.3, §3.2.2), so unfolding gives back exactly what was written.

use crate::address::Mailbox;
use crate::header::longest_word;
use crate::word;

/// The shorter of two limits serves every line: 76 for one with an encoded word (RFC 2047 §2), 78 for
/// any (RFC 5322 §2.1.1); less the comma that may follow a mailbox.
const LINE: usize = 75;
/// The most a line may have (RFC 5322 §2.1.1).
const MOST: usize = 998;
/// The longest word of a text that is written as it is; encoded words fold anywhere.
const LITERAL: usize = 60;
/// The longest display name written on one line as it is; longer ones become encoded words, which fold.
const NAME: usize = 64;

/// A header line being written at the end of a buffer.
pub(crate) struct Line<'o> {
    pub(crate) out: &'o mut Vec<u8>,
    pub(crate) col: usize,
}

impl<'o> Line<'o> {
    /// Begins a header.
    pub(crate) fn begin(out: &'o mut Vec<u8>, name: &str) -> Self {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        Self {
            out,
            col: name.len() + 1,
        }
    }

    /// Ends the header.
    pub(crate) fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// Continues on the next line; white space must follow.
    pub(crate) fn fold(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.col = 0;
    }

    /// Writes octets where no fold may come before them.
    pub(crate) fn glue(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
        self.col += octets.len();
    }

    /// Writes a space and a word, folded before the space when the word does not fit. The word comes
    /// in pieces, so that none need be put together first.
    pub(crate) fn word(&mut self, pieces: &[&str]) {
        let octets: usize = pieces.iter().map(|p| p.len()).sum();
        if self.col + 1 + octets > LINE {
            self.fold();
        }
        self.glue(b" ");
        pieces.iter().for_each(|piece| self.glue(piece.as_bytes()));
    }

    /// Writes a space and ASCII text without white space at its ends, folded where it has some.
    pub(crate) fn ascii(&mut self, text: &str) {
        if self.col + 1 + text.len() <= LINE {
            self.glue(b" ");
            return self.glue(text.as_bytes());
        }
        let bytes = text.as_bytes();
        let is_space = |b: u8| b == b' ' || b == b'\t';
        let mut start = 0;
        while start < bytes.len() {
            let spaces = bytes[start..].iter().take_while(|b| is_space(**b)).count();
            let word = bytes[start + spaces..]
                .iter()
                .take_while(|b| !is_space(**b))
                .count();
            let end = start + spaces + word;
            let lead: &[u8] = if start == 0 { b" " } else { b"" };
            // Some readers keep the space of a fold right after the colon, so there the line may be
            // longer than it should be, if not longer than it must be.
            let limit = if start == 0 { MOST } else { LINE };
            if self.col + lead.len() + (end - start) > limit {
                self.fold();
            }
            self.glue(lead);
            self.glue(&bytes[start..end]);
            start = end;
        }
    }

    /// Writes Unicode text so that exactly it is read back: as it is, or as encoded words.
    pub(crate) fn unstructured(&mut self, text: &str) {
        if text.is_empty() {
            self.glue(b" ");
        } else if is_literal(text) {
            self.ascii(text);
        } else {
            word::encode(self, text);
        }
    }

    /// Writes a mailbox: `addr`, `Name <addr>`, `"Na,me" <addr>` or encoded words before `<addr>`.
    pub(crate) fn mailbox(&mut self, mailbox: &Mailbox<'_>) {
        let (name, address) = (mailbox.name(), mailbox.address().as_str());
        if name.is_empty() {
            return self.word(&[address]);
        }
        self.phrase(name);
        self.word(&["<", address, ">"]);
    }

    fn phrase(&mut self, name: &str) {
        let plain = name.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !plain || name.len() > NAME || name.contains("=?") {
            return word::encode(self, name);
        }
        if name.split(' ').all(is_atom) {
            return self.word(&[name]);
        }
        if !name.contains(['"', '\\']) {
            return self.word(&["\"", name, "\""]);
        }
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        self.word(&["\"", &escaped, "\""]);
    }
}

/// RFC 5322 §3.2.3 `atom`.
fn is_atom(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    !text.is_empty() && text.bytes().all(legal)
}

/// Whether text in an unstructured header reads back as itself.
fn is_literal(text: &str) -> bool {
    text.bytes().all(|b| (0x20..0x7f).contains(&b))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains("=?")
        && (text.len() <= LITERAL || longest_word(text) <= LITERAL)
}
