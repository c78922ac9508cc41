//! The two names of a signature: who signs (`d=`) and with which key (`s=`).

use crate::error::Error;

/// The signing domain, in lower case and A-labels (RFC 6376 §3.5, `d=`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain(String);

impl Domain {
    /// # Errors
    /// [`Error::Domain`] unless it is two or more labels of letters, digits and hyphens.
    pub fn new(name: &str) -> Result<Self, Error> {
        let lower = name.to_ascii_lowercase();
        if lower.contains('.') && is_name(&lower, false) {
            return Ok(Self(lower));
        }
        Err(Error::Domain(name.to_owned()))
    }

    /// The domain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The selector: where below `_domainkey` the key is published (RFC 6376 §3.1, `s=`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector(String);

impl Selector {
    /// # Errors
    /// [`Error::Selector`] unless it is labels of letters, digits, hyphens and underscores.
    pub fn new(name: &str) -> Result<Self, Error> {
        if is_name(name, true) {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::Selector(name.to_owned()))
    }

    /// The selector.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(name: &str, underscore: bool) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || (underscore && b == b'_');
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(legal)
    };
    name.len() <= 253 && name.split('.').all(label)
}
