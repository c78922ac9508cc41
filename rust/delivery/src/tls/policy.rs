//! The three words an operator or a policy may say about TLS.

use std::str::FromStr;

use serde::Deserialize;

/// How much TLS is insisted on; later ones are stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsPolicy {
    /// Any certificate, and plaintext as a recorded last resort (RFC 7435).
    #[default]
    Opportunistic,
    /// TLS with any certificate, or no delivery.
    Require,
    /// TLS with a certificate for the host's name that the trusted roots vouch for, or what DANE or
    /// MTA-STS put in its place; or no delivery.
    Verify,
}

impl TlsPolicy {
    /// The word in settings, policies and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opportunistic => "opportunistic",
            Self::Require => "require",
            Self::Verify => "verify",
        }
    }

    /// The word, or `None` where nothing is said.
    ///
    /// # Errors
    /// A word that is none of the three.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some)
    }
}

impl FromStr for TlsPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "opportunistic" => Ok(Self::Opportunistic),
            "require" => Ok(Self::Require),
            "verify" => Ok(Self::Verify),
            other => Err(format!(
                "{other:?} is none of opportunistic, require, verify"
            )),
        }
    }
}
