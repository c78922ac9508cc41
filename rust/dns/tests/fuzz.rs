//! What receivers publish, read from hostile octets: no reader panics, and what it takes is within
//! its bounds.
//!
//! `make test` tries some thousands each; `make soak` a million (`BOLERO_RANDOM_ITERATIONS`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use postalynk_dns::{MAX_AGE_MAX, Rua, StsPolicy, Tlsa, sts_id, tlsrpt_rua};

fn iterations() -> usize {
    let wanted = std::env::var("BOLERO_RANDOM_ITERATIONS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(5_000)
}

/// Texts near the formats, so that random octets get past the first check.
fn near(prefix: &str, octets: &[u8]) -> [String; 2] {
    let text = String::from_utf8_lossy(octets).into_owned();
    [format!("{prefix}{text}"), text]
}

#[test]
fn fuzz_tlsa() {
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            if let Some(record) = Tlsa::from_octets(octets) {
                assert_eq!(record.to_octets(), octets);
                let is_usable = record.is_usable();
                assert!(!is_usable || matches!(record.usage, 2 | 3));
                assert!(!record.to_string().is_empty());
            }
        });
}

#[test]
fn fuzz_sts_policy() {
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            for text in near("version: STSv1\nmode: enforce\nmax_age: 9\nmx: ", octets) {
                if let Ok(policy) = StsPolicy::parse(&text) {
                    assert!(policy.max_age_s <= MAX_AGE_MAX);
                    assert_eq!(StsPolicy::parse(&policy.to_string()), Ok(policy));
                }
            }
        });
}

#[test]
fn fuzz_sts_txt() {
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            for text in near("v=STSv1; id=", octets) {
                if let Some(id) = sts_id(&[text]) {
                    assert!((1..=32).contains(&id.len()) && id.is_ascii());
                }
            }
        });
}

#[test]
fn fuzz_tlsrpt_txt() {
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            for text in near("v=TLSRPTv1; rua=mailto:", octets) {
                for rua in tlsrpt_rua(&[text]) {
                    let (Rua::Mailto(found) | Rua::Https(found)) = rua;
                    assert!(found.bytes().all(|b| b.is_ascii_graphic()), "{found:?}");
                }
            }
        });
}
