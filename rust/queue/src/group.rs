//! Group commit: many callers, one fdatasync.
//!
//! **Idea.** Callers put their requests on a list. Whoever finds nobody leading takes the whole
//! list, does the work for all in one go, hands out the answers and wakes the others; what came in
//! meanwhile is the next leader's. So the group grows with the load and a lone caller never waits.
//! **Invariant.** At most one leader at a time: what it does needs no other lock.
//! **Law `own_answer`.** Every request gets its own answer, once, and requests are led in the order
//! they came.

use std::collections::HashMap;

use parking_lot::{Condvar, Mutex};

pub(crate) struct Group<R, A> {
    state: Mutex<State<R, A>>,
    led: Condvar,
    /// Most weight one leader takes on (one request is always taken).
    limit: usize,
}

struct State<R, A> {
    waiting: Vec<(u64, usize, R)>,
    answers: HashMap<u64, A>,
    next_ticket: u64,
    is_led: bool,
}

impl<R, A> Group<R, A> {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            waiting: Vec::new(),
            answers: HashMap::new(),
            next_ticket: 0,
            is_led: false,
        };
        Self {
            state: Mutex::new(state),
            led: Condvar::new(),
            limit,
        }
    }

    /// Has `request` answered, by `lead` on this thread or by another caller's. `lead` gives one
    /// answer per request, in order, and must not panic.
    pub(crate) fn submit(&self, request: R, weight: usize, lead: impl Fn(Vec<R>) -> Vec<A>) -> A {
        let mut state = self.state.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push((ticket, weight, request));
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
            if state.is_led {
                self.led.wait(&mut state);
                continue;
            }
            state.is_led = true;
            let (tickets, requests) = state.take(self.limit);
            drop(state);
            let answers = lead(requests);
            state = self.state.lock();
            state.is_led = false;
            state.answers.extend(tickets.into_iter().zip(answers));
            self.led.notify_all();
        }
    }
}

impl<R, A> State<R, A> {
    fn take(&mut self, limit: usize) -> (Vec<u64>, Vec<R>) {
        let mut total = 0usize;
        let fit = self.waiting.iter().take_while(|(_, weight, _)| {
            total = total.saturating_add(*weight);
            total <= limit
        });
        let count = fit.count().max(1);
        self.waiting
            .drain(..count)
            .map(|(ticket, _, request)| (ticket, request))
            .unzip()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn law_own_answer() {
        let group = Group::new(10);
        let (led, served) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|threads| {
            for thread in 0..8u64 {
                let (group, led, served) = (&group, &led, &served);
                threads.spawn(move || {
                    for i in 0..50 {
                        let request = thread * 1_000 + i;
                        let answer = group.submit(request, 3, |requests| {
                            assert!(requests.len() <= 3, "beyond the limit");
                            led.fetch_add(1, Ordering::Relaxed);
                            served.lock().extend(&requests);
                            std::thread::sleep(Duration::from_micros(200));
                            requests.iter().map(|request| request * 2).collect()
                        });
                        assert_eq!(answer, request * 2);
                    }
                });
            }
        });
        let served = served.into_inner();
        for thread in 0..8 {
            let own: Vec<u64> = served
                .iter()
                .copied()
                .filter(|r| r / 1_000 == thread)
                .collect();
            assert_eq!(own, (0..50).map(|i| thread * 1_000 + i).collect::<Vec<_>>());
        }
        assert!(led.into_inner() < 400, "requests were led in groups");
    }

    #[test]
    fn a_request_above_the_limit_is_led_alone() {
        let group = Group::new(10);
        assert_eq!(group.submit(7, 1_000, |requests| requests), 7);
    }
}
