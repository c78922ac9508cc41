//! Making what leaves: a message is written, or taken as it came, then signed, then looked at once more.
//!
//! **Model.** The record says what is meant; from it come the octets, and apart from them the names of
//! the header fields they must begin with. [`check_fields`] compares the two on the very octets that
//! leave, signatures included: what differs is not sent.
//! **8-bit octets.** What we write has none, addresses in UTF-8 aside. A raw message is re-encoded
//! before it is signed where its receiver takes none; what may not be encoded leaves as it is, for
//! the next receiver may take it.

use bytes::Bytes;
use postalynk_dkim::{BodyHash, Canonicalization, Hashed, HeaderField, MessageSigner, Signer};
use postalynk_mime::{Draft, Header, NotSevenBit, Origin, check_fields};
use postalynk_record::v1::{self, message::Content as Kind};
use postalynk_smtp::{Content, ReversePath};
use postalynk_template::Shelf;

use crate::late::Late;
use crate::raw::Raw;
use crate::route::HeaderOp;

/// What goes into signing, and what the receiver asks of the octets.
#[derive(Clone, Copy)]
pub(crate) struct Signing<'a> {
    pub(crate) signers: &'a [Signer],
    pub(crate) now_s: u64,
    /// It takes no 8-bit octets.
    pub(crate) is_seven_bit: bool,
}

/// A message fit for a transaction.
pub(crate) struct Made {
    pub(crate) reverse_path: ReversePath,
    pub(crate) content: Content,
    /// Why it still has 8-bit octets although none were asked for.
    pub(crate) eight_bit: Option<NotSevenBit>,
}

/// # Errors
/// In words: it can never be sent.
pub(crate) fn make(
    message: &v1::Message,
    ops: &[HeaderOp],
    signing: Signing<'_>,
    shelf: &mut Shelf,
) -> Result<Made, String> {
    let reverse_path =
        ReversePath::new(&message.reverse_path).map_err(|e| format!("MAIL FROM: {e}"))?;
    let (segments, refused) = match &message.content {
        Some(Kind::Composed(composed)) => {
            (compose(message, composed, ops, (signing, shelf))?, None)
        }
        Some(Kind::Raw(raw)) => pass_on(raw, ops, signing)?,
        None => return Err("the message has no content".to_owned()),
    };
    let content = Content::new(segments).map_err(|error| error.to_string())?;
    let has_eight_bit = signing.is_seven_bit && content.is_eight_bit();
    Ok(Made {
        reverse_path,
        eight_bit: has_eight_bit.then_some(refused.unwrap_or(NotSevenBit::HeaderField)),
        content,
    })
}

/// Writes and signs a message from its parts.
fn compose(
    message: &v1::Message,
    composed: &v1::Composed,
    ops: &[HeaderOp],
    (signing, shelf): (Signing<'_>, &mut Shelf),
) -> Result<Vec<Bytes>, String> {
    let late = Late::of(composed, shelf)?;
    let draft = draft(message, composed, &late, ops).map_err(|error| error.to_string())?;
    let written = draft.compose();
    // Collecting results would grow the list step by step, for a result may end it early.
    let mut fields = Vec::with_capacity(written.fields.len());
    for (name, field) in written.fields() {
        fields.push(HeaderField::new(field, name).map_err(|error| error.to_string())?);
    }
    let mut segments = match u64::from(composed.dkim_expires_s) {
        0 => sign(&fields, written.body(), signing)?,
        seconds => {
            let expiring = |signer: &Signer| signer.clone().expires_after_s(seconds);
            let signers: Vec<Signer> = signing.signers.iter().map(expiring).collect();
            let signers = &signers;
            sign(&fields, written.body(), Signing { signers, ..signing })?
        }
    };
    segments.push(Bytes::from(written.bytes));
    look_again(&segments, draft.field_names())?;
    Ok(segments)
}

fn draft<'a>(
    message: &'a v1::Message,
    composed: &'a v1::Composed,
    late: &'a Late,
    ops: &'a [HeaderOp],
) -> Result<Draft<'a>, postalynk_mime::Error> {
    let from = composed.from.as_ref();
    let mut draft = Draft::new(Origin {
        from_name: from.map_or("", |from| &from.name),
        from_address: from.map_or("", |from| &from.address),
        message_id: &message.message_id,
        date_s: message.accepted_at_us / 1_000_000,
        // The same message composes to the same octets on every attempt.
        seed: xxhash_rust::xxh3::xxh3_64(&message.id),
    })?;
    for mailbox in &composed.reply_to {
        draft.reply_to(&mailbox.name, &mailbox.address)?;
    }
    for mailbox in &composed.to {
        draft.to(&mailbox.name, &mailbox.address)?;
    }
    for mailbox in &composed.cc {
        draft.cc(&mailbox.name, &mailbox.address)?;
    }
    draft.subject(late.subject(composed))?;
    let (text, html) = (late.text(composed), late.html(composed));
    if !text.is_empty() {
        draft.text(text)?;
    }
    if !html.is_empty() {
        draft.html(html)?;
    }
    if !composed.no_plain_text {
        draft.auto_text();
    }
    if let Some(calendar) = &composed.calendar {
        draft.calendar(&calendar.method, &calendar.object)?;
    }
    for (name, value) in custom_headers(late.headers(composed), ops) {
        draft.header(name, value)?;
    }
    for a in &composed.attachments {
        draft.attach(&a.filename, &a.content_type, &a.content_id, &a.content)?;
    }
    Ok(draft)
}

