//! What opening the queue found and mended.

use std::fmt;
use std::path::PathBuf;

/// The end of a file that was no valid batch and was cut off.
///
/// After a crash this is a batch that was being written: nothing in it was acknowledged. If the
/// machine did not crash, a bit has flipped, and what stood behind it may have been acknowledged;
/// that is why the bytes are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: PathBuf,
    /// Where its valid content ends.
    pub offset: u64,
    /// Bytes cut, preallocated zeros not counted.
    pub bytes: u64,
    /// Where the cut bytes are kept; `None` for a journal of the compacted topics.
    pub kept_in: Option<PathBuf>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            offset,
            bytes,
            kept_in,
        } = self;
        write!(
            f,
            "{} cut at offset {offset}: {bytes} bytes were no valid batch",
            file.display()
        )?;
        match kept_in {
            Some(kept_in) => write!(f, " (kept in {})", kept_in.display()),
            None => Ok(()),
        }
    }
}

/// What recovery did; empty after a clean stop, and after most crashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Cut file ends.
    pub cuts: Vec<Cut>,
}
