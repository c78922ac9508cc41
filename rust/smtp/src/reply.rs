//! Replies: a code, an enhanced code, lines of text (RFC 5321, 4.2; RFC 3463).
//!
//! **Problem.** Replies come split at any byte, in several lines, and from peers that may be
//! broken or hostile.
//! **Model.** [`parse_reply_line`] is a pure function over one line without its line break;
//! [`ReplyParser`] collects lines into replies and never looks at a byte twice.
//! **Invariants.** At most [`MAX_REPLY_LINES`] lines of [`MAX_REPLY_LINE`] octets are held. A CR
//! that is not part of CRLF is an error; a lone LF ends a line, as many receivers send it and
//! nothing can be smuggled to a client that way. Control characters never reach the text.
//! **Law `law_parser_never_panics`**, and for splits see the crate.

use memchr::memchr;
use std::fmt;

/// Longest reply line in octets without CRLF. RFC 5321 says 512; real ones are longer.
pub const MAX_REPLY_LINE: usize = 4096;
/// Most lines of one reply.
pub const MAX_REPLY_LINES: usize = 100;

/// One complete reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: Box<str>,
}

impl Reply {
    /// Builds a reply, as for an outcome made locally; `text` has `\n` between lines. A leading
    /// enhanced code in the text is recognised as in a received reply.
    #[must_use]
    pub fn new(code: u16, text: &str) -> Self {
        Self {
            code,
            enhanced: EnhancedCode::leading(code, text),
            text: text.into(),
        }
    }

    /// The three-digit code, 200 to 599 when received.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The RFC 3463 code, when the text begins with a well-formed one of the reply's class.
    #[must_use]
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The text of all lines, joined by `\n`, enhanced code included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text line by line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// 2yz: done.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: go on.
    #[must_use]
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: not now (RFC 5321, 4.2.1). What a reply means for a recipient is
    /// [`Rejection::is_transient`](crate::Rejection::is_transient).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: never (RFC 5321, 4.2.1).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text.replace('\n', " "))
    }
}

/// An RFC 3463 code such as 4.7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2, 4 or 5; agrees with the reply's first digit (RFC 2034, section 4).
    pub class: u8,
    /// What it is about, 0 to 999.
    pub subject: u16,
    /// Which detail, 0 to 999.
    pub detail: u16,
}

impl EnhancedCode {
    fn leading(code: u16, text: &str) -> Option<Self> {
        let word = text.split([' ', '\n', '\t']).next()?;
        let mut parts = word.split('.').map(|part| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            if digits {
                part.parse::<u16>().ok()
            } else {
                None
            }
        });
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        let agrees = class == code / 100
            && matches!(class, 2 | 4 | 5)
            && word.as_bytes().get(1) == Some(&b'.');
        if parts.next().is_some() || !agrees {
            return None;
        }
        Some(Self {
            class: class as u8,
            subject,
            detail,
        })
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Why bytes are not a reply. The connection cannot be trusted afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The line does not begin with a code of 200 to 599 and then a space, `-` or its end.
    #[error("not an SMTP reply")]
    Garbage,
    /// A CR without LF.
    #[error("bare CR in a reply")]
    BareCr,
    /// The lines of one reply carry different codes.
    #[error("reply lines disagree on their code")]
    CodeChanged,
    /// A line over [`MAX_REPLY_LINE`].
    #[error("reply line too long")]
    LineTooLong,
    /// More than [`MAX_REPLY_LINES`].
    #[error("too many reply lines")]
    TooManyLines,
}

/// One line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLine<'a> {
    /// 200 to 599.
    pub code: u16,
    /// No further line follows.
    pub is_last: bool,
    /// What stands after the code; any bytes.
    pub text: &'a [u8],
}

