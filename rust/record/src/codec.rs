//! Bytes of a record ↔ the message in it.

use bytes::{BufMut, Bytes, BytesMut};

use crate::v1::{DeadLetter, Deferral, Event, Message, Scheduled};
use crate::{IdError, MessageId};

/// First byte of every record: tells a record from anything else that strays into a topic.
pub const MAGIC: u8 = 0x9B;
/// Second byte: the schema version this crate writes, and the only one it reads.
pub const SCHEMA: u8 = 1;
/// Most recipients one message may have: what one API call may carry, with room for SMTP.
pub const MAX_RECIPIENTS: usize = 1_000;

/// Why bytes are not a record; the text goes into the dead letter as its detail.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the record is empty")]
    Empty,
    /// The first byte is not [`MAGIC`].
    #[error("first byte is {0:#04x}, not the magic byte 0x9b: not a record of Postalynk")]
    Magic(u8),
    /// Only the magic byte is there.
    #[error("the record ends after its magic byte, before the schema byte")]
    NoSchema,
    /// A schema version this build cannot read.
    #[error("schema version {0} is unknown here (this build reads version 1)")]
    Schema(u8),
    /// The protobuf message is broken.
    #[error("the protobuf message is broken: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// An id is not 16 bytes.
    #[error("field {field}: {error}")]
    Id {
        /// Name of the field in the schema.
        field: &'static str,
        /// What is wrong with it.
        error: IdError,
    },
    /// The message has more recipients than [`MAX_RECIPIENTS`], or none.
    #[error("field recipients: {0} recipients, between 1 and 1000 expected")]
    Recipients(usize),
    /// A field that must be filled is empty.
    #[error("field {0} is empty")]
    Missing(&'static str),
}

/// What a well-formed protobuf message must satisfy besides, so that nothing deeper checks again.
pub trait Check {
    /// Checks identity and bounds.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    fn check(&self) -> Result<(), DecodeError>;
}

fn check_id(field: &'static str, bytes: &Bytes) -> Result<(), DecodeError> {
    MessageId::from_slice(bytes)
        .map(drop)
        .map_err(|error| DecodeError::Id { field, error })
}

impl Check for Message {
    fn check(&self) -> Result<(), DecodeError> {
        check_id("id", &self.id)?;
        if self.org.is_empty() {
            return Err(DecodeError::Missing("org"));
        }
        match self.recipients.len() {
            1..=MAX_RECIPIENTS => Ok(()),
            n => Err(DecodeError::Recipients(n)),
        }
    }
}

impl Check for Event {
    fn check(&self) -> Result<(), DecodeError> {
        check_id("message_id", &self.message_id)?;
        if self.org.is_empty() {
            return Err(DecodeError::Missing("org"));
        }
        Ok(())
    }
}

impl Check for Deferral {
    fn check(&self) -> Result<(), DecodeError> {
        if self.record.is_empty() {
            return Err(DecodeError::Missing("record"));
        }
        Ok(())
    }
}

impl Check for Scheduled {
    fn check(&self) -> Result<(), DecodeError> {
        if self.record.is_empty() {
            return Err(DecodeError::Missing("record"));
        }
        Ok(())
    }
}

/// A dead letter holds what nobody could read, so nothing about it can be demanded.
impl Check for DeadLetter {
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Encodes a message as a record, magic and schema byte first, in one buffer.
pub fn encode(message: &impl prost::Message) -> Bytes {
    let mut record = BytesMut::with_capacity(2 + message.encoded_len());
    record.put_u8(MAGIC);
    record.put_u8(SCHEMA);
    message
        .encode(&mut record)
        .expect("BytesMut grows, so it cannot lack capacity");
    record.freeze()
}

/// Decodes and checks a record. Every `bytes` field of the result is a slice of `record`.
///
/// # Errors
/// Says what is wrong with the bytes; never panics on any.
pub fn decode<T: prost::Message + Default + Check>(record: &Bytes) -> Result<T, DecodeError> {
    match record.get(..2) {
        Some(&[MAGIC, SCHEMA]) => {}
        Some(&[MAGIC, schema]) => return Err(DecodeError::Schema(schema)),
        _ => {
            return Err(match record.first() {
                None => DecodeError::Empty,
                Some(&MAGIC) => DecodeError::NoSchema,
                Some(&other) => DecodeError::Magic(other),
            });
        }
    }
    let message = T::decode(record.slice(2..))?;
    message.check()?;
    Ok(message)
}

/// A record of `email.send`: the message, and the bytes it came as.
///
/// Deferral, dead-lettering and redrive pass on [`Record::raw`]; there is no way to encode a
/// `Record` again, so a field only a newer writer knows cannot get lost here.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    raw: Bytes,
    message: Message,
}

