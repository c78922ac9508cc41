//! What is to be written, and how much of it may already be with the peer.
//!
//! **Model.** A queue of shared slices and three positions in the stream of all octets ever
//! queued: `written` (the driver said so) ≤ `lent` (shown to the driver) ≤ `queued`.
//! **Invariant.** An octet before `written.max(lent)` could have left; one after it cannot.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// The octets waiting to leave.
#[derive(Debug, Default)]
pub(crate) struct Output {
    segments: VecDeque<Bytes>,
    written: u64,
    lent: u64,
    queued: u64,
}

impl Output {
    pub(crate) fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.queued += segment.len() as u64;
            self.segments.push_back(segment);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Position in the stream after everything queued so far.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    /// Octets queued and not written.
    pub(crate) fn waiting(&self) -> u64 {
        self.queued - self.written
    }

    /// Octets the driver reported as written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether the octet that ends at `position` could have reached the peer.
    pub(crate) fn could_have_left(&self, position: u64) -> bool {
        position <= self.written.max(self.lent)
    }

    pub(crate) fn fill<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut shown = 0;
        let mut count = 0;
        for (slot, segment) in slices.iter_mut().zip(&self.segments) {
            *slot = IoSlice::new(segment);
            shown += segment.len() as u64;
            count += 1;
        }
        self.lent = self.lent.max(self.written + shown);
        count
    }

    pub(crate) fn wrote(&mut self, mut octets: usize) {
        while let Some(front) = self.segments.front_mut() {
            let taken = front.len().min(octets);
            self.written += taken as u64;
            octets -= taken;
            if taken < front.len() {
                front.advance(taken);
                break;
            }
            self.segments.pop_front();
        }
        self.lent = self.written;
    }
}
