//! Who wants reports.

use postalynk_dns::Rua;
use pyo3::prelude::*;

/// See the stub.
#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn tlsrpt_rua(texts: Vec<String>) -> Vec<String> {
    let place = |rua| match rua {
        Rua::Mailto(place) | Rua::Https(place) => place,
    };
    postalynk_dns::tlsrpt_rua(&texts)
        .into_iter()
        .map(place)
        .collect()
}
