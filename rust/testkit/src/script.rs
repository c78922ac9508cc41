//! Rules that make a receiver misbehave at a chosen step.
//!
//! **Model.** A [`Script`] is a list of [`Rule`]s. At each step the first rule that matches and
//! has turns left decides; without one the receiver behaves well.
//!
//! ```
//! use postalynk_testkit::{Rule, Script, Step};
//! use std::time::Duration;
//!
//! let script = Script::new()
//!     .with(Rule::at(Step::Rcpt).matching("bob@").times(1).reply("451 4.7.1 later"))
//!     .with(Rule::at(Step::FinalDot).skip(2).after(Duration::from_millis(50)).reset());
//! # let _ = script;
//! ```

use std::time::Duration;

/// Where in a conversation a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The greeting.
    Banner,
    /// EHLO or HELO; the text matched is the name given.
    Ehlo,
    /// STARTTLS.
    StartTls,
    /// MAIL; the text matched is the reverse path.
    Mail,
    /// RCPT; the text matched is the forward path.
    Rcpt,
    /// DATA; the text matched is the list of accepted recipients.
    Data,
    /// The final dot, or BDAT LAST; the text matched is the list of accepted recipients.
    FinalDot,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
}

/// What is done instead of behaving well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Behave,
    Reply(String),
    Raw(Vec<u8>),
    Close,
    Reset,
}

/// A verdict and how long to wait before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) delay: Duration,
    pub(crate) verdict: Verdict,
}

/// One thing to do at one step.
#[derive(Clone, Debug)]
pub struct Rule {
    step: Step,
    matching: Option<String>,
    skip: u64,
    times: u64,
    action: Action,
}

impl Rule {
    /// A rule for every occurrence of a step; by itself it changes nothing.
    #[must_use]
    pub fn at(step: Step) -> Self {
        let action = Action {
            delay: Duration::ZERO,
            verdict: Verdict::Behave,
        };
        Self {
            step,
            matching: None,
            skip: 0,
            times: u64::MAX,
            action,
        }
    }

    /// Only where the step's text contains this, for instance a recipient.
    #[must_use]
    pub fn matching(mut self, text: &str) -> Self {
        self.matching = Some(text.to_owned());
        self
    }

    /// Not the first `n` matches.
    #[must_use]
    pub fn skip(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// At most `n` times.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = n;
        self
    }

    /// Waits first.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.action.delay = delay;
        self
    }

    /// Gives this reply, code and text without CRLF. A positive one has its usual effect; 421
    /// closes the connection.
    #[must_use]
    pub fn reply(mut self, reply: &str) -> Self {
        self.action.verdict = Verdict::Reply(reply.to_owned());
        self
    }

    /// Sends these bytes as they are and goes on as after a negative reply.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.action.verdict = Verdict::Raw(bytes.to_vec());
        self
    }

    /// Closes the connection without a reply.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.action.verdict = Verdict::Close;
        self
    }

    /// Resets the connection (RST) without a reply.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.action.verdict = Verdict::Reset;
        self
    }
}

/// Rules, tried in order.
#[derive(Clone, Debug, Default)]
pub struct Script {
    rules: Vec<Rule>,
}

impl Script {
    /// No rule: a receiver that behaves well.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule after the others.
    #[must_use]
    pub fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Uses up a turn of the first rule that applies.
    pub(crate) fn decide(&mut self, step: Step, text: &str) -> Option<Action> {
        self.rules.iter_mut().find_map(|rule| {
            let matches = rule
                .matching
                .as_deref()
                .is_none_or(|part| text.contains(part));
            if rule.step != step || !matches || rule.times == 0 {
                return None;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            rule.times -= 1;
            Some(rule.action.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_with_turns_left_decides() {
        let mut script = Script::new()
            .with(
                Rule::at(Step::Rcpt)
                    .matching("a@")
                    .skip(1)
                    .times(1)
                    .reply("451 later"),
            )
            .with(Rule::at(Step::Rcpt).close());
        let mut verdict = |text| script.decide(Step::Rcpt, text).map(|action| action.verdict);
        assert_eq!(verdict("a@x"), Some(Verdict::Close));
        assert_eq!(verdict("b@x"), Some(Verdict::Close));
        assert_eq!(verdict("a@x"), Some(Verdict::Reply("451 later".into())));
        assert_eq!(verdict("a@x"), Some(Verdict::Close));
        assert_eq!(script.decide(Step::Data, "a@x"), None);
    }
}
