//! The rate language: `100/s`, `100/h,max_burst=1`, `unlimited`.
//!
//! **Grammar.** `unlimited` | COUNT `/` UNIT [`,max_burst=` COUNT], UNIT one of `s`, `m`, `h`, `d` or
//! a longer name of these. Without `max_burst` a bucket holds one unit's worth.
//! **Invariant.** A rate that was parsed is usable: counts are at least 1 and at most 10⁹ a second.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// Why a text is no rate; each names the text and what would be one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RateError {
    /// Not of the form COUNT/UNIT.
    #[error("{0:?} is no rate: write it as 100/s, 100/h,max_burst=1 or unlimited")]
    Form(String),
    /// A count that is 0, no number, or beyond 10⁹ a second.
    #[error("{0:?} is no usable count: give a whole number from 1, at most 1,000,000,000 a second")]
    Count(String),
    /// A unit of time nobody knows.
    #[error("{0:?} is no unit of time: use s, m, h or d")]
    Unit(String),
}

/// A limit as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// No limit at all.
    Unlimited,
    /// At most `count` in `period` on the long run, at most `max_burst` at once.
    Limited {
        /// Tokens per period.
        count: u64,
        /// One second, minute, hour or day.
        period: Duration,
        /// Most tokens that a full bucket holds.
        max_burst: u64,
    },
}

impl Rate {
    /// The long-run rate in tokens a second; infinite when unlimited.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        match self {
            Self::Unlimited => f64::INFINITY,
            Self::Limited { count, period, .. } => *count as f64 / period.as_secs_f64(),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let text = text.trim();
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let form = || RateError::Form(text.to_owned());
        let (rate, burst) = match text.split_once(',') {
            None => (text, None),
            Some((rate, option)) => {
                let burst = option.trim().strip_prefix("max_burst=").ok_or_else(form)?;
                (rate, Some(burst))
            }
        };
        let (count, unit) = rate.split_once('/').ok_or_else(form)?;
        let count = parse_count(count)?;
        let period = parse_unit(unit.trim())?;
        // The interval between two tokens is kept in nanoseconds and must not become 0.
        if u128::from(count) > period.as_nanos() {
            return Err(RateError::Count(count.to_string()));
        }
        let max_burst = burst.map_or(Ok(count), parse_count)?;
        Ok(Self::Limited {
            count,
            period,
            max_burst,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Limited {
                count,
                period,
                max_burst,
            } => {
                let unit = match period.as_secs() {
                    1 => "s",
                    60 => "m",
                    3_600 => "h",
                    _ => "d",
                };
                write!(f, "{count}/{unit}")?;
                if max_burst != count {
                    write!(f, ",max_burst={max_burst}")?;
                }
                Ok(())
            }
        }
    }
}

fn parse_count(text: &str) -> Result<u64, RateError> {
    match text.trim().parse::<u64>() {
        Ok(count) if (1..=1_000_000_000_000).contains(&count) => Ok(count),
        _ => Err(RateError::Count(text.to_owned())),
    }
}

fn parse_unit(text: &str) -> Result<Duration, RateError> {
    let seconds = match text {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hr" | "hour" => 3_600,
        "d" | "day" => 86_400,
        _ => return Err(RateError::Unit(text.to_owned())),
    };
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limited(count: u64, seconds: u64, max_burst: u64) -> Rate {
        Rate::Limited {
            count,
            period: Duration::from_secs(seconds),
            max_burst,
        }
    }

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!("100/s".parse(), Ok(limited(100, 1, 100)));
        assert_eq!("100/h,max_burst=1".parse(), Ok(limited(100, 3_600, 1)));
        assert_eq!(" 5/min ".parse(), Ok(limited(5, 60, 5)));
        assert_eq!("unlimited".parse(), Ok(Rate::Unlimited));
    }

    #[test]
    fn nonsense_is_named() {
        for (text, error) in [
            ("", RateError::Form(String::new())),
            ("100", RateError::Form("100".into())),
            ("100/s,burst=1", RateError::Form("100/s,burst=1".into())),
            ("0/s", RateError::Count("0".into())),
            ("-1/s", RateError::Count("-1".into())),
            ("2000000000/s", RateError::Count("2000000000".into())),
            ("1/s,max_burst=0", RateError::Count("0".into())),
            ("1/week", RateError::Unit("week".into())),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        /// Law `rate_round_trip`: what a rate prints is read back as the same rate.
        #[test]
        fn law_rate_round_trip(
            count in 1u64..1_000_000_000,
            seconds in prop::sample::select(vec![1u64, 60, 3_600, 86_400]),
            max_burst in 1u64..1_000_000,
        ) {
            let rate = limited(count, seconds, max_burst);
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        /// Law `rate_total`: no text makes the parser panic.
        #[test]
        fn law_rate_total(text in ".{0,40}") {
            let _ = text.parse::<Rate>();
        }
    }
}
