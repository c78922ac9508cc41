//! A record as raft-engine stores it: offset and time as 8 bytes little-endian each, then the value.
//!
//! raft-engine asks for a rust-protobuf message but never looks inside one, so this implements the
//! trait by hand with a fixed header: no tags, one copy of the value in each direction.

use std::any::Any;
use std::sync::OnceLock;

use bytes::Bytes;
use protobuf::reflect::MessageDescriptor;
use protobuf::{Clear, CodedInputStream, CodedOutputStream, ProtobufResult, UnknownFields};
use raft_engine::MessageExt;

const HEADER: usize = 16;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) at_us: u64,
    pub(crate) value: Bytes,
    /// Asked for by the trait; always empty.
    unknown: UnknownFields,
}

impl Entry {
    pub(crate) fn new(offset: u64, at_us: u64, value: Bytes) -> Self {
        Self {
            offset,
            at_us,
            value,
            unknown: UnknownFields::default(),
        }
    }
}

/// Tells raft-engine the index of an entry.
pub(crate) struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.offset
    }
}

impl Clear for Entry {
    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl protobuf::Message for Entry {
    fn descriptor(&self) -> &'static MessageDescriptor {
        unreachable!("asked for only when a required field is missing, and there is none")
    }

    fn is_initialized(&self) -> bool {
        true
    }

    fn merge_from(&mut self, is: &mut CodedInputStream<'_>) -> ProtobufResult<()> {
        self.offset = is.read_raw_little_endian64()?;
        self.at_us = is.read_raw_little_endian64()?;
        let mut value = Vec::new();
        while !is.eof()? {
            value.push(is.read_raw_byte()?);
        }
        self.value = value.into();
        Ok(())
    }

    /// What raft-engine reads with: the same as `merge_from`, without going byte by byte.
    fn parse_from_bytes(bytes: &[u8]) -> ProtobufResult<Self> {
        let mut entry = Self::default();
        match bytes.split_at_checked(HEADER) {
            Some((header, value)) => {
                entry.merge_from(&mut CodedInputStream::from_bytes(header))?;
                entry.value = Bytes::copy_from_slice(value);
            }
            None => entry.merge_from(&mut CodedInputStream::from_bytes(bytes))?,
        }
        Ok(entry)
    }

    fn write_to_with_cached_sizes(&self, os: &mut CodedOutputStream<'_>) -> ProtobufResult<()> {
        os.write_raw_little_endian64(self.offset)?;
        os.write_raw_little_endian64(self.at_us)?;
        os.write_raw_bytes(&self.value)
    }

    /// What raft-engine writes with: the same bytes as `write_to_with_cached_sizes`.
    fn write_to_vec(&self, buf: &mut Vec<u8>) -> ProtobufResult<()> {
        buf.reserve(HEADER + self.value.len());
        buf.extend_from_slice(&self.offset.to_le_bytes());
        buf.extend_from_slice(&self.at_us.to_le_bytes());
        buf.extend_from_slice(&self.value);
        Ok(())
    }

    fn compute_size(&self) -> u32 {
        (HEADER + self.value.len()) as u32
    }

    fn get_cached_size(&self) -> u32 {
        self.compute_size()
    }

    fn get_unknown_fields(&self) -> &UnknownFields {
        &self.unknown
    }

    fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
        &mut self.unknown
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn new() -> Self {
        Self::default()
    }

    fn default_instance() -> &'static Self {
        static DEFAULT: OnceLock<Entry> = OnceLock::new();
        DEFAULT.get_or_init(Self::default)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protobuf::Message;

    use super::*;

    proptest! {
        #[test]
        fn law_entry_roundtrip(offset: u64, at_us: u64, value: Vec<u8>) {
            let entry = Entry::new(offset, at_us, value.into());
            let mut quick = Vec::new();
            entry.write_to_vec(&mut quick).unwrap();
            prop_assert_eq!(&quick, &entry.write_to_bytes().unwrap());
            prop_assert_eq!(&Entry::parse_from_bytes(&quick).unwrap(), &entry);
            let mut slow = Entry::default();
            slow.merge_from_bytes(&quick).unwrap();
            prop_assert_eq!(slow, entry);
        }

        #[test]
        fn law_parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(Entry::parse_from_bytes(&bytes).is_ok(), bytes.len() >= HEADER);
        }
    }
}
