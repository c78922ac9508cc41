//! DKIM keys and signatures for Python.

use postalynk_dkim::{
    Domain, Key, PublishedKey, Selector, Signer, generate_ed25519, generate_rsa_2048, split,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

fn value_error(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A private key of the algorithm Python names "rsa" or "ed25519".
pub(crate) fn key(algorithm: &str, pkcs8_der: &[u8]) -> PyResult<Key> {
    match algorithm {
        "rsa" => Key::rsa_from_pkcs8_der(pkcs8_der).map_err(value_error),
        "ed25519" => Key::ed25519_from_pkcs8_der(pkcs8_der).map_err(value_error),
        other => Err(PyValueError::new_err(format!(
            "no such algorithm: {other:?}"
        ))),
    }
}

/// One signer of a domain.
pub(crate) fn signer(
    domain: &str,
    selector: &str,
    algorithm: &str,
    pkcs8_der: &[u8],
) -> PyResult<Signer> {
    let domain = Domain::new(domain).map_err(value_error)?;
    let selector = Selector::new(selector).map_err(value_error)?;
    Ok(Signer::new(domain, selector, key(algorithm, pkcs8_der)?))
}

/// The message with a DKIM-Signature in front.
#[pyfunction]
#[allow(
    clippy::too_many_arguments,
    reason = "the six of the stub, and the interpreter"
)]
pub(crate) fn dkim_sign<'py>(
    py: Python<'py>,
    message: &[u8],
    domain: &str,
    selector: &str,
    algorithm: &str,
    pkcs8_der: &[u8],
    now_s: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let signer = signer(domain, selector, algorithm, pkcs8_der)?;
    let (fields, body) = split(message).map_err(value_error)?;
    let mut signed = py
        .detach(|| signer.sign_message(&fields, body, now_s))
        .map_err(value_error)?;
    signed.extend_from_slice(message);
    Ok(PyBytes::new(py, &signed))
}

/// A new PKCS#8 DER key.
#[pyfunction]
pub(crate) fn dkim_generate<'py>(
    py: Python<'py>,
    algorithm: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let der = py
        .detach(|| match algorithm {
            "rsa" => Some(generate_rsa_2048()),
            "ed25519" => Some(generate_ed25519()),
            _ => None,
        })
        .ok_or_else(|| PyValueError::new_err(format!("no such algorithm: {algorithm:?}")))?
        .map_err(value_error)?;
    Ok(PyBytes::new(py, &der))
}

/// The TXT record that publishes the key.
#[pyfunction]
pub(crate) fn dkim_record(algorithm: &str, pkcs8_der: &[u8]) -> PyResult<String> {
    Ok(key(algorithm, pkcs8_der)?.dns_record())
}

/// Whether a TXT record publishes the key of another.
#[pyfunction]
pub(crate) fn dkim_publishes(record: &str, found: &str) -> bool {
    match (PublishedKey::parse(record), PublishedKey::parse(found)) {
        (Ok(wanted), Ok(found)) => wanted == found,
        _ => false,
    }
}
