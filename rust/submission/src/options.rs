//! How submission is set up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::trusted::Trusted;

/// Addresses, TLS and bounds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses where TLS begins with STARTTLS.
    pub listen: Vec<SocketAddr>,
    /// Addresses where TLS begins at once (RFC 8314).
    pub listen_tls: Vec<SocketAddr>,
    /// The server's name in its greeting.
    pub host: String,
    /// PEM files of the certificate chain and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// No AUTH without TLS, but for clients on loopback.
    pub requires_tls: bool,
    /// Whose clients need no login.
    pub trusted: Vec<Trusted>,
    /// Octets of one message.
    pub max_message_bytes: u64,
    /// In total; half of them per client address and per organization.
    pub max_connections: u64,
    /// Of one organization; 0: half of them.
    pub max_connections_per_org: u64,
    /// Octets of messages that are not answered yet, in total; half of them per organization.
    pub max_held_bytes: u64,
    /// How long clients may take.
    pub timeouts: Timeouts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listen_tls: Vec::new(),
            host: "localhost".to_owned(),
            certificate: None,
            requires_tls: true,
            trusted: Vec::new(),
            max_message_bytes: 30_000_000,
            max_connections: 1_000,
            max_connections_per_org: 0,
            max_held_bytes: 256_000_000,
            timeouts: Timeouts::default(),
        }
    }
}

/// Deadlines; none is moved by a single octet.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the connection to a login.
    pub login: Duration,
    /// For a whole command (RFC 5321, 4.5.3.2.7 asks for five minutes).
    pub command: Duration,
    /// From MAIL to the end of the content.
    pub transaction: Duration,
    /// For a client to take what is said to it.
    pub write: Duration,
    /// For an answer from above; then the client is told to come again.
    pub judgement: Duration,
    /// Between two looks whether the certificate was renewed.
    pub certificate: Duration,
    /// For the last answers when submission is closed.
    pub closing: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(60),
            command: Duration::from_secs(300),
            transaction: Duration::from_secs(600),
            write: Duration::from_secs(60),
            // Half of what a client waits after its final dot (RFC 5321, 4.5.3.2.6).
            judgement: Duration::from_secs(300),
            certificate: Duration::from_secs(10),
            closing: Duration::from_secs(10),
        }
    }
}
