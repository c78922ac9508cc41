//! A file of small slots that are written without a system call.
//!
//! **Problem.** A note in the journal before every message is one write each, and a system call costs
//! as much as the rest of the note a hundred times over.
//! **Model.** The file is mapped into memory, shared: a store to it is in the kernel's page cache at
//! once and stays when the process is killed, as after a `write`. It grows by segments, which are
//! written as zeros first, so that a full disk is an error here and not a signal later.
//! **Bound.** The file has as many slots as were ever open at a time, in whole segments.
//! **Why this library.** `vm-memory` (the rust-vmm project) gives a mapping as a safe interface of
//! volatile copies; nothing here needs `unsafe`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::RwLock;
use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

/// Bytes of a slot: one cache line, never across a page.
pub(crate) const SLOT: usize = 64;
/// Slots of a segment: 64 KiB, whole pages on every architecture we build for.
const SLOTS: usize = 1_024;
const SEGMENT: usize = SLOT * SLOTS;

/// See the module.
pub(crate) struct Slots {
    file: Arc<File>,
    segments: RwLock<Vec<MmapRegion>>,
}

impl Slots {
    /// Maps what the file has.
    ///
    /// # Errors
    /// When the file cannot be read, filled up to a whole segment, or mapped.
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let slots = Self {
            file: Arc::new(file),
            segments: RwLock::default(),
        };
        let whole = bytes.div_ceil(SEGMENT as u64) * SEGMENT as u64;
        let missing = vec![0; (whole - bytes) as usize];
        slots.file.write_all_at(&missing, bytes)?;
        let mut segments = slots.segments.write();
        for at in (0..whole).step_by(SEGMENT) {
            segments.push(slots.map(at)?);
        }
        drop(segments);
        Ok(slots)
    }

    /// Writes a slot; the file grows up to it.
    ///
    /// # Errors
    /// When the disk has no room for a larger file, or it cannot be mapped.
    pub(crate) fn write(&self, slot: u32, bytes: &[u8; SLOT]) -> io::Result<()> {
        let (segment, at) = (slot as usize / SLOTS, slot as usize % SLOTS);
        loop {
            if let Some(segment) = self.segments.read().get(segment) {
                let room = segment
                    .get_slice(at * SLOT, SLOT)
                    .map_err(io::Error::other)?;
                room.copy_from(bytes);
                return Ok(());
            }
            self.grow()?;
        }
    }

    fn grow(&self) -> io::Result<()> {
        let mut segments = self.segments.write();
        let at = (segments.len() * SEGMENT) as u64;
        self.file.write_all_at(&[0; SEGMENT], at)?;
        segments.push(self.map(at)?);
        Ok(())
    }

    fn map(&self, at: u64) -> io::Result<MmapRegion> {
        let place = FileOffset::from_arc(Arc::clone(&self.file), at);
        MmapRegion::from_file(place, SEGMENT).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(path: &std::path::Path) -> Slots {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        Slots::open(options.open(path).expect("open")).expect("map")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Law `the_file_has_it`: what was written can be read from the file at once, by anybody,
        /// whatever the file had before, and slots never written are zeros.
        #[test]
        fn law_the_file_has_it(
            had in 0usize..2 * SEGMENT,
            writes in prop::collection::vec((0u32..3 * SLOTS as u32, 1u8..), 1..40),
        ) {
            let directory = tempfile::tempdir().expect("temporary directory");
            let path = directory.path().join("slots");
            std::fs::write(&path, vec![0; had]).expect("write");
            let slots = open(&path);
            let mut model = vec![0; had.next_multiple_of(SEGMENT)];
            for (slot, octet) in writes {
                slots.write(slot, &[octet; SLOT]).expect("write");
                let at = slot as usize * SLOT;
                model.resize(model.len().max((at + SLOT).next_multiple_of(SEGMENT)), 0);
                model[at..at + SLOT].fill(octet);
                prop_assert!(std::fs::read(&path).expect("read") == model);
            }
            drop(slots);
            drop(open(&path));
            prop_assert!(std::fs::read(&path).expect("read") == model);
        }
    }

    #[test]
    fn a_file_that_cannot_grow_is_an_error() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("slots");
        std::fs::write(&path, [1; SLOT]).expect("write");
        let read_only = File::open(&path).expect("open");
        assert!(Slots::open(read_only).is_err());
    }
}
