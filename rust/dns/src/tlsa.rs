//! TLSA records as SMTP reads them (RFC 6698 section 2, RFC 7672 section 3.1).
//!
//! **Model.** Four fields; what their numbers mean for SMTP decides whether a record is *usable*:
//! usages DANE-TA(2) and DANE-EE(3), selectors Cert(0) and SPKI(1), matching Full(0), SHA2-256(1) and
//! SHA2-512(2), with data of the length that the matching needs. PKIX usages are unusable for SMTP
//! (section 3.1.3).
//! **Law `written_is_read`.** A record's wire form reads back as the record.
//! **Not here.** Comparing with a certificate.

use std::fmt;

/// A record; read its meaning with [`Tlsa::is_usable`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tlsa {
    /// 2: trust anchor, 3: the server's own certificate.
    pub usage: u8,
    /// 0: the whole certificate, 1: its public key.
    pub selector: u8,
    /// 0: as it is, 1: SHA-256, 2: SHA-512.
    pub matching: u8,
    /// What is compared.
    pub data: Vec<u8>,
}

/// Full certificates are some kilobytes; more is no record anybody means.
const MOST_DATA: usize = 16_384;

impl Tlsa {
    /// Reads the wire form; `None` when it is too short or too long to be one.
    #[must_use]
    pub fn from_octets(rdata: &[u8]) -> Option<Self> {
        match rdata {
            [usage, selector, matching, data @ ..] if data.len() <= MOST_DATA => Some(Self {
                usage: *usage,
                selector: *selector,
                matching: *matching,
                data: data.to_vec(),
            }),
            _ => None,
        }
    }

    /// The wire form.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        [&[self.usage, self.selector, self.matching], &self.data[..]].concat()
    }

    /// Whether SMTP may authenticate by it (RFC 7672 section 3.1).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let is_length_right = match self.matching {
            0 => !self.data.is_empty() && self.data.len() <= MOST_DATA,
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, 2 | 3) && self.selector < 2 && is_length_right
    }

    /// Whether it names the server's own certificate or key.
    #[must_use]
    pub fn is_end_entity(&self) -> bool {
        self.usage == 3
    }
}

/// The presentation form (RFC 6698 section 2.2): `3 1 1 0a1b…`.
impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pkix_usages_and_odd_lengths_are_unusable() {
        let record = |usage, selector, matching, length| Tlsa {
            usage,
            selector,
            matching,
            data: vec![7; length],
        };
        assert!(record(3, 1, 1, 32).is_usable() && record(2, 0, 2, 64).is_usable());
        assert!(record(2, 0, 0, 900).is_usable());
        for unusable in [
            record(0, 1, 1, 32),
            record(1, 1, 1, 32),
            record(4, 1, 1, 32),
            record(3, 2, 1, 32),
            record(3, 1, 3, 32),
            record(3, 1, 1, 31),
            record(3, 1, 2, 32),
            record(3, 1, 0, 0),
        ] {
            assert!(!unusable.is_usable(), "{unusable}");
        }
        assert_eq!(record(3, 1, 9, 2).to_string(), "3 1 9 0707");
    }

    proptest! {
        /// Law `written_is_read`.
        #[test]
        fn law_written_is_read(rdata in prop::collection::vec(any::<u8>(), 0..100)) {
            match Tlsa::from_octets(&rdata) {
                Some(record) => prop_assert_eq!(record.to_octets(), rdata),
                None => prop_assert!(rdata.len() < 3),
            }
        }
    }
}
