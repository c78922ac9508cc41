//! Compacted topics: the newest value of every key, on fjall.
//!
//! **Format.** One keyspace a topic. Key: partition (2 bytes, big-endian), then the caller's key,
//! so a partition is a range. Value: time of the append (8 bytes, big-endian, microseconds), then
//! the caller's value; the time is what [`Compacted::expired`] goes by.
//! **Not here.** Who may write: only the leader of the group commit does, so a check and the write
//! that depends on it cannot be torn apart.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::error::Error;
use crate::files::content_end;
use crate::recovery::Cut;

const PARTITION: usize = 2;
const TIME: usize = 8;
/// Longest key: fjall's limit less the partition.
pub(crate) const MAX_KEY: usize = 65_535 - PARTITION;

pub(crate) struct Compacted {
    db: Database,
    spaces: Vec<Keyspace>,
}

/// Writes of one group: only the last one of a key counts, so a key is written once.
pub(crate) type Upserts = BTreeMap<(usize, Vec<u8>), Option<Vec<u8>>>;

pub(crate) fn stored_key(partition: u32, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(PARTITION + key.len());
    stored.extend_from_slice(&(partition as u16).to_be_bytes());
    stored.extend_from_slice(key);
    stored
}

pub(crate) fn stored_value(at_us: u64, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(TIME + value.len());
    stored.extend_from_slice(&at_us.to_be_bytes());
    stored.extend_from_slice(value);
    stored
}

fn time_of(stored: &[u8]) -> u64 {
    stored
        .first_chunk()
        .map_or(0, |time| u64::from_be_bytes(*time))
}

impl Compacted {
    pub(crate) fn open(directory: &Path, names: &[&str]) -> Result<(Self, Vec<Cut>), String> {
        let before = journals(directory)?;
        let db = Database::builder(directory)
            .journal_compression(CompressionType::None)
            .open()
            .map_err(|error| format!("compacted topics: {error}"))?;
        let open = |name: &&str| {
            db.keyspace(name, KeyspaceCreateOptions::default)
                .map_err(|error| format!("topic {name}: {error}"))
        };
        let spaces = names.iter().map(open).collect::<Result<_, _>>()?;
        let cuts = before.into_iter().filter_map(|(file, end)| {
            let offset = std::fs::metadata(&file).ok()?.len();
            (offset < end).then(|| Cut {
                file,
                offset,
                bytes: end - offset,
                kept_in: None,
            })
        });
        let cuts = cuts.collect();
        Ok((Self { db, spaces }, cuts))
    }

    /// Writes upserts and tombstones; durable when it returns.
    pub(crate) fn write(&self, upserts: Upserts) -> fjall::Result<()> {
        if upserts.is_empty() {
            return Ok(());
        }
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for ((space, key), value) in upserts {
            match value {
                Some(value) => batch.insert(&self.spaces[space], key, value),
                None => batch.remove(&self.spaces[space], key),
            }
        }
        batch.commit()
    }

    pub(crate) fn get(
        &self,
        space: usize,
        partition: u32,
        key: &[u8],
    ) -> Result<Option<Bytes>, Error> {
        let stored = self.spaces[space]
            .get(stored_key(partition, key))
            .map_err(read_error)?;
        Ok(stored.map(|stored| value_of(stored.into())))
    }

    /// Live pairs of a partition in key order, after a key if one is given.
    pub(crate) fn pairs(
        &self,
        space: usize,
        partition: u32,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Error>> + Send + use<> {
        let from = match after {
            Some(key) => Bound::Excluded(stored_key(partition, key)),
            None => Bound::Included(stored_key(partition, &[])),
        };
        let to = Bound::Excluded(stored_key(partition + 1, &[]));
        self.spaces[space].range((from, to)).map(|pair| {
            let (key, value) = pair.into_inner().map_err(read_error)?;
            let key: Bytes = key.into();
            Ok((key.slice(PARTITION..), value_of(value.into())))
        })
    }

    /// Stored keys of a topic that were last written before a time.
    pub(crate) fn expired(
        &self,
        space: usize,
        before_us: u64,
    ) -> impl Iterator<Item = Result<Vec<u8>, Error>> + use<> {
        let pairs = self.spaces[space]
            .iter()
            .map(|pair| pair.into_inner().map_err(read_error));
        pairs.filter_map(move |pair| match pair {
            Ok((key, value)) => (time_of(&value) < before_us).then(|| Ok(key.to_vec())),
            Err(error) => Some(Err(error)),
        })
    }

    /// Removes those of `keys` that still were last written before a time. Not synced: a removal
    /// that is lost is made again.
    pub(crate) fn expire(
        &self,
        space: usize,
        keys: &[Vec<u8>],
        before_us: u64,
    ) -> fjall::Result<u64> {
        let mut batch = self.db.batch();
        for key in keys {
            let stored = self.spaces[space].get(key)?;
            if stored.is_some_and(|stored| time_of(&stored) < before_us) {
                batch.remove(&self.spaces[space], key.as_slice());
            }
        }
        let removed = batch.len() as u64;
        batch.commit()?;
        Ok(removed)
    }
}

fn value_of(stored: Bytes) -> Bytes {
    stored.slice(TIME.min(stored.len())..)
}

fn read_error(error: fjall::Error) -> Error {
    Error::Read(error.to_string())
}

/// Journals and where their content ends: fjall shortens a journal with a torn end without a word.
fn journals(directory: &Path) -> Result<Vec<(PathBuf, u64)>, String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Ok(Vec::new());
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .map(|path| match content_end(&path) {
            Ok(end) => Ok((path, end)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        })
        .collect()
}
