//! What a receiver says it limits in a session (RFC 9422).
//!
//! **Model.** `LIMITS` is followed by parameters `NAME=value`. One malformed parameter spoils the
//! whole announcement; a value that its own limit does not allow spoils only that one (section 4).
//! Limits nobody knows are passed over.
//! **Laws** `law_limits_never_panic`, `law_limits_read_back`.

/// The most digits of a value (RFC 9422, 5 to 7).
const MOST_DIGITS: usize = 6;

/// Announced limits; `None`: nothing was announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Transactions in a connection.
    pub mail_max: Option<u32>,
    /// Recipients in a transaction.
    pub rcpt_max: Option<u32>,
    /// Different domains among the recipients of a connection.
    pub rcpt_domain_max: Option<u32>,
}

impl Limits {
    /// Reads what follows the keyword.
    #[must_use]
    pub fn parse(parameters: &str) -> Self {
        let mut found = Self::default();
        for parameter in parameters.split(' ').filter(|word| !word.is_empty()) {
            let (name, value) = match parameter.split_once('=') {
                Some((_, "")) => return Self::default(),
                Some((name, value)) => (name, value),
                None => (parameter, ""),
            };
            if !is_name(name) || !value.bytes().all(is_value) {
                return Self::default();
            }
            let slot = match name.to_ascii_uppercase().as_str() {
                "MAILMAX" => &mut found.mail_max,
                "RCPTMAX" => &mut found.rcpt_max,
                "RCPTDOMAINMAX" => &mut found.rcpt_domain_max,
                _ => continue,
            };
            *slot = count(value);
        }
        found
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    !name.is_empty() && name.bytes().all(is_part)
}

fn is_value(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b';'
}

/// One to six digits, the first of them not zero.
fn count(value: &str) -> Option<u32> {
    let is_count = value.len() <= MOST_DIGITS
        && !value.starts_with('0')
        && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|_| is_count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bad_value_costs_itself_and_bad_syntax_everything() {
        let rcpt = |text| Limits::parse(text).rcpt_max;
        assert_eq!(rcpt("MAILMAX=5 RCPTMAX=20 RCPTDOMAINMAX=1"), Some(20));
        assert_eq!(rcpt("mailmax=0 rcptmax=7 X-NEW X_Y=a=b"), Some(7));
        assert_eq!(Limits::parse("MAILMAX=012 RCPTMAX=7").mail_max, None);
        for spoiled in [
            "RCPTMAX=7 =3",
            "RCPTMAX=7 A=",
            "RCPTMAX=7 A=b;c",
            "RCPTMAX=7 \u{fc}=1",
        ] {
            assert_eq!(Limits::parse(spoiled), Limits::default(), "{spoiled}");
        }
        assert_eq!(rcpt("RCPTMAX=1000000"), None);
    }

    proptest! {
        /// Law: whatever is announced is read or ignored, and no limit is ever zero.
        #[test]
        fn law_limits_never_panic(text in "(MAILMAX|RCPTMAX|[ -~]|=|;| |[0-9]){0,30}") {
            let limits = Limits::parse(&text);
            prop_assert!([limits.mail_max, limits.rcpt_max].into_iter().flatten().all(|n| n > 0));
        }

        /// Law: well-formed limits are read as they were written, in any order and case.
        #[test]
        fn law_limits_read_back(
            mail in 1u32..=999_999,
            rcpt in 1u32..=999_999,
            domains in 1u32..=999_999,
            order in Just([0usize, 1, 2]).prop_shuffle(),
            is_lower: bool,
        ) {
            let words = [
                format!("MAILMAX={mail}"),
                format!("RCPTMAX={rcpt}"),
                format!("RCPTDOMAINMAX={domains}"),
            ];
            let mut text = order.map(|n| words[n].as_str()).join(" ");
            if is_lower {
                text.make_ascii_lowercase();
            }
            let expected = Limits {
                mail_max: Some(mail),
                rcpt_max: Some(rcpt),
                rcpt_domain_max: Some(domains),
            };
            prop_assert_eq!(Limits::parse(&text), expected);
        }
    }
}
