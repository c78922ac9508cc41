//! Fetching a domain's MTA-STS policy for Python.

use std::net::IpAddr;
use std::path::Path;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// (mode, `max_age` in seconds, hosts the policy does not name).
#[pyfunction]
pub(crate) fn fetch_sts_policy(
    py: Python<'_>,
    domain: &str,
    addresses: Vec<String>,
    hosts: Vec<String>,
    ca_file: &str,
    port: u16,
) -> PyResult<(&'static str, u64, Vec<String>)> {
    let ips: Vec<IpAddr> = addresses.iter().filter_map(|ip| ip.parse().ok()).collect();
    let policy = py
        .detach(|| postalynk_delivery::fetch_sts_policy(domain, &ips, Path::new(ca_file), port))
        .map_err(PyValueError::new_err)?;
    let unnamed = hosts.into_iter().filter(|host| !policy.allows(host));
    Ok((policy.mode.as_str(), policy.max_age_s, unnamed.collect()))
}
