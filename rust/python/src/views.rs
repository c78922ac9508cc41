//! Deliveries as a policy sees them: read-only, each attribute fetched when it is asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use postalynk_delivery::{Delivery as Inner, RouteBatch as Batch};
use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::prelude::*;

/// The delivery, and the moment of its batch in microseconds since the epoch. See the stub.
#[pyclass(frozen)]
pub(crate) struct Delivery(pub(crate) Arc<Inner>, pub(crate) u64);

#[pymethods]
impl Delivery {
    #[getter]
    fn id(&self) -> String {
        self.0.id()
    }

    #[getter]
    fn org(&self) -> Organization {
        Organization(Arc::clone(&self.0))
    }

    #[getter]
    fn priority(&self) -> &'static str {
        self.0.lane()
    }

    #[getter]
    fn lane(&self) -> &'static str {
        self.0.lane()
    }

    #[getter]
    fn tags(&self) -> HashMap<&str, &str> {
        self.0.tags().collect()
    }

    #[getter]
    fn template(&self) -> &str {
        self.0.template()
    }

    #[getter]
    fn sender(&self) -> &str {
        self.0.sender()
    }

    #[getter]
    fn sender_domain(&self) -> &str {
        self.0.sender_domain()
    }

    #[getter]
    fn rcpt(&self) -> Recipient {
        Recipient(Arc::clone(&self.0), self.1)
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }

    #[getter]
    fn attempt(&self) -> u32 {
        self.0.attempt()
    }

    #[getter]
    fn age_s(&self) -> f64 {
        self.1.saturating_sub(self.0.accepted_at_us()) as f64 / 1e6
    }

    #[getter]
    fn last_reply(&self) -> &str {
        self.0.last_reply()
    }
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Organization(Arc<Inner>);

#[pymethods]
impl Organization {
    #[getter]
    fn id(&self) -> &str {
        self.0.org()
    }

    #[getter]
    fn plan(&self) -> &str {
        self.0.plan()
    }
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Recipient(Arc<Inner>, u64);

#[pymethods]
impl Recipient {
    #[getter]
    fn address(&self) -> &str {
        self.0.address()
    }

    #[getter]
    fn domain(&self) -> &str {
        self.0.domain()
    }

    #[getter]
    fn site(&self) -> &str {
        self.0.site()
    }

    #[getter]
    fn provider(&self) -> &str {
        self.0.provider()
    }

    #[getter]
    fn suppression_age_s(&self) -> f64 {
        match self.0.suppressed_at_us() {
            0 => f64::INFINITY,
            at_us => self.1.saturating_sub(at_us) as f64 / 1e6,
        }
    }
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct RouteBatch {
    /// The deliveries, until they are dispatched.
    batch: Mutex<Option<Batch>>,
    views: Vec<Arc<Inner>>,
    /// One moment for all of them, so that a policy reads the same age each time.
    at_us: u64,
}

impl RouteBatch {
    pub(crate) fn of(batch: Batch) -> Self {
        Self {
            views: batch.deliveries.clone(),
            at_us: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_micros() as u64),
            batch: Mutex::new(Some(batch)),
        }
    }

    fn view(&self, inner: &Arc<Inner>) -> Delivery {
        Delivery(Arc::clone(inner), self.at_us)
    }

    pub(crate) fn take(&self) -> PyResult<Batch> {
        let batch = self.batch.lock().take();
        batch.ok_or_else(|| PyRuntimeError::new_err("this batch was dispatched already"))
    }
}

#[pymethods]
impl RouteBatch {
    fn __len__(&self) -> usize {
        self.views.len()
    }

    fn __getitem__(&self, index: usize) -> PyResult<Delivery> {
        let delivery = self.views.get(index).map(|inner| self.view(inner));
        delivery.ok_or_else(|| PyIndexError::new_err("no such delivery"))
    }

    fn explain(&self, index: usize, text: String) -> PyResult<()> {
        let delivery = self.views.get(index);
        delivery
            .ok_or_else(|| PyIndexError::new_err("no such delivery"))?
            .explain(text);
        Ok(())
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.views.iter().map(|inner| self.view(inner)).collect()
    }
}
