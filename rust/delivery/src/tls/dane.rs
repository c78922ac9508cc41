//! What DNS says about a host's certificates (RFC 7672 sections 2.2 and 3.1).
//!
//! **Model.** TLSA records count only at the end of a validated chain: the MX records of the domain,
//! the addresses of the host and the TLSA records themselves. They stand at the host's name behind
//! its aliases or, where there are none, at the name the MX record gave (section 2.2.2).

use postalynk_dns::{RouteError, Tlsa, TlsaAnswer};

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dane {
    /// No records, or none that can be trusted: DANE demands nothing.
    None,
    /// Records, of which these can be used.
    Usable(Vec<Tlsa>),
    /// Records, none of which can be used: TLS without authentication (section 2.2).
    Unusable,
    /// No answer: the host may not be used (section 2.1.2).
    Failed(String),
}

impl Dane {
    /// What an answer means.
    pub(crate) fn of(answer: &Result<impl AsRef<TlsaAnswer>, RouteError>) -> Self {
        let answer = match answer {
            Ok(answer) => answer.as_ref(),
            Err(error) => return Self::Failed(error.to_string()),
        };
        if answer.records.is_empty() || !answer.security.is_secure() {
            return Self::None;
        }
        let usable: Vec<Tlsa> = answer
            .records
            .iter()
            .filter(|record| record.is_usable())
            .cloned()
            .collect();
        if usable.is_empty() {
            Self::Unusable
        } else {
            Self::Usable(usable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postalynk_dns::Security;
    use std::sync::Arc;

    fn answer(security: Security, usages: &[u8]) -> Dane {
        let record = |usage: &u8| Tlsa {
            usage: *usage,
            selector: 1,
            matching: 1,
            data: vec![0; 32],
        };
        Dane::of(&Ok(Arc::new(TlsaAnswer {
            records: usages.iter().map(record).collect(),
            security,
        })))
    }

    #[test]
    fn only_validated_records_count() {
        assert_eq!(answer(Security::Insecure, &[3]), Dane::None);
        assert_eq!(answer(Security::Secure, &[]), Dane::None);
        assert_eq!(answer(Security::Secure, &[1]), Dane::Unusable);
        assert!(matches!(answer(Security::Secure, &[1, 3, 2]), Dane::Usable(r) if r.len() == 2));
        let failure: Result<Arc<TlsaAnswer>, _> = Err(RouteError::Bogus("x".into()));
        assert!(matches!(Dane::of(&failure), Dane::Failed(_)));
    }
}
