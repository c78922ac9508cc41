//! What a message's header says, and the message without what must not be sent on.
//!
//! **Model.** The header is walked once, field by field, as slices. Fields that are to go are left
//! out; a message without any is not copied.
//! **Agreement.** A field is what `postalynk-dkim` takes for one, so what passes here can be
//! signed.
//! **Law `law_the_rest_is_untouched`.** What remains is the message minus whole fields.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr_iter};
use postalynk_smtp::server::Answer;
use std::ops::Range;

/// Longest header in octets; real ones have some thousand.
const MAX_HEADER: usize = 256 * 1024;
const OWN: &str = "x-postalynk-";
/// Fields of which a second one would leave it to the reader which counts.
const SINGLE: [&str; 7] = [
    "from",
    "subject",
    "date",
    "message-id",
    "tls-required",
    "x-postalynk-priority",
    "x-postalynk-idempotency-key",
];

/// The header of a submitted message. Values are unfolded and otherwise as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The message to be sent, CRLF line ends.
    pub raw: Bytes,
    /// `From`; there is exactly one.
    pub from: String,
    /// `To`; several fields are joined with a comma, empty: none.
    pub to: String,
    /// `Cc`, likewise.
    pub cc: String,
    /// `Reply-To`, likewise.
    pub reply_to: String,
    /// `Subject`.
    pub subject: String,
    /// `Message-ID`, without its angle brackets; empty: there is none.
    pub message_id: String,
    /// Whether there is a `Date`.
    pub has_date: bool,
    /// Every `X-Postalynk-Tag`, in order.
    pub tags: Vec<String>,
    /// `X-Postalynk-Priority`, empty: none.
    pub priority: String,
    /// `X-Postalynk-Idempotency-Key`, empty: none.
    pub idempotency_key: String,
    /// `TLS-Required: No` (RFC 8689).
    pub is_tls_optional: bool,
}

impl Head {
    /// Reads a message whose line ends are CRLF.
    ///
    /// # Errors
    /// The answer to the client when it is no message that can be sent on.
    pub fn read(content: &Bytes) -> Result<Self, Answer> {
        let mut head = Self::default();
        let mut dropped: Vec<Range<usize>> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        let mut at = 0;
        while at < content.len() && !content[at..].starts_with(b"\r\n") {
            let end = end_of_field(content, at);
            if end > MAX_HEADER {
                return Err(wrong(&format!(
                    "the header has more than {MAX_HEADER} octets"
                )));
            }
            let (name, value) = field(&content[at..end])?;
            if let Some(single) = SINGLE.iter().find(|single| **single == name) {
                if seen.contains(single) {
                    let reason = format!("{name} stands twice (RFC 5322, 3.6 allows it once)");
                    return Err(wrong(&reason));
                }
                seen.push(single);
            }
            if name.starts_with(OWN) || matches!(name.as_str(), "bcc" | "resent-bcc") {
                dropped.push(at..end);
            }
            head.note(&name, value)?;
            at = end;
        }
        if head.from.is_empty() {
            return Err(wrong("there is no From: add one with your address"));
        }
        head.raw = without(content, &dropped);
        Ok(head)
    }

    fn note(&mut self, name: &str, value: String) -> Result<(), Answer> {
        match name {
            "from" => self.from = value,
            "to" => join(&mut self.to, &value),
            "cc" => join(&mut self.cc, &value),
            "reply-to" => join(&mut self.reply_to, &value),
            "subject" => self.subject = value,
            "date" => self.has_date = true,
            "message-id" => {
                let bare = value.trim_start_matches('<').trim_end_matches('>');
                bare.clone_into(&mut self.message_id);
            }
            "tls-required" => self.is_tls_optional = value.eq_ignore_ascii_case("no"),
            "x-postalynk-tag" => self.tags.push(value),
            "x-postalynk-priority" => self.priority = value,
            "x-postalynk-idempotency-key" => self.idempotency_key = value,
            other if other.starts_with(OWN) => {
                let reason = format!("{other} is no field of Postalynk's: leave it out");
                return Err(wrong(&reason));
            }
            _ => {}
        }
        Ok(())
    }
}

fn wrong(reason: &str) -> Answer {
    Answer::new(&format!("550 5.6.0 Not a message to be sent: {reason}"))
}

fn join(list: &mut String, value: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(value);
}

/// Just behind the field that begins at `at`, folded lines included.
fn end_of_field(content: &[u8], at: usize) -> usize {
    memchr_iter(b'\n', &content[at..])
        .map(|lf| at + lf + 1)
        .find(|&next| !matches!(content.get(next), Some(b' ' | b'\t')))
        .unwrap_or(content.len())
}

