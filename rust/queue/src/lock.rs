//! One process owns a queue: an advisory lock the kernel drops with the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::Error;

pub(crate) struct ProcessLock(File);

impl Drop for ProcessLock {
    /// Closing alone is not enough: a child that another thread has just forked holds the same open
    /// file until its exec, and with it the lock. Unlocking ends it for all copies (flock(2)).
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl ProcessLock {
    /// Takes the lock and writes the process id into the file, for others to name.
    pub(crate) fn take(directory: &Path) -> Result<Self, Error> {
        let open = |error: std::io::Error| Error::Open {
            path: directory.to_owned(),
            detail: format!("its lock file cannot be used: {error}"),
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(directory.join("lock"))
            .map_err(open)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (path, holder) = (directory.to_owned(), holder(&mut file));
                return Err(Error::Locked { path, holder });
            }
            Err(TryLockError::Error(error)) => return Err(open(error)),
        }
        file.set_len(0).map_err(open)?;
        file.write_all(std::process::id().to_string().as_bytes())
            .map_err(open)?;
        Ok(Self(file))
    }
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    if pid.is_empty() {
        return "another process".into();
    }
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    format!("process {pid} ({})", command.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = ProcessLock::take(dir.path()).unwrap();
        let inherited = lock.0.try_clone().unwrap();
        assert!(ProcessLock::take(dir.path()).is_err());
        drop(lock);
        assert!(ProcessLock::take(dir.path()).is_ok());
        drop(inherited);
    }
}
