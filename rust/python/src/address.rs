//! What the API validates with: addresses, mailboxes, custom headers.

use postalynk_mime::{CalendarMethod, Header};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

fn value_error(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The normal form of an RFC 5321 mailbox.
#[pyfunction]
pub(crate) fn parse_address(text: &str) -> PyResult<String> {
    let address = postalynk_mime::parse_address(text).map_err(value_error)?;
    Ok(address.as_str().to_owned())
}

/// (display name, normal address) of `Name <a@b>` or `a@b`.
#[pyfunction]
pub(crate) fn parse_mailbox(text: &str) -> PyResult<(String, String)> {
    let mailbox = postalynk_mime::parse_mailbox(text).map_err(value_error)?;
    Ok((
        mailbox.name().to_owned(),
        mailbox.address().as_str().to_owned(),
    ))
}

/// Refuses a custom header that may not be set or whose value could inject one.
#[pyfunction]
pub(crate) fn check_header(name: &str, value: &str) -> PyResult<()> {
    Header::new(name, value).map(drop).map_err(value_error)
}

/// Whether a text holds U+0000. Finding it in a Python string of two octets a character takes ten
/// times as long as in the UTF-8, which is made here and kept for `encode_messages`.
#[pyfunction]
pub(crate) fn holds_nul(text: &str) -> bool {
    memchr::memchr(0, text.as_bytes()).is_some()
}

/// Refuses what is no method of RFC 5546.
#[pyfunction]
pub(crate) fn check_calendar_method(method: &str) -> PyResult<()> {
    CalendarMethod::new(method).map(drop).map_err(value_error)
}
