//! File names as MIME parameters: RFC 2231 for what is not ASCII, with an ASCII name beside it.
//!
//! **Model.** A short name of printable ASCII is a quoted `filename`. Any other is written twice: as
//! `filename*` in percent-encoded UTF-8 (in numbered sections when long), which modern readers take,
//! and as a `filename` with `_` for what it cannot say, for those that know no better. The exact
//! name comes first, because some readers take the first they see.

use crate::fold::Line;

const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// Octets of percent-encoding a section may hold so that its line stays under 78.
const SECTION: usize = 54;
/// The longest name written as a quoted string alone.
const QUOTED: usize = 60;

/// Writes `; filename=…` in the forms the name needs; nothing for an empty name.
pub(crate) fn filename(line: &mut Line<'_>, name: &str) {
    if name.is_empty() {
        return;
    }
    let plain = name.bytes().all(|b| (0x20..0x7f).contains(&b)) && !name.contains("=?");
    if !plain || name.len() > QUOTED {
        extended(line, name);
    }
    line.glue(b";");
    let mut ascii = String::with_capacity(QUOTED + 8);
    for ch in name.chars().take(QUOTED) {
        match ch {
            '"' | '\\' => ascii.extend(['\\', ch]),
            // Nothing here may look like an encoded word.
            '?' if !plain => ascii.push('_'),
            ' '..='~' => ascii.push(ch),
            _ => ascii.push('_'),
        }
    }
    line.word(&["filename=\"", &ascii, "\""]);
}

/// `filename*=utf-8''…`, or `filename*0*=…; filename*1*=…`.
fn extended(line: &mut Line<'_>, name: &str) {
    let mut sections = vec![String::new()];
    for ch in name.chars() {
        let mut utf8 = [0; 4];
        let mut encoded = String::with_capacity(12);
        for &b in ch.encode_utf8(&mut utf8).as_bytes() {
            if is_attribute_char(b) {
                encoded.push(char::from(b));
            } else {
                let digit = |n: u8| char::from(HEX[usize::from(n)]);
                encoded.extend(['%', digit(b >> 4), digit(b & 15)]);
            }
        }
        // A character is never split, so that a reader may decode section by section.
        match sections.last_mut() {
            Some(last) if last.len() + encoded.len() <= SECTION => last.push_str(&encoded),
            _ => sections.push(encoded),
        }
    }
    let single = sections.len() == 1;
    for (n, section) in sections.iter().enumerate() {
        let number = if single {
            String::new()
        } else {
            format!("*{n}")
        };
        let charset = if n == 0 { "utf-8''" } else { "" };
        line.glue(b";");
        line.word(&["filename", &number, "*=", charset, section]);
    }
}

/// RFC 2231 §7 `attribute-char`.
fn is_attribute_char(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&b)
}
