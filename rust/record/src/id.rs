//! Identity of a message and of a delivery.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Why bytes or text are not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not the length an id has.
    #[error("an id of {expected} bytes expected, {found} found")]
    Length {
        /// Bytes an id of this kind has.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Not the text form.
    #[error(
        "{0:?} is not a message id (a UUID of version 7, as 018f0000-0000-7000-8000-000000000000)"
    )]
    Text(String),
}

/// Identity of a message: a UUID of version 7, so ids sort by the time of acceptance.
///
/// Source: RFC 9562, 5.7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// A new id from the time of acceptance (milliseconds since the Unix epoch) and 10 random bytes.
    pub fn new(now_ms: u64, random: [u8; 10]) -> Self {
        Self(
            *uuid::Builder::from_unix_timestamp_millis(now_ms, &random)
                .into_uuid()
                .as_bytes(),
        )
    }

    /// The id in a `bytes` field.
    ///
    /// # Errors
    /// [`IdError::Length`] unless there are 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        let found = bytes.len();
        bytes.try_into().map(Self).map_err(|_| IdError::Length {
            expected: 16,
            found,
        })
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// When the message was accepted, in milliseconds since the Unix epoch.
    pub fn timestamp_ms(&self) -> u64 {
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.0[..6]);
        u64::from_be_bytes(ms)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    /// Parses the hyphenated form, and only it: one message has one name.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Text(text.chars().take(64).collect());
        let id = Uuid::try_parse(text).map_err(|_| wrong())?;
        if text.len() != 36 || id.get_version_num() != 7 {
            return Err(wrong());
        }
        Ok(Self(*id.as_bytes()))
    }
}

/// Identity of a delivery: the message and the index of the recipient in it.
///
/// As a key of `email.deferred`: 16 bytes of id, then the index as 4 bytes, big-endian, so keys
/// of one message stand together and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    /// The message.
    pub id: MessageId,
    /// Index into `Message.recipients`.
    pub recipient: u32,
}

impl DeliveryKey {
    /// The 20 bytes of the key.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut key = [0; 20];
        key[..16].copy_from_slice(&self.id.0);
        key[16..].copy_from_slice(&self.recipient.to_be_bytes());
        key
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`IdError::Length`] unless there are 20 bytes.
    pub fn from_slice(key: &[u8]) -> Result<Self, IdError> {
        let wrong = IdError::Length {
            expected: 20,
            found: key.len(),
        };
        let key: [u8; 20] = key.try_into().map_err(|_| wrong)?;
        let (mut id, mut recipient) = ([0; 16], [0; 4]);
        id.copy_from_slice(&key[..16]);
        recipient.copy_from_slice(&key[16..]);
        Ok(Self {
            id: MessageId(id),
            recipient: u32::from_be_bytes(recipient),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        let id = MessageId::new(0x018f_1234_5678, [0xff; 10]);
        assert_eq!(id.to_string(), "018f1234-5678-7fff-bfff-ffffffffffff");
        assert_eq!(id.timestamp_ms(), 0x018f_1234_5678);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn another_text_is_refused() {
        for text in [
            "",
            "018f123456787fffbfffffffffffffff",
            "{018f1234-5678-7fff-bfff-ffffffffffff}",
            "018f1234-5678-4fff-bfff-ffffffffffff",
            "../../etc/passwd",
        ] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
        assert!(MessageId::from_slice(&[0; 15]).is_err());
        assert!(DeliveryKey::from_slice(&[0; 21]).is_err());
    }

    proptest! {
        #[test]
        fn law_id_order(a in 0u64..1 << 48, b in 0u64..1 << 48, r: [u8; 10], s: [u8; 10]) {
            if a < b {
                prop_assert!(MessageId::new(a, r) < MessageId::new(b, s));
            }
        }

        #[test]
        fn law_key_roundtrip(ms in 0u64..1 << 48, random: [u8; 10], recipient: u32) {
            let key = DeliveryKey { id: MessageId::new(ms, random), recipient };
            prop_assert_eq!(DeliveryKey::from_slice(&key.to_bytes()), Ok(key));
        }

        #[test]
        fn law_key_order(id: [u8; 16], other: [u8; 16], a: u32, b: u32) {
            let x = DeliveryKey { id: MessageId(id), recipient: a };
            let y = DeliveryKey { id: MessageId(other), recipient: b };
            prop_assert_eq!(x.cmp(&y), x.to_bytes().cmp(&y.to_bytes()));
        }
    }
}
