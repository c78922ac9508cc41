//! What is demanded of one host, from all that has a say.
//!
//! **Model.** DANE first: where a host has usable records they decide alone (RFC 8461 section 2).
//! Then MTA-STS of the domain, then the setting. Each can only add.
//! **Laws.** `law_plaintext_only_unasked`: plaintext is possible only if neither DANE nor an enforced
//! MTA-STS policy nor the setting demands TLS. `law_stricter_never_weakens`: a stricter setting never
//! takes a demand away.

use postalynk_dns::{StsMode, Tlsa};

use super::dane::Dane;
use super::policy::TlsPolicy;
use super::report::ResultType;

/// What to look at in the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing.
    Nothing,
    /// The trusted roots vouch for the host's name.
    WebPki,
    /// One of these records matches.
    Dane(Vec<Tlsa>),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// What events call it.
    pub(crate) label: &'static str,
    /// Whether plaintext is out of the question.
    pub(crate) must_encrypt: bool,
    pub(crate) check: Check,
    /// Whether a failed check ends the connection; else it is only reported.
    pub(crate) must_pass: bool,
}

/// Why a host may not be used at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) label: &'static str,
    pub(crate) result: ResultType,
    pub(crate) reason: String,
}

impl Demand {
    /// `sts`: the domain's policy, if it has one, and whether it names the host.
    pub(crate) fn decide(
        setting: TlsPolicy,
        dane: Dane,
        sts: Option<(StsMode, bool)>,
    ) -> Result<Self, Refusal> {
        let strict = |label, check| Self {
            label,
            must_encrypt: true,
            must_pass: check != Check::Nothing,
            check,
        };
        let is_unusable = dane == Dane::Unusable;
        match dane {
            Dane::Failed(reason) => {
                return Err(Refusal {
                    label: "dane",
                    result: ResultType::DnssecInvalid,
                    reason,
                });
            }
            Dane::Usable(records) => return Ok(strict("dane", Check::Dane(records))),
            Dane::None | Dane::Unusable => {}
        }
        match sts {
            Some((StsMode::Enforce, false)) => {
                return Err(Refusal {
                    label: "sts-enforce",
                    result: ResultType::ValidationFailure,
                    reason: "the domain's MTA-STS policy does not name this host".to_owned(),
                });
            }
            Some((StsMode::Enforce, true)) => return Ok(strict("sts-enforce", Check::WebPki)),
            Some((StsMode::Testing, _)) if setting == TlsPolicy::Verify => {
                return Ok(strict("verify", Check::WebPki));
            }
            Some((StsMode::Testing, _)) => {
                return Ok(Self {
                    label: "sts-testing",
                    must_encrypt: is_unusable || setting != TlsPolicy::Opportunistic,
                    check: Check::WebPki,
                    must_pass: false,
                });
            }
            Some((StsMode::None, _)) | None => {}
        }
        Ok(match setting {
            TlsPolicy::Verify => strict("verify", Check::WebPki),
            _ if is_unusable => strict("dane-unusable", Check::Nothing),
            TlsPolicy::Require => strict("require", Check::Nothing),
            TlsPolicy::Opportunistic => Self {
                label: "opportunistic",
                must_encrypt: false,
                check: Check::Nothing,
                must_pass: false,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> impl Strategy<Value = TlsPolicy> {
        prop_oneof![
            Just(TlsPolicy::Opportunistic),
            Just(TlsPolicy::Require),
            Just(TlsPolicy::Verify)
        ]
    }

    fn danes() -> impl Strategy<Value = Dane> {
        let record = Tlsa {
            usage: 3,
            selector: 1,
            matching: 1,
            data: vec![1; 32],
        };
        prop_oneof![
            Just(Dane::None),
            Just(Dane::Usable(vec![record])),
            Just(Dane::Unusable),
            Just(Dane::Failed("x".into()))
        ]
    }

    fn policies() -> impl Strategy<Value = Option<(StsMode, bool)>> {
        let mode = prop_oneof![
            Just(StsMode::Enforce),
            Just(StsMode::Testing),
            Just(StsMode::None)
        ];
        prop::option::of((mode, any::<bool>()))
    }

    proptest! {
        /// Law `plaintext_only_unasked`, and what stands in for it: the whole table of RFC 7672
        /// section 2.2 and RFC 8461 section 5.
        #[test]
        fn law_plaintext_only_unasked(setting in settings(), dane in danes(), sts in policies()) {
            let is_enforced = matches!(sts, Some((StsMode::Enforce, _)));
            match Demand::decide(setting, dane.clone(), sts) {
                Ok(demand) => {
                    let is_asked = dane != Dane::None || is_enforced || setting != TlsPolicy::Opportunistic;
                    prop_assert_eq!(demand.must_encrypt, is_asked);
                    if let Dane::Usable(records) = &dane {
                        prop_assert_eq!(&demand.check, &Check::Dane(records.clone()));
                        prop_assert!(demand.must_pass);
                    } else if is_enforced || setting == TlsPolicy::Verify {
                        prop_assert_eq!(&demand.check, &Check::WebPki);
                        prop_assert!(demand.must_pass);
                    }
                    prop_assert!(!demand.must_pass || demand.must_encrypt);
                }
                Err(_) => {
                    let is_unnamed = sts == Some((StsMode::Enforce, false));
                    prop_assert!(matches!(dane, Dane::Failed(_)) || is_unnamed);
                }
            }
        }

        /// Law `stricter_never_weakens`.
        #[test]
        fn law_stricter_never_weakens(dane in danes(), sts in policies()) {
            let order = [TlsPolicy::Opportunistic, TlsPolicy::Require, TlsPolicy::Verify];
            let demands: Vec<_> = order.map(|s| Demand::decide(s, dane.clone(), sts)).into();
            for pair in demands.windows(2) {
                match (&pair[0], &pair[1]) {
                    (Ok(loose), Ok(strict)) => {
                        prop_assert!(loose.must_encrypt <= strict.must_encrypt);
                        prop_assert!(loose.must_pass <= strict.must_pass);
                    }
                    (loose, strict) => prop_assert_eq!(loose.is_err(), strict.is_err()),
                }
            }
        }
    }
}
