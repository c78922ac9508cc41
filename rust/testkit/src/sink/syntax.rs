//! The few forms a session reads in commands and replies.

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
