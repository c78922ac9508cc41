//! The engine's limits, for a replay and a simulation: the same numbers, the same bucket.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postalynk_delivery::Settings;
use postalynk_throttle::{Bucket, Rate, RateError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::engine_error;

/// See the stub.
#[pyfunction]
pub(crate) fn path_limits(
    settings_json: &str,
    site: &str,
    provider: &str,
) -> PyResult<(usize, usize, String, f64)> {
    let settings = Settings::from_json(settings_json).map_err(engine_error)?;
    let limits = settings.limits(site, (!provider.is_empty()).then_some(provider));
    let rate = limits.rate;
    Ok((
        limits.connections,
        limits.per_connection,
        rate.to_string(),
        rate.per_second(),
    ))
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct TokenBucket {
    bucket: Mutex<Bucket>,
    /// What the caller's 0 is.
    epoch: Instant,
}

#[pymethods]
impl TokenBucket {
    #[new]
    fn new(rate: &str) -> PyResult<Self> {
        let rate: Rate = rate
            .parse()
            .map_err(|error: RateError| PyValueError::new_err(error.to_string()))?;
        Ok(Self {
            bucket: Mutex::new(Bucket::new(rate)),
            epoch: Instant::now(),
        })
    }

    fn take(&self, now_us: u64, n: u64) -> Option<u64> {
        let now = self.epoch + Duration::from_micros(now_us);
        let refused = self.bucket.lock().take(now, n).err()?;
        // Rounded up: at this microsecond the wish is granted.
        let nanos = (refused - self.epoch).as_nanos().div_ceil(1_000);
        Some(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
