//! RSA private keys of every accepted size, behind one operation.
//!
//! **Problem.** The library that signs fastest loads no key of fewer than 2048 bits, and some domains
//! still have one of 1024: RFC 8301 §3.2 lets signers use it, and a move from another provider must
//! not begin with a change of keys.
//! **Model.** 2048 to 4096 bits are aws-lc-rs's; 1024 to 2047 the `rsa` crate's, with blinding by
//! random numbers of the system and every result checked with the public key. Both clear what they
//! free.
//! **Law `small_keys_sign_as_openssl`** (tests): PKCS#1 v1.5 is deterministic, so both libraries and
//! OpenSSL give the same octets.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_SHA256};
use rsa::Pkcs1v15Sign;
use rsa::pkcs1::RsaPrivateKeyRef;
use rsa::pkcs1::der::Decode;
use rsa::pkcs8::{EncodePublicKey, PrivateKeyInfoRef};
use rsa::sha2::Sha256;

use crate::crt::Crt;
use crate::error::Error;

/// The shortest key that signs (RFC 8301 §3.2).
pub(crate) const FEWEST_BITS: usize = 1024;
/// The longest one: more than this not every verifier takes (RFC 6376 §3.3.3).
pub(crate) const MOST_BITS: usize = 4096;
/// The shortest key of the fast library.
const LARGE_BITS: usize = 2048;

/// A private key and the public one as SubjectPublicKeyInfo.
pub(crate) struct Rsa {
    private: Private,
    pub(crate) spki: Vec<u8>,
}

enum Private {
    Large(Box<Large>),
    Small(Box<rsa::PrivateKey>),
}

/// A key of 2048 bits or more: what signs, what verifies, and what eight lanes at once need.
pub(crate) struct Large {
    pair: KeyPair,
    public: ParsedPublicKey,
    /// Absent when the key has no two primes of half its size: then it signs alone.
    pub(crate) crt: Option<Crt>,
}

impl Rsa {
    /// A key in PKCS#8 DER.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(refused)?;
        if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
            return Err(Error::Key("its algorithm is not RSA".to_owned()));
        }
        Self::from_pkcs1(info.private_key.as_bytes())
    }

    /// A key in PKCS#1 DER.
    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, Error> {
        let numbers = RsaPrivateKeyRef::from_der(der).map_err(refused)?;
        let bits = bits(numbers.modulus.as_bytes());
        if !(FEWEST_BITS..=MOST_BITS).contains(&bits) {
            return Err(Error::RsaSize { bits });
        }
        if bits < LARGE_BITS {
            return Self::small(numbers);
        }
        let pair = KeyPair::from_der(der).map_err(refused)?;
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| Error::Crypto)?;
        let spki = spki.as_ref().to_vec();
        let large = Large {
            public: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki)
                .map_err(|_| Error::Crypto)?,
            crt: Crt::new(&numbers, bits),
            pair,
        };
        Ok(Self {
            private: Private::Large(Box::new(large)),
            spki,
        })
    }

    fn small(numbers: RsaPrivateKeyRef<'_>) -> Result<Self, Error> {
        let key = rsa::PrivateKey::try_from(numbers).map_err(refused)?;
        let spki = key.to_public_key().to_public_key_der().map_err(refused)?;
        Ok(Self {
            private: Private::Small(Box::new(key)),
            spki: spki.as_bytes().to_vec(),
        })
    }

    /// RSASSA-PKCS1-v1_5 over a SHA-256 digest (RFC 8017 §8.2.1).
    pub(crate) fn sign(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        match &self.private {
            Private::Large(key) => key.sign(digest),
            // The crate blinds with random numbers of the system and checks the result.
            Private::Small(key) => key
                .sign(Pkcs1v15Sign::new::<Sha256>(), digest.as_ref())
                .map_err(|_| Error::Crypto),
        }
    }

    /// The key as eight lanes can take it, if they can.
    pub(crate) fn large(&self) -> Option<&Large> {
        match &self.private {
            Private::Large(key) => Some(key),
            Private::Small(_) => None,
        }
    }
}

impl Large {
    pub(crate) fn sign(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign_digest(&RSA_PKCS1_SHA256, digest, &mut signature)
            .map_err(|_| Error::Crypto)?;
        Ok(signature)
    }

    /// The public-key operation over a signature.
    pub(crate) fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        self.public.verify_digest_sig(digest, signature).is_ok()
    }
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Key(error.to_string())
}

/// Bits of a big-endian number.
fn bits(octets: &[u8]) -> usize {
    let significant = octets.iter().position(|b| *b != 0).unwrap_or(octets.len());
    octets.get(significant).map_or(0, |first| {
        (octets.len() - significant) * 8 - first.leading_zeros() as usize
    })
}
