//! Stored templates for the API: compiled once, rendered to see that a message can be made.

use postalynk_template::Sources;
use pyo3::prelude::*;

use crate::error::template_error;

type Parts = (Option<String>, Option<String>, Option<String>, u64);

/// A compiled template.
#[pyclass(frozen)]
pub(crate) struct Template {
    inner: postalynk_template::Template,
}

#[pymethods]
impl Template {
    #[new]
    #[pyo3(signature = (*, subject = "", html = "", text = ""))]
    fn new(py: Python<'_>, subject: &str, html: &str, text: &str) -> PyResult<Self> {
        let sources = Sources {
            subject,
            html,
            text,
        };
        let inner = py
            .detach(|| postalynk_template::Template::new(sources))
            .map_err(template_error)?;
        Ok(Self { inner })
    }

    /// (subject, HTML, text, fuel used); None where there is no such part.
    fn render(&self, py: Python<'_>, variables: &[u8]) -> PyResult<Parts> {
        let made = py
            .detach(|| self.inner.render(variables))
            .map_err(template_error)?;
        Ok((made.subject, made.html, made.text, made.fuel))
    }
}
