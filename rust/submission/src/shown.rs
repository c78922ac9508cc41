//! Header fields as people are shown them: text and lists of mailboxes, in their plain forms.
//!
//! **Idea.** Most mail writes these fields in few ways. Those are read here; of any other form
//! nothing is said (`None`), and whoever knows all forms is asked.
//! **Law `law_plain_lists_are_read`.** A list that is written plainly is read as it was meant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Octets of a field that are looked at here.
const MAX_FIELD: usize = 20_000;

/// A display name, which may be empty, and an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mailbox {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Mailbox {
    /// `Name <a@b>`, or the address alone.
    pub(crate) fn shown(&self) -> String {
        if self.name.is_empty() {
            self.address.clone()
        } else {
            format!("{} <{}>", self.name, self.address)
        }
    }
}

/// `text` with each run of control characters as one space: databases refuse NUL.
pub(crate) fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut was_control = false;
    for ch in text.chars() {
        let is_control = ch.is_ascii_control();
        if !is_control {
            kept.push(ch);
        } else if !was_control {
            kept.push(' ');
        }
        was_control = is_control;
    }
    kept
}

/// Text with its encoded words (RFC 2047) read, and no control character.
pub(crate) fn decoded(text: &str) -> Option<String> {
    read_words(text).map(|text| clean(&text))
}

/// Text with its encoded words read: none, or nothing but words of UTF-8.
pub(crate) fn read_words(text: &str) -> Option<String> {
    if !text.contains("=?") {
        return Some(text.to_owned());
    }
    let mut octets = Vec::with_capacity(text.len());
    for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
        decode_word(word, &mut octets)?;
    }
    // A character may be split between two words, so they are read as one.
    String::from_utf8(octets).ok()
}

fn decode_word(word: &str, octets: &mut Vec<u8>) -> Option<()> {
    let inner = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut parts = inner.split('?');
    let (charset, encoding, payload) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !charset.eq_ignore_ascii_case("utf-8") || payload.is_empty() {
        return None;
    }
    if encoding.eq_ignore_ascii_case("b") {
        octets.extend(STANDARD.decode(payload).ok()?);
        return Some(());
    }
    if !encoding.eq_ignore_ascii_case("q") {
        return None;
    }
    let mut rest = payload.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'_' => b' ',
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?
            }
            b'!'..=b'~' => octet,
            _ => return None,
        });
    }
    Some(())
}

/// The mailboxes of a list; `None` when one is not written plainly, or there are many.
pub(crate) fn mailboxes(list: &str, most: usize) -> Option<Vec<Mailbox>> {
    let mut found = Vec::new();
    if list.is_empty() {
        return Some(found);
    }
    if list.len() > MAX_FIELD {
        return None;
    }
    let mut rest = list;
    loop {
        let (mailbox, after) = mailbox(rest)?;
        found.push(mailbox);
        if after.is_empty() {
            return (found.len() <= most).then_some(found);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// The mailbox a text begins with, and what follows it.
fn mailbox(text: &str) -> Option<(Mailbox, &str)> {
    let mut rest = blank(text);
    let mut words: Vec<&str> = Vec::new();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find(['"', '\\'])?;
            if quoted.as_bytes()[end] != b'"' || quoted[..end].chars().any(char::is_control) {
                return None;
            }
            words.push(&quoted[..end]);
            rest = blank(&quoted[end + 1..]);
            continue;
        }
        let end = rest.find(|ch| !is_word(ch)).unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        words.push(&rest[..end]);
        rest = blank(&rest[end..]);
        if rest.starts_with('@') {
            break;
        }
    }
    if let Some(angle) = rest.strip_prefix('<') {
        let (address, after) = angle.split_once('>')?;
        let name = decoded(&words.join(" "))?;
        let address = plain_address(address)?.to_owned();
        return Some((Mailbox { name, address }, blank(after)));
    }
    // No angle brackets: the text begins with the address, quotes and spaces are not plain.
    let text = blank(text);
    let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
    let address = plain_address(&text[..end])?.to_owned();
    let name = String::new();
    Some((Mailbox { name, address }, blank(&text[end..])))
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Of a word of a phrase: an atom, with dots, in any script.
fn is_word(ch: char) -> bool {
    match ch {
        '(' | ')' | '<' | '>' | '@' | ',' | ':' | ';' | '\\' | '"' | '[' | ']' | ' ' => false,
        other => !other.is_control(),
    }
}

fn plain_address(text: &str) -> Option<&str> {
    let (local, domain) = text.split_once('@')?;
    let is_atom = |ch: u8| ch.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&ch);
    let is_label = |ch: u8| ch.is_ascii_alphanumeric() || ch == b'-';
    let is_dotted = |text: &str, is: fn(u8) -> bool| {
        text.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(is))
    };
    (is_dotted(local, is_atom) && is_dotted(domain, is_label)).then_some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoded_words_are_read_as_one() {
        let text = "=?utf-8?q?Za=C5?= \t=?UTF-8?B?vCB4?=";
        assert_eq!(decoded(text).unwrap(), "Za\u{17c} x");
        assert_eq!(decoded("a\r\0b").unwrap(), "a b");
        for other in [
            "x =?utf-8?q?a?=",
            "=?latin1?q?a?=",
            "=?utf-8?q?=C5?=",
            "=?utf-8?b?a?=",
            "=?utf-8?q??=",
            "=?utf-8?q?=+1?=",
        ] {
            assert_eq!(decoded(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        for list in [
            "a@b (x)",
            "team: a@b;",
            "a@b,,c@d",
            "<a@b> x",
            "\"a\"@b",
            "a b@c",
            "\"a\\\"\" <a@b>",
            "<@x:a@b>",
            "a@[192.0.2.1]",
            "a..b@c",
            "a@b,",
            "a@b c",
        ] {
            assert_eq!(mailboxes(list, 50), None, "{list}");
        }
    }

    proptest! {
        /// Law: what is written plainly is read as it was meant.
        #[test]
        fn law_plain_lists_are_read(
            given in prop::collection::vec(("[A-Za-z\u{fc}]{0,4}( [A-Z.]{1,3}){0,2}", "[a-z+]{1,3}@[a-z]{1,3}\\.com", any::<bool>()), 1..5),
        ) {
            let boxes: Vec<Mailbox> = given.iter().map(|(name, address, _)| Mailbox {
                name: name.trim().to_owned(),
                address: address.clone(),
            }).collect();
            let written: Vec<String> = boxes.iter().zip(&given).map(|(mailbox, (_, _, is_quoted))| {
                if *is_quoted { format!("\"{}\"\t<{}>", mailbox.name, mailbox.address) } else { mailbox.shown() }
            }).collect();
            prop_assert_eq!(mailboxes(&written.join(" , "), 50), Some(boxes));
        }
    }
}
