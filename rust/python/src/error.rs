//! The one place where Rust errors become Python exceptions: those of `postalynk.errors`.

use std::fmt::Display;

use pyo3::{PyErr, import_exception};

import_exception!(postalynk.errors, EngineError);
import_exception!(postalynk.errors, MessageError);
import_exception!(postalynk.errors, QueueError);
import_exception!(postalynk.errors, QueueLocked);
import_exception!(postalynk.errors, SigningError);
import_exception!(postalynk.errors, TemplateError);

/// Any error of the engine with the same words.
pub(crate) fn engine_error(error: impl Display) -> PyErr {
    EngineError::new_err(error.to_string())
}

/// Why a template cannot be compiled or rendered.
pub(crate) fn template_error(error: postalynk_template::Error) -> PyErr {
    let part = error.part().map_or("", postalynk_template::Part::name);
    let is_source = matches!(
        error,
        postalynk_template::Error::Source { .. } | postalynk_template::Error::SourceTooLong { .. }
    );
    TemplateError::new_err((error.to_string(), error.fix(), part, is_source))
}

/// An error of the embedded queue.
pub(crate) fn queue_error(error: postalynk_queue::Error) -> PyErr {
    let text = error.to_string();
    match error {
        postalynk_queue::Error::Locked { .. } => QueueLocked::new_err(text),
        _ => QueueError::new_err(text),
    }
}
