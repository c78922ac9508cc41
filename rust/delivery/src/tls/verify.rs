//! Whether the certificates a host showed meet what is demanded.
//!
//! **Model.** A function of certificates, names, demand and time. The handshake has already shown
//! that the host holds the key of the first one. DANE-EE(3) looks at nothing but the record: neither
//! names nor dates (RFC 7672 section 3.1.1). DANE-TA(2) takes an authority of the chain, or one the
//! record holds whole, and wants a path from it to the first certificate, valid now and for one of
//! the names (section 3.1.2).
//! **Stricter than the RFC.** A subject's common name is never a name.
//! **Laws.** `law_flipped_record_never_matches`; the table of usages, selectors and matchings.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use postalynk_dns::Tlsa;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use super::demand::Check;
use super::report::ResultType;
use super::roots::Roots;

/// What is wrong, in the words of RFC 8460 and in plain ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) result: ResultType,
    pub(crate) text: String,
    /// It may be over in a moment: nothing was found wrong, the handshake only did not come to its end.
    pub(crate) is_passing: bool,
}

/// See the module. `chain`: the host's own certificate first.
pub(crate) fn check(
    wanted: &Check,
    chain: &[CertificateDer<'_>],
    names: &[&str],
    roots: &Roots,
    now: UnixTime,
) -> Result<(), Problem> {
    let Some((end_entity, rest)) = chain.split_first() else {
        return match wanted {
            Check::Nothing => Ok(()),
            _ => Err(problem(
                ResultType::ValidationFailure,
                "no certificate was shown",
            )),
        };
    };
    match wanted {
        Check::Nothing => Ok(()),
        Check::WebPki => path(end_entity, rest, &roots.0.roots, names, now),
        Check::Dane(records) => dane(records, (end_entity, rest), names, now),
    }
}

fn dane(
    records: &[Tlsa],
    (end_entity, rest): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    names: &[&str],
    now: UnixTime,
) -> Result<(), Problem> {
    let (own, authorities): (Vec<&Tlsa>, Vec<&Tlsa>) =
        records.iter().partition(|record| record.is_end_entity());
    if own.iter().any(|record| matches(record, end_entity)) {
        return Ok(());
    }
    let mut last = problem(
        ResultType::ValidationFailure,
        "no TLSA record matches the certificates that were shown",
    );
    for record in authorities {
        // Some hosts leave the authority out, for the record holds it whole (section 3.1.2).
        let held = (record.selector == 0 && record.matching == 0)
            .then(|| CertificateDer::from(record.data.as_slice()));
        let candidates = rest.iter().chain(held.as_ref());
        for candidate in candidates.filter(|candidate| matches(record, candidate)) {
            let Ok(anchor) = anchor_from_trusted_cert(candidate) else {
                continue;
            };
            match path(end_entity, rest, &[anchor], names, now) {
                Ok(()) => return Ok(()),
                Err(problem) => last = problem,
            }
        }
    }
    Err(last)
}

/// Whether a record names this certificate (RFC 6698 section 2.1).
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => certificate.to_vec(),
        1 => match EndEntityCert::try_from(certificate) {
            Ok(parsed) => parsed.subject_public_key_info().to_vec(),
            Err(_) => return false,
        },
        _ => return false,
    };
    match record.matching {
        0 => selected == record.data,
        1 => digest(&SHA256, &selected).as_ref() == record.data,
        2 => digest(&SHA512, &selected).as_ref() == record.data,
        _ => false,
    }
}

/// A path from an anchor to a certificate that is valid now and for one of the names.
fn path(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    names: &[&str],
    now: UnixTime,
) -> Result<(), Problem> {
    let parsed = EndEntityCert::try_from(end_entity).map_err(|error| explain(&error))?;
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let usage = KeyUsage::server_auth();
    parsed
        .verify_for_usage(algorithms, anchors, intermediates, now, usage, None, None)
        .map_err(|error| explain(&error))?;
    let is_named = names.iter().any(|name| {
        ServerName::try_from(*name)
            .is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok())
    });
    if is_named {
        return Ok(());
    }
    let text = format!("the certificate is not for {}", names.join(" or "));
    Err(problem(ResultType::CertificateHostMismatch, &text))
}

fn explain(error: &Error) -> Problem {
    let result = match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => ResultType::CertificateExpired,
        Error::UnknownIssuer => ResultType::CertificateNotTrusted,
        Error::CertNotValidForName(_) => ResultType::CertificateHostMismatch,
        _ => ResultType::ValidationFailure,
    };
    problem(result, &format!("certificate: {error}"))
}

