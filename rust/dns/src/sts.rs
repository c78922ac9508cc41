//! MTA-STS texts: the TXT record and the policy file (RFC 8461 sections 3.1 and 3.2).
//!
//! **Model.** Both are read whole or not at all: a policy in which one field is wrong is no policy,
//! for acting on half of it would be worse than on none. Unknown fields are skipped; a repeated one
//! counts once, the first time (section 3.2).
//! **Bounds.** The caller reads at most [`POLICY_MAX`] octets.
//! **Laws.** `law_written_policy_is_read`, `law_wildcard_is_one_label`.
//! **Not here.** Fetching, keeping.

use std::fmt;

/// The largest policy worth reading (section 3.3 suggests 64 kilobytes).
pub const POLICY_MAX: usize = 65_536;
/// The longest life of a policy, in seconds: about a year (section 3.2).
pub const MAX_AGE_MAX: u64 = 31_557_600;
/// More patterns than any domain has MX hosts.
const MOST_PATTERNS: usize = 512;

/// The `id` of a domain's policy, from its TXT strings at `_mta-sts.`; `None`: it has no policy.
///
/// Records that do not begin with the version are none of ours; of several that do, none counts
/// (section 3.1).
#[must_use]
pub fn sts_id<T: AsRef<str>>(texts: &[T]) -> Option<String> {
    let mut ours = texts.iter().map(AsRef::as_ref).filter(|text| {
        let rest = text.strip_prefix("v=STSv1");
        rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(';'))
    });
    let (record, None) = (ours.next()?, ours.next()) else {
        return None;
    };
    let id = record.split(';').skip(1).find_map(|field| {
        let (name, value) = field.split_once('=')?;
        (name.trim_ascii() == "id").then(|| value.trim_ascii())
    })?;
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id.then(|| id.to_owned())
}

/// What senders are to do when a host does not meet the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StsMode {
    /// Not to deliver to it.
    Enforce,
    /// To deliver and report.
    Testing,
    /// Nothing: there is no policy any more.
    None,
}

impl StsMode {
    /// The word in policies and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StsPolicy {
    /// See [`StsMode`].
    pub mode: StsMode,
    /// Seconds it may be kept.
    pub max_age_s: u64,
    /// Host names, lower case; `*.` in front stands for one label.
    pub mx: Vec<String>,
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MTA-STS policy: {0}")]
pub struct StsPolicyError(&'static str);

impl StsPolicy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, StsPolicyError> {
        let wrong = |what| Err(StsPolicyError(what));
        if text.len() > POLICY_MAX {
            return wrong("longer than 64 kilobytes");
        }
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_ascii_end();
            if line.is_empty() {
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                return wrong("a line without a colon");
            };
            let value = value.trim_ascii();
            match name {
                "version" => drop(version.get_or_insert(value)),
                "mode" => drop(mode.get_or_insert(value)),
                "max_age" => drop(max_age.get_or_insert(value)),
                "mx" if is_pattern(value) => mx.push(value.to_ascii_lowercase()),
                "mx" => return wrong("an mx that is no host pattern"),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return wrong("version is not STSv1");
        }
        let mode = match mode {
            Some("enforce") => StsMode::Enforce,
            Some("testing") => StsMode::Testing,
            Some("none") => StsMode::None,
            _ => return wrong("mode is none of enforce, testing, none"),
        };
        let max_age_s = match max_age.map(parse_age) {
            Some(Some(age)) => age.min(MAX_AGE_MAX),
            _ => return wrong("max_age is not a number of seconds"),
        };
        if mx.is_empty() && mode != StsMode::None {
            return wrong("no mx");
        }
        if mx.len() > MOST_PATTERNS {
            return wrong("too many mx patterns");
        }
        Ok(Self {
            mode,
            max_age_s,
            mx,
        })
    }

    /// Whether a host is one the policy names (section 4.1); expects lower case, no final dot.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.mx
            .iter()
            .any(|pattern| match pattern.strip_prefix("*.") {
                Some(parent) => host
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
                None => pattern == host,
            })
    }
}

