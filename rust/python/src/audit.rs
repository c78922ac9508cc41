//! The audit for Python.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use postalynk_delivery::Audit as Inner;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::batch::rows;

/// Deliveries accepted, count per state, ids unaccounted for, ids delivered twice.
type Account = (u64, BTreeMap<&'static str, u64>, Vec<String>, Vec<String>);

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Audit(Mutex<Inner>);

#[pymethods]
impl Audit {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(Inner::default()))
    }

    fn events(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let rows = rows(batch)?;
        py.detach(|| self.0.lock().events(&rows));
        Ok(())
    }

    fn pending(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let rows = rows(batch)?;
        py.detach(|| self.0.lock().pending(&rows));
        Ok(())
    }

    fn deferred(&self, keys: Vec<PyBackedBytes>) {
        self.0.lock().deferred(&keys);
    }

    fn scheduled(&self, keys: Vec<PyBackedBytes>) {
        self.0.lock().scheduled(&keys);
    }

    fn save<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let saved = py.detach(|| self.0.lock().save());
        PyBytes::new(py, &saved)
    }

    #[staticmethod]
    fn load(py: Python<'_>, saved: PyBackedBytes) -> Option<Self> {
        let audit = py.detach(|| Inner::load(&saved))?;
        Some(Self(Mutex::new(audit)))
    }

    fn forget(&self, py: Python<'_>, before_ms: u64) -> BTreeMap<&'static str, u64> {
        py.detach(|| self.0.lock().forget(before_ms))
    }

    fn dead(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let rows = rows(batch)?;
        py.detach(|| self.0.lock().dead(&rows));
        Ok(())
    }

    fn result(&self, py: Python<'_>) -> Account {
        let result = py.detach(|| self.0.lock().result());
        (
            result.accepted,
            result.states,
            result.unaccounted,
            result.twice,
        )
    }
}
