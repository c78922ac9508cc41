//! Which timeout of RFC 5321, 4.5.3.2 applies. The driver owns the clock.

use std::time::Duration;

/// What the peer is given time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timeout {
    /// The greeting after connecting.
    Banner,
    /// EHLO, HELO, STARTTLS, RSET and QUIT; the RFC names none for them and gives MAIL five
    /// minutes.
    Command,
    /// The TLS handshake between the events StartTls and Ready; not in the RFC.
    Handshake,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The reply to DATA.
    Data,
    /// Each write while content leaves.
    Block,
    /// The reply to the final dot. A shorter one makes duplicates.
    FinalDot,
}

impl Timeout {
    /// How long to wait at least.
    #[must_use]
    pub const fn duration(self) -> Duration {
        let minutes = match self {
            Self::Handshake => 1,
            Self::Data => 2,
            Self::Block => 3,
            Self::Banner | Self::Command | Self::Mail | Self::Rcpt => 5,
            Self::FinalDot => 10,
        };
        Duration::from_secs(minutes * 60)
    }
}

/// The timeout that runs now. Restart the timer whenever the value differs from the last one: it
/// changes with every complete reply and every write, not with every byte received, so a peer
/// that drips its replies gains nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Which timeout.
    pub timeout: Timeout,
    /// Changes whenever the wait begins anew.
    pub epoch: u64,
}
