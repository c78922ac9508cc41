//! One process owns a queue: an advisory lock the kernel drops with the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::Error;

pub(crate) struct ProcessLock(#[allow(dead_code, reason = "held, not read")] File);

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
