//! Receivers' manners, chosen by how a recipient's local part begins.
//!
//! | local part | what happens |
//! |---|---|
//! | `defer…` | the first RCPT from a reverse path to it: `451 4.7.1`; later ones are accepted |
//! | `bounce…` | RCPT: `550 5.1.1` |
//! | `full…` | RCPT: `452 4.2.2` |
//! | `busy…` | RCPT: `421 4.3.2`, and the connection is closed |
//! | `slow…` | the replies to RCPT and to the final dot are delayed |
//! | `hangup…` | the connection is closed after DATA, before any content |
//! | `drop…` | the first time a message comes: RST after the final dot, without a reply |
//! | others | `250` |
//!
//! `defer` cannot know the Message-ID when RCPT comes, so it remembers (reverse path, recipient);
//! `drop` remembers (Message-ID, recipient). Both memories are bounded and begin anew when full.

use crate::script::{Action, Verdict};
use std::collections::HashSet;
use std::time::Duration;

/// Most pairs remembered for `defer` and for `drop`.
const MOST_REMEMBERED: usize = 100_000;

/// The memory behind the personalities.
#[derive(Debug, Default)]
pub(crate) struct Personalities {
    deferred: HashSet<Box<str>>,
    dropped: HashSet<Box<str>>,
}

/// Whether an address needs the memory at all: nearly none does, and a benchmark should not pay.
pub(crate) fn is_plain(recipient: &str) -> bool {
    let prefixes = ["defer", "bounce", "full", "busy", "slow", "hangup", "drop"];
    !prefixes.iter().any(|prefix| is(recipient, prefix))
}

impl Personalities {
    pub(crate) fn at_rcpt(
        &mut self,
        reverse: &str,
        recipient: &str,
        slow: Duration,
    ) -> Option<Action> {
        let reply = |text: &str| Some(act(Verdict::Reply(text.to_owned())));
        if is(recipient, "defer") && is_first(&mut self.deferred, reverse, recipient) {
            reply("451 4.7.1 Greylisted, try again")
        } else if is(recipient, "bounce") {
            reply("550 5.1.1 No such user")
        } else if is(recipient, "full") {
            reply("452 4.2.2 Mailbox full")
        } else if is(recipient, "busy") {
            reply("421 4.3.2 Too busy, closing")
        } else if is(recipient, "slow") {
            Some(Action {
                delay: slow,
                verdict: Verdict::Behave,
            })
        } else {
            None
        }
    }

    pub(crate) fn at_data(recipients: &[String]) -> Option<Action> {
        recipients
            .iter()
            .any(|r| is(r, "hangup"))
            .then(|| act(Verdict::Close))
    }

    pub(crate) fn at_final_dot(
        &mut self,
        message_id: &str,
        recipients: &[String],
        slow: Duration,
    ) -> Option<Action> {
        // Counted, not `any`: every recipient is remembered, so the second try drops for none.
        let firsts = recipients
            .iter()
            .filter(|r| is(r, "drop") && is_first(&mut self.dropped, message_id, r));
        if firsts.count() > 0 {
            return Some(act(Verdict::Reset));
        }
        let is_slow = recipients.iter().any(|r| is(r, "slow"));
        is_slow.then_some(Action {
            delay: slow,
            verdict: Verdict::Behave,
        })
    }
}

fn act(verdict: Verdict) -> Action {
    Action {
        delay: Duration::ZERO,
        verdict,
    }
}

fn is(recipient: &str, prefix: &str) -> bool {
    recipient
        .as_bytes()
        .get(..prefix.len())
        .is_some_and(|s| s.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn is_first(seen: &mut HashSet<Box<str>>, one: &str, other: &str) -> bool {
    if seen.len() >= MOST_REMEMBERED {
        seen.clear();
    }
    // A space occurs in neither.
    seen.insert(format!("{one} {other}").into())
}
