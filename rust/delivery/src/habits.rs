//! What a path's receiver has taught us about itself.
//!
//! **Problem.** A receiver that takes ten recipients a transaction says so in a reply to the
//! eleventh; asking it a hundred times an hour costs both sides.
//! **Model.** Every path remembers the most recipients its receiver takes. A 452 or 552 from some
//! RCPT on to the last (RFC 5321, 4.5.3.1.10) teaches it; what was refused that way leaves again at
//! once in a transaction of its own, which is no attempt. It also remembers how many messages may be
//! in flight with CHUNKING (RFC 3030): none, for good, once BDAT was refused or a connection was
//! lost around the first chunk. And it remembers that a host offered no 8BITMIME (RFC 6152): from then
//! on raw messages are re-encoded before they are signed, for mail without 8-bit octets every other
//! host takes too.
//! **Laws.** `law_rest_shrinks`: what is sent again is always less than what was sent.
//! **Not here.** LIMITS (RFC 9422), which holds on one connection only.

use postalynk_smtp::{Phase, Rejection};

/// Every receiver must take so many (RFC 5321, 4.5.3.1.8).
const MOST_RECIPIENTS: usize = 100;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Recipients of one transaction.
    pub(crate) recipients: usize,
    /// Messages in flight with CHUNKING that a new connection begins with; 0: DATA.
    pub(crate) chunk_window: usize,
    /// One of its hosts offers no 8BITMIME.
    pub(crate) is_seven_bit: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            recipients: MOST_RECIPIENTS,
            chunk_window: 1,
            is_seven_bit: false,
        }
    }
}

impl Habits {
    /// A connection ended that had shown this.
    pub(crate) fn showed_window(&mut self, chunk_window: usize) {
        if self.chunk_window > 0 {
            self.chunk_window = chunk_window;
        }
    }

    /// The receiver took so many and no more.
    pub(crate) fn took_only(&mut self, recipients: usize) {
        self.recipients = self.recipients.min(recipients.max(1));
    }
}

/// From which recipient on all were refused only because they were too many.
pub(crate) fn too_many_from(rejections: &[Option<&Rejection>]) -> Option<usize> {
    let is_crowded = |slot: &&Option<&Rejection>| slot.is_some_and(speaks_of_number);
    let refused = rejections.iter().rev().take_while(is_crowded).count();
    let from = rejections.len() - refused;
    // One that was taken shows that the number was it; without one nothing would be gained.
    let was_taken = |slot: &Option<&Rejection>| slot.is_none_or(|r| r.phase != Phase::Rcpt);
    (refused > 0 && rejections[..from].iter().any(was_taken)).then_some(from)
}

/// 452 or 552 that says "too many recipients" (X.5.3, RFC 3463) or nothing more exact.
fn speaks_of_number(rejection: &Rejection) -> bool {
    let reply = &rejection.reply;
    let is_exact = |code: postalynk_smtp::EnhancedCode| code.to_string().ends_with(".5.3");
    rejection.phase == Phase::Rcpt
        && matches!(reply.code(), 452 | 552)
        && reply.enhanced().is_none_or(is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postalynk_smtp::Reply;
    use proptest::prelude::*;

    fn rejection(phase: Phase, code: u16, text: &str) -> Rejection {
        Rejection {
            phase,
            reply: Reply::new(code, text),
        }
    }

    #[test]
    fn a_full_mailbox_is_no_crowd() {
        let full = rejection(Phase::Rcpt, 452, "4.2.2 Mailbox full");
        let many = rejection(Phase::Rcpt, 452, "4.5.3 Too many recipients");
        let bare = rejection(Phase::Rcpt, 552, "Too many");
        let spam = rejection(Phase::FinalDot, 554, "5.7.1 No");
        assert_eq!(too_many_from(&[None, Some(&full)]), None);
        assert_eq!(too_many_from(&[None, Some(&full), Some(&many)]), Some(2));
        assert_eq!(
            too_many_from(&[Some(&spam), Some(&bare), Some(&many)]),
            Some(1)
        );
        assert_eq!(too_many_from(&[Some(&many)]), None);
        assert_eq!(too_many_from(&[None, Some(&many), None]), None);
        assert_eq!(too_many_from(&[]), None);
    }

    proptest! {
        /// Law `rest_shrinks`: sending the rest again always sends fewer, and at least one of those
        /// before had its answer.
        #[test]
        fn law_rest_shrinks(kinds in prop::collection::vec(0usize..4, 0..20)) {
            let kinds_of = [
                None,
                Some(rejection(Phase::Rcpt, 452, "Too many")),
                Some(rejection(Phase::Rcpt, 550, "5.1.1 Unknown")),
                Some(rejection(Phase::FinalDot, 452, "4.3.1 Full")),
            ];
            let rejections: Vec<_> = kinds.iter().map(|kind| kinds_of[*kind].as_ref()).collect();
            if let Some(from) = too_many_from(&rejections) {
                prop_assert!(from > 0 && from < kinds.len());
                prop_assert!(kinds[from..].iter().all(|kind| *kind == 1));
            }
        }
    }
}