/// The file: what is written reads back.
impl fmt::Display for StsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version: STSv1\nmode: {}\n", self.mode.as_str())?;
        self.mx
            .iter()
            .try_for_each(|host| writeln!(f, "mx: {host}"))?;
        writeln!(f, "max_age: {}", self.max_age_s)
    }
}

fn parse_age(text: &str) -> Option<u64> {
    let is_number = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn is_pattern(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_id_is_read_from_the_one_record() {
        assert_eq!(
            sts_id(&["v=STSv1; id=20160831085700Z;"]).as_deref(),
            Some("20160831085700Z")
        );
        assert_eq!(
            sts_id(&["v=spf1 -all", "v=STSv1;id=a"]).as_deref(),
            Some("a")
        );
        assert_eq!(sts_id(&["v=STSv1 ; x=y; id = a1 "]).as_deref(), Some("a1"));
        for none in [
            vec![],
            vec!["v=STSv1; id=a", "v=STSv1; id=b"],
            vec!["v=STSv1"],
            vec!["v=STSv12; id=a"],
            vec!["v=STSv1; id="],
            vec!["v=STSv1; id=a-b"],
            vec!["v=STSv1; id=123456789012345678901234567890123"],
            vec!["id=a; v=STSv1"],
        ] {
            assert_eq!(sts_id(&none), None, "{none:?}");
        }
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
                    mx: backupmx.example.com\r\nmax_age: 604800\r\n";
        let policy = StsPolicy::parse(text).expect("RFC 8461 section 3.2");
        assert_eq!(policy.mode, StsMode::Enforce);
        assert_eq!(policy.max_age_s, 604_800);
        assert!(policy.allows("mail.example.com") && policy.allows("x.example.net"));
        assert!(!policy.allows("example.net") && !policy.allows("a.b.example.net"));
    }

    #[test]
    fn half_a_policy_is_none() {
        for (text, what) in [
            ("mode: enforce\nmx: a\nmax_age: 1", "version"),
            ("version: STSv1\nmode: strict\nmx: a\nmax_age: 1", "mode"),
            ("version: STSv1\nmode: enforce\nmax_age: 1", "no mx"),
            (
                "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1",
                "pattern",
            ),
            (
                "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1",
                "pattern",
            ),
            (
                "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1",
                "max_age",
            ),
            ("version: STSv1\nmode: enforce\nmx: a", "max_age"),
            ("<html>", "colon"),
        ] {
            let error = StsPolicy::parse(text).expect_err(text).to_string();
            assert!(error.contains(what), "{error}");
        }
        let repeated = "version: STSv1\nmode: none\nmode: enforce\nmax_age: 99999999999";
        assert!(
            StsPolicy::parse(repeated).is_err(),
            "eleven digits are none"
        );
        let long = "version: STSv1\nmode: none\nmode: enforce\nmax_age: 9999999999\nx: y";
        let policy = StsPolicy::parse(long).expect("a repeated field counts once");
        assert_eq!(
            (policy.mode, policy.max_age_s),
            (StsMode::None, MAX_AGE_MAX)
        );
    }

    proptest! {
        /// Law `written_policy_is_read`.
        #[test]
        fn law_written_policy_is_read(
            mode in 0usize..3,
            max_age_s in 0..=MAX_AGE_MAX,
            mx in prop::collection::vec("(\\*\\.)?[a-z0-9]{1,8}(\\.[a-z]{2,5}){1,2}", 1..5),
        ) {
            let mode = [StsMode::Enforce, StsMode::Testing, StsMode::None][mode];
            let policy = StsPolicy { mode, max_age_s, mx };
            prop_assert_eq!(StsPolicy::parse(&policy.to_string()), Ok(policy));
        }

        /// Law `wildcard_is_one_label`.
        #[test]
        fn law_wildcard_is_one_label(labels in prop::collection::vec("[a-z]{1,5}", 0..4)) {
            let policy = StsPolicy { mode: StsMode::Enforce, max_age_s: 1, mx: vec!["*.example.com".into()] };
            let host = [labels.as_slice(), &["example".to_owned(), "com".to_owned()]].concat().join(".");
            prop_assert_eq!(policy.allows(&host), labels.len() == 1);
        }
    }
}
