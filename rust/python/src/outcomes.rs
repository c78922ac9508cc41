//! Outcomes for Python: what failed, what to append.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use postalynk_delivery::{Append, Failure as InnerFailure, OutcomeBatch as Batch};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::views::Delivery;

/// (topic, partition, key, value) as `Queue.append` takes it.
pub(crate) type AppendTuple = (&'static str, u32, Option<Py<PyBytes>>, Option<Py<PyBytes>>);

pub(crate) fn append_tuple(py: Python<'_>, append: Append) -> AppendTuple {
    let bytes = |bytes: bytes::Bytes| PyBytes::new(py, &bytes).unbind();
    (
        append.topic,
        append.partition,
        append.key.map(bytes),
        append.value.map(bytes),
    )
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct OutcomeBatch(Mutex<Batch>);

impl OutcomeBatch {
    pub(crate) fn of(batch: Batch) -> Self {
        Self(Mutex::new(batch))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Batch> {
        self.0.lock()
    }
}

#[pymethods]
impl OutcomeBatch {
    fn __len__(&self) -> usize {
        self.lock().len()
    }

    fn failures(&self) -> Vec<Failure> {
        self.lock().failures().into_iter().map(Failure).collect()
    }

    fn schedule(&self, index: usize, due_at_us: u64) {
        self.lock().schedule(index, due_at_us);
    }

    fn expire(&self, index: usize, reason: &str) {
        self.lock().expire(index, reason);
    }

    fn events(&self, py: Python<'_>) -> Vec<AppendTuple> {
        let events = py.detach(|| self.lock().events());
        events
            .into_iter()
            .map(|append| append_tuple(py, append))
            .collect()
    }

    fn withdraw(&self, py: Python<'_>) -> Vec<AppendTuple> {
        let said = py.detach(|| self.lock().withdraw());
        said.into_iter()
            .map(|append| append_tuple(py, append))
            .collect()
    }

    fn deferrals(&self, py: Python<'_>) -> Vec<AppendTuple> {
        let deferrals = py.detach(|| self.lock().deferrals());
        deferrals
            .into_iter()
            .map(|append| append_tuple(py, append))
            .collect()
    }
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Failure(InnerFailure);

#[pymethods]
impl Failure {
    #[getter]
    fn index(&self) -> usize {
        self.0.index
    }

    #[getter]
    fn delivery(&self) -> Delivery {
        Delivery(Arc::clone(&self.0.delivery), self.0.at_us)
    }

    #[getter]
    fn source(&self) -> &str {
        &self.0.source
    }

    #[getter]
    fn receiver(&self) -> &str {
        &self.0.receiver
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind
    }

    #[getter]
    fn attempt(&self) -> u32 {
        self.0.attempt
    }

    #[getter]
    fn code(&self) -> u32 {
        self.0.code
    }

    #[getter]
    fn enhanced(&self) -> &str {
        &self.0.enhanced
    }

    #[getter]
    fn reply(&self) -> &str {
        &self.0.reply
    }

    #[getter]
    fn class_(&self) -> &'static str {
        self.0.class
    }

    #[getter]
    fn first_attempt_at_us(&self) -> u64 {
        self.0.first_attempt_at_us
    }

    #[getter]
    fn at_us(&self) -> u64 {
        self.0.at_us
    }

    #[getter]
    fn expires_at_us(&self) -> u64 {
        self.0.expires_at_us
    }

    #[getter]
    fn in_doubt(&self) -> &'static str {
        self.0.in_doubt
    }
}
