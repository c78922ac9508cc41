//! What can go wrong when a key is read or a message signed.

/// Why there is no key, no signer or no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The PEM text has no private key, or its base64 is broken.
    #[error("the PEM text holds no unencrypted private key (PKCS#8, or PKCS#1 for RSA)")]
    Pem,
    /// The octets are not a private key of a kind that DKIM has.
    #[error("not an RSA or Ed25519 private key: {0}")]
    Key(String),
    /// An RSA key outside 1024 to 4096 bits: shorter ones are forged within reach (RFC 8301 §3.2),
    /// longer ones not every verifier takes.
    #[error("an RSA key of {bits} bits: it must have 1024 to 4096, better 2048")]
    RsaSize {
        /// Of its modulus.
        bits: usize,
    },
    /// A DNS record with which no signature can be verified.
    #[error("not a DKIM key record (RFC 6376 section 3.6.1): {0}")]
    Record(&'static str),
    /// Not a domain in A-labels.
    #[error("{0:?} is not a domain name of lower-case A-labels")]
    Domain(String),
    /// Not a selector.
    #[error("{0:?} is not a DKIM selector (RFC 6376 section 3.1)")]
    Selector(String),
    /// A message without From cannot be signed (RFC 6376 §5.4).
    #[error("the message has no From field")]
    NoFrom,
    /// The message has no header fields that could be told apart.
    #[error("the header is malformed at octet {at}")]
    Header {
        /// Where the malformed line begins.
        at: usize,
    },
    /// A CR or LF of its own: some server on the way would change it and break the signature.
    #[error("the line end at octet {at} is not CRLF")]
    BareLineEnd {
        /// Where it stands.
        at: usize,
    },
    /// The cryptographic library refused.
    #[error("the private-key operation failed")]
    Crypto,
}