/// Reads one line, given without its line break.
///
/// # Errors
/// [`ReplyError::BareCr`], [`ReplyError::LineTooLong`] or [`ReplyError::Garbage`].
pub fn parse_reply_line(line: &[u8]) -> Result<ReplyLine<'_>, ReplyError> {
    check_length_and_cr(line)?;
    if line.len() > MAX_REPLY_LINE {
        return Err(ReplyError::LineTooLong);
    }
    if line.last() == Some(&b'\r') {
        return Err(ReplyError::BareCr);
    }
    let (digits, rest) = line.split_first_chunk::<3>().ok_or(ReplyError::Garbage)?;
    let well_formed =
        matches!(digits[0], b'2'..=b'5') && digits[1..].iter().all(u8::is_ascii_digit);
    if !well_formed {
        return Err(ReplyError::Garbage);
    }
    let code = digits
        .iter()
        .fold(0, |code, d| code * 10 + u16::from(d - b'0'));
    match rest.split_first() {
        None => Ok(ReplyLine {
            code,
            is_last: true,
            text: b"",
        }),
        Some((b' ', text)) => Ok(ReplyLine {
            code,
            is_last: true,
            text,
        }),
        Some((b'-', text)) => Ok(ReplyLine {
            code,
            is_last: false,
            text,
        }),
        Some(_) => Err(ReplyError::Garbage),
    }
}

/// Judges the start of a line whose end may be still to come: the verdict depends only on the
/// first octets, so it is the same however the line was split.
fn check_length_and_cr(line: &[u8]) -> Result<(), ReplyError> {
    let head = &line[..line.len().min(MAX_REPLY_LINE + 2)];
    match memchr(b'\r', head) {
        Some(at) if at + 1 < head.len() => Err(ReplyError::BareCr),
        _ if head.len() == MAX_REPLY_LINE + 2 => Err(ReplyError::LineTooLong),
        _ => Ok(()),
    }
}

/// Collects bytes into replies.
#[derive(Debug, Default)]
pub struct ReplyParser {
    partial_line: Vec<u8>,
    code: u16,
    lines: usize,
    text: String,
}

impl ReplyParser {
    /// Takes bytes off the front of `input` up to the end of the next reply; `None` when more
    /// bytes are needed, all of `input` being consumed then.
    ///
    /// # Errors
    /// [`ReplyError`] at the first line that breaks a rule. Do not call again afterwards.
    pub fn next_reply(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while let Some(end) = memchr(b'\n', input) {
            let line = &input[..end];
            *input = &input[end + 1..];
            let reply = if self.partial_line.is_empty() {
                self.take_line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.partial_line);
                // Past the limit the rest of the line changes nothing but memory.
                whole.extend_from_slice(&line[..line.len().min(MAX_REPLY_LINE + 2)]);
                let reply = self.take_line(&whole)?;
                whole.clear();
                self.partial_line = whole;
                reply
            };
            if reply.is_some() {
                return Ok(reply);
            }
        }
        self.partial_line
            .extend_from_slice(&input[..input.len().min(MAX_REPLY_LINE + 2)]);
        *input = &[];
        check_length_and_cr(&self.partial_line)?;
        Ok(None)
    }

    /// Whether a reply has begun and not ended.
    #[must_use]
    pub fn is_mid_reply(&self) -> bool {
        self.lines > 0 || !self.partial_line.is_empty()
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        // Judged with its CR, as an incomplete line is.
        check_length_and_cr(line)?;
        let line = parse_reply_line(line.strip_suffix(b"\r").unwrap_or(line))?;
        if self.lines == 0 {
            self.code = line.code;
        } else if self.code != line.code {
            return Err(ReplyError::CodeChanged);
        } else if self.lines == MAX_REPLY_LINES {
            return Err(ReplyError::TooManyLines);
        } else {
            self.text.push('\n');
        }
        self.lines += 1;
        push_text(&mut self.text, line.text);
        if !line.is_last {
            return Ok(None);
        }
        self.lines = 0;
        let reply = Reply::new(self.code, &self.text);
        self.text.clear();
        Ok(Some(reply))
    }
}

