//! Encoded words (RFC 2047): any Unicode text in an ASCII header.
//!
//! **Model.** The whole text becomes a row of words, B or Q, whichever is shorter; white space between
//! the words is the reader's to drop, so all of the text's own is inside them.
//! **Invariants.** A word is at most 75 octets, a line with one at most 76 (§2); each holds whole
//! characters (§5); Q uses only what a phrase allows (§5 rule 3), so one form serves every place.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::fold::Line;

const OPEN_Q: &[u8] = b"=?utf-8?q?";
const OPEN_B: &[u8] = b"=?utf-8?b?";
const CLOSE: &[u8] = b"?=";
/// `=?utf-8?q?` and `?=`.
const FRAME: usize = 12;
/// The longest word and the longest line, in octets.
const WORD: usize = 75;
const LINE: usize = 76;
/// The most one character takes: four octets as `=XX`.
const CHAR: usize = 12;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes text as encoded words, each with a space or a fold before it.
pub(crate) fn encode(line: &mut Line<'_>, text: &str) {
    let q_octets: usize = text.bytes().map(q_cost).sum();
    let use_b = text.len().div_ceil(3) * 4 < q_octets;
    let mut rest = text;
    while !rest.is_empty() {
        if line.col + 1 + FRAME + CHAR > LINE {
            line.fold();
        }
        line.glue(b" ");
        let room = WORD.min(LINE - line.col) - FRAME;
        let (head, tail) = rest.split_at(if use_b {
            fit_b(rest, room)
        } else {
            fit_q(rest, room)
        });
        rest = tail;
        line.glue(if use_b { OPEN_B } else { OPEN_Q });
        if use_b {
            let start = line.out.len();
            let octets = head.len().div_ceil(3) * 4;
            line.out.resize(start + octets, 0);
            STANDARD
                .encode_slice(head, &mut line.out[start..])
                .expect("the slice is as long as the encoding");
            line.col += octets;
        } else {
            head.bytes().for_each(|b| push_q(line, b));
        }
        line.glue(CLOSE);
        if !rest.is_empty() {
            line.fold();
        }
    }
}

/// How many octets of `text`, whole characters, fit `room` octets in B.
fn fit_b(text: &str, room: usize) -> usize {
    let most = room / 4 * 3;
    if text.len() <= most {
        return text.len();
    }
    (0..=most)
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0)
}

/// How many octets of `text`, whole characters, fit `room` octets in Q.
fn fit_q(text: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, ch) in text.char_indices() {
        let octets = &text.as_bytes()[at..at + ch.len_utf8()];
        used += octets.iter().map(|b| q_cost(*b)).sum::<usize>();
        if used > room {
            return at;
        }
    }
    text.len()
}

fn is_q_literal(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!*+-/".contains(&b)
}

fn q_cost(b: u8) -> usize {
    if b == b' ' || is_q_literal(b) { 1 } else { 3 }
}

fn push_q(line: &mut Line<'_>, b: u8) {
    match b {
        b' ' => line.glue(b"_"),
        _ if is_q_literal(b) => line.glue(&[b]),
        _ => line.glue(&[b'=', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]),
    }
}
