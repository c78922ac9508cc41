//! Why submission cannot be opened.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// All of them are mistakes of settings or machine; what clients do wrong is answered to them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is in use or not ours.
    #[error("{address} cannot be listened on: {cause}")]
    Bind {
        /// As given.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// API keys would cross a network in the clear.
    #[error("{address} is not loopback and there is no TLS certificate, yet TLS is required")]
    NoCertificate {
        /// As given.
        address: SocketAddr,
    },
    /// A PEM file is missing or holds something else.
    #[error("{}: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The server's name cannot stand in a greeting.
    #[error("host name {0:?}: {1}")]
    Host(String, postalynk_smtp::AddressError),
    /// The thread or its runtime cannot be made.
    #[error("the submission thread cannot be started: {0}")]
    Thread(io::Error),
}
