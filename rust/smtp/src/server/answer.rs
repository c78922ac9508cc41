//! What the server says: one reply, safe to write.

use std::borrow::Cow;
use std::fmt;

/// Longest text of an answer; with code and line break it fits a reply line (RFC 5321, 4.5.3.1.5).
const MAX_TEXT: usize = 480;

/// A reply of one line: code, enhanced code (RFC 2034) and words that say the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(Cow<'static, str>);

impl Answer {
    /// `text` is `CODE E.N.H words`; whatever could end the line or is not ASCII becomes `?`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let safe = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
        let text: String = text.chars().take(MAX_TEXT).map(safe).collect();
        let is_reply = text.len() > 4
            && text.as_bytes()[..3].iter().all(u8::is_ascii_digit)
            && text.as_bytes()[3] == b' '
            && matches!(text.as_bytes()[0], b'2' | b'4' | b'5');
        if is_reply {
            Self(text.into())
        } else {
            Self::fixed("451 4.3.0 No usable answer; send it again later")
        }
    }

    pub(super) const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The line without its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it says yes.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.0.starts_with('2')
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_whatever_it_is_made_of() {
        assert_eq!(
            Answer::new("550 5.7.1 no\r\n250 ü").as_str(),
            "550 5.7.1 no??250 ?"
        );
        assert_eq!(
            Answer::new(&format!("250 {}", "a".repeat(999)))
                .as_str()
                .len(),
            MAX_TEXT
        );
        for no_reply in ["", "hello", "250", "250-x", "354 go on", "99 x y z"] {
            assert!(
                Answer::new(no_reply).as_str().starts_with("451 "),
                "{no_reply}"
            );
        }
    }
}
