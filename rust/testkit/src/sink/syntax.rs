//! The few forms a session reads and says in commands and replies.

use crate::script::Step;

/// The code a reply begins with; zero when it has none.
pub(super) fn code(reply: &[u8]) -> u16 {
    let digits = reply
        .get(..3)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Whether a reply is 2yz or 3yz.
pub(super) fn is_positive(reply: &str) -> bool {
    reply.starts_with(['2', '3'])
}

/// The address between brackets after `FROM:` or `TO:`.
pub(super) fn path<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = text.split_at_checked(keyword.len())?;
    let inside = rest
        .trim_start()
        .strip_prefix('<')
        .filter(|_| word.eq_ignore_ascii_case(keyword))?;
    inside.split_once('>').map(|(path, _)| path)
}

/// What a receiver that behaves well says at a step.
pub(super) fn good_reply(step: Step) -> &'static str {
    match step {
        Step::Banner => "220 sink.test ESMTP",
        Step::Ehlo => "250 sink.test",
        Step::StartTls => "220 2.0.0 Go ahead",
        Step::Mail => "250 2.1.0 OK",
        Step::Rcpt => "250 2.1.5 OK",
        Step::Data => "354 Go ahead",
        Step::FinalDot | Step::Rset => "250 2.0.0 OK",
        Step::Quit => "221 2.0.0 Bye",
    }
}