/// Appends a line's text with anything that is not printable UTF-8 replaced: replies end up in
/// logs, terminals and web pages.
fn push_text(text: &mut String, line: &[u8]) {
    let readable = String::from_utf8_lossy(line);
    if readable.bytes().all(|b| (b' '..0x7f).contains(&b)) {
        text.push_str(&readable);
    } else {
        let shown = |c: char| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        };
        text.extend(readable.chars().map(shown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(mut input: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let mut parser = ReplyParser::default();
        let mut replies = Vec::new();
        while let Some(reply) = parser.next_reply(&mut input)? {
            replies.push(reply);
        }
        Ok(replies)
    }

    #[test]
    fn one_and_many_lines() {
        let replies =
            all(b"250-first\r\n250-second\r\n250 third\r\n354\r\n421 4.3.2 bye\n").unwrap();
        assert_eq!(
            replies.iter().map(Reply::code).collect::<Vec<_>>(),
            [250, 354, 421]
        );
        assert_eq!(
            replies[0].lines().collect::<Vec<_>>(),
            ["first", "second", "third"]
        );
        assert_eq!(replies[1].text(), "");
        assert_eq!(
            replies[2].enhanced().map(|e| e.to_string()).as_deref(),
            Some("4.3.2")
        );
    }

    #[test]
    fn enhanced_code_only_when_well_formed_and_of_the_same_class() {
        let read = |code, text| Reply::new(code, text).enhanced().map(|e| e.to_string());
        assert_eq!(read(550, "5.1.1 gone").as_deref(), Some("5.1.1"));
        assert_eq!(read(550, "5.7.515").as_deref(), Some("5.7.515"));
        for text in [
            "4.1.1 x",
            "5.1 x",
            "5.1.1.1 x",
            "5..1 x",
            "5.1.1234 x",
            "05.1.1 x",
            "x 5.1.1",
            "",
            "5.1.1: x",
        ] {
            assert_eq!(read(550, text), None, "{text}");
        }
    }

    #[test]
    fn broken_replies_are_named() {
        assert_eq!(all(b"hello\r\n"), Err(ReplyError::Garbage));
        assert_eq!(all(b"\r\n"), Err(ReplyError::Garbage));
        assert_eq!(all(b"150 x\r\n"), Err(ReplyError::Garbage));
        assert_eq!(all(b"2500 x\r\n"), Err(ReplyError::Garbage));
        assert_eq!(all(b"220 a\r250 b"), Err(ReplyError::BareCr));
        assert_eq!(all(b"220 a\rb\r\n"), Err(ReplyError::BareCr));
        assert_eq!(all(b"220 a\r\r\n"), Err(ReplyError::BareCr));
        assert_eq!(all(b"220-a\r\n250 b\r\n"), Err(ReplyError::CodeChanged));
        assert_eq!(
            all(&[b'2'; MAX_REPLY_LINE + 2]),
            Err(ReplyError::LineTooLong)
        );
        assert_eq!(
            all("250-x\r\n".repeat(MAX_REPLY_LINES + 1).as_bytes()),
            Err(ReplyError::TooManyLines)
        );
        assert_eq!(
            all("250-x\r\n".repeat(MAX_REPLY_LINES).as_bytes()),
            Ok(vec![])
        );
    }

    #[test]
    fn control_bytes_never_reach_the_text() {
        let replies = all(b"550 a\x1b[2Jb\x00\xff\r\n").unwrap();
        assert_eq!(replies[0].text(), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
    }

    proptest! {
        /// Law: arbitrary bytes in arbitrary pieces give an answer, in bounded memory.
        #[test]
        fn law_parser_never_panics(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6000), 0..6)) {
            let mut parser = ReplyParser::default();
            'all: for piece in &pieces {
                let mut input = piece.as_slice();
                loop {
                    match parser.next_reply(&mut input) {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
                prop_assert!(parser.partial_line.len() <= MAX_REPLY_LINE + 2);
            }
        }
    }
}
