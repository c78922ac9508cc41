//! A day's room: reserved once, kept over a crash, spread over hours.

use super::*;
use proptest::prelude::*;

fn warmth(per_day: Option<u64>, org: &str) -> Warmth {
    let key = WarmKey {
        source: "new".into(),
        provider: "google".into(),
        org: org.into(),
    };
    let overflow = "warm".into();
    let warmth = Warmth::default();
    warmth.counts.lock().plans.insert(
        key,
        Plan {
            per_day,
            overflow,
            hold_above: 0.05,
        },
    );
    warmth
}

#[test]
fn only_what_has_a_plan_is_counted() {
    let warmth = warmth(Some(0), "");
    let mut ledger = warmth.open(0);
    assert!(matches!(
        ledger.reserve(&"old".into(), "google", "o"),
        Ok(None)
    ));
    assert!(matches!(
        ledger.reserve(&"new".into(), "yahoo", "o"),
        Ok(None)
    ));
    let refused = ledger
        .reserve(&"new".into(), "google", "o")
        .expect_err("0 a day");
    assert_eq!(&*refused.overflow, "warm");
    assert!(refused.note.contains("new") && refused.note.contains("google"));
    assert_eq!(ledger.put_off(&refused), DAY_US);
}

#[test]
fn an_organization_has_its_own_plan() {
    let warmth = warmth(Some(24), "org_1");
    let mut ledger = warmth.open(0);
    let mut reserve = |org| ledger.reserve(&"new".into(), "google", org);
    assert!(matches!(reserve("org_2"), Ok(None)));
    assert!(matches!(reserve("org_1"), Ok(Some(_))));
    assert!(reserve("org_1").is_err());
}

#[test]
fn counts_outlive_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("attempts.journal");
    let key = warmth(Some(24), "").counts.lock().plans.clone();
    for expected in [true, false] {
        let warmth = Warmth::beside(&journal, 5);
        warmth.counts.lock().plans = key.clone();
        let reserved = warmth.open(5).reserve(&"new".into(), "google", "o");
        assert_eq!(reserved.is_ok(), expected);
    }
    let tomorrow = Warmth::beside(&journal, DAY_US);
    assert!(tomorrow.counts.lock().sent.is_empty());
}

proptest! {
    /// Law `put_off_to_an_hour`.
    #[test]
    fn law_put_off_to_an_hour(per_day in 0u64..500, asked in 1usize..600, now_us in 0..DAY_US) {
        let warmth = warmth(Some(per_day), "");
        let mut ledger = warmth.open(now_us);
        let mut last = 0;
        for _ in 0..asked {
            if let Err(refused) = ledger.reserve(&"new".into(), "google", "o") {
                let due = ledger.put_off(&refused);
                prop_assert!(due > now_us && due >= last && due.is_multiple_of(HOUR_US));
                last = due;
            }
        }
    }

    /// Law `never_over`.
    #[test]
    fn law_never_over(
        per_day in 0u64..500,
        steps in prop::collection::vec((0u64..4 * HOUR_US, any::<bool>()), 1..300),
    ) {
        let warmth = warmth(Some(per_day), "");
        let (mut now_us, mut sent, mut day) = (0, 0u64, 0);
        for (later, is_back) in steps {
            now_us += later;
            if now_us / DAY_US != day {
                (day, sent) = (now_us / DAY_US, 0);
            }
            let mut ledger = warmth.open(now_us);
            match ledger.reserve(&"new".into(), "google", "o") {
                Ok(ticket) => {
                    drop(ledger);
                    sent += 1;
                    if is_back {
                        warmth.give_back(ticket.as_deref());
                        sent -= 1;
                    }
                }
                Err(refused) => {
                    let due = ledger.put_off(&refused);
                    prop_assert!(due > now_us && due.is_multiple_of(HOUR_US));
                    prop_assert!(due <= now_us + DAY_US + HOUR_US);
                }
            }
            prop_assert!(sent <= allowed(per_day, now_us));
        }
    }
}
