//! What can go wrong with the engine itself. How a delivery went is an outcome, not an error.

use thiserror::Error;

/// Misuse, bad settings, or an I/O failure below; the text names what and how to mend it.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The settings cannot be used.
    #[error("engine settings: {0}")]
    Settings(String),
    /// Pools or sources cannot be used.
    #[error("pools: {0}")]
    Pools(String),
    /// A DKIM key cannot be used.
    #[error("DKIM key of {domain}, selector {selector}: {cause}")]
    Signer {
        /// The signing domain.
        domain: String,
        /// Its selector.
        selector: String,
        /// What is wrong.
        cause: String,
    },
    /// The journal of open attempts cannot be read or written.
    #[error("journal {path}: {cause}; the directory must exist, be writable and have room")]
    Journal {
        /// The file.
        path: String,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// The resolver cannot be set up.
    #[error(transparent)]
    Resolver(#[from] postalynk_dns::ResolverError),
    /// A thread or runtime could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A call that does not fit: the text says which.
    #[error("{0}")]
    Misuse(String),
}
