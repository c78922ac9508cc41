//! Moving bytes between a stream and the protocol core.
//!
//! **Model.** [`Driver::step`] does one thing at a time and says which: bytes came, all bytes left,
//! a timeout of RFC 5321 ran out, or the caller's own reasons to wake. Writing goes first and reading
//! goes on beside it, so a receiver that stops reading while it talks cannot block both sides.
//! **Invariant.** After bytes were received nothing is written before the caller was asked again: so
//! the journal can be written between the 354 and the first octet of content.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use postalynk_smtp::{Client, Deadline, Timeout};
use tokio::io::ReadBuf;

use crate::alarm::Alarm;
use crate::clock;
use crate::stream::Stream;
use crate::transcript::Transcript;

/// Enough for the replies to many pipelined commands; longer ones come in pieces.
const READ_BYTES: usize = 4_096;
/// Slices of one vectored write: two signatures, a body with some doubled dots, the next envelope.
const SLICES: usize = 32;

/// What happened.
#[derive(Debug)]
pub(crate) enum Step {
    /// Bytes were received and given to the core.
    Received,
    /// Everything queued has left.
    Wrote,
    /// The caller's future is ready.
    Woken,
    /// The caller's instant has come.
    Elapsed,
    /// The receiver took longer than RFC 5321 gives it.
    TimedOut(Timeout),
    /// The receiver closed the connection.
    Ended,
    /// The connection broke.
    Broke(io::Error),
}

/// A protocol core on a stream.
pub(crate) struct Driver {
    pub(crate) client: Client,
    pub(crate) stream: Stream,
    pub(crate) transcript: Transcript,
    buffer: Box<[u8; READ_BYTES]>,
    must_flush: bool,
    alarm: Alarm,
    /// The core's wait and when it began.
    waiting: Option<(Deadline, Instant)>,
}

impl Driver {
    pub(crate) fn new(client: Client, stream: Stream, transcript: Transcript) -> Self {
        Self {
            client,
            stream,
            transcript,
            buffer: Box::new([0; READ_BYTES]),
            must_flush: false,
            alarm: Alarm::default(),
            waiting: None,
        }
    }

    /// Waits for the next thing: bytes, a timeout, `wake`, or `until`.
    pub(crate) async fn step(
        &mut self,
        wake: impl Future<Output = ()>,
        until: Option<Instant>,
    ) -> Step {
        let timeout = self.timeout_at(clock::now());
        let at = [timeout.map(|(_, at)| at), until]
            .into_iter()
            .flatten()
            .min();
        let mut wake = pin!(wake);
        poll_fn(|cx| {
            if let Poll::Ready(step) = self.poll(cx) {
                return Poll::Ready(step);
            }
            if wake.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Step::Woken);
            }
            ready!(self.alarm.poll(cx, at));
            Poll::Ready(match timeout {
                Some((timeout, timeout_at)) if Some(timeout_at) == at => Step::TimedOut(timeout),
                _ => Step::Elapsed,
            })
        })
        .await
    }

    /// The timeout that runs, begun anew whenever the core says so.
    fn timeout_at(&mut self, now: Instant) -> Option<(Timeout, Instant)> {
        let deadline = self.client.deadline();
        match (deadline, self.waiting) {
            (None, _) => self.waiting = None,
            (Some(new), Some((known, _))) if new == known => {}
            (Some(new), _) => self.waiting = Some((new, now)),
        }
        self.waiting
            .map(|(deadline, began)| (deadline.timeout, began + deadline.timeout.duration()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Step::Broke(error)),
            Poll::Ready(Ok(true)) => return Poll::Ready(Step::Wrote),
            Poll::Ready(Ok(false)) | Poll::Pending => {}
        }
        let mut buffer = ReadBuf::new(&mut self.buffer[..]);
        match self.stream.poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Step::Broke(error)),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Step::Ended),
            Poll::Ready(Ok(())) => {
                self.transcript.received(clock::now(), buffer.filled());
                self.client.receive(buffer.filled());
                Poll::Ready(Step::Received)
            }
        }
    }

    /// True when something was there to leave and all of it did.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while let Some(sent) = self.client.next_sent() {
            self.transcript.sent(clock::now(), sent);
        }
        let mut has_written = false;
        while self.client.has_output() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.client.fill(&mut slices);
            let written = self.stream.poll_write(cx, &slices[..count]);
            match written {
                Poll::Ready(Ok(0)) => {
                    self.client.wrote(0);
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(octets)) => {
                    self.client.wrote(octets);
                    self.must_flush = true;
                    has_written = true;
                }
                Poll::Ready(Err(error)) => {
                    self.client.wrote(0);
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    self.client.wrote(0);
                    return Poll::Pending;
                }
            }
        }
        if self.must_flush {
            match self.stream.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.must_flush = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(has_written))
    }
}
