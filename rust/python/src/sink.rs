//! The testkit's receiver for Python.

use std::net::SocketAddr;

use parking_lot::Mutex;
use postalynk_testkit::{Sink as TestSink, SinkOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::engine_error;

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Sink {
    sink: Mutex<Option<TestSink>>,
    address: SocketAddr,
}

#[pymethods]
impl Sink {
    #[new]
    #[pyo3(signature = (listen = "127.0.0.1:0", *, ledger = None))]
    fn new(listen: &str, ledger: Option<String>) -> PyResult<Self> {
        let listen: SocketAddr = listen
            .parse()
            .map_err(|_| PyValueError::new_err(format!("{listen:?} is no address:port")))?;
        let options = SinkOptions {
            ledger: ledger.map(Into::into),
            ..SinkOptions::default()
        };
        let sink = TestSink::start(listen, options).map_err(engine_error)?;
        Ok(Self {
            address: sink.address(),
            sink: Mutex::new(Some(sink)),
        })
    }

    #[getter]
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn received(&self) -> u64 {
        self.sink
            .lock()
            .as_ref()
            .map_or(0, |sink| sink.counts().messages)
    }

    fn stop(&self, py: Python<'_>) {
        let sink = self.sink.lock().take();
        py.detach(|| drop(sink));
    }
}
