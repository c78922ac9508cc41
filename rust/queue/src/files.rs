//! The log's files: raft-engine's own, watched.
//!
//! Two things must not pass unseen: that recovery cuts a file (raft-engine says so only in its own
//! log), and that an fsync fails (it panics later, with less to say). Both go through here.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission};

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
    type Writer = <DefaultFileSystem as FileSystem>::Writer;

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
        DefaultFileSystem.new_writer(handle.fd.clone())
    }
}
