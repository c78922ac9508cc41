//! What a negative reply is about.
//!
//! **Model.** A table of rules, first match wins: special codes of providers, then words, then the
//! enhanced code (RFC 3463, IANA registry), then the phase and the basic code. Each rule carries a
//! sample reply, and the tests hold it to it.
//! **Law `classify_ignores_folding`.** Case and line breaks of a reply change nothing.

use postalynk_smtp::{Phase, Reply};

/// What an attempt failed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Too much, too fast, too many connections.
    Rate,
    /// The sender's IP address or domain is distrusted.
    Reputation,
    /// SPF, DKIM, DMARC, reverse DNS, TLS demanded.
    Authentication,
    /// The mailbox: unknown, full, disabled.
    Mailbox,
    /// A rule of the receiver that is none of the others.
    Policy,
    /// The content: spam, virus, size, form.
    Content,
    /// Connection, TLS, timeouts, the receiver's own trouble.
    Transport,
    /// No answer or no route in DNS.
    Dns,
    /// The receiver broke the protocol.
    Protocol,
    /// An attempt that a crash of ours left open.
    Crash,
    /// Nothing known.
    Other,
}

impl Class {
    /// The name in events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Reputation => "reputation",
            Self::Authentication => "authentication",
            Self::Mailbox => "mailbox",
            Self::Policy => "policy",
            Self::Content => "content",
            Self::Transport => "transport",
            Self::Dns => "dns",
            Self::Protocol => "protocol",
            Self::Crash => "crash",
            Self::Other => "other",
        }
    }
}

/// Classifies a negative reply to a command of this phase.
#[must_use]
pub fn classify(reply: &Reply, phase: Phase) -> Class {
    let text = reply.text().to_ascii_lowercase().replace('\n', " ");
    let word_rule = RULES.iter().find(|rule| {
        rule.code.is_none_or(|code| code == reply.code() / 100)
            && rule.words.iter().all(|word| text.contains(word))
    });
    if let Some(rule) = word_rule {
        return rule.class;
    }
    if let Some(class) = reply
        .enhanced()
        .and_then(|code| by_enhanced(code.subject, code.detail))
    {
        return class;
    }
    match (reply.code(), phase) {
        (421, _) => Class::Transport,
        (552, Phase::Rcpt) | (452, Phase::Rcpt) => Class::Rate,
        (450 | 550 | 551 | 553, Phase::Rcpt) => Class::Mailbox,
        (552, _) => Class::Content,
        (451 | 452, _) => Class::Transport,
        (530 | 535, _) => Class::Authentication,
        (500..=504, _) => Class::Protocol,
        (554, Phase::FinalDot) => Class::Content,
        (554, _) => Class::Policy,
        _ => Class::Other,
    }
}

/// RFC 3463 and the IANA registry of enhanced status codes.
fn by_enhanced(subject: u16, detail: u16) -> Option<Class> {
    Some(match (subject, detail) {
        (1, 2) | (1, 10) | (4, 3 | 4) => Class::Dns,
        (1, 7 | 8) => Class::Policy,
        (1 | 2, _) => Class::Mailbox,
        (3, 4) | (6, _) => Class::Content,
        (4, 5) => Class::Rate,
        (3 | 4, _) => Class::Transport,
        (5, 3) => Class::Rate,
        (5, _) => Class::Protocol,
        (7, 20..=27 | 29 | 30) | (7, 4..=6 | 8 | 9 | 11 | 12) => Class::Authentication,
        (7, 28) => Class::Rate,
        (7, _) => Class::Policy,
        _ => return None,
    })
}

struct Rule {
    /// First digit of the code; `None`: any.
    code: Option<u16>,
    /// All must occur, in lower case.
    words: &'static [&'static str],
    class: Class,
    /// A reply the rule was made for, code included.
    #[cfg_attr(not(test), allow(dead_code, reason = "the rule's test"))]
    sample: &'static str,
}

const fn rule(
    code: Option<u16>,
    words: &'static [&'static str],
    class: Class,
    sample: &'static str,
) -> Rule {
    Rule {
        code,
        words,
        class,
        sample,
    }
}

