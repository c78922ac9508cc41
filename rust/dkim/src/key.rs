//! Private keys: parsed once, kept by the cryptographic library, published as a DNS record.
//!
//! **Invariant.** No private key is printed, and every buffer that held one is zeroized: ours by
//! [`Zeroizing`], the library's own by its allocator, which clears what it frees.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::lanes::Lanes;
use crate::rsa_key::Rsa;

/// A private key in PKCS#8 DER, cleared when dropped.
pub type PrivateKeyDer = Zeroizing<Vec<u8>>;

/// A signing algorithm (RFC 6376 §3.3.3, RFC 8463 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `rsa-sha256`, the one every verifier has.
    RsaSha256,
    /// `ed25519-sha256`.
    Ed25519Sha256,
}

impl Algorithm {
    /// The value of `a=`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// A private key ready to sign, and its public half. Cloning shares it.
#[derive(Clone)]
pub struct Key {
    private: Private,
    lanes: Option<Arc<Lanes>>,
}

#[derive(Clone)]
enum Private {
    Rsa(Arc<Rsa>),
    Ed25519(Arc<Ed25519KeyPair>),
}

impl Key {
    /// An RSA key of 1024 to 4096 bits, in PKCS#8 DER.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::RsaSize`].
    pub fn rsa_from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        Rsa::from_pkcs8(der).map(Self::rsa)
    }

    /// An RSA key of 1024 to 4096 bits, in PEM: PKCS#8 or PKCS#1.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Key`], [`Error::RsaSize`].
    pub fn rsa_from_pem(pem: &str) -> Result<Self, Error> {
        match unwrap_pem(pem)? {
            (Form::Pkcs8, der) => Self::rsa_from_pkcs8_der(&der),
            (Form::Pkcs1, der) => Rsa::from_pkcs1(&der).map(Self::rsa),
        }
    }

    fn rsa(rsa: Rsa) -> Self {
        Self {
            private: Private::Rsa(Arc::new(rsa)),
            lanes: None,
        }
    }

    /// Signs side by side with other keys of its size; of no effect on those that cannot.
    #[must_use]
    pub fn with_lanes(mut self, lanes: Arc<Lanes>) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// An Ed25519 key, in PKCS#8 DER.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn ed25519_from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|e| Error::Key(e.to_string()))?;
        Ok(Self {
            private: Private::Ed25519(Arc::new(pair)),
            lanes: None,
        })
    }

    /// An Ed25519 key, in PKCS#8 PEM.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Key`].
    pub fn ed25519_from_pem(pem: &str) -> Result<Self, Error> {
        match unwrap_pem(pem)? {
            (Form::Pkcs8, der) => Self::ed25519_from_pkcs8_der(&der),
            (Form::Pkcs1, _) => Err(Error::Key("an RSA key where Ed25519 was expected".into())),
        }
    }

    /// A key of either kind, in PKCS#8 DER.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::RsaSize`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        Self::ed25519_from_pkcs8_der(der).or_else(|_| Self::rsa_from_pkcs8_der(der))
    }

    /// A key of either kind, in PEM.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Key`], [`Error::RsaSize`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        Self::ed25519_from_pem(pem).or_else(|_| Self::rsa_from_pem(pem))
    }

    /// The algorithm this key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.private {
            Private::Rsa(_) => Algorithm::RsaSha256,
            Private::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The public key as DKIM publishes it (`p=`): RSA as SubjectPublicKeyInfo (RFC 6376 §3.6.1),
    /// Ed25519 as its 32 octets (RFC 8463 §4.2).
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        match &self.private {
            Private::Rsa(rsa) => &rsa.spki,
            Private::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// The TXT record to publish at `selector._domainkey.domain`. It may exceed 255 octets, the most
    /// one string of a TXT record holds; DNS software splits it.
    #[must_use]
    pub fn dns_record(&self) -> String {
        let kind = match self.algorithm() {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        };
        format!(
            "v=DKIM1; k={kind}; p={}",
            STANDARD.encode(self.public_key())
        )
    }

    /// Signs a SHA-256 digest: RSASSA-PKCS1-v1_5 over it, or Ed25519 of its 32 octets (RFC 8463 §3).
    pub(crate) fn sign(&self, digest: digest::Digest) -> Result<Vec<u8>, Error> {
        match (&self.private, &self.lanes) {
            (Private::Rsa(rsa), Some(lanes)) => lanes.sign(rsa, digest),
            (Private::Rsa(rsa), None) => rsa.sign(&digest),
            (Private::Ed25519(pair), _) => {
                let signature = pair.try_sign(digest.as_ref()).map_err(|_| Error::Crypto)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, private part withheld)", self.algorithm().tag())
    }
}

/// Makes an RSA key of 2048 bits.
///
/// # Errors
/// [`Error::Crypto`].
pub fn generate_rsa_2048() -> Result<PrivateKeyDer, Error> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Crypto)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Error::Crypto)?;
    Ok(Zeroizing::new(der.as_ref().to_vec()))
}

/// Makes an Ed25519 key.
///
/// # Errors
/// [`Error::Crypto`].
pub fn generate_ed25519() -> Result<PrivateKeyDer, Error> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&rand::SystemRandom::new());
    Ok(Zeroizing::new(
        document.map_err(|_| Error::Crypto)?.as_ref().to_vec(),
    ))
}

enum Form {
    Pkcs8,
    Pkcs1,
}

/// The first private key of a PEM text (RFC 7468).
fn unwrap_pem(pem: &str) -> Result<(Form, PrivateKeyDer), Error> {
    let forms = [
        (Form::Pkcs8, "PRIVATE KEY"),
        (Form::Pkcs1, "RSA PRIVATE KEY"),
    ];
    for (form, label) in forms {
        let Some((_, rest)) = pem.split_once(&format!("-----BEGIN {label}-----")) else {
            continue;
        };
        let (text, _) = rest
            .split_once(&format!("-----END {label}-----"))
            .ok_or(Error::Pem)?;
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let digits = Zeroizing::new(digits);
        let der = STANDARD.decode(&*digits).map_err(|_| Error::Pem)?;
        return Ok((form, Zeroizing::new(der)));
    }
    Err(Error::Pem)
}
