//! Answers kept: fresh, stale, or on their way.
//!
//! **Problem.** One domain is asked for by thousands of deliveries, and its name servers may be away
//! for an hour: neither should be seen at their other end.
//! **Model.** A name has an answer with an end of its life, "no" included. When its life is over one
//! asks and all others wait with it (single flight). When resolvers fail, the old answer serves on for
//! a day (RFC 8767), asked for again every [`STALE_FOR`]; a bogus answer is never covered up so.
//! **Bounds.** [`MOST`] names; beyond it the answers that are over go first, then all.
//! **Laws.** `law_fresh_is_not_asked_again`, `law_stale_only_for_failure`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::RouteError;

/// Names remembered.
const MOST: usize = 65_536;
/// How long after its end an answer may stand in for none.
const STALE_MAX: Duration = Duration::from_secs(86_400);
/// How long a stale answer serves before resolvers are asked again (RFC 8767 section 4).
const STALE_FOR: Duration = Duration::from_secs(30);

/// An answer and how long it holds.
#[derive(Clone, Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: Result<T, RouteError>,
    pub(crate) valid_until: Instant,
}

type Flight<T> = Arc<OnceCell<Answer<T>>>;

#[derive(Debug)]
struct Slot<T> {
    kept: Option<Kept<T>>,
    flight: Option<Flight<T>>,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    value: Result<T, RouteError>,
    valid_until: Instant,
    /// Not usable after this, whatever happens.
    stale_until: Instant,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    slots: Mutex<HashMap<String, Slot<T>>>,
    /// Whether an answer whose life is over may stand in for a failure.
    may_be_stale: bool,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(may_be_stale: bool) -> Self {
        Self {
            slots: Mutex::default(),
            may_be_stale,
        }
    }

    /// The answer for a name, asking only if none is fresh and nobody asks already.
    pub(crate) async fn get<F>(
        &self,
        name: &str,
        now: Instant,
        ask: impl FnOnce() -> F,
    ) -> Result<T, RouteError>
    where
        F: Future<Output = Answer<T>>,
    {
        let flight = {
            let mut slots = self.slots.lock();
            make_room(&mut slots, now);
            let slot = slots.entry(name.to_owned()).or_insert_with(|| Slot {
                kept: None,
                flight: None,
            });
            if let Some(kept) = slot.kept.as_ref().filter(|kept| now < kept.valid_until) {
                return kept.value.clone();
            }
            Arc::clone(slot.flight.get_or_insert_with(Flight::default))
        };
        let answer = flight.get_or_init(ask).await.clone();
        self.land(name, &flight, answer, now)
    }

    fn land(
        &self,
        name: &str,
        flight: &Flight<T>,
        answer: Answer<T>,
        now: Instant,
    ) -> Result<T, RouteError> {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(name) else {
            return answer.value;
        };
        let is_current = slot
            .flight
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, flight));
        if is_current {
            slot.flight = None;
        }
        match &answer.value {
            Err(error) if error.is_temporary() => {
                let may_cover = self.may_be_stale && !matches!(error, RouteError::Bogus(_));
                let old = slot
                    .kept
                    .as_mut()
                    .filter(|kept| may_cover && kept.value.is_ok() && now < kept.stale_until);
                match old {
                    Some(kept) => {
                        kept.valid_until = kept.valid_until.max(now + STALE_FOR);
                        kept.value.clone()
                    }
                    None => answer.value,
                }
            }
            _ => {
                if is_current {
                    slot.kept = Some(Kept {
                        value: answer.value.clone(),
                        valid_until: answer.valid_until,
                        stale_until: answer.valid_until + STALE_MAX,
                    });
                }
                answer.value
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.lock().len()
    }
}

fn make_room<T>(slots: &mut HashMap<String, Slot<T>>, now: Instant) {
    if slots.len() < MOST {
        return;
    }
    slots.retain(|_, slot| {
        slot.flight.is_some()
            || slot
                .kept
                .as_ref()
                .is_some_and(|kept| now < kept.valid_until)
    });
    if slots.len() >= MOST {
        // Whoever waits has its flight; the others ask again.
        slots.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    fn failure() -> RouteError {
        RouteError::Temporary {
            domain: "x".into(),
            cause: "away".into(),
        }
    }

    #[test]
    fn a_failure_is_covered_by_a_stale_answer_for_a_day() {
        let start = Instant::now();
        let cache = Cache::new(true);
        let at = |seconds| start + Duration::from_secs(seconds);
        let ask = |now, value| {
            let valid_until = now + Duration::from_secs(60);
            run(cache.get("x", now, || async { Answer { value, valid_until } }))
        };
        assert_eq!(ask(at(0), Ok(1)), Ok(1));
        assert_eq!(ask(at(61), Err(failure())), Ok(1));
        assert_eq!(
            ask(at(80), Ok(2)),
            Ok(1),
            "a stale answer holds for a while"
        );
        assert_eq!(
            ask(at(100), Err(RouteError::Bogus("x".into()))),
            Err(RouteError::Bogus("x".into()))
        );
        assert_eq!(ask(at(100 + 86_400), Err(failure())), Err(failure()));
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let now = Instant::now();
        let cache = Cache::new(false);
        for name in 0..MOST + 10 {
            let valid_until = now + Duration::from_secs(60);
            let answer = async move {
                Answer {
                    value: Ok(name),
                    valid_until,
                }
            };
            assert_eq!(run(cache.get(&name.to_string(), now, || answer)), Ok(name));
        }
        assert!(cache.len() <= MOST);
    }

    proptest! {
        /// Laws `fresh_is_not_asked_again` and `stale_only_for_failure`, against a naive model.
        #[test]
        fn law_fresh_is_not_asked_again(
            steps in prop::collection::vec((0u64..200, 0u8..3, 1u64..100), 1..40),
        ) {
            let mut now = Instant::now();
            let cache = Cache::new(true);
            let mut fresh_until = None;
            let mut last = None;
            for (number, (pass, kind, ttl)) in steps.into_iter().enumerate() {
                now += Duration::from_secs(pass);
                let asked = Cell::new(false);
                let value = match kind {
                    0 => Ok(number),
                    1 => Err(RouteError::NoDomain("x".into())),
                    _ => Err(failure()),
                };
                let valid_until = now + Duration::from_secs(ttl);
                let got = run(cache.get("x", now, || {
                    asked.set(true);
                    let value = value.clone();
                    async move { Answer { value, valid_until } }
                }));
                let is_fresh = fresh_until.is_some_and(|until| now < until);
                prop_assert_eq!(asked.get(), !is_fresh);
                if is_fresh {
                    prop_assert_eq!(&Some(got), &last);
                } else if kind < 2 {
                    prop_assert_eq!(&got, &value);
                    fresh_until = Some(valid_until);
                    last = Some(got);
                } else if let Some(Ok(old)) = last {
                    prop_assert_eq!(&got, &Ok(old));
                    fresh_until = Some(now + STALE_FOR);
                } else {
                    prop_assert_eq!(&got, &value);
                }
            }
        }
    }
}
