//! The delivery engine for Python.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postalynk_delivery::{
    Engine as Delivery, PathAsked, PathNow, Row, Settings, SignerKey, SiteLimits, Suppression,
    TraceLine, Undecodable, WarmPlan,
};
use postalynk_dkim::Lanes;
use postalynk_record::DeliveryKey;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::batch::{damaged, rows};
use crate::error::engine_error;
use crate::multibuffer::SigningLanes;
use crate::outcomes::{AppendTuple, OutcomeBatch, append_tuple};
use crate::route::{RouteTuple, route};
use crate::views::RouteBatch;

/// (topic, partition, offset, reason, value) of a record that cannot be decoded.
type Undecoded<'py> = (String, u32, u64, String, Bound<'py, PyBytes>);

/// (at_us, session, site, source, mx, text) of a line that was said.
type Line = (u64, u64, String, String, String, String);

/// (source, site, provider, org)
type Asked = (String, String, String, String);
/// (rate, connections, per_connection, tls)
type Said = (String, usize, usize, String);
/// (source, provider, org, per_day, overflow, hold_above)
type Plan = (String, String, String, Option<u64>, String, f64);
/// (source, site, attempts, deferred, bounced, blamed)
type Stands = (String, String, f64, f64, f64, f64);

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Engine(Delivery, Option<Arc<Lanes>>);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (settings_json, lanes=None))]
    fn new(
        py: Python<'_>,
        settings_json: &str,
        lanes: Option<Bound<'_, SigningLanes>>,
    ) -> PyResult<Self> {
        let settings = Settings::from_json(settings_json).map_err(engine_error)?;
        let lanes = lanes.map(|lanes| Arc::clone(&lanes.get().0));
        let engine = py.detach(|| Delivery::new(settings));
        Ok(Self(engine.map_err(engine_error)?, lanes))
    }

    fn configure(&self, pools_json: &str) -> PyResult<()> {
        self.0.configure(pools_json).map_err(engine_error)
    }

    fn set_signers(
        &self,
        py: Python<'_>,
        signers: Vec<(String, String, String, PyBackedBytes)>,
    ) -> PyResult<()> {
        let key = |(domain, selector, algorithm, der): (_, _, _, PyBackedBytes)| SignerKey {
            domain,
            selector,
            algorithm,
            pkcs8_der: der.to_vec(),
            lanes: self.1.clone(),
        };
        let keys: Vec<_> = signers.into_iter().map(key).collect();
        py.detach(|| self.0.set_signers(&keys))
            .map_err(engine_error)
    }

    fn suppress(&self, py: Python<'_>, org: &str, entries: Vec<(String, u64, u64, String)>) {
        let entry = |(address, since_us, until_us, reason)| {
            let entry = Suppression {
                since_us,
                until_us,
                reason,
            };
            (address, entry)
        };
        let entries = entries.into_iter().map(entry).collect();
        py.detach(|| self.0.suppress(org, entries));
    }

    fn room(&self, py: Python<'_>, timeout_ms: u64) -> usize {
        py.detach(|| self.0.room(Duration::from_millis(timeout_ms)))
    }

    fn admit<'py>(
        &self,
        py: Python<'py>,
        batch: &Bound<'py, PyAny>,
        events_end: HashMap<u32, u64>,
    ) -> PyResult<Vec<Undecoded<'py>>> {
        let mut rows = rows(batch)?;
        // Admitted as empty records, so the low-water mark waits until they are dead letters.
        let damaged = damaged(batch);
        let damage: HashMap<_, _> = damaged
            .iter()
            .map(|(topic, partition, offset, reason)| ((*topic, *partition, *offset), reason))
            .collect();
        rows.extend(damaged.iter().map(|(topic, partition, offset, _)| Row {
            topic: (*topic).to_owned(),
            partition: *partition,
            offset: *offset,
            appended_at_us: 0,
            value: Bytes::new(),
        }));
        let undecodable = py.detach(|| self.0.admit(rows, &events_end));
        let shown = |Undecodable { row, reason }: Undecodable| {
            let place = (row.topic.as_str(), row.partition, row.offset);
            let reason = damage.get(&place).map_or(reason, |why| (*why).clone());
            let value = PyBytes::new(py, &row.value);
            (row.topic, row.partition, row.offset, reason, value)
        };
        Ok(undecodable.into_iter().map(shown).collect())
    }

    fn discarded(&self, positions: Vec<(String, u32, u64)>) {
        self.0.discarded(&positions);
    }

    fn due<'py>(
        &self,
        py: Python<'py>,
        max_deliveries: usize,
    ) -> Vec<(u32, Vec<Bound<'py, PyBytes>>)> {
        let bytes = |key: DeliveryKey| PyBytes::new(py, &key.to_bytes());
        let due = py.detach(|| self.0.due(max_deliveries));
        due.into_iter()
            .map(|(partition, keys)| (partition, keys.into_iter().map(bytes).collect()))
            .collect()
    }

    fn admit_deferred<'py>(
        &self,
        py: Python<'py>,
        partition: u32,
        keys: Vec<PyBackedBytes>,
        values: Vec<Option<PyBackedBytes>>,
    ) -> Vec<(Bound<'py, PyBytes>, String)> {
        let pairs = keys
            .into_iter()
            .zip(values)
            .map(|(key, value)| (Bytes::from_owner(key), value.map(Bytes::from_owner)))
            .collect();
        let undecodable = py.detach(|| self.0.admit_deferred(partition, pairs));
        undecodable
            .into_iter()
            .map(|(key, reason)| (PyBytes::new(py, &key), reason))
            .collect()
    }

    fn flush_deferred(&self, py: Python<'_>, keys: Vec<PyBackedBytes>) -> usize {
        let keys: Vec<_> = keys.into_iter().map(Bytes::from_owner).collect();
        py.detach(|| self.0.flush_deferred(&keys))
    }

    fn cancel_deferred(
        &self,
        py: Python<'_>,
        partition: u32,
        pairs: Vec<(PyBackedBytes, PyBackedBytes)>,
        reason: &str,
    ) -> usize {
        let pairs = pairs
            .into_iter()
            .map(|(key, value)| (Bytes::from_owner(key), Bytes::from_owner(value)))
            .collect();
        py.detach(|| self.0.cancel_deferred(partition, pairs, reason))
    }

    fn add_deferred(&self, partition: u32, deferrals: Vec<(PyBackedBytes, u64)>) {
        let deferrals: Vec<_> = deferrals
            .into_iter()
            .map(|(key, due_at_us)| (Bytes::from_owner(key), due_at_us))
            .collect();
        self.0.add_deferred(partition, &deferrals);
    }

    fn crowded(&self) -> Vec<u32> {
        self.0.crowded()
    }

    fn routable(&self, py: Python<'_>, max_deliveries: usize, timeout_ms: u64) -> RouteBatch {
        let timeout = Duration::from_millis(timeout_ms);
        RouteBatch::of(py.detach(|| self.0.routable(max_deliveries, timeout)))
    }

    fn dispatch(
        &self,
        py: Python<'_>,
        batch: &RouteBatch,
        routes: Vec<RouteTuple>,
        choice: Vec<usize>,
    ) -> PyResult<()> {
        let routes = routes
            .into_iter()
            .map(route)
            .collect::<PyResult<Vec<_>>>()?;
        let batch = batch.take()?;
        py.detach(|| self.0.dispatch(batch, routes, &choice))
            .map_err(engine_error)
    }

    fn shape_by_policy(&self, is_asked: bool, orgs: Vec<String>) {
        self.0.shape_by_policy(is_asked, &orgs);
    }

    fn paths_asked(&self, py: Python<'_>, max_paths: usize, timeout_ms: u64) -> Vec<Asked> {
        let timeout = Duration::from_millis(timeout_ms);
        let asked = py.detach(|| self.0.paths_asked(max_paths, timeout));
        let text = |path: PathAsked| {
            (
                path.source.to_string(),
                path.site.to_string(),
                path.provider.to_owned(),
                path.org.to_string(),
            )
        };
        asked.into_iter().map(text).collect()
    }

    fn shape(&self, answers: Vec<(Asked, Said)>) -> PyResult<()> {
        let answer = |((source, site, _, org), said): (Asked, Said)| {
            let (rate, connections, per_connection, tls) = said;
            let path = PathAsked {
                source: source.into(),
                site: site.into(),
                provider: "",
                org: org.into(),
            };
            let limits = SiteLimits {
                connections,
                per_connection,
                rate,
                tls,
                // The operator's switch, not the policy's.
                chunking: None,
            };
            (path, limits)
        };
        let answers = answers.into_iter().map(answer).collect();
        self.0.shape(answers).map_err(engine_error)
    }

    fn back_off(&self, paths: Vec<(String, String, u64)>) {
        self.0.back_off(&paths);
    }

    fn warm_up(&self, plans: Vec<Plan>) {
        let plan = |(source, provider, org, per_day, overflow, hold_above): Plan| WarmPlan {
            source,
            provider,
            org,
            per_day,
            overflow,
            hold_above,
        };
        self.0.warm_up(plans.into_iter().map(plan).collect());
    }

    fn warmth(&self) -> Vec<(String, String, String, u64, u64)> {
        let states = self.0.warmth().into_iter();
        states
            .map(|s| (s.source, s.provider, s.org, s.sent, s.per_day))
            .collect()
    }

    fn held(&self) -> Vec<(String, String, String, u64)> {
        self.0.warm_up_held()
    }

    fn standings(&self, py: Python<'_>) -> Vec<Stands> {
        let standings = py.detach(|| self.0.standings());
        standings
            .into_iter()
            .map(|s| {
                (
                    s.source, s.site, s.attempts, s.deferred, s.bounced, s.blamed,
                )
            })
            .collect()
    }

    fn paths(&self, py: Python<'_>) -> Vec<(String, String, bool, usize, usize, f64, f64)> {
        let paths = py.detach(|| self.0.paths_now());
        let row = |p: PathNow| {
            (
                p.source,
                p.site,
                p.is_open,
                p.connections,
                p.waiting,
                p.limit_per_s,
                p.rate_per_s,
            )
        };
        paths.into_iter().map(row).collect()
    }

    fn outcomes(&self, py: Python<'_>, max_outcomes: usize, timeout_ms: u64) -> OutcomeBatch {
        let timeout = Duration::from_millis(timeout_ms);
        OutcomeBatch::of(py.detach(|| self.0.outcomes(max_outcomes, timeout)))
    }

    fn recorded(
        &self,
        py: Python<'_>,
        batch: &OutcomeBatch,
        event_offsets: Vec<u64>,
    ) -> PyResult<()> {
        py.detach(|| self.0.recorded(&batch.lock(), &event_offsets))
            .map_err(engine_error)
    }

    fn commits(&self) -> HashMap<(&'static str, u32), (u64, Vec<u8>)> {
        let commits = self.0.commits().into_iter();
        commits
            .map(|commit| {
                (
                    (commit.topic, commit.partition),
                    (commit.offset, commit.note),
                )
            })
            .collect()
    }

    fn assigned(&self, partition: u32, ends: HashMap<String, u64>) {
        self.0.assigned(partition, &ends);
    }

    fn lease(&self, seconds: f64) {
        // Never none: a lease of no length is one that is over.
        self.0
            .lease(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }

    fn release(&self, py: Python<'_>, partitions: Vec<u32>, timeout_ms: u64) -> bool {
        let timeout = Duration::from_millis(timeout_ms);
        py.detach(|| self.0.release(&partitions, timeout))
    }

    fn forget(&self, partitions: Vec<u32>) {
        self.0.forget(&partitions);
    }

    fn restore_events(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let rows = rows(batch)?;
        py.detach(|| self.0.restore_events(&rows));
        Ok(())
    }

    fn restore_deferred(
        &self,
        py: Python<'_>,
        partition: u32,
        pairs: Vec<(PyBackedBytes, PyBackedBytes)>,
    ) -> Vec<AppendTuple> {
        let pairs: Vec<_> = pairs
            .into_iter()
            .map(|(key, value)| (Bytes::from_owner(key), Bytes::from_owner(value)))
            .collect();
        let appends = py.detach(|| self.0.restore_deferred(partition, &pairs));
        appends
            .into_iter()
            .map(|append| append_tuple(py, append))
            .collect()
    }

    #[pyo3(signature = (*, is_shared=false))]
    fn restored(&self, py: Python<'_>, is_shared: bool) -> PyResult<usize> {
        py.detach(|| self.0.restored(is_shared))
            .map_err(engine_error)
    }

    fn doubts(&self) -> HashMap<u32, u64> {
        self.0.doubts().into_iter().collect()
    }

    fn answer_doubts(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<AppendTuple>> {
        let rows = rows(batch)?;
        let appends = py.detach(|| self.0.answer_doubts(&rows));
        Ok(appends
            .into_iter()
            .map(|append| append_tuple(py, append))
            .collect())
    }

    fn doubts_told(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.doubts_told()).map_err(engine_error)
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    fn deferred(&self) -> usize {
        self.0.deferred()
    }

    fn trace_open(&self, site: &str) -> PyResult<u64> {
        self.0.trace_open(site).map_err(engine_error)
    }

    fn trace_read(&self, py: Python<'_>, trace: u64, timeout_ms: u64) -> Option<(Vec<Line>, u64)> {
        let timeout = Duration::from_millis(timeout_ms);
        let batch = py.detach(|| self.0.trace_read(trace, timeout))?;
        let line = |line: TraceLine| {
            (
                line.at_us,
                line.session,
                line.site.to_string(),
                line.source.to_string(),
                line.mx.to_string(),
                line.text,
            )
        };
        Some((batch.lines.into_iter().map(line).collect(), batch.lost))
    }

    fn trace_close(&self, trace: u64) {
        self.0.trace_close(trace);
    }

    fn snapshot(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.snapshot())
    }

    fn metrics(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.metrics())
    }

    fn tls_report(&self, py: Python<'_>, day: u64) -> String {
        py.detach(|| self.0.tls_report(day))
    }

    fn drain(&self, py: Python<'_>, timeout_ms: u64) -> bool {
        py.detach(|| self.0.drain(Duration::from_millis(timeout_ms)))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }
}
