//! What was said on a connection: for the failures' story, and for whoever watches.
//!
//! **Problem.** A reply explains a refusal; why a receiver hung up is told only by what was said
//! before. It cannot be known beforehand which conversation will be worth reading.
//! **Model.** Every connection notes commands and replies as they pass: the greeting, and the
//! latest few kilobytes after it. An attempt that failed, or that was drawn as a sample, takes its
//! part as text. Whoever follows a site live ([`Traces`]) gets each line as it is noted.
//! **Bounds.** [`MOST_GREETING`] and [`MOST_RECENT`] octets a connection, [`MOST_TEXT`] an attempt.
//! **Invariants.** Content is shown as its size only. Of AUTH nothing but the mechanism is shown,
//! and of a line that is no command we know, nothing. No control character reaches the text.
//! **Law `transcript_is_bounded`.**

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use postalynk_smtp::Sent;

use crate::trace::{Session, Traces};

/// Octets of the greeting that are kept; an EHLO answer has a few hundred.
const MOST_GREETING: usize = 2_048;
/// Octets kept of what came last.
const MOST_RECENT: usize = 4_096;
/// Replies are copied into blocks of this size; one holds those to some ten messages.
const BLOCK_BYTES: usize = 1_024;
/// Characters of an attempt's transcript.
const MOST_TEXT: usize = 8_192;
/// Characters of a line.
const MOST_LINE: usize = 400;
/// What an entry costs beside its octets, so that many small ones are bounded too.
const ENTRY_COST: usize = 32;

#[derive(Debug)]
enum What {
    Commands(Bytes),
    Content(u64),
    Replies(Bytes),
    Note(Box<str>),
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    what: What,
}

impl Entry {
    fn cost(&self) -> usize {
        let octets = match &self.what {
            What::Commands(octets) | What::Replies(octets) => octets.len(),
            What::Note(text) => text.len(),
            What::Content(_) => 0,
        };
        octets + ENTRY_COST
    }
}

/// See the module.
pub(crate) struct Transcript {
    began: Instant,
    greeting: Vec<Entry>,
    greeting_cost: usize,
    /// The greeting is over, or its room is.
    is_greeted: bool,
    recent: VecDeque<Entry>,
    recent_cost: usize,
    /// Replies are copied from the read buffer into shared blocks.
    block: BytesMut,
    live: Option<(Arc<Traces>, Session)>,
}

impl Transcript {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            greeting: Vec::new(),
            greeting_cost: 0,
            is_greeted: false,
            recent: VecDeque::new(),
            recent_cost: 0,
            block: BytesMut::with_capacity(BLOCK_BYTES),
            live: None,
        }
    }

    /// Lines go to whoever watches from now on.
    pub(crate) fn show_to(&mut self, traces: &Arc<Traces>, session: Session) {
        self.live = Some((Arc::clone(traces), session));
    }

    /// The greeting is over: what follows may push out what came before it, but not the greeting.
    pub(crate) fn greeted(&mut self) {
        self.is_greeted = true;
    }

    pub(crate) fn sent(&mut self, at: Instant, sent: Sent) {
        self.push(
            at,
            match sent {
                Sent::Commands(octets) => What::Commands(octets),
                Sent::Content(octets) => What::Content(octets),
            },
        );
    }

    pub(crate) fn received(&mut self, at: Instant, octets: &[u8]) {
        self.block.extend_from_slice(octets);
        let octets = self.block.split().freeze();
        self.push(at, What::Replies(octets));
    }

    /// Something that is neither command nor reply, such as a handshake.
    pub(crate) fn note(&mut self, at: Instant, text: &str) {
        self.push(at, What::Note(text.into()));
    }

    fn push(&mut self, at: Instant, what: What) {
        let entry = Entry { at, what };
        if let Some((traces, session)) = &self.live
            && traces.is_watched()
        {
            let lines = lines(&entry, self.began);
            traces.publish(session, lines);
        }
        let cost = entry.cost();
        if !self.is_greeted && self.greeting_cost + cost <= MOST_GREETING {
            self.greeting_cost += cost;
            self.greeting.push(entry);
            return;
        }
        self.recent_cost += cost;
        self.recent.push_back(entry);
        // The newest stays, however long it is.
        while self.recent_cost > MOST_RECENT && self.recent.len() > 1 {
            if let Some(old) = self.recent.pop_front() {
                self.recent_cost -= old.cost();
            }
        }
    }

    /// The greeting, and what came from `from` on.
    pub(crate) fn text(&self, from: Instant) -> String {
        let mut text = String::new();
        let mut is_cut = false;
        let recent = self.recent.iter().skip_while(|entry| entry.at < from);
        let skipped = self.recent.front().is_some_and(|first| first.at < from);
        for (index, entry) in self.greeting.iter().chain(recent).enumerate() {
            if index == self.greeting.len() && skipped {
                text.push_str("…\n");
            }
            for line in lines(entry, self.began) {
                if text.len() + line.len() > MOST_TEXT {
                    is_cut = true;
                    break;
                }
                text.push_str(&line);
                text.push('\n');
            }
        }
        if is_cut {
            text.push_str("…\n");
        }
        text
    }
}

