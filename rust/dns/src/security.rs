//! What DNSSEC says of an answer (RFC 4035 section 4.3), and whether it is asked at all.
//!
//! **Model.** An answer that may be used is [`Security::Secure`] or [`Security::Insecure`]; a bogus
//! one may not be used, so it is an error ([`RouteError::Bogus`](crate::RouteError::Bogus)), as is
//! one whose proof could not be fetched. Of several answers that lead to each other the weakest
//! counts.
//! **Law `weakest_counts`.** A chain is secure only if every link is.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use hickory_proto::dnssec::{Proof, TrustAnchors};
use hickory_proto::rr::{Record, RecordType};

/// How far an answer can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Security {
    /// Not signed, or not validated here: anybody on the way may have written it.
    #[default]
    Insecure,
    /// Validated from the trust anchor on.
    Secure,
}

impl Security {
    /// Whether it was validated.
    #[must_use]
    pub fn is_secure(self) -> bool {
        self == Self::Secure
    }

    /// Of two links of a chain, what the chain is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.min(other)
    }
}

/// Whether answers are validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// As soon as the resolvers pass signatures on; until they do, answers count as insecure.
    #[default]
    Auto,
    /// Always: where resolvers strip signatures, signed domains get no mail.
    On,
    /// Never: no DANE.
    Off,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            other => Err(format!("{other:?} is none of auto, on, off")),
        }
    }
}

/// How to validate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dnssec {
    /// Whether.
    pub mode: Mode,
    /// File of DNSKEY records to start from instead of the root zone's. With one of these, `Auto`
    /// means `On`.
    pub trust_anchor: Option<PathBuf>,
}

impl Dnssec {
    /// No validation.
    #[must_use]
    pub fn off() -> Self {
        Self {
            mode: Mode::Off,
            trust_anchor: None,
        }
    }

    pub(crate) fn anchors(&self) -> Result<TrustAnchors, String> {
        let Some(file) = &self.trust_anchor else {
            return Ok(TrustAnchors::default());
        };
        let anchors = TrustAnchors::from_file(Path::new(file))
            .map_err(|error| format!("trust anchor {}: {error}", file.display()))?;
        if anchors.is_empty() {
            return Err(format!(
                "trust anchor {}: no DNSKEY of the root",
                file.display()
            ));
        }
        Ok(anchors)
    }
}

/// What a validator said of an answer's records, signatures aside; `None`: it may not be used.
pub(crate) fn security_of(records: &[Record]) -> Option<Security> {
    let mut chain = Security::Secure;
    for record in records
        .iter()
        .filter(|record| record.record_type() != RecordType::RRSIG)
    {
        chain = chain.and(security(record.proof)?);
    }
    Some(chain)
}

fn security(proof: Proof) -> Option<Security> {
    match proof {
        Proof::Secure => Some(Security::Secure),
        Proof::Insecure => Some(Security::Insecure),
        // Indeterminate: nobody looked, or the keys could not be fetched; both may be an attack.
        Proof::Bogus | Proof::Indeterminate => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::{Name, RData, rdata::A};
    use proptest::prelude::*;

    #[test]
    fn modes_have_names() {
        assert_eq!("".parse(), Ok(Mode::Auto));
        assert_eq!("on".parse(), Ok(Mode::On));
        assert!("yes".parse::<Mode>().is_err());
    }

    #[test]
    fn an_anchor_that_cannot_be_read_is_named() {
        let dnssec = Dnssec {
            mode: Mode::On,
            trust_anchor: Some("/nonexistent/anchor".into()),
        };
        let error = dnssec.anchors().err().expect("there is no such file");
        assert!(error.contains("/nonexistent/anchor"), "{error}");
    }

    proptest! {
        /// Law `weakest_counts`.
        #[test]
        fn law_weakest_counts(proofs in prop::collection::vec(0u8..4, 1..6)) {
            let kinds = [Proof::Indeterminate, Proof::Bogus, Proof::Insecure, Proof::Secure];
            let records: Vec<Record> = proofs
                .iter()
                .map(|kind| {
                    let address = RData::A(A::new(127, 0, 0, 1));
                    let mut record = Record::from_rdata(Name::root(), 60, address);
                    record.proof = kinds[usize::from(*kind)];
                    record
                })
                .collect();
            let weakest = *proofs.iter().min().expect("at least one");
            let expected = match weakest {
                0 | 1 => None,
                2 => Some(Security::Insecure),
                _ => Some(Security::Secure),
            };
            prop_assert_eq!(security_of(&records), expected);
        }
    }
}
