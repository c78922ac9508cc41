//! Routes as Python gives them.

use postalynk_delivery::{HeaderOp, RouteSpec};
use postalynk_mime::Header;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A route as Python gives it; see the stub.
pub(crate) type RouteTuple = (
    String,
    Vec<String>,
    u64,
    Vec<(String, String, String)>,
    String,
    bool,
    String,
    String,
    String,
);

/// What the engine takes; refuses a lane, an operation or a header that is none.
pub(crate) fn route(
    (pool, fallback, not_before_us, headers, reason, is_fallback, policy_version, lane, pin): RouteTuple,
) -> PyResult<RouteSpec> {
    let lane = match lane.as_str() {
        "" => None,
        "high" => Some(0),
        "normal" => Some(1),
        "bulk" => Some(2),
        other => return Err(PyValueError::new_err(format!("no lane {other:?}"))),
    };
    // Refused before anything is taken, so that the worker can dispatch with its fallback route.
    let header = |(op, name, value): (String, String, String)| match op.as_str() {
        "set" | "add" if Header::new(&name, &value).is_err() => Err(PyValueError::new_err(
            format!("the route may not set the header {name:?} to {value:?}"),
        )),
        "set" => Ok(HeaderOp::Set(name, value)),
        "add" => Ok(HeaderOp::Add(name, value)),
        "remove" => Ok(HeaderOp::Remove(name)),
        other => Err(PyValueError::new_err(format!(
            "no header operation {other:?}"
        ))),
    };
    Ok(RouteSpec {
        pool,
        fallback,
        not_before_us,
        headers: headers.into_iter().map(header).collect::<PyResult<_>>()?,
        lane,
        pin,
        reason,
        is_fallback,
        policy_version,
    })
}