/// The message's own headers with the policy's operations applied. An operation that is not allowed
/// is left out: a policy that errs costs no message (G4).
fn custom_headers<'a>(
    mut headers: Vec<(&'a str, &'a str)>,
    ops: &'a [HeaderOp],
) -> Vec<(&'a str, &'a str)> {
    for op in ops {
        if let HeaderOp::Set(name, _) | HeaderOp::Remove(name) = op {
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        }
        if let HeaderOp::Set(name, value) | HeaderOp::Add(name, value) = op
            && Header::new(name, value).is_ok()
        {
            headers.push((name, value));
        }
    }
    headers
}

/// Signs a raw message; added headers go in front, and set and removed ones out of it.
fn pass_on(
    raw: &Bytes,
    ops: &[HeaderOp],
    signing: Signing<'_>,
) -> Result<(Vec<Bytes>, Option<NotSevenBit>), String> {
    let mut raw = Raw::new(raw, ops)?;
    let refused = if signing.is_seven_bit {
        raw.re_encode().err()
    } else {
        None
    };
    let (fields, body) = postalynk_dkim::split(raw.octets()).map_err(|error| error.to_string())?;
    let mut segments = sign(&fields, body, signing)?;
    segments.push(raw.octets().clone());
    look_again(&segments, raw.field_names())?;
    Ok((segments, refused))
}

/// The signatures, then the fields meant, and no other.
fn look_again<'n>(segments: &[Bytes], meant: impl Iterator<Item = &'n [u8]>) -> Result<(), String> {
    let signatures = std::iter::repeat_n(&b"DKIM-Signature"[..], segments.len() - 1);
    check_fields(segments, signatures.chain(meant)).map_err(|error| error.to_string())
}

/// One signature header per key; the message is read once for all of them.
fn sign(
    fields: &[HeaderField<'_>],
    body: &[u8],
    signing: Signing<'_>,
) -> Result<Vec<Bytes>, String> {
    if signing.signers.is_empty() {
        return Ok(Vec::with_capacity(1));
    }
    let hashed = Hashed::new(fields, BodyHash::of(Canonicalization::Relaxed, [body]))
        .map_err(|error| error.to_string())?;
    let mut segments = Vec::with_capacity(signing.signers.len() + 1);
    for signer in signing.signers {
        let header = signer.sign(&hashed, signing.now_s);
        segments.push(Bytes::from(header.map_err(|error| error.to_string())?));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever wrote it: a field that nobody meant does not leave.
    #[test]
    fn a_header_nobody_meant_is_seen_in_every_segment() {
        let meant = || [&b"From"[..], b"Subject"].into_iter();
        let signature = "DKIM-Signature: v=1;\r\n b=x\r\n";
        let message = "From: a@b.example\r\nSubject: x\r\n\r\nBcc: is text here\r\n";
        let look = |segments: &[&str]| {
            let segments = segments
                .iter()
                .map(|s| Bytes::copy_from_slice(s.as_bytes()));
            look_again(&segments.collect::<Vec<_>>(), meant())
        };
        assert_eq!(look(&[message]), Ok(()));
        assert_eq!(look(&[signature, signature, message]), Ok(()));
        for wrong in [
            vec!["From: a@b.example\r\nSubject: x\r\nBcc: y\r\n\r\n"],
            vec!["From: a@b.example\r\n\r\nSubject: x\r\n\r\n"],
            vec!["Bcc: y\r\nFrom: a@b.example\r\nSubject: x\r\n\r\n"],
            vec!["From: a@b.example\r\nSubject: x\nBcc: y\r\n\r\n"],
            vec!["DKIM-Signature: v=1;\r\nBcc: y\r\n", message],
            vec!["DKIM-Signature: v=1;\r\n\r\n", message],
            vec![message, message],
        ] {
            let error = look(&wrong).expect_err("is seen");
            assert!(error.starts_with("internal error: header field"), "{error}");
        }
    }
}
