//! The journal: which attempts had begun to send a message when the process died.
//!
//! **Problem.** After `kill -9` a message whose content had begun to leave may have been delivered
//! or not. Trying it again without a word would be a silent duplicate.
//! **Format.** A file of 64-byte slots, one an open attempt: `PLJ1`, recipient and attempt (u32),
//! time (u64, µs), message id (16 bytes), partition + 1 (u32; 0: written before it was noted),
//! padding, and an XXH3-64 of all before it; all little-endian. A slot of zeros, or with a wrong
//! checksum, is free.
//! **Invariants.** A slot is written before the first octet of content leaves, where it survives the
//! process ([`Slots`]), and is freed when the outcome is durable elsewhere. A torn slot reads as free:
//! its content had not begun to leave.
//! **Law.** `journal_shows_the_open_ones`: whatever was opened and not freed is found again.
//! **Not here.** Power loss: that outcome is a duplicate too, only not labelled.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::Path;

use parking_lot::Mutex;
use postalynk_record::{DeliveryKey, MessageId};
use xxhash_rust::xxh3::xxh3_64;

use crate::EngineError;
use crate::slots::{SLOT, Slots};

const MAGIC: &[u8; 4] = b"PLJ1";
/// Records live seven days in the log; an older attempt cannot come up again.
const MAX_AGE_US: u64 = 8 * 86_400 * 1_000_000;

/// An attempt that was open when the last process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) attempt: u32,
    pub(crate) slot: u32,
    /// When its content began to leave.
    pub(crate) at_us: u64,
    /// Where its record and its events are; `None`: not noted.
    pub(crate) partition: Option<u32>,
}

/// What a slot says.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) key: DeliveryKey,
    pub(crate) partition: u32,
    pub(crate) attempt: u32,
    pub(crate) at_us: u64,
}

/// See the module.
pub(crate) struct Journal {
    /// `None`: no journal is kept.
    slots: Option<Slots>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    slots: Vec<u32>,
    /// Slots the file has had so far.
    end: u32,
}

impl Journal {
    /// A journal that remembers nothing.
    pub(crate) fn none() -> Self {
        Self {
            slots: None,
            free: Mutex::default(),
        }
    }

