//! Eight signatures at a time, where the CPU can.
//!
//! **Problem.** With AVX-512 IFMA eight private-key operations run in the time of about four, but only
//! side by side in one call, and messages come one by one from several threads.
//! **Model.** [`Lanes::sign`] puts its request beside those of other threads for keys of the same
//! size; different keys may share a call. The thread that brings the eighth makes the call for all; one
//! whose wait is over makes it for those that are there. Others sleep until their signature is put
//! before them.
//! **Invariants.** No request waits longer than the limit before its call begins. Every signature is
//! verified with the public key before it leaves, for one wrong half of the Chinese remainder theorem
//! gives the key away; a wrong or missing one is made again by aws-lc-rs. A backend that panics costs
//! its speed only.
//! **Law `lanes_sign_as_alone`.** PKCS#1 v1.5 is deterministic: whatever shares the call, each
//! signature is that of aws-lc-rs, octet by octet.
//! **Not here.** The machine code: a [`LaneBackend`] has it. What keeps lanes filled: more signing
//! threads than cores, for those that wait use none.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aws_lc_rs::digest::Digest;
use parking_lot::{Condvar, Mutex};

use crate::crt::{Crt, padded};
use crate::error::Error;
use crate::rsa_key::Rsa;

/// Requests of one call.
pub const LANES: usize = 8;
/// How long a request may wait for others.
pub const LONGEST_WAIT: Duration = Duration::from_millis(1);

/// One private-key operation of a call.
pub struct Lane<'a> {
    /// What to sign: big-endian, as many octets as the modulus has.
    pub padded: &'a [u8],
    /// The key; all keys of a call have the same size.
    pub crt: &'a Crt,
}

/// What can do up to eight private-key operations at once.
pub trait LaneBackend: Send + Sync {
    /// Its name, as operators see it.
    fn name(&self) -> &str;

    /// Whether it takes keys of this many bits.
    fn takes(&self, bits: usize) -> bool;

    /// `padded^d mod n` of each lane, in order; `None` where it failed. 1 to [`LANES`] lanes.
    fn run(&self, lanes: &[Lane<'_>]) -> Vec<Option<Vec<u8>>>;
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Calls of the backend.
    pub calls: u64,
    /// Requests in them.
    pub lanes: u64,
    /// Signatures that were wrong or missing and were made again by aws-lc-rs.
    pub again: u64,
}

/// The meeting point of signing threads.
pub struct Lanes {
    backend: Box<dyn LaneBackend>,
    longest_wait: Duration,
    waiting: Mutex<HashMap<usize, Vec<Arc<Request>>>>,
    calls: AtomicU64,
    lanes: AtomicU64,
    again: AtomicU64,
}

struct Request {
    key: Arc<Rsa>,
    digest: Digest,
    signature: Mutex<Option<Result<Vec<u8>, Error>>>,
    is_done: Condvar,
}

impl Lanes {
    /// A meeting point whose requests wait at most `longest_wait` for each other; [`LONGEST_WAIT`] in
    /// production.
    #[must_use]
    pub fn new(backend: Box<dyn LaneBackend>, longest_wait: Duration) -> Self {
        Self {
            backend,
            longest_wait,
            waiting: Mutex::default(),
            calls: AtomicU64::new(0),
            lanes: AtomicU64::new(0),
            again: AtomicU64::new(0),
        }
    }

    /// The backend's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.backend.name()
    }

    /// What has been done so far.
    #[must_use]
    pub fn counts(&self) -> LaneCounts {
        LaneCounts {
            calls: self.calls.load(Relaxed),
            lanes: self.lanes.load(Relaxed),
            again: self.again.load(Relaxed),
        }
    }

    /// RSASSA-PKCS1-v1_5 over a SHA-256 digest. Blocks for at most the longest wait and one call.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub(crate) fn sign(&self, key: &Arc<Rsa>, digest: Digest) -> Result<Vec<u8>, Error> {
        let Some(bits) = key
            .large()
            .and_then(|large| Some(large.crt.as_ref()?.bits()))
        else {
            return key.sign(&digest);
        };
        if !self.backend.takes(bits) {
            return key.sign(&digest);
        }
        let request = Arc::new(Request {
            key: Arc::clone(key),
            digest,
            signature: Mutex::new(None),
            is_done: Condvar::new(),
        });
        if let Some(full) = self.join(bits, &request) {
            self.call(&full);
        }
        self.wait(bits, &request)
    }

