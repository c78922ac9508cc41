//! Values of header fields: what is built here cannot end a line, a header or a part.
//!
//! **Invariant.** No value holds CR, LF, NUL or another control character (a tab aside), nor an
//! encoded word whose decoded form does: some readers turn `=?utf-8?q?=0A?=` into a real header line
//! (CVE-2024-6923), so decoded values are checked as well.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::error::{Error, Field, Reason};

/// The longest word that fits an unfoldable line: 998 octets (RFC 5322 §2.1.1) less the fold's space.
pub(crate) const WORD_LIMIT: usize = 997;
/// Beyond this a header is more likely an attack than a message.
const VALUE_LIMIT: usize = 16_384;

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

/// The first character a header may not have: a control other than the tab.
pub(crate) fn control_in(text: &str) -> Option<(usize, char)> {
    let plain = |b: u8| (0x20..0x7f).contains(&b) || b == b'\t';
    if text.bytes().all(plain) {
        return None;
    }
    text.char_indices()
        .find(|(_, c)| c.is_control() && *c != '\t')
}

fn refuse_control(text: &str) -> Result<(), Reason> {
    match control_in(text) {
        Some((at, ch)) => Err(Reason::Control {
            code: u32::from(ch),
            at,
        }),
        None => Ok(()),
    }
}

fn refuse_longer(text: &str, limit: usize) -> Result<(), Reason> {
    if text.len() > limit {
        return Err(Reason::TooLong {
            octets: text.len(),
            limit,
        });
    }
    Ok(())
}

fn refuse_unless(text: &str, legal: impl Fn(char) -> bool) -> Result<(), Reason> {
    refuse_control(text)?;
    match text.char_indices().find(|(_, c)| !legal(*c)) {
        Some((at, ch)) if !ch.is_ascii() => Err(Reason::NotAscii { ch, at }),
        Some((at, ch)) => Err(Reason::Illegal { ch, at }),
        None => Ok(()),
    }
}

/// Unicode text for a person, such as a subject: written so that exactly this text is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// # Errors
    /// [`Reason::Control`] on a control character, [`Reason::TooLong`] beyond 16,384 octets.
    pub fn new(text: &'a str) -> Result<Self, Reason> {
        refuse_longer(text, VALUE_LIMIT)?;
        refuse_control(text)?;
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

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

fn starts_with(name: &str, prefixes: &[&str]) -> bool {
    let head = |p: &&str| {
        name.get(..p.len())
            .is_some_and(|h| h.eq_ignore_ascii_case(p))
    };
    prefixes.iter().any(head)
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

/// The inside of a Message-ID, without angle brackets (RFC 5322 §3.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsgId<'a>(&'a str);

impl<'a> MsgId<'a> {
    /// # Errors
    /// [`Reason`] unless it is `left@right`, both of atom characters and dots, ≤ 250 octets.
    pub fn new(id: &'a str) -> Result<Self, Reason> {
        if id.is_empty() {
            return Err(Reason::Empty);
        }
        refuse_longer(id, 250)?;
        refuse_unless(id, is_id_char)?;
        match id.split_once('@') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains('@') =>
            {
                Ok(Self(id))
            }
            _ => Err(Reason::Form("left@right")),
        }
    }

    /// The identifier without angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_graphic() && !"<>()[]\\,;:\"".contains(c)
}

/// The inside of a Content-ID, as `cid:` URLs in the HTML name it (RFC 2392). An `@` is not asked
/// for: senders write `logo`, and readers take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentId<'a>(&'a str);

impl<'a> ContentId<'a> {
    /// # Errors
    /// [`Reason`] unless it is 1 to 128 characters that may stand in a Message-ID.
    pub fn new(id: &'a str) -> Result<Self, Reason> {
        if id.is_empty() {
            return Err(Reason::Empty);
        }
        refuse_longer(id, 128)?;
        refuse_unless(id, is_id_char)?;
        Ok(Self(id))
    }

    /// The identifier without angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// A media type with parameters, such as `text/calendar; method=REQUEST` (RFC 2045 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType<'a>(&'a str);

impl<'a> ContentType<'a> {
    /// An empty string is taken as `application/octet-stream`.
    ///
    /// # Errors
    /// [`Reason::Form`] unless it is `type/subtype` with `; name=value` parameters, values being
    /// tokens or quoted strings of ASCII; [`Reason::Illegal`] where a token is not one. `multipart/*`
    /// and the parameters `name` and `boundary` are the composer's and refused.
    pub fn new(text: &'a str) -> Result<Self, Reason> {
        const FORM: Reason = Reason::Form("type/subtype; name=value");
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Ok(Self("application/octet-stream"));
        }
        refuse_longer(text, 200)?;
        refuse_unless(text, |c| c == ' ' || c == '\t' || c.is_ascii_graphic())?;
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_end_matches([' ', '\t']);
        let (kind, subtype) = essence.split_once('/').ok_or(FORM)?;
        if !is_token(kind) || !is_token(subtype) {
            return Err(FORM);
        }
        if kind.eq_ignore_ascii_case("multipart") {
            return Err(Reason::Form("a single part's type (multipart is not)"));
        }
        check_parameters(text[essence.len()..].trim_start_matches([' ', '\t']))?;
        Ok(Self(text))
    }

    /// The type as given, parameters included.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether it is one of `message/*`, which may not be encoded (RFC 2046 §5.2.1).
    pub(crate) fn is_message(&self) -> bool {
        starts_with(self.0, &["message/"])
    }
}

fn check_parameters(mut rest: &str) -> Result<(), Reason> {
    const FORM: Reason = Reason::Form("type/subtype; name=value");
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start_matches([' ', '\t']);
        let (name, value) = after.split_once('=').ok_or(FORM)?;
        if !is_token(name) || ["name", "boundary"].iter().any(|n| starts_with(name, &[n])) {
            return Err(Reason::Form(
                "parameters other than name and boundary, name=value",
            ));
        }
        let used = if let Some(quoted) = value.strip_prefix('"') {
            let end = quoted.find(['"', '\\']).ok_or(FORM)?;
            if quoted.as_bytes()[end] == b'\\' {
                return Err(FORM);
            }
            end + 2
        } else {
            let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
            if !is_token(&value[..end]) {
                return Err(FORM);
            }
            end
        };
        rest = value[used..].trim_start_matches([' ', '\t']);
    }
    if rest.is_empty() { Ok(()) } else { Err(FORM) }
}

/// RFC 2045 §5.1 `token`.
fn is_token(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b);
    !text.is_empty() && text.bytes().all(legal)
}

/// An instant for the Date header, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(jiff::Timestamp);

impl Date {
    /// From seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Reason::Form`] outside the years 1970 to 9999, which RFC 5322 §3.3 can write.
    pub fn from_unix_s(seconds: u64) -> Result<Self, Reason> {
        let out_of_range = |_| Reason::Form("an instant between the years 1970 and 9999");
        let signed = i64::try_from(seconds).map_err(|_| out_of_range(()))?;
        let at = jiff::Timestamp::from_second(signed).map_err(|_| out_of_range(()))?;
        Ok(Self(at))
    }

    pub(crate) fn to_rfc5322(self) -> String {
        self.0.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
    }
}

/// One attachment, or with a content id one inline part of the HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// Shown to the reader; empty: none. Unicode.
    pub filename: Text<'a>,
    /// Its media type.
    pub content_type: ContentType<'a>,
    /// Set: the HTML refers to the part by it.
    pub content_id: Option<ContentId<'a>>,
    /// Any octets.
    pub content: &'a [u8],
}