    /// Opens or makes the file and reads what is open in it.
    pub(crate) fn open(
        path: &Path,
        now_us: u64,
    ) -> Result<(Self, HashMap<DeliveryKey, Doubt>), EngineError> {
        let failed = |cause| EngineError::Journal {
            path: path.display().to_string(),
            cause,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let bytes = std::fs::read(path).map_err(failed)?;
        let mut doubts = HashMap::new();
        let mut free = Free {
            slots: Vec::new(),
            end: (bytes.len() / SLOT) as u32,
        };
        for (slot, bytes) in bytes.chunks_exact(SLOT).enumerate() {
            let slot = slot as u32;
            match decode(bytes) {
                Some((key, mut doubt)) if doubt.at_us.saturating_add(MAX_AGE_US) > now_us => {
                    doubt.slot = slot;
                    // Two slots of one delivery: the later attempt is the open one.
                    if let Some(older) = keep_later(&mut doubts, key, doubt) {
                        free.slots.push(older);
                    }
                }
                _ => free.slots.push(slot),
            }
        }
        Ok((
            Self {
                slots: Some(Slots::open(file).map_err(failed)?),
                free: Mutex::new(free),
            },
            doubts,
        ))
    }

    /// Notes that the content of an attempt is about to leave. `None`: no journal is kept.
    pub(crate) fn begin(&self, opened: Opened) -> std::io::Result<Option<u32>> {
        let Some(slots) = &self.slots else {
            return Ok(None);
        };
        let slot = self.free.lock().take();
        match slots.write(slot, &encode(opened)) {
            Ok(()) => Ok(Some(slot)),
            Err(error) => {
                self.free.lock().slots.push(slot);
                Err(error)
            }
        }
    }

    /// The outcomes of these attempts are durable.
    pub(crate) fn end(&self, mut ended: Vec<u32>) -> std::io::Result<()> {
        let Some(slots) = &self.slots else {
            return Ok(());
        };
        for slot in &ended {
            slots.write(*slot, &[0; SLOT])?;
        }
        self.free.lock().slots.append(&mut ended);
        Ok(())
    }
}

impl Free {
    fn take(&mut self) -> u32 {
        self.slots.pop().unwrap_or_else(|| {
            self.end += 1;
            self.end - 1
        })
    }
}

fn keep_later(
    doubts: &mut HashMap<DeliveryKey, Doubt>,
    key: DeliveryKey,
    doubt: Doubt,
) -> Option<u32> {
    match doubts.get(&key).copied() {
        Some(known) if known.attempt > doubt.attempt => Some(doubt.slot),
        known => {
            doubts.insert(key, doubt);
            known.map(|known| known.slot)
        }
    }
}

fn encode(opened: Opened) -> [u8; SLOT] {
    let Opened { key, .. } = opened;
    let mut slot = [0; SLOT];
    slot[..4].copy_from_slice(MAGIC);
    slot[4..8].copy_from_slice(&key.recipient.to_le_bytes());
    slot[8..12].copy_from_slice(&opened.attempt.to_le_bytes());
    slot[12..20].copy_from_slice(&opened.at_us.to_le_bytes());
    slot[20..36].copy_from_slice(key.id.as_bytes());
    slot[36..40].copy_from_slice(&(opened.partition + 1).to_le_bytes());
    let sum = xxh3_64(&slot[..SLOT - 8]);
    slot[SLOT - 8..].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// All but the slot's own number.
fn decode(slot: &[u8]) -> Option<(DeliveryKey, Doubt)> {
    let (head, sum) = slot.split_at(SLOT - 8);
    if !head.starts_with(MAGIC) || xxh3_64(head).to_le_bytes() != *sum {
        return None;
    }
    let u32_at = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    let at_us = head[12..20].try_into().map(u64::from_le_bytes).ok()?;
    let id = MessageId::from_slice(&head[20..36]).ok()?;
    let key = DeliveryKey {
        id,
        recipient: u32_at(4)?,
    };
    let doubt = Doubt {
        attempt: u32_at(8)?,
        slot: 0,
        at_us,
        partition: u32_at(36)?.checked_sub(1),
    };
    Some((key, doubt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u32) -> DeliveryKey {
        DeliveryKey {
            id: MessageId::new(u64::from(n), [3; 10]),
            recipient: n,
        }
    }

    fn opened(n: u32, at_us: u64) -> Opened {
        Opened {
            key: key(n),
            partition: n % 7,
            attempt: 1,
            at_us,
        }
    }

    fn open(path: &Path) -> (Journal, HashMap<DeliveryKey, Doubt>) {
        Journal::open(path, 1_000).expect("a temporary file can be opened")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Law `journal_shows_the_open_ones`: over restarts, and with damage a free slot is found,
        /// never a wrong one.
        #[test]
        fn law_journal_shows_the_open_ones(
            steps in prop::collection::vec((0u32..40, 0u8..4), 1..120),
            damaged in prop::option::of(0usize..2_000),
        ) {
            let directory = tempfile::tempdir().expect("temporary directory");
            let path = directory.path().join("journal");
            let (mut journal, _) = open(&path);
            let mut model: HashMap<u32, u32> = HashMap::new();
            for (n, what) in steps {
                match what {
                    0 | 1 if !model.contains_key(&n) => {
                        let slot = journal.begin(opened(n, 900)).expect("write");
                        prop_assert!(model.values().all(|s| Some(*s) != slot));
                        model.insert(n, slot.expect("a journal is kept"));
                    }
                    2 => {
                        let slots = model.drain().filter(|(k, _)| *k <= n).map(|(_, s)| s);
                        let slots: Vec<u32> = slots.collect();
                        journal.end(slots).expect("write");
                        model.clear();
                        drop(journal);
                        // What the drain above dropped without freeing is found again; free it too.
                        let (reopened, doubts) = open(&path);
                        journal = reopened;
                        journal.end(doubts.values().map(|d| d.slot).collect()).expect("write");
                    }
                    _ => {}
                }
            }
            let mut expected: HashMap<DeliveryKey, Doubt> = model
                .iter()
                .map(|(n, slot)| {
                    let partition = Some(n % 7);
                    (key(*n), Doubt { attempt: 1, slot: *slot, at_us: 900, partition })
                })
                .collect();
            if let Some(at) = damaged {
                let mut bytes = std::fs::read(&path).expect("read");
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 0x55;
                    std::fs::write(&path, &bytes).expect("write");
                    expected.retain(|_, doubt| doubt.slot as usize != at / SLOT);
                }
            }
            prop_assert_eq!(open(&path).1, expected);
        }
    }

    #[test]
    fn an_attempt_older_than_the_log_is_forgotten() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("journal");
        let (journal, _) = open(&path);
        journal.begin(opened(1, 5)).expect("write");
        let (_, doubts) = Journal::open(&path, MAX_AGE_US + 5).expect("open");
        assert!(doubts.is_empty());
    }
}