    /// Puts a request beside the others; all of them if it is the last that fits.
    fn join(&self, bits: usize, request: &Arc<Request>) -> Option<Vec<Arc<Request>>> {
        let mut waiting = self.waiting.lock();
        let group = waiting.entry(bits).or_default();
        group.push(Arc::clone(request));
        (group.len() == LANES).then(|| std::mem::take(group))
    }

    /// Until the signature is there, made by another thread or, once the wait is over, by this one.
    fn wait(&self, bits: usize, request: &Arc<Request>) -> Result<Vec<u8>, Error> {
        let mut signature = request.signature.lock();
        request
            .is_done
            .wait_while_for(&mut signature, |made| made.is_none(), self.longest_wait);
        if signature.is_none() {
            drop(signature);
            if let Some(group) = self.leave(bits, request) {
                self.call(&group);
            }
            signature = request.signature.lock();
            // No longer waiting, so some thread has it in its call.
            request
                .is_done
                .wait_while(&mut signature, |signature| signature.is_none());
        }
        signature.take().unwrap_or(Err(Error::Crypto))
    }

    /// Takes the group a request still waits in.
    fn leave(&self, bits: usize, request: &Arc<Request>) -> Option<Vec<Arc<Request>>> {
        let mut waiting = self.waiting.lock();
        let group = waiting.get_mut(&bits)?;
        let is_here = group.iter().any(|other| Arc::ptr_eq(other, request));
        is_here.then(|| std::mem::take(group))
    }

    /// Signs for all of a group, and tells them.
    fn call(&self, group: &[Arc<Request>]) {
        let keys = || group.iter().filter_map(|request| request.key.large());
        let padded: Vec<_> = keys()
            .zip(group)
            .map(|(key, request)| {
                let bits = key.crt.as_ref().map_or(0, Crt::bits);
                padded(bits, request.digest.as_ref())
            })
            .collect();
        let lanes: Vec<_> = keys()
            .filter_map(|key| key.crt.as_ref())
            .zip(&padded)
            .map(|(crt, padded)| Lane { padded, crt })
            .collect();
        // Without this a bug in the backend would leave seven threads asleep for ever.
        let made = catch_unwind(AssertUnwindSafe(|| self.backend.run(&lanes))).unwrap_or_default();
        self.calls.fetch_add(1, Relaxed);
        self.lanes.fetch_add(group.len() as u64, Relaxed);
        let made = made.into_iter().chain(std::iter::repeat(None));
        for (request, made) in group.iter().zip(made) {
            let signature = self.checked(request, made);
            *request.signature.lock() = Some(signature);
            request.is_done.notify_all();
        }
    }