/// The name in lower case and the unfolded value.
fn field(raw: &[u8]) -> Result<(String, String), Answer> {
    let text = std::str::from_utf8(raw)
        .map_err(|_| wrong("a header field is not UTF-8: encode it (RFC 2047)"))?;
    let (name, value) = memchr(b':', raw)
        .map(|colon| (text[..colon].trim_ascii_end(), &text[colon + 1..]))
        .filter(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or_else(|| {
            let start: String = text.chars().take(40).collect();
            wrong(&format!("{start:?} begins no header field"))
        })?;
    let value = value.replace("\r\n", "");
    Ok((
        name.to_ascii_lowercase(),
        value.trim_matches([' ', '\t']).to_owned(),
    ))
}

fn without(content: &Bytes, dropped: &[Range<usize>]) -> Bytes {
    if dropped.is_empty() {
        return content.clone();
    }
    let mut kept = BytesMut::with_capacity(content.len());
    let mut start = 0;
    for range in dropped {
        kept.extend_from_slice(&content[start..range.start]);
        start = range.end;
    }
    kept.extend_from_slice(&content[start..]);
    kept.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Head, Answer> {
        Head::read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_header_is_read_and_what_must_not_go_on_is_gone() {
        let head = read(
            "From: A <a@b.example>\r\nTo: x@y.example,\r\n\tz@y.example\r\nBCC: secret@y.example\r\n \
             , more@y.example\r\nto: third@y.example\r\nSubject: \u{fc} \r\nMessage-ID: <1@b.example>\r\n\
             X-Postalynk-Tag: a=1\r\nx-postalynk-tag: b=2\r\nX-Postalynk-Priority: high\r\nDate: now\r\n\r\n\
             Bcc: in the body\r\n",
        )
        .unwrap();
        assert_eq!(head.from, "A <a@b.example>");
        assert_eq!(head.to, "x@y.example,\tz@y.example, third@y.example");
        assert_eq!(
            (head.subject.as_str(), head.message_id.as_str()),
            ("\u{fc}", "1@b.example")
        );
        assert_eq!(
            (head.tags, head.priority.as_str()),
            (vec!["a=1".into(), "b=2".into()], "high")
        );
        assert!(head.has_date && head.idempotency_key.is_empty() && !head.is_tls_optional);
        let easy = read("From: a@b.example\r\nTLS-Required: no\r\n\r\n").unwrap();
        assert!(easy.is_tls_optional && easy.raw.starts_with(b"From"));
        assert!(
            !read("From: a\r\nTLS-Required: Yes\r\n\r\n")
                .unwrap()
                .is_tls_optional
        );
        let raw = std::str::from_utf8(&head.raw).unwrap();
        assert!(
            !raw.contains("secret")
                && !raw.contains("more@")
                && !raw.to_lowercase().contains("postalynk")
        );
        assert!(raw.ends_with("Date: now\r\n\r\nBcc: in the body\r\n"));
    }

    #[test]
    fn what_is_no_message_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no From"),
            ("\r\nFrom: a@b.example\r\n", "no From"),
            ("From:\r\nFrom: c@d.example\r\n\r\n", "from stands twice"),
            (
                "From: a@b.example\r\nFrom: c@d.example\r\n\r\n",
                "from stands twice",
            ),
            (
                "From: a@b.example\r\nSubject:\r\nsubject: x\r\n\r\n",
                "subject stands twice",
            ),
            ("hello\r\n\r\n", "begins no header field"),
            (" folded: nothing\r\n\r\n", "begins no header field"),
            (
                "From: a@b.example\r\nX-Postalynk-Magic: 1\r\n\r\n",
                "no field of Postalynk's",
            ),
        ] {
            let answer = read(text).unwrap_err();
            assert!(
                answer.as_str().starts_with("550 5.6.0") && answer.as_str().contains(reason),
                "{text:?}: {answer}"
            );
        }
        let latin = Bytes::from_static(b"From: a@b.example\r\nSubject: \xfc\r\n\r\n");
        assert!(Head::read(&latin).unwrap_err().as_str().contains("UTF-8"));
        assert!(
            read(&format!(
                "From: a@b.example\r\nX: {}\r\n\r\n",
                "y".repeat(MAX_HEADER)
            ))
            .is_err()
        );
    }

    proptest! {
        /// Law: what remains is the message minus whole fields; without such fields it is the same.
        #[test]
        fn law_the_rest_is_untouched(
            fields in prop::collection::vec(prop::sample::select(vec![
                "Bcc: x\r\n", "Bcc:\r\n\tx\r\n", "X-A: b\r\n c\r\n", "X-Postalynk-Tag: a=b\r\n", "To: y\r\n",
            ]), 0..8),
            body in "[a.\u{fc}]{0,20}",
        ) {
            let is_sent = |f: &&&str| !f.starts_with("Bcc") && !f.starts_with("X-Postalynk");
            let kept: String = fields.iter().filter(is_sent).copied().collect();
            let head = read(&format!("From: a\r\n{}\r\n{body}", fields.concat())).unwrap();
            prop_assert_eq!(head.raw, format!("From: a\r\n{kept}\r\n{body}").into_bytes());
        }
    }
}