const RULES: &[Rule] = &[
    // Google
    rule(
        None,
        &["4.7.28"],
        Class::Rate,
        "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address.",
    ),
    rule(
        None,
        &["7.26", "gsmtp"],
        Class::Authentication,
        "550 5.7.26 This mail has been blocked because the sender is unauthenticated. - gsmtp",
    ),
    rule(
        None,
        &["7.27", "gsmtp"],
        Class::Authentication,
        "421 4.7.27 Your email has been rate limited because SPF authentication didn't pass. - gsmtp",
    ),
    rule(
        None,
        &["7.30", "gsmtp"],
        Class::Authentication,
        "421 4.7.30 Your email has been rate limited because DKIM authentication didn't pass. - gsmtp",
    ),
    rule(
        None,
        &["7.32", "gsmtp"],
        Class::Authentication,
        "421 4.7.32 Your email has been rate limited because the From: header isn't aligned. - gsmtp",
    ),
    rule(
        None,
        &["receiving mail at a rate"],
        Class::Rate,
        "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.",
    ),
    // Yahoo
    rule(
        None,
        &["[tss04]"],
        Class::Rate,
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
    ),
    rule(
        None,
        &["[tss05]"],
        Class::Rate,
        "421 4.7.0 [TSS05] Messages from 192.0.2.1 temporarily deferred",
    ),
    rule(
        None,
        &["[ipts0"],
        Class::Reputation,
        "421 4.7.0 [IPTS04] Messages from 192.0.2.1 temporarily deferred due to user complaints",
    ),
    rule(
        None,
        &["[tss09]"],
        Class::Reputation,
        "553 5.7.1 [TSS09] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
    ),
    rule(
        None,
        &["[tss11]"],
        Class::Reputation,
        "553 5.7.2 [TSS11] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
    ),
    // Microsoft
    rule(
        None,
        &["4.7.650"],
        Class::Rate,
        "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)",
    ),
    rule(
        None,
        &["4.7.651"],
        Class::Rate,
        "451 4.7.651 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S3114)",
    ),
    rule(
        None,
        &["4.7.652"],
        Class::Rate,
        "451 4.7.652 The mail server [192.0.2.1] has exceeded the maximum number of connections. (S3115)",
    ),
    rule(
        None,
        &["rp-00"],
        Class::Rate,
        "421 RP-001 The mail server IP connecting to outlook.com has exceeded the rate limit allowed.",
    ),
    rule(
        None,
        &["s3150"],
        Class::Reputation,
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. (S3150)",
    ),
    rule(
        None,
        &["5.7.515"],
        Class::Authentication,
        "550 5.7.515 Access denied, sending domain example.com does not meet the required authentication level.",
    ),
    // Apple, Orange, Spectrum
    rule(
        Some(4),
        &["hcm1"],
        Class::Rate,
        "421 4.7.1 [HCM1] Message rejected due to local policy; see support page",
    ),
    rule(
        None,
        &["ofr_104"],
        Class::Rate,
        "421 mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. OFR_104",
    ),
    rule(
        None,
        &["ofr_"],
        Class::Reputation,
        "550 mwinf5c04 Service refuse. Veuillez essayer plus tard. OFR_999",
    ),
    rule(
        None,
        &["aup#13"],
        Class::Rate,
        "421 4.7.1 AUP#1310 Too many connections",
    ),
    rule(
        None,
        &["aup#1"],
        Class::Rate,
        "421 4.7.1 AUP#1420 Sending rate exceeded",
    ),
    // Words anyone uses
    rule(
        Some(4),
        &["greylist"],
        Class::Policy,
        "450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted",
    ),
    rule(
        Some(4),
        &["graylist"],
        Class::Policy,
        "451 4.7.1 Graylisting in action, please come back later",
    ),
    rule(
        None,
        &["too many connections"],
        Class::Rate,
        "421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1",
    ),
    rule(
        None,
        &["too many messages"],
        Class::Rate,
        "452 4.3.2 Too many messages in this session",
    ),
    rule(
        None,
        &["too many recipients"],
        Class::Rate,
        "452 4.5.3 Error: too many recipients",
    ),
    rule(
        None,
        &["rate limit"],
        Class::Rate,
        "450 4.7.1 Error: rate limit exceeded",
    ),
    rule(
        Some(4),
        &["throttl"],
        Class::Rate,
        "421 4.4.5 Connection throttled",
    ),
    rule(
        None,
        &["spamhaus"],
        Class::Reputation,
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    ),
    rule(
        None,
        &["blocklist"],
        Class::Reputation,
        "550 5.7.1 Your IP is on our blocklist",
    ),
    rule(
        None,
        &["blacklist"],
        Class::Reputation,
        "554 5.7.1 Client host blacklisted",
    ),
    rule(
        None,
        &["poor reputation"],
        Class::Reputation,
        "421 4.7.0 Connection refused: poor reputation",
    ),
    rule(
        None,
        &["dmarc"],
        Class::Authentication,
        "550 5.7.1 Email rejected per DMARC policy for example.com",
    ),
    rule(
        None,
        &["spf"],
        Class::Authentication,
        "550 5.7.1 SPF check failed",
    ),
    rule(
        None,
        &["dkim"],
        Class::Authentication,
        "550 5.7.1 DKIM signature required",
    ),
    rule(
        None,
        &["reverse dns"],
        Class::Authentication,
        "450 4.7.25 Client host rejected: cannot find your reverse DNS",
    ),
    rule(
        None,
        &["must issue a starttls"],
        Class::Authentication,
        "530 5.7.0 Must issue a STARTTLS command first",
    ),
    rule(
        None,
        &["user unknown"],
        Class::Mailbox,
        "550 5.1.1 <a@example.com>: Recipient address rejected: User unknown in local recipient table",
    ),
    rule(
        None,
        &["no such user"],
        Class::Mailbox,
        "550 no such user here",
    ),
    rule(
        None,
        &["mailbox full"],
        Class::Mailbox,
        "452 4.2.2 Mailbox full",
    ),
    rule(
        None,
        &["over quota"],
        Class::Mailbox,
        "552 5.2.2 The user is over quota",
    ),
    rule(
        None,
        &["mailbox unavailable"],
        Class::Mailbox,
        "550 Requested action not taken: mailbox unavailable",
    ),
    rule(
        None,
        &["spam"],
        Class::Content,
        "554 5.7.1 Message rejected as spam",
    ),
    rule(
        None,
        &["virus"],
        Class::Content,
        "554 5.7.1 Message contains a virus",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(text: &str) -> Reply {
        let (code, text) = text.split_at(3);
        Reply::new(code.parse().expect("a code"), text.trim_start())
    }

    #[test]
    fn every_rule_takes_its_own_sample() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(
                classify(&reply(rule.sample), Phase::Mail),
                rule.class,
                "{index}: {}",
                rule.sample
            );
            let first = RULES.iter().position(|other| {
                let text = rule.sample[4..].to_ascii_lowercase();
                other
                    .code
                    .is_none_or(|code| rule.sample.starts_with(&code.to_string()))
                    && other.words.iter().all(|word| text.contains(word))
            });
            assert_eq!(
                first,
                Some(index),
                "{} is taken by an earlier rule",
                rule.sample
            );
        }
    }

    #[test]
    fn enhanced_codes_and_phases_decide_the_rest() {
        for (text, phase, class) in [
            ("550 5.1.1 gone", Phase::Rcpt, Class::Mailbox),
            ("550 5.1.2 bad host", Phase::Rcpt, Class::Dns),
            ("552 5.3.4 too big", Phase::Mail, Class::Content),
            ("550 5.7.1 no", Phase::FinalDot, Class::Policy),
            ("550 5.7.23 no", Phase::FinalDot, Class::Authentication),
            ("451 4.3.0 trouble", Phase::FinalDot, Class::Transport),
            ("550 gone", Phase::Rcpt, Class::Mailbox),
            ("552 much", Phase::Rcpt, Class::Rate),
            ("554 no", Phase::FinalDot, Class::Content),
            ("554 no", Phase::Mail, Class::Policy),
            ("421 bye", Phase::Mail, Class::Transport),
            ("503 sequence", Phase::Data, Class::Protocol),
            ("599 what", Phase::Mail, Class::Other),
        ] {
            assert_eq!(classify(&reply(text), phase), class, "{text}");
        }
    }

    proptest! {
        /// Law `classify_ignores_folding`.
        #[test]
        fn law_classify_ignores_folding(which in 0..RULES.len(), upper: bool, fold in 0usize..200) {
            let sample = RULES[which].sample;
            let mut text = if upper { sample.to_uppercase() } else { sample.to_owned() };
            if let Some(space) = text[8..].match_indices(' ').nth(fold % 8).map(|(at, _)| at + 8) {
                text.replace_range(space..=space, "\n");
            }
            prop_assert_eq!(classify(&reply(&text), Phase::Mail), RULES[which].class);
        }
    }
}