    fn checked(&self, request: &Request, made: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
        let is_right = |signature: &Vec<u8>| {
            let key = request.key.large();
            key.is_some_and(|key| key.verifies(&request.digest, signature))
        };
        if let Some(signature) = made.filter(is_right) {
            return Ok(signature);
        }
        self.again.fetch_add(1, Relaxed);
        request.key.sign(&request.digest)
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lanes({}, {:?})", self.name(), self.counts())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]
mod tests {
    use std::thread;

    use aws_lc_rs::digest::{SHA256, digest};
    use proptest::prelude::*;
    use rsa::BoxedUint;

    use super::*;
    use crate::{Key, generate_ed25519, generate_rsa_2048};

    /// Long enough that only a full call ends a wait.
    const FOR_EVER: Duration = Duration::from_secs(3_600);

    /// What a `Model` gets wrong.
    #[derive(Clone, Copy, Debug)]
    enum Fault {
        None,
        Flipped(usize),
        Failed(usize),
        Short(usize),
        Panics,
    }

    /// The private-key operation by another library, from the numbers a lane was given.
    struct Model(Fault);

    fn number(limbs: &[u64]) -> BoxedUint {
        BoxedUint::from_words(limbs.iter().copied())
    }

    fn power(lane: &Lane<'_>) -> Vec<u8> {
        use rsa::traits::PrivateKeyParts;
        let [p, q, dp, dq, _] = lane.crt.numbers().map(number);
        let key = rsa::PrivateKey::from_p_q(p, q, BoxedUint::from(65_537u64)).unwrap();
        assert_eq!((key.dp(), key.dq()), (Some(&dp), Some(&dq)));
        // What follows the padding: DigestInfo and digest, 51 octets.
        let info = &lane.padded[lane.padded.len() - 51..];
        key.sign(rsa::Pkcs1v15Sign::new_unprefixed(), info).unwrap()
    }

    impl LaneBackend for Model {
        fn name(&self) -> &str {
            "model"
        }

        fn takes(&self, bits: usize) -> bool {
            bits == 2048
        }

        fn run(&self, lanes: &[Lane<'_>]) -> Vec<Option<Vec<u8>>> {
            assert!((1..=LANES).contains(&lanes.len()));
            let mut made: Vec<_> = lanes.iter().map(|lane| Some(power(lane))).collect();
            match self.0 {
                Fault::None => {}
                Fault::Flipped(n) => made[n].as_mut().unwrap()[17] ^= 1,
                Fault::Failed(n) => made[n] = None,
                Fault::Short(n) => made.truncate(n),
                Fault::Panics => panic!("a bug in the backend"),
            }
            made
        }
    }

    fn keys() -> &'static [Key; 3] {
        static KEYS: std::sync::OnceLock<[Key; 3]> = std::sync::OnceLock::new();
        KEYS.get_or_init(|| {
            std::array::from_fn(|_| Key::from_pkcs8_der(&generate_rsa_2048().unwrap()).unwrap())
        })
    }

    /// Signs eight digests on eight threads, with three keys; what each gave, and alone.
    fn eight(fault: Fault, seed: u8) -> (Vec<[Vec<u8>; 2]>, LaneCounts) {
        let lanes = Arc::new(Lanes::new(Box::new(Model(fault)), FOR_EVER));
        let signed = thread::scope(|scope| {
            let threads: Vec<_> = (0..8u8)
                .map(|n| {
                    let key = &keys()[usize::from(n) % 3];
                    let beside = key.clone().with_lanes(Arc::clone(&lanes));
                    let hash = digest(&SHA256, &[seed, n]);
                    let alone = move || key.sign(hash).unwrap();
                    scope.spawn(move || [beside.sign(hash).unwrap(), alone()])
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        (signed, lanes.counts())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]

        #[test]
        fn law_lanes_sign_as_alone(seed in any::<u8>(), n in 0..8usize) {
            for (fault, again) in [
                (Fault::None, 0),
                (Fault::Flipped(n), 1),
                (Fault::Failed(n), 1),
                (Fault::Short(n), 8 - n as u64),
                (Fault::Panics, 8),
            ] {
                let (signed, counts) = eight(fault, seed);
                for [beside, alone] in signed {
                    prop_assert_eq!(beside, alone);
                }
                prop_assert_eq!(counts, LaneCounts { calls: 1, lanes: 8, again }, "{:?}", fault);
            }
        }
    }

    #[test]
    fn one_alone_is_signed_when_its_wait_is_over() {
        let lanes = Arc::new(Lanes::new(Box::new(Model(Fault::None)), Duration::ZERO));
        let key = keys()[0].clone().with_lanes(Arc::clone(&lanes));
        let hash = digest(&SHA256, b"alone");
        assert_eq!(key.sign(hash).unwrap(), keys()[0].sign(hash).unwrap());
        let once = LaneCounts {
            calls: 1,
            lanes: 1,
            again: 0,
        };
        assert_eq!(lanes.counts(), once);
        assert_eq!(LONGEST_WAIT, Duration::from_millis(1));
    }

    #[test]
    fn keys_that_no_lane_takes_sign_at_once() {
        let lanes = Arc::new(Lanes::new(Box::new(Model(Fault::None)), FOR_EVER));
        let small = Key::from_pem(include_str!("../tests/vectors/rsa1024.pem")).unwrap();
        let ed25519 = Key::from_pkcs8_der(&generate_ed25519().unwrap()).unwrap();
        for key in [small, ed25519] {
            let hash = digest(&SHA256, b"x");
            let alone = key.sign(hash).unwrap();
            assert_eq!(
                key.with_lanes(Arc::clone(&lanes)).sign(hash).unwrap(),
                alone
            );
        }
        assert_eq!(lanes.counts(), LaneCounts::default());
        assert_eq!(format!("{lanes:?}").split('(').next(), Some("Lanes"));
    }
}