/// `seconds C: command`, `seconds S: reply`, `seconds *: what happened`.
fn lines(entry: &Entry, began: Instant) -> Vec<String> {
    let after = entry.at.saturating_duration_since(began).as_secs_f64();
    let line = |mark: char, shown: &str| format!("{after:.3} {mark}: {shown}");
    match &entry.what {
        What::Commands(octets) => split(octets)
            .map(|command| line('C', &shown_command(command)))
            .collect(),
        What::Replies(octets) => split(octets)
            .map(|reply| line('S', &printable(reply)))
            .collect(),
        What::Content(octets) => vec![line('C', &format!("[content of {octets} octets]"))],
        What::Note(text) => vec![line('*', &printable(text.as_bytes()))],
    }
}

fn split(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets
        .split(|octet| *octet == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Verbs whose arguments are no secrets.
const OPEN_VERBS: [&str; 10] = [
    "EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT",
];

fn shown_command(command: &[u8]) -> String {
    let mut words = command.splitn(3, |octet| *octet == b' ');
    let verb = String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_uppercase();
    if OPEN_VERBS.contains(&verb.as_str()) {
        printable(command)
    } else if verb == "AUTH" {
        format!("AUTH {} ***", printable(words.next().unwrap_or_default()))
    } else {
        "***".to_owned()
    }
}

/// Text in which nothing can move a cursor or begin a line.
fn printable(octets: &[u8]) -> String {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(octets).chars() {
        if shown.len() >= MOST_LINE {
            shown.push('…');
            break;
        }
        if character.is_control() {
            // Writing to a text cannot fail.
            let _ = write!(shown, "\\x{:02x}", character as u32);
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn content_and_secrets_are_left_out() {
        let now = Instant::now();
        let mut transcript = Transcript::new(now);
        transcript.received(now, b"220 mx ESMTP\x1b[2J\r\n");
        let commands = "EHLO a\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\nc2VjcmV0\r\n";
        transcript.sent(now, Sent::Commands(commands.into()));
        transcript.greeted();
        let later = now + Duration::from_millis(1_500);
        transcript.sent(later, Sent::Commands("MAIL FROM:<a@b>\r\n".into()));
        transcript.sent(later, Sent::Content(42));
        let last = later + Duration::from_secs(1);
        transcript.note(last, "the receiver closed the connection");
        assert_eq!(
            transcript.text(last),
            "0.000 S: 220 mx ESMTP\\x1b[2J\n0.000 C: EHLO a\n0.000 C: AUTH PLAIN ***\n\
             0.000 C: ***\n…\n2.500 *: the receiver closed the connection\n"
        );
        assert!(
            transcript
                .text(now)
                .contains("1.500 C: [content of 42 octets]")
        );
    }

    proptest! {
        /// Law `transcript_is_bounded`: whatever is said, what is kept and what is shown is not
        /// more than the bounds and one entry, and the latest entry is shown.
        #[test]
        fn law_transcript_is_bounded(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2_000), 1..60),
            greeted in 0usize..10,
        ) {
            let now = Instant::now();
            let mut transcript = Transcript::new(now);
            for (index, octets) in entries.iter().enumerate() {
                if index == greeted {
                    transcript.greeted();
                }
                transcript.received(now, octets);
            }
            prop_assert!(transcript.greeting_cost <= MOST_GREETING);
            prop_assert!(transcript.recent_cost <= MOST_RECENT + 2_000 + ENTRY_COST);
            let text = transcript.text(now);
            prop_assert!(text.len() <= MOST_TEXT + 8, "{}", text.len());
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
