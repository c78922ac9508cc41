//! The five numbers of RSA with the Chinese remainder theorem (RFC 8017 §3.2), as limbs that are
//! cleared when dropped, and the padding the private-key operation is applied to.

use rsa::pkcs1::RsaPrivateKeyRef;
use rsa::pkcs1::UintRef;
use zeroize::Zeroizing;

/// `p`, `q`, `d mod p-1`, `d mod q-1` and `1/q mod p`, each of half the key's bits: 64-bit limbs, the
/// lowest first.
pub struct Crt {
    bits: usize,
    limbs: Zeroizing<Vec<u64>>,
}

impl Crt {
    /// The numbers of a key; `None` unless both primes have half its size, in whole limbs.
    pub(crate) fn new(key: &RsaPrivateKeyRef<'_>, bits: usize) -> Option<Self> {
        if !bits.is_multiple_of(128) {
            return None;
        }
        let each = bits / 128;
        // The full size at once: a list that grows leaves copies behind.
        let mut limbs = Zeroizing::new(vec![0; each * 5]);
        let numbers = [
            key.prime1,
            key.prime2,
            key.exponent1,
            key.exponent2,
            key.coefficient,
        ];
        for (number, place) in numbers.iter().zip(limbs.chunks_exact_mut(each)) {
            write(number, place)?;
        }
        Some(Self { bits, limbs })
    }

    /// Bits of the modulus.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// The five numbers in the order of [`Crt`].
    #[must_use]
    pub fn numbers(&self) -> [&[u64]; 5] {
        let mut each = self.limbs.chunks_exact(self.bits / 128);
        std::array::from_fn(|_| each.next().unwrap_or_default())
    }
}

fn write(number: &UintRef<'_>, place: &mut [u64]) -> Option<()> {
    let octets = number.as_bytes();
    if octets.len() > place.len() * 8 {
        return None;
    }
    for (limb, octets) in place.iter_mut().zip(octets.rchunks(8)) {
        *limb = octets.iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
    }
    Some(())
}

/// EMSA-PKCS1-v1_5 of a SHA-256 digest (RFC 8017 §9.2), as long as the modulus.
pub(crate) fn padded(bits: usize, digest: &[u8]) -> Vec<u8> {
    /// DigestInfo of SHA-256, up to the digest (RFC 8017 §9.2, note 1).
    const INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let mut padded = vec![0xff; bits / 8];
    let info = padded.len() - INFO.len() - digest.len();
    padded[..2].copy_from_slice(&[0, 1]);
    padded[info - 1] = 0;
    padded[info..info + INFO.len()].copy_from_slice(&INFO);
    padded[info + INFO.len()..].copy_from_slice(digest);
    padded
}
