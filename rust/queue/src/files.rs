//! The log's files: raft-engine's own, watched.
//!
//! Two things must not pass unseen: that recovery cuts a file (raft-engine says so only in its own
//! log), and that an fsync fails (it panics later, with less to say). Both go through here.
//!
//! Space ahead of the writer is written as zeros and not only reserved. What was reserved becomes
//! content by a change of the file's extents, so every sync would write those beside the data: half
//! the time of a sync, and a commit of the file system's journal where it has one. Each octet is
//! written twice for it, the first time in large runs. PostgreSQL does so too (`wal_init_zero`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};

use crate::failure::Failure;
use crate::recovery::Cut;

type Fd = <DefaultFileSystem as FileSystem>::Handle;

pub(crate) struct Watch {
    failure: Arc<Failure>,
    cuts: Mutex<Vec<Cut>>,
    syncs: AtomicU64,
    /// Where cut bytes are kept, so that a cut caused by a flipped bit can be looked into.
    keep_in: PathBuf,
}

impl Watch {
    pub(crate) fn new(failure: Arc<Failure>, keep_in: PathBuf) -> Self {
        Self {
            failure,
            cuts: Mutex::default(),
            syncs: AtomicU64::new(0),
            keep_in,
        }
    }

    /// What recovery has cut so far.
    pub(crate) fn take_cuts(&self) -> Vec<Cut> {
        std::mem::take(&mut self.cuts.lock())
    }

    /// fdatasync calls so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Notes a cut unless only the zeros of preallocation go, which every crash leaves.
    fn note_cut(&self, path: &Path, offset: u64) -> io::Result<()> {
        let end = content_end(path)?;
        if end <= offset {
            return Ok(());
        }
        let mut lost = vec![0; (end - offset) as usize];
        File::open(path)?.read_exact_at(&mut lost, offset)?;
        std::fs::create_dir_all(&self.keep_in)?;
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let kept_in = self.keep_in.join(format!("{name}.{offset}"));
        std::fs::write(&kept_in, &lost)?;
        let (file, kept_in) = (path.to_owned(), Some(kept_in));
        self.cuts.lock().push(Cut {
            file,
            offset,
            bytes: end - offset,
            kept_in,
        });
        Ok(())
    }
}

/// Where a file's content ends if the zeros at its end are preallocated space.
pub(crate) fn content_end(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = vec![0; 1 << 16];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(last) = block.iter().rposition(|&byte| byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) struct WatchedFile {
    fd: Arc<Fd>,
    path: PathBuf,
    watch: Arc<Watch>,
}

impl Handle for WatchedFile {
    /// Called by recovery only; the writer trims its file through `WriteExt`.
    fn truncate(&self, offset: usize) -> io::Result<()> {
        self.watch.note_cut(&self.path, offset as u64)?;
        Handle::truncate(&*self.fd, offset)
    }

    fn file_size(&self) -> io::Result<usize> {
        self.fd.file_size()
    }

    fn sync(&self) -> io::Result<()> {
        self.watch.syncs.fetch_add(1, Ordering::Relaxed);
        self.fd.sync().inspect_err(|error| {
            self.watch
                .failure
                .stop(&format!("fdatasync of {}: {error}", self.path.display()));
        })
    }
}

/// raft-engine looks no further ahead, unless what it writes at once is larger.
const MOST_AHEAD: usize = 2 << 20;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

type Inner = <DefaultFileSystem as FileSystem>::Writer;

/// Writes; see the module for what it does differently.
pub(crate) struct Writer {
    inner: Inner,
    at: u64,
}

impl Write for Writer {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(octets)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Seek for Writer {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.inner.seek(to)?;
        Ok(self.at)
    }
}

impl WriteExt for Writer {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        self.inner.truncate(offset)?;
        self.at = offset as u64;
        Ok(())
    }

    /// Called with the space behind all that was written.
    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        if size > MOST_AHEAD {
            // One write is about to fill it.
            return Ok(());
        }
        self.inner.seek(SeekFrom::Start(offset as u64))?;
        let mut runs = std::iter::repeat_n(&ZEROS[..], size / ZEROS.len())
            .chain([&ZEROS[..size % ZEROS.len()]]);
        let written = runs.try_for_each(|run| self.inner.write_all(run));
        self.inner.seek(SeekFrom::Start(self.at))?;
        written
    }
}

pub(crate) struct Files(pub(crate) Arc<Watch>);

impl Files {
    fn watched(&self, fd: Fd, path: &Path) -> WatchedFile {
        WatchedFile {
            fd: Arc::new(fd),
            path: path.to_owned(),
            watch: self.0.clone(),
        }
    }
}

impl FileSystem for Files {
    type Handle = WatchedFile;
    type Reader = <DefaultFileSystem as FileSystem>::Reader;
    type Writer = Writer;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<WatchedFile> {
        Ok(self.watched(DefaultFileSystem.create(path.as_ref())?, path.as_ref()))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<WatchedFile> {
        Ok(self.watched(
            DefaultFileSystem.open(path.as_ref(), permission)?,
            path.as_ref(),
        ))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        DefaultFileSystem.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        DefaultFileSystem.rename(from, to)
    }

    fn new_reader(&self, handle: Arc<WatchedFile>) -> io::Result<Self::Reader> {
        DefaultFileSystem.new_reader(handle.fd.clone())
    }

    fn new_writer(&self, handle: Arc<WatchedFile>) -> io::Result<Self::Writer> {
        Ok(Writer {
            inner: DefaultFileSystem.new_writer(handle.fd.clone())?,
            at: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_ahead_is_zeros_and_moves_nobody() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log");
        let failure = Arc::new(Failure::new(Arc::new(|_| {})));
        let files = Files(Arc::new(Watch::new(failure, directory.path().join("cut"))));
        let handle = Arc::new(files.create(&path).expect("create"));
        let mut writer = files.new_writer(handle).expect("writer");
        writer.write_all(b"ab").expect("write");
        writer.allocate(2, 100_000).expect("allocate");
        writer.write_all(b"cd").expect("write");
        let mut expected = b"abcd".to_vec();
        expected.resize(100_002, 0);
        assert!(std::fs::read(&path).expect("read") == expected);
        assert_eq!(content_end(&path).expect("read"), 4);
        writer.truncate(3).expect("truncate");
        writer.allocate(3, MOST_AHEAD + 1).expect("allocate");
        writer.write_all(b"e").expect("write");
        assert_eq!(std::fs::read(&path).expect("read"), b"abce");
    }
}
