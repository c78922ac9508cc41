//! Intel's `crypto_mb`: eight RSA private-key operations in one call, loaded at run time.
//!
//! **Why here.** It is a C library, so calling it is `unsafe`, and this is the one crate that may be.
//! What is behind this file is a safe [`LaneBackend`]; filling lanes, verifying and falling back are
//! in `postalynk-dkim`.
//! **Source.** `crypto_mb/rsa.h`, `status.h` and `cpu_features.h` of Intel's Cryptography Primitives
//! Library; the PyPI wheels `ipp-crypto` and `intel-cmplr-lib-rt` put it and its runtime in `lib/` of the
//! Python environment.
#![allow(
    unsafe_code,
    reason = "a C library is loaded and called; every block says why it is sound"
)]

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::Arc;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use postalynk_dkim::{LANES, LONGEST_WAIT, Lane, LaneBackend, Lanes};
use pyo3::prelude::*;

use crate::error::EngineError;

/// What the library needs and its wheel does not find by itself, in the order it can be loaded.
const RUNTIME: [&str; 4] = ["libintlc.so.5", "libimf.so", "libirng.so", "libsvml.so"];
const LIBRARY: &str = "libcrypto_mb.so";
/// `enum MBX_ALGO`: RSA of 1, 2, 3 and 4 times 1024 bits.
const FIRST_RSA: c_int = 0;
/// `MBX_WIDTH_MB8`.
const EIGHT_WIDE: u64 = 8;

/// `mbx_get_algo_info`.
type AlgoInfo = unsafe extern "C" fn(c_int) -> u64;
/// `mbx_rsa_private_crt_mb8`: from, to, p, q, dp, dq, iq, bits, method, buffer.
type PrivateCrt = unsafe extern "C" fn(
    *const *const u8,
    *const *mut u8,
    *const *const u64,
    *const *const u64,
    *const *const u64,
    *const *const u64,
    *const *const u64,
    c_int,
    *const c_void,
    *mut u8,
) -> u32;

/// The library, loaded, on a CPU that can run it.
struct CryptoMb {
    private_crt: PrivateCrt,
    takes: [bool; 4],
    /// Kept loaded for as long as the pointer above is.
    _loaded: Vec<Library>,
}

impl CryptoMb {
    /// Loads it from a directory; the reason in words when it cannot be used here.
    fn load(directory: &Path) -> Result<Self, String> {
        let path = directory.join(LIBRARY);
        if !path.exists() {
            return Err(format!(
                "{} is not there: pip install 'postalynk[multibuffer]'",
                path.display()
            ));
        }
        let mut loaded = Vec::new();
        for name in RUNTIME.iter().copied().chain([LIBRARY]) {
            // SAFETY: these libraries' initializers set up tables of their own and run on any x86-64.
            let library =
                unsafe { Library::open(Some(directory.join(name)), RTLD_NOW | RTLD_GLOBAL) };
            loaded.push(library.map_err(|error| format!("{name} cannot be loaded: {error}"))?);
        }
        let library = loaded.last().ok_or("nothing was loaded")?;
        // SAFETY: the types are those of the library's header.
        let (info, private_crt) = unsafe {
            let info = library.get::<AlgoInfo>(b"mbx_get_algo_info\0");
            let private_crt = library.get::<PrivateCrt>(b"mbx_rsa_private_crt_mb8\0");
            match (info, private_crt) {
                (Ok(info), Ok(private_crt)) => (*info, *private_crt),
                (Err(error), _) | (_, Err(error)) => {
                    return Err(format!("{LIBRARY} is another library: {error}"));
                }
            }
        };
        let takes = [0, 1, 2, 3].map(|size| {
            // SAFETY: it asks the CPU what it can and touches nothing else.
            let widths = unsafe { info(FIRST_RSA + size) };
            widths & EIGHT_WIDE != 0
        });
        if !takes[1] {
            return Err("this CPU cannot run it: it has no AVX-512 IFMA".to_owned());
        }
        Ok(Self {
            private_crt,
            takes,
            _loaded: loaded,
        })
    }
}

impl LaneBackend for CryptoMb {
    fn name(&self) -> &str {
        "crypto_mb"
    }

    fn takes(&self, bits: usize) -> bool {
        bits.is_multiple_of(1024)
            && (bits / 1024)
                .checked_sub(1)
                .and_then(|size| self.takes.get(size).copied())
                .unwrap_or(false)
    }

    fn run(&self, lanes: &[Lane<'_>]) -> Vec<Option<Vec<u8>>> {
        let Some(first) = lanes.first() else {
            return Vec::new();
        };
        let bits = first.crt.bits();
        let is_fit = |lane: &Lane<'_>| lane.crt.bits() == bits && lane.padded.len() == bits / 8;
        let (true, Ok(bits_c)) = (
            lanes.len() <= LANES && self.takes(bits) && lanes.iter().all(is_fit),
            c_int::try_from(bits),
        ) else {
            return Vec::new();
        };
        // Lanes without a request do the first one's again, into octets that nobody reads.
        let lane = |n: usize| lanes.get(n).unwrap_or(first);
        let mut made = vec![0; LANES * (bits / 8)];
        let from: [*const u8; LANES] = std::array::from_fn(|n| lane(n).padded.as_ptr());
        let mut places = made.chunks_exact_mut(bits / 8);
        let to: [*mut u8; LANES] = std::array::from_fn(|_| {
            places
                .next()
                .map_or(std::ptr::null_mut(), <[u8]>::as_mut_ptr)
        });
        let numbers: [[*const u64; LANES]; 5] = std::array::from_fn(|which| {
            std::array::from_fn(|n| lane(n).crt.numbers()[which].as_ptr())
        });
        let [p, q, dp, dq, iq] = &numbers;
        // SAFETY: eight pointers in each array; every input has bits/8 octets or bits/128 limbs, every
        // output bits/8 octets, none overlaps another, and all outlive the call. A null method and
        // buffer tell the library to choose its own.
        let status = unsafe {
            (self.private_crt)(
                from.as_ptr(),
                to.as_ptr(),
                p.as_ptr(),
                q.as_ptr(),
                dp.as_ptr(),
                dq.as_ptr(),
                iq.as_ptr(),
                bits_c,
                std::ptr::null(),
                std::ptr::null_mut(),
            )
        };
        // Four bits of status a lane, 0 when it went well.
        made.chunks_exact(bits / 8)
            .take(lanes.len())
            .enumerate()
            .map(|(n, octets)| (status >> (4 * n) & 0xf == 0).then(|| octets.to_vec()))
            .collect()
    }
}

/// See the stub.
#[pyclass(module = "postalynk._engine", frozen)]
pub(crate) struct SigningLanes(pub(crate) Arc<Lanes>);

#[pymethods]
impl SigningLanes {
    #[new]
    fn new(py: Python<'_>, directory: &str) -> PyResult<Self> {
        let backend = py.detach(|| CryptoMb::load(Path::new(directory)));
        let backend = backend.map_err(EngineError::new_err)?;
        Ok(Self(Arc::new(Lanes::new(Box::new(backend), LONGEST_WAIT))))
    }

    #[getter]
    fn name(&self) -> String {
        self.0.name().to_owned()
    }

    #[getter]
    fn counts(&self) -> (u64, u64, u64) {
        let counts = self.0.counts();
        (counts.calls, counts.lanes, counts.again)
    }
}
