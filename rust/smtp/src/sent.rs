//! What left, as a transcript shows it.
//!
//! **Model.** Everything a [`Client`](crate::Client) queues is noted here: commands as they are
//! (shared, not copied), content as its size, so no transcript can hold a message. A driver that
//! keeps a transcript takes the notes; for one that does not, only the latest few are kept.

use std::collections::VecDeque;

use bytes::Bytes;

/// Notes kept for a driver that has not asked yet: more than one step can queue.
const MOST_NOTES: usize = 64;

/// Something that was queued to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// One or more whole commands, each with CRLF.
    Commands(Bytes),
    /// Content of so many octets, its final dot not counted.
    Content(u64),
}

/// The notes not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Notes(VecDeque<Sent>);

impl Notes {
    pub(crate) fn push(&mut self, sent: Sent) {
        if self.0.len() >= MOST_NOTES {
            self.0.pop_front();
        }
        self.0.push_back(sent);
    }

    pub(crate) fn pop(&mut self) -> Option<Sent> {
        self.0.pop_front()
    }
}
