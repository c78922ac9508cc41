//! What a message itself says about TLS on its way (RFC 8689).
//!
//! **Model.** Most say nothing. REQUIRETLS wants authenticated TLS to a receiver that promises the
//! same for its part, or no delivery. `TLS-Required: No` wants the mail to arrive: what the recipient's
//! domain demands (DANE, MTA-STS) does not count then, what the operator demands does. Of both the
//! first counts (section 4.1).

use postalynk_record::v1::Message;

use super::policy::TlsPolicy;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum TlsWish {
    /// Nothing is said.
    #[default]
    None,
    /// REQUIRETLS.
    Required,
    /// `TLS-Required: No`.
    Optional,
}

impl TlsWish {
    /// What a message says.
    pub(crate) fn of(message: &Message) -> Self {
        if message.require_tls {
            Self::Required
        } else if message.tls_optional {
            Self::Optional
        } else {
            Self::None
        }
    }

    /// Whether the recipient's domain has a say.
    pub(crate) fn heeds_domain(self) -> bool {
        self != Self::Optional
    }

    /// The operator's setting, and what the message adds to it.
    pub(crate) fn raise(self, setting: TlsPolicy) -> TlsPolicy {
        match self {
            Self::Required => TlsPolicy::Verify,
            Self::None | Self::Optional => setting,
        }
    }
}
