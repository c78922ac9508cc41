//! A certificate made at start, trusted by those only who are given it.

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What a sink with STARTTLS holds.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// The certificate in DER, for clients that are to trust it.
    pub(super) certificate: Vec<u8>,
}

pub(super) fn make() -> io::Result<Tls> {
    let names = vec!["sink.test".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok(Tls {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        certificate: made.cert.der().to_vec(),
    })
}
