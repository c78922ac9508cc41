//! Certificates made at start, trusted by those only who are given them.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What a sink with STARTTLS holds.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// The certificate in DER, for clients that are to trust it.
    pub(super) certificate: Vec<u8>,
}

/// What can go wrong with a handshake, beside the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The connection is closed on the client's first words.
    Cut,
    /// They are answered with octets that are no TLS.
    Garbage,
    /// They are answered with the alert `handshake_failure` (RFC 8446 section 6.2).
    Alert,
}

impl TlsFault {
    /// By name: `cut`, `garbage` or `alert`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "cut" => Self::Cut,
            "garbage" => Self::Garbage,
            "alert" => Self::Alert,
            _ => return None,
        })
    }

    /// The answer before the connection is closed.
    pub(super) fn answer(self) -> &'static [u8] {
        match self {
            Self::Cut => b"",
            Self::Garbage => b"220 I speak plaintext only\r\n",
            Self::Alert => &[21, 3, 3, 0, 2, 2, 40],
        }
    }
}

/// A certificate for the given names, signed by an authority made with it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// DER, the host's own first, then the authority's.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 DER.
    pub key: Vec<u8>,
    /// The authority in PEM, for those that are to trust it; empty where it was read from a file.
    pub authority_pem: String,
}

impl Certificate {
    /// Makes authority and certificate.
    ///
    /// # Errors
    /// Names that no certificate can hold.
    pub fn issue(names: &[&str]) -> io::Result<Self> {
        Self::make(names, |_| {})
    }

    /// One that was good until the year 2000 was over.
    ///
    /// # Errors
    /// Names that no certificate can hold.
    pub fn expired(names: &[&str]) -> io::Result<Self> {
        Self::make(names, |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2000, 12, 31);
        })
    }

    /// Reads chain and key of a PEM file.
    ///
    /// # Errors
    /// A file that cannot be read, or without a certificate or a key in PKCS#8.
    pub fn read(file: &Path) -> io::Result<Self> {
        let wrong = |error: pem::Error| io::Error::other(format!("{}: {error}", file.display()));
        let chain = CertificateDer::pem_file_iter(file).map_err(wrong)?;
        let chain: Result<Vec<_>, _> = chain.map(|der| der.map(|der| der.to_vec())).collect();
        let key = PrivatePkcs8KeyDer::from_pem_file(file).map_err(wrong)?;
        Ok(Self {
            chain: chain.map_err(wrong)?,
            key: key.secret_pkcs8_der().to_vec(),
            authority_pem: String::new(),
        })
    }

    fn make(names: &[&str], change: impl Fn(&mut rcgen::CertificateParams)) -> io::Result<Self> {
        let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        let issuer = rcgen::CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        let mut params = rcgen::CertificateParams::new(names).map_err(io::Error::other)?;
        change(&mut params);
        let own = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
        Ok(Self {
            chain: vec![own.der().to_vec(), issuer.der().to_vec()],
            key: key.serialize_der(),
            authority_pem: issuer.pem(),
        })
    }
}

pub(super) fn of(certificate: &Certificate) -> io::Result<Tls> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.key.clone()));
    let chain = certificate.chain.iter().map(|der| der.clone().into());
    Ok(Tls {
        acceptor: TlsAcceptor::from(Arc::new(server_config(chain.collect(), key)?)),
        certificate: certificate.chain.first().cloned().unwrap_or_default(),
    })
}

/// A server's TLS configuration without client certificates.
pub(crate) fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> io::Result<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)
}

pub(super) fn make() -> io::Result<Tls> {
    let names = vec!["sink.test".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = server_config(vec![made.cert.der().clone()], key)?;
    Ok(Tls {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        certificate: made.cert.der().to_vec(),
    })
}
