//! A timer of a connection that is rarely set.
//!
//! **Problem.** What a connection waits for changes with every reply, and nearly always comes long
//! before its deadline: to set a timer and take it away again would be most of the waiting's cost.
//! **Model.** The timer is set anew only for an instant before the one it is set to. It may so ring
//! too early, and is then set to what is waited for by then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// See the module.
#[derive(Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when `at` has come; `None`: never.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else {
            return Poll::Pending;
        };
        let at = tokio::time::Instant::from_std(at);
        let new = || Box::pin(tokio::time::sleep_until(at));
        let sleep = self.0.get_or_insert_with(new);
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if at <= sleep.deadline() {
                self.0 = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn rings(alarm: &mut Alarm, after: Duration) -> Duration {
        let began = Instant::now();
        let at = began + after;
        poll_fn(|cx| alarm.poll(cx, Some(at))).await;
        began.elapsed()
    }

    async fn set(alarm: &mut Alarm, after: Duration) {
        let at = Some(Instant::now() + after);
        let pending = poll_fn(|cx| Poll::Ready(alarm.poll(cx, at).is_pending())).await;
        assert!(pending);
    }

    #[tokio::test]
    async fn it_rings_for_what_is_waited_for_last() {
        let (soon, late, never) = (
            Duration::from_millis(20),
            Duration::from_millis(100),
            Duration::from_secs(86_400),
        );
        let mut alarm = Alarm::default();
        for (before, after) in [(never, late), (soon, late), (late, soon)] {
            set(&mut alarm, before).await;
            assert!(rings(&mut alarm, after).await >= after);
        }
        let pending = poll_fn(|cx| Poll::Ready(alarm.poll(cx, None).is_pending())).await;
        assert!(pending);
    }
}
