//! Content, by DATA and by BDAT.
//!
//! **Model.** It is searched for its end with one memmem and copied only when it spans reads or is to
//! be stored. What is held of a message that is not stored is bounded by [`MOST_HEADER`].

use super::{Mode, Next, Session, say};
use memchr::memmem;
use std::sync::LazyLock;

/// The most that is kept of a message when only its Message-ID is wanted.
const MOST_HEADER: usize = 64 * 1024;
static END_OF_DATA: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\r\n.\r\n"));

impl Session {
    pub(super) fn bdat(&mut self, text: &str, replies: &mut Vec<u8>) -> Next {
        let mut words = text.split_ascii_whitespace();
        let size = words.next().and_then(|size| size.parse().ok());
        let (Some(left), true) = (size, self.shared.options.chunking) else {
            return say(replies, "501 5.5.4 Syntax: BDAT size [LAST]");
        };
        let is_last = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        self.mode = Mode::Chunk { left, is_last };
        Next::Read
    }

    pub(super) fn take_data(
        &mut self,
        input: &[u8],
        at_start: bool,
        replies: &mut Vec<u8>,
    ) -> (usize, Next) {
        if at_start && input.starts_with(b".\r\n") {
            return (3, self.end_of_data(b"", replies));
        }
        if at_start && b".\r\n".starts_with(input) {
            return (0, Next::Read);
        }
        if let Some(end) = END_OF_DATA.find(input) {
            return (end + 5, self.end_of_data(&input[..end + 2], replies));
        }
        // The last four octets may begin the end of data.
        let taken = input.len().saturating_sub(4);
        if taken > 0 {
            self.hold(&input[..taken]);
            self.mode = Mode::Data { at_start: false };
        }
        (taken, Next::Read)
    }

    pub(super) fn take_chunk(
        &mut self,
        input: &[u8],
        left: usize,
        is_last: bool,
        replies: &mut Vec<u8>,
    ) -> (usize, Next) {
        let taken = input.len().min(left);
        if taken < left {
            self.hold(&input[..taken]);
            self.mode = Mode::Chunk {
                left: left - taken,
                is_last,
            };
            return (taken, Next::Read);
        }
        // BDAT without an envelope is answered after its octets (RFC 3030, 2).
        let refusal = match (&self.reverse_path, self.recipients.is_empty()) {
            (None, _) => Some("503 5.5.1 MAIL first"),
            (_, true) => Some("554 5.5.1 No valid recipients"),
            _ => None,
        };
        let next = if let Some(refusal) = refusal {
            self.forget_transaction();
            say(replies, refusal)
        } else if is_last {
            self.end_of_data(&input[..taken], replies)
        } else {
            self.hold(&input[..taken]);
            self.mode = Mode::Command;
            say(replies, "250 2.0.0 OK")
        };
        // A chunk of no octets still is a step forward: its command was taken before.
        if taken == 0 && next == Next::Read {
            self.process(input, replies)
        } else {
            (taken, next)
        }
    }

    fn hold(&mut self, content: &[u8]) {
        self.size += content.len() as u64;
        if self.shared.options.count_only {
            return;
        }
        let is_stored =
            self.shared.keeps_content && self.size <= self.shared.options.size_limit_bytes;
        let room = if is_stored {
            usize::MAX
        } else {
            MOST_HEADER.saturating_sub(self.held.len())
        };
        self.held
            .extend_from_slice(&content[..content.len().min(room)]);
    }

    fn end_of_data(&mut self, last: &[u8], replies: &mut Vec<u8>) -> Next {
        let held = if self.held.is_empty() {
            self.size += last.len() as u64;
            None
        } else {
            self.hold(last);
            Some(std::mem::take(&mut self.held))
        };
        self.mode = Mode::Command;
        self.finish(held.as_deref().unwrap_or(last), replies)
    }
}
