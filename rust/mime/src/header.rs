//! Custom headers: which names a sender may set, and values that stay one header.
//!
//! **Invariant.** A value has no encoded word that decodes to a line break or NUL: some readers turn
//! `=?utf-8?q?=0A?=` into a real header line (CVE-2024-6923), so decoded values are checked as well.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::error::{Error, Field, Reason};
use crate::value::{VALUE_LIMIT, refuse_control, refuse_longer, refuse_unless};

/// The longest word that fits an unfoldable line: 998 octets (RFC 5322 §2.1.1) less the fold's space.
pub(crate) const WORD_LIMIT: usize = 997;
/// Headers the composer writes from a draft's own fields.
const OURS: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
];
/// Headers that say something only the receiving side, a relay or a signer may say.
const THEIRS: &[&str] = &[
    "sender",
    "return-path",
    "received",
    "received-spf",
    "delivered-to",
    "dkim-signature",
    "domainkey-signature",
    "dkim2-signature",
    "message-instance",
    "authentication-results",
];
/// Headers whose value is a grammar of its own, where an encoded word would be wrong.
const STRUCTURED: &[&str] = &[
    "in-reply-to",
    "references",
    "auto-submitted",
    "precedence",
    "importance",
    "priority",
    "x-priority",
    "feedback-id",
    "tls-required",
    "disposition-notification-to",
];
/// Headers that may stand only once (RFC 5322 §3.6, RFC 8058 §3.1).
const ONCE: &[&str] = &[
    "in-reply-to",
    "references",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-id",
    "feedback-id",
    "auto-submitted",
];

/// The name of a custom header (RFC 5322 §3.6.8) that a sender may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderName<'a>(&'a str);

impl<'a> HeaderName<'a> {
    /// # Errors
    /// [`Reason::Illegal`] on anything but printable ASCII without a colon, [`Reason::TooLong`]
    /// beyond 76 octets, [`Reason::Reserved`] when the header is not the sender's to set.
    pub fn new(name: &'a str) -> Result<Self, Reason> {
        if name.is_empty() {
            return Err(Reason::Empty);
        }
        refuse_longer(name, 76)?;
        refuse_unless(name, |c| c.is_ascii_graphic() && c != ':')?;
        let name_is = |known: &&str| name.eq_ignore_ascii_case(known);
        if OURS.iter().any(name_is) {
            return Err(Reason::Reserved("use the field of that name"));
        }
        if THEIRS.iter().any(name_is) || starts_with(name, &["arc-", "resent-"]) {
            return Err(Reason::Reserved(
                "the sending system, relays and receivers write it",
            ));
        }
        if starts_with(name, &["content-"]) {
            return Err(Reason::Reserved("it follows from the content"));
        }
        Ok(Self(name))
    }

    /// The name as given.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether the value has a grammar of its own, so that it is ASCII and never encoded.
    pub(crate) fn is_structured(&self) -> bool {
        STRUCTURED
            .iter()
            .any(|known| self.0.eq_ignore_ascii_case(known))
            || starts_with(self.0, &["list-"])
    }

    /// Whether the header may stand only once.
    pub(crate) fn is_single(&self) -> bool {
        ONCE.iter().any(|known| self.0.eq_ignore_ascii_case(known))
    }
}

/// A custom header: a name a sender may set and a value that is one header line, folded later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub(crate) name: HeaderName<'a>,
    pub(crate) value: &'a str,
}

impl<'a> Header<'a> {
    /// A header of a name and an unfolded value; white space around the value is dropped. Encoded
    /// words in an ASCII value are passed on as they are.
    ///
    /// # Errors
    /// Every error names the header. Those of [`HeaderName::new`]; [`Reason::Control`] and
    /// [`Reason::EncodedControl`]; [`Reason::NotAscii`] and [`Reason::TooLong`] for a word that
    /// neither folding nor encoding can bring under 998 octets.
    pub fn new(name: &'a str, value: &'a str) -> Result<Self, Error> {
        let named = |reason| Error {
            field: Field::Header(name.to_owned()),
            reason,
        };
        let header = HeaderName::new(name).map_err(named)?;
        let value = value.trim_matches([' ', '\t']);
        refuse_longer(value, VALUE_LIMIT).map_err(named)?;
        refuse_control(value).map_err(named)?;
        refuse_encoded_control(value).map_err(named)?;
        if header.is_structured() {
            if let Some((at, ch)) = value.char_indices().find(|(_, c)| !c.is_ascii()) {
                return Err(named(Reason::NotAscii { ch, at }));
            }
            let octets = longest_word(value);
            if octets > WORD_LIMIT {
                return Err(named(Reason::TooLong {
                    octets,
                    limit: WORD_LIMIT,
                }));
            }
        }
        Ok(Self {
            name: header,
            value,
        })
    }
}

/// The longest run without white space, the white space before it included: what folding cannot split.
pub(crate) fn longest_word(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut longest, mut start, mut in_word) = (0, 0, false);
    for (i, &b) in bytes.iter().enumerate() {
        let space = b == b' ' || b == b'\t';
        if space && in_word {
            longest = longest.max(i - start);
            start = i;
        }
        in_word = !space;
    }
    longest.max(bytes.len() - start)
}

/// Refuses encoded words that decode to a line break or NUL. Decoding is lenient on purpose: the
/// question is what some reader might make of it, not what a strict one would.
fn refuse_encoded_control(value: &str) -> Result<(), Reason> {
    let mut from = 0;
    while let Some(found) = value[from..].find("=?") {
        let at = from + found;
        from = at + 2;
        let mut parts = value[from..].splitn(3, '?');
        let (Some(charset), Some(encoding), Some(rest)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Ok(());
        };
        let payload = rest.split_once("?=").map_or(rest, |(payload, _)| payload);
        let hidden = match encoding {
            "q" | "Q" => hides_in_q(payload),
            "b" | "B" => hides_in_b(payload),
            _ => false,
        };
        // UTF-7 writes a line break in letters.
        if hidden || charset.to_ascii_lowercase().contains("utf-7") {
            return Err(Reason::EncodedControl { at });
        }
    }
    Ok(())
}

fn hides_in_q(payload: &str) -> bool {
    payload
        .as_bytes()
        .windows(3)
        .any(|w| w[0] == b'=' && w[1] == b'0' && matches!(w[2], b'0' | b'a' | b'A' | b'd' | b'D'))
}

fn hides_in_b(payload: &str) -> bool {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let keep = |b: &u8| b.is_ascii_alphanumeric() || *b == b'+' || *b == b'/';
    let mut digits: Vec<u8> = payload.bytes().filter(|b| keep(b)).collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    match LENIENT.decode(&digits) {
        Ok(bytes) => bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)),
        Err(_) => true,
    }
}

/// Whether a name begins with one of the prefixes, in any case.
pub(crate) fn starts_with(name: &str, prefixes: &[&str]) -> bool {
    let head = |p: &&str| {
        name.get(..p.len())
            .is_some_and(|h| h.eq_ignore_ascii_case(p))
    };
    prefixes.iter().any(head)
}
