//! A reply as an attempt stores it.

use postalynk_record::v1::Attempt;
use postalynk_smtp::Reply;

/// Longest reply text kept, in bytes.
const MOST_TEXT: usize = 1_024;

/// Puts code, enhanced code and text into the attempt.
pub(crate) fn put_reply(tried: &mut Attempt, reply: &Reply) {
    tried.reply_code = u32::from(reply.code());
    tried.enhanced = reply
        .enhanced()
        .map(|code| code.to_string())
        .unwrap_or_default();
    tried.reply = shorten(reply.text()).to_owned();
}

/// The longest start of the text that fits and splits no character.
fn shorten(text: &str) -> &str {
    let end = (0..=MOST_TEXT.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reply_is_cut_between_characters() {
        let long = "ä".repeat(600) + "x";
        assert_eq!(shorten(&long).len(), 1_024);
        assert_eq!(shorten(&format!("x{long}")).len(), 1_023);
        assert_eq!(shorten("short"), "short");
    }
}