impl Record {
    /// Decodes and checks the bytes of a record.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(raw: Bytes) -> Result<Self, DecodeError> {
        let message = decode(&raw)?;
        Ok(Self { raw, message })
    }

    /// Encodes a message that was just accepted.
    ///
    /// # Errors
    /// As [`Check::check`]: what could not be read again is not written.
    pub fn encode(message: Message) -> Result<Self, DecodeError> {
        message.check()?;
        Ok(Self {
            raw: encode(&message),
            message,
        })
    }

    /// The bytes as they came: what is passed on.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The message in them.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Identity of the message.
    pub fn id(&self) -> MessageId {
        MessageId::from_slice(&self.message.id).expect("checked when the record was made")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v1::Recipient;

    fn message(id: &[u8], recipients: usize) -> Message {
        let recipient = Recipient {
            address: "a@example.com".into(),
            ..Default::default()
        };
        Message {
            id: Bytes::copy_from_slice(id),
            org: "org_1".into(),
            recipients: vec![recipient; recipients],
            ..Default::default()
        }
    }

    fn error(bytes: &'static [u8]) -> String {
        decode::<Message>(&Bytes::from_static(bytes))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_error_names_what_is_wrong() {
        assert_eq!(error(b""), "the record is empty");
        assert!(error(b"{\"id\":1}").contains("0x7b"));
        assert!(error(&[MAGIC]).contains("before the schema byte"));
        assert!(error(&[MAGIC, 7]).contains("version 7"));
        assert!(error(&[MAGIC, SCHEMA, 0x0a, 0x7f]).contains("protobuf"));
        let short = encode(&message(&[1; 15], 1));
        assert!(
            decode::<Message>(&short)
                .unwrap_err()
                .to_string()
                .contains("field id")
        );
        for n in [0, MAX_RECIPIENTS + 1] {
            let bad = encode(&message(&[1; 16], n));
            assert!(matches!(decode::<Message>(&bad), Err(DecodeError::Recipients(m)) if m == n));
        }
        decode::<Message>(&encode(&message(&[1; 16], MAX_RECIPIENTS))).unwrap();
    }

    #[test]
    fn a_body_is_a_slice_of_its_record() {
        let mut m = message(&[1; 16], 1);
        m.content = Some(crate::v1::message::Content::Raw(Bytes::from(vec![
            b'x';
            1_000
        ])));
        let record = Record::encode(m).unwrap();
        let decoded = Record::decode(record.raw().clone()).unwrap();
        let Some(crate::v1::message::Content::Raw(body)) = &decoded.message().content else {
            panic!("content lost");
        };
        assert!(record.raw().as_ptr_range().contains(&body.as_ptr()));
    }

    #[test]
    fn an_unknown_field_survives_passing_on() {
        let known = encode(&message(&[1; 16], 1));
        // Field 999, length-delimited: tag 0xba 0x3e.
        let raw = Bytes::from([known.as_ref(), &[0xba, 0x3e, 3, b'n', b'e', b'w']].concat());
        let record = Record::decode(raw.clone()).unwrap();
        assert_eq!(record.message(), &message(&[1; 16], 1));
        assert_eq!(record.raw(), &raw);
    }

    proptest! {
        #[test]
        fn law_decode_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), head: bool) {
            let bytes = if head { [&[MAGIC, SCHEMA], bytes.as_slice()].concat() } else { bytes };
            let bytes = Bytes::from(bytes);
            let _ = decode::<Message>(&bytes);
            let _ = decode::<Event>(&bytes);
            let _ = decode::<Deferral>(&bytes);
            let _ = decode::<DeadLetter>(&bytes);
        }

        #[test]
        fn law_decode_never_panics_on_damage(at in 0usize..60, with: u8, cut in 0usize..60) {
            let mut bytes = encode(&message(&[1; 16], 2)).to_vec();
            let at = at % bytes.len();
            bytes[at] = with;
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            let _ = decode::<Message>(&Bytes::from(bytes));
        }

        #[test]
        fn law_decode_inverts_encode(
            id: [u8; 16], org in "[a-z0-9_]{1,20}", subject: String,
            text in proptest::collection::vec(any::<u8>(), 0..200),
            addresses in proptest::collection::vec("[a-z]{1,8}@[a-z]{1,8}", 1..20),
            at: u64,
        ) {
            let composed = crate::v1::Composed { subject, text: text.into(), ..Default::default() };
            let m = Message {
                id: Bytes::copy_from_slice(&id), org, accepted_at_us: at,
                recipients: addresses.into_iter().map(|address| Recipient { address, ..Default::default() }).collect(),
                content: Some(crate::v1::message::Content::Composed(composed)),
                ..Default::default()
            };
            prop_assert_eq!(decode::<Message>(&encode(&m)).unwrap(), m);
        }
    }
}