fn problem(result: ResultType, text: &str) -> Problem {
    Problem {
        result,
        text: text.to_owned(),
        is_passing: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use std::path::Path;

    struct Chain {
        own: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    }

    fn chain(names: &[&str]) -> Chain {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("parameters");
        let own = params.signed_by(&key, &issuer).expect("a certificate");
        Chain {
            own: own.der().clone(),
            authority: issuer.der().clone(),
        }
    }

    fn record(usage: u8, selector: u8, matching: u8, of: &CertificateDer<'_>) -> Tlsa {
        let selected = if selector == 0 {
            of.to_vec()
        } else {
            EndEntityCert::try_from(of)
                .expect("parses")
                .subject_public_key_info()
                .to_vec()
        };
        let data = match matching {
            0 => selected,
            1 => digest(&SHA256, &selected).as_ref().to_vec(),
            _ => digest(&SHA512, &selected).as_ref().to_vec(),
        };
        Tlsa {
            usage,
            selector,
            matching,
            data,
        }
    }

    fn checked(
        records: Vec<Tlsa>,
        shown: &[CertificateDer<'_>],
        name: &str,
    ) -> Result<(), ResultType> {
        let roots = Roots::load(Path::new("")).expect("Mozilla's");
        let now = UnixTime::now();
        check(&Check::Dane(records), shown, &[name], &roots, now).map_err(|p| p.result)
    }

    #[test]
    fn every_usable_kind_of_record_matches() {
        let made = chain(&["mx.example"]);
        let shown = [made.own.clone(), made.authority.clone()];
        for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let own = record(3, selector, matching, &made.own);
            assert_eq!(
                checked(vec![own.clone()], &shown, "other.example"),
                Ok(()),
                "{own}"
            );
            let authority = record(2, selector, matching, &made.authority);
            assert_eq!(
                checked(vec![authority.clone()], &shown, "mx.example"),
                Ok(()),
                "{authority}"
            );
            assert_eq!(
                checked(vec![authority], &shown, "other.example"),
                Err(ResultType::CertificateHostMismatch)
            );
        }
    }

    #[test]
    fn an_authority_that_is_not_shown_helps_only_if_the_record_holds_it() {
        let made = chain(&["mx.example"]);
        let whole = record(2, 0, 0, &made.authority);
        assert_eq!(
            checked(vec![whole], std::slice::from_ref(&made.own), "mx.example"),
            Ok(())
        );
        let hash = record(2, 0, 1, &made.authority);
        assert_eq!(
            checked(vec![hash], &[made.own], "mx.example"),
            Err(ResultType::ValidationFailure)
        );
    }

    #[test]
    fn another_authority_does_not_do() {
        let (made, other) = (chain(&["mx.example"]), chain(&["mx.example"]));
        let shown = [made.own, other.authority.clone()];
        let records = vec![record(2, 1, 1, &other.authority)];
        assert!(checked(records, &shown, "mx.example").is_err());
    }

    #[test]
    fn the_roots_vouch_or_not() {
        let made = chain(&["mx.example"]);
        let mut roots = Roots::load(Path::new("")).expect("Mozilla's");
        let verdict = |roots: &Roots, name: &str| {
            let shown = [made.own.clone()];
            check(&Check::WebPki, &shown, &[name], roots, UnixTime::now()).map_err(|p| p.result)
        };
        assert_eq!(
            verdict(&roots, "mx.example"),
            Err(ResultType::CertificateNotTrusted)
        );
        roots.0.add(made.authority.clone()).expect("an authority");
        assert_eq!(verdict(&roots, "mx.example"), Ok(()));
        assert_eq!(
            verdict(&roots, "mx2.example"),
            Err(ResultType::CertificateHostMismatch)
        );
        let later = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1 << 37));
        let shown = [made.own.clone()];
        let expired = check(&Check::WebPki, &shown, &["mx.example"], &roots, later);
        assert_eq!(
            expired.map_err(|p| p.result),
            Err(ResultType::CertificateExpired)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Law `flipped_record_never_matches`.
        #[test]
        fn law_flipped_record_never_matches(matching in 0u8..3, selector in 0u8..2, at: prop::sample::Index, bit in 0u8..8) {
            let made = chain(&["mx.example"]);
            let mut own = record(3, selector, matching, &made.own);
            let at = at.index(own.data.len());
            own.data[at] ^= 1 << bit;
            prop_assert_eq!(checked(vec![own], &[made.own], "mx.example"), Err(ResultType::ValidationFailure));
        }
    }
}
