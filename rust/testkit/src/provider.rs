//! How the big providers behave, as scripts and options.
//!
//! **Model.** What a sender meets there and must survive, in the providers' own words (their
//! published replies; a sending host sees the rest): what EHLO offers, what they say to too much,
//! to strangers and to a wrong recipient. By the recipient's local part: `unknown…`, `full…`,
//! `spam…`, `rate…` (the first time only) and `unauthenticated…`; all others are taken.
//! **Not here.** Reputation, and anything that would need their judgement.

use crate::script::{Rule, Script, Step};
use crate::sink::SinkOptions;

/// A provider's manners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// gmail.com and Google Workspace.
    Google,
    /// outlook.com, hotmail.com and Microsoft 365.
    Microsoft,
    /// Yahoo and AOL.
    Yahoo,
    /// icloud.com.
    Apple,
    /// GMX and web.de.
    Gmx,
}

/// (local part's beginning, step, reply, how often).
type Manner = (&'static str, Step, &'static str, u64);

const ALWAYS: u64 = u64::MAX;

impl Provider {
    /// By name: `google`, `microsoft`, `yahoo`, `apple` or `gmx`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "google" => Self::Google,
            "microsoft" => Self::Microsoft,
            "yahoo" => Self::Yahoo,
            "apple" => Self::Apple,
            "gmx" => Self::Gmx,
            _ => return None,
        })
    }

    /// A sink that behaves so, with rules of the test's in front.
    #[must_use]
    pub fn options(self, first: Script) -> SinkOptions {
        let manners = self.manners().iter();
        let script = manners.fold(first, |script, (who, step, reply, times)| {
            script.with(Rule::at(*step).matching(who).times(*times).reply(reply))
        });
        let extensions = match self {
            Self::Microsoft => vec!["DSN".to_owned(), "BINARYMIME".to_owned()],
            Self::Gmx => vec!["LIMITS RCPTMAX=100".to_owned()],
            _ => Vec::new(),
        };
        SinkOptions {
            chunking: matches!(self, Self::Google | Self::Microsoft),
            starttls: true,
            size_limit_bytes: match self {
                Self::Google => 157_286_400,
                Self::Microsoft => 49_283_072,
                Self::Yahoo => 41_943_040,
                Self::Apple => 28_311_552,
                Self::Gmx => 157_286_400,
            },
            extensions,
            script,
            personalities: false,
            ..SinkOptions::default()
        }
    }

    fn manners(self) -> &'static [Manner] {
        match self {
            Self::Google => GOOGLE,
            Self::Microsoft => MICROSOFT,
            Self::Yahoo => YAHOO,
            Self::Apple => APPLE,
            Self::Gmx => GMX,
        }
    }
}

const GOOGLE: &[Manner] = &[
    (
        "unknown",
        Step::Rcpt,
        "550 5.1.1 The email account that you tried to reach does not exist. gsmtp",
        ALWAYS,
    ),
    (
        "full",
        Step::Rcpt,
        "452 4.2.2 The recipient's inbox is out of storage space. gsmtp",
        ALWAYS,
    ),
    (
        "rate",
        Step::FinalDot,
        "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address. gsmtp",
        1,
    ),
    (
        "unauthenticated",
        Step::FinalDot,
        "550 5.7.26 Your email has been blocked because the sender is unauthenticated. gsmtp",
        ALWAYS,
    ),
    (
        "spam",
        Step::FinalDot,
        "550 5.7.1 Gmail has detected that this message is likely unsolicited mail. gsmtp",
        ALWAYS,
    ),
];

const MICROSOFT: &[Manner] = &[
    (
        "unknown",
        Step::Rcpt,
        "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
        ALWAYS,
    ),
    ("full", Step::Rcpt, "452 4.2.2 Mailbox full", ALWAYS),
    (
        "rate",
        Step::Mail,
        "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit",
        1,
    ),
    (
        "rate",
        Step::Rcpt,
        "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)",
        1,
    ),
    (
        "unauthenticated",
        Step::FinalDot,
        "550 5.7.515 Access denied, sending domain does not meet the required authentication level.",
        ALWAYS,
    ),
    (
        "spam",
        Step::FinalDot,
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).",
        ALWAYS,
    ),
];

const YAHOO: &[Manner] = &[
    (
        "unknown",
        Step::FinalDot,
        "554 30 Sorry, your message to unknown cannot be delivered. This mailbox is disabled (554.30).",
        ALWAYS,
    ),
    ("full", Step::FinalDot, "452 4.2.2 Mailbox full", ALWAYS),
    (
        "rate",
        Step::FinalDot,
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
        1,
    ),
    (
        "unauthenticated",
        Step::FinalDot,
        "550 5.7.9 This mail has been blocked because the sender is unauthenticated.",
        ALWAYS,
    ),
    (
        "spam",
        Step::FinalDot,
        "554 5.7.9 Message not accepted for policy reasons.",
        ALWAYS,
    ),
];

const APPLE: &[Manner] = &[
    (
        "unknown",
        Step::Rcpt,
        "550 5.1.1 <unknown>: user does not exist",
        ALWAYS,
    ),
    ("full", Step::Rcpt, "552 5.2.2 Mailbox is full", ALWAYS),
    (
        "rate",
        Step::Rcpt,
        "451 4.7.1 Service unavailable - try again later",
        1,
    ),
    (
        "unauthenticated",
        Step::FinalDot,
        "554 5.7.1 Message rejected due to failed authentication",
        ALWAYS,
    ),
    (
        "spam",
        Step::FinalDot,
        "554 5.7.1 [CS01] Message rejected due to local policy.",
        ALWAYS,
    ),
];

const GMX: &[Manner] = &[
    (
        "unknown",
        Step::Rcpt,
        "550 Requested action not taken: mailbox unavailable",
        ALWAYS,
    ),
    (
        "full",
        Step::Rcpt,
        "552 Requested mail action aborted: exceeded storage allocation",
        ALWAYS,
    ),
    (
        "rate",
        Step::Rcpt,
        "450 Requested mail action not taken: mailbox unavailable, Mail send limit exceeded",
        1,
    ),
    (
        "unauthenticated",
        Step::FinalDot,
        "554 Transaction failed. Reject due to policy restrictions.",
        ALWAYS,
    ),
    (
        "spam",
        Step::FinalDot,
        "554 Transaction failed. Unallowed content",
        ALWAYS,
    ),
];
