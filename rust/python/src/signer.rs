//! A DKIM signer for Python: the key is parsed once, signing lets the GIL go.

use std::sync::Arc;

use postalynk_dkim::{
    BodyHash, Canonicalization, Domain, Error, Hashed, Key, MessageSigner, Selector, Signer,
    check_line_ends, split,
};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::error::SigningError;
use crate::multibuffer::SigningLanes;

/// A key with its domain and selector.
#[pyclass(module = "postalynk._engine", frozen)]
pub(crate) struct DkimSigner {
    signer: Signer,
    form: Canonicalization,
}

#[pymethods]
impl DkimSigner {
    #[new]
    #[pyo3(signature = (
        domain, selector, key, *, simple=false, timestamp=true, expires_after_s=None, lanes=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "the keywords of the stub")]
    fn new(
        domain: &str,
        selector: &str,
        key: &[u8],
        simple: bool,
        timestamp: bool,
        expires_after_s: Option<u64>,
        lanes: Option<Bound<'_, SigningLanes>>,
    ) -> PyResult<Self> {
        let mut key = read_key(key).map_err(refused)?;
        if let Some(lanes) = lanes {
            key = key.with_lanes(Arc::clone(&lanes.get().0));
        }
        let mut signer = Signer::new(
            Domain::new(domain).map_err(refused)?,
            Selector::new(selector).map_err(refused)?,
            key,
        );
        if !timestamp {
            signer = signer.without_timestamp();
        }
        if let Some(seconds) = expires_after_s {
            signer = signer.expires_after_s(seconds);
        }
        let form = if simple {
            Canonicalization::Simple
        } else {
            Canonicalization::Relaxed
        };
        Ok(Self { signer, form })
    }

    #[getter]
    fn algorithm(&self) -> &'static str {
        self.signer.key().algorithm().tag()
    }

    #[getter]
    fn dns_record(&self) -> String {
        self.signer.key().dns_record()
    }

    fn sign<'py>(
        &self,
        py: Python<'py>,
        message: &[u8],
        now_s: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let field = py.detach(|| self.field(message, now_s)).map_err(refused)?;
        Ok(PyBytes::new(py, &field))
    }

    fn sign_many<'py>(
        &self,
        py: Python<'py>,
        messages: Vec<PyBackedBytes>,
        now_s: u64,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let numbered = messages.iter().enumerate();
        let sign = |(n, m): (usize, &PyBackedBytes)| self.field(m, now_s).map_err(|e| (n, e));
        let fields: Result<Vec<_>, _> = py.detach(|| numbered.map(sign).collect());
        match fields {
            Ok(fields) => Ok(fields.iter().map(|f| PyBytes::new(py, f)).collect()),
            Err((n, error)) => Err(SigningError::new_err(format!("messages[{n}]: {error}"))),
        }
    }
}

impl DkimSigner {
    fn field(&self, message: &[u8], now_s: u64) -> Result<Vec<u8>, Error> {
        check_line_ends(message)?;
        let (fields, body) = split(message)?;
        let hashed = Hashed::new(&fields, BodyHash::of(self.form, [body]))?;
        self.signer.sign(&hashed, now_s)
    }
}

fn read_key(key: &[u8]) -> Result<Key, Error> {
    match std::str::from_utf8(key) {
        Ok(pem) if pem.contains("-----BEGIN") => Key::from_pem(pem),
        _ => Key::from_pkcs8_der(key),
    }
}

fn refused(error: Error) -> PyErr {
    SigningError::new_err(error.to_string())
}
