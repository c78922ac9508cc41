//! Why a domain has no targets.

use thiserror::Error;

/// What stands in the way of mail to a domain.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RouteError {
    /// The domain says that it takes no mail (RFC 7505).
    #[error("{0} publishes a null MX: it takes no mail (RFC 7505)")]
    NullMx(String),
    /// The name does not exist.
    #[error("{0} does not exist in DNS")]
    NoDomain(String),
    /// The name exists and has neither MX nor address records.
    #[error("{0} has neither MX nor address records")]
    NoRoute(String),
    /// The text can be no domain name.
    #[error("{0} is no domain name")]
    BadName(String),
    /// The answer was signed and does not hold: somebody may have changed it (RFC 4035 section 4.3).
    #[error("DNSSEC validation of {0} failed")]
    Bogus(String),
    /// Resolvers gave no usable answer; it may go better later.
    #[error("DNS look-up of {domain} failed: {cause}")]
    Temporary {
        /// What was asked for.
        domain: String,
        /// The resolver's words.
        cause: String,
    },
}

impl RouteError {
    /// Whether trying later may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary { .. } | Self::Bogus(_))
    }

    /// The enhanced code a receiver would have used (RFC 3463, RFC 7505).
    #[must_use]
    pub fn enhanced(&self) -> &'static str {
        match self {
            Self::NullMx(_) => "5.1.10",
            Self::NoDomain(_) | Self::NoRoute(_) => "5.1.2",
            Self::BadName(_) => "5.1.3",
            Self::Temporary { .. } | Self::Bogus(_) => "4.4.3",
        }
    }
}
