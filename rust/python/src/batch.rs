//! Records of one poll, still in Rust; or rows that Python brings (from another backend).

use bytes::Bytes;
use postalynk_queue::{Batch, Queue};
use postalynk_record::{TOPICS, TopicKind};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyDict};

/// (topic, partition, offset, appended_at_us, value).
pub(crate) type Row = (PyBackedStr, u32, u64, u64, PyBackedBytes);

/// One record and where it stands.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) topic: &'static str,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) at_us: u64,
    pub(crate) value: Bytes,
}

/// A record whose bytes on disk are no longer what was written.
pub(crate) struct Damage {
    pub(crate) topic: &'static str,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) detail: String,
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct RecordBatch {
    pub(crate) entries: Vec<Entry>,
    pub(crate) damaged: Vec<Damage>,
}

/// The name of a topic as it stands in the program; None for one this release does not know.
pub(crate) fn known_topic(name: &str) -> Option<&'static str> {
    let mut names = TOPICS.iter().map(|(known, _)| *known);
    names.find(|known| *known == name)
}

impl RecordBatch {
    pub(crate) fn of(queue: &Queue, batch: Batch) -> Self {
        let name = |topic| known_topic(queue.name(topic)).unwrap_or_default();
        let entry = |record: postalynk_queue::Record| Entry {
            topic: name(record.topic),
            partition: record.partition,
            offset: record.offset,
            at_us: record.appended_at_us,
            value: record.value,
        };
        let damage = |damaged: postalynk_queue::Damaged| Damage {
            topic: name(damaged.topic),
            partition: damaged.partition,
            offset: damaged.offset,
            detail: damaged.detail,
        };
        Self {
            entries: batch.records.into_iter().map(entry).collect(),
            damaged: batch.damaged.into_iter().map(damage).collect(),
        }
    }
}

/// Every topic: its name and whether it is compacted.
#[pyfunction]
pub(crate) fn topics() -> Vec<(&'static str, bool)> {
    let kind = |(name, kind): &(&'static str, TopicKind)| (*name, *kind == TopicKind::Compacted);
    TOPICS.iter().map(kind).collect()
}

#[pymethods]
impl RecordBatch {
    #[new]
    fn new(rows: Vec<Row>) -> PyResult<Self> {
        Ok(Self {
            entries: rows.into_iter().map(entry).collect::<PyResult<_>>()?,
            damaged: Vec::new(),
        })
    }

    fn __len__(&self) -> usize {
        self.entries.len() + self.damaged.len()
    }

    fn rows<'py>(
        &self,
        py: Python<'py>,
    ) -> Vec<(&'static str, u32, u64, u64, Bound<'py, PyBytes>)> {
        let row = |e: &Entry| {
            let value = PyBytes::new(py, &e.value);
            (e.topic, e.partition, e.offset, e.at_us, value)
        };
        self.entries.iter().map(row).collect()
    }

    fn next_offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let read = self
            .entries
            .iter()
            .map(|e| (e.topic, e.partition, e.offset));
        let damaged = self
            .damaged
            .iter()
            .map(|d| (d.topic, d.partition, d.offset));
        let mut next = std::collections::HashMap::new();
        for (topic, partition, offset) in read.chain(damaged) {
            let after: &mut u64 = next.entry((topic, partition)).or_default();
            *after = (*after).max(offset + 1);
        }
        let answer = PyDict::new(py);
        for (position, offset) in next {
            answer.set_item(position, offset)?;
        }
        Ok(answer)
    }
}

/// The entries of a `RecordBatch` (shared bytes) or of rows (their Python memory, not copied).
pub(crate) fn entries(batch: &Bound<'_, PyAny>) -> PyResult<Vec<Entry>> {
    if let Ok(batch) = batch.cast::<RecordBatch>() {
        return Ok(batch.get().entries.clone());
    }
    let rows: Vec<Row> = batch.extract()?;
    rows.into_iter().map(entry).collect()
}

fn entry((topic, partition, offset, at_us, value): Row) -> PyResult<Entry> {
    let topic = known_topic(&topic)
        .ok_or_else(|| PyTypeError::new_err(format!("unknown topic {:?}", &*topic)))?;
    Ok(Entry {
        topic,
        partition,
        offset,
        at_us,
        // The value's own memory: nothing is copied until the record is decoded.
        value: Bytes::from_owner(value),
    })
}

/// The same as the delivery engine takes them.
pub(crate) fn rows(batch: &Bound<'_, PyAny>) -> PyResult<Vec<postalynk_delivery::Row>> {
    let row = |e: Entry| postalynk_delivery::Row {
        topic: e.topic.to_owned(),
        partition: e.partition,
        offset: e.offset,
        appended_at_us: e.at_us,
        value: e.value,
    };
    Ok(entries(batch)?.into_iter().map(row).collect())
}

/// What a batch cannot give, as (topic, partition, offset, reason, bytes); rows have none.
pub(crate) fn damaged(batch: &Bound<'_, PyAny>) -> Vec<(&'static str, u32, u64, String)> {
    let Ok(batch) = batch.cast::<RecordBatch>() else {
        return Vec::new();
    };
    let damage = |d: &Damage| {
        let reason = format!("its bytes on disk are damaged: {}", d.detail);
        (d.topic, d.partition, d.offset, reason)
    };
    batch.get().damaged.iter().map(damage).collect()
}
