//! Rates and the one limiter behind them.
//!
//! **Problem.** A receiver tolerates so many messages a second from one source; an operator writes
//! that down as a word (`"100/s"`), and the engine must keep to it exactly, at no cost for a path
//! that is idle, and without a clock of its own so a test can move time by hand.
//! **Model.** A [`Rate`] is what was written, a [`Bucket`] is a rate and one instant.
//! **Not here.** Waiting (a path sleeps until the instant [`Bucket::take`] answers), and sharing one
//! limit among workers.

mod bucket;
mod rate;

pub use bucket::Bucket;
pub use rate::{Rate, RateError};
