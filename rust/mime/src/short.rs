//! A short text on the stack: a date, a boundary. Every message has both, so neither is allocated.

use std::fmt::{self, Display, Write};

/// A text of at most 40 octets; what is beyond is not written.
pub(crate) struct Short {
    octets: [u8; 40],
    len: usize,
}

impl Short {
    /// What `value` displays.
    pub(crate) fn of(value: impl Display) -> Self {
        let mut short = Self {
            octets: [0; 40],
            len: 0,
        };
        let written = write!(short, "{value}");
        debug_assert!(written.is_ok(), "longer than 40 octets");
        short
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.len]).unwrap_or_default()
    }
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.octets.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
