//! The embedded queue for Python.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::RwLock;
use postalynk_queue::{Append, Commit, Consumer, Error, Options, Position, Queue, To, TopicId};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::batch::{RecordBatch, known_topic};
use crate::error::queue_error;

type AppendRow = (String, u32, Option<PyBackedBytes>, Option<PyBackedBytes>);
type Place = (String, u32);
type Commits = HashMap<(&'static str, u32), (u64, Vec<u8>)>;

fn now_us() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct EmbeddedQueue {
    queue: RwLock<Option<Queue>>,
    partitions: u32,
    recovery: Vec<String>,
}

impl EmbeddedQueue {
    fn open_queue(&self) -> PyResult<Queue> {
        self.queue
            .read()
            .clone()
            .ok_or_else(|| queue_error(Error::Closed))
    }
}

fn topic(queue: &Queue, name: &str) -> PyResult<TopicId> {
    queue.topic(name).map_err(queue_error)
}

fn commits(queue: &Queue, committed: impl IntoIterator<Item = (Position, Commit)>) -> Commits {
    committed
        .into_iter()
        .filter_map(|((topic, partition), commit)| {
            let place = (known_topic(queue.name(topic))?, partition);
            Some((place, (commit.offset, commit.note.to_vec())))
        })
        .collect()
}

#[pymethods]
impl EmbeddedQueue {
    #[new]
    #[pyo3(signature = (path, *, partitions = 64, max_age_s = 604_800, max_bytes = 0, max_records = 0))]
    fn new(
        py: Python<'_>,
        path: &str,
        partitions: u32,
        max_age_s: u64,
        max_bytes: u64,
        max_records: u64,
    ) -> PyResult<Self> {
        let mut options = Options::new(path);
        options.partitions = partitions;
        options.retention.max_age = Duration::from_secs(max_age_s);
        options.retention.max_bytes = max_bytes;
        options.retention.max_records = max_records;
        let (queue, recovery) = py.detach(|| Queue::open(options)).map_err(queue_error)?;
        Ok(Self {
            partitions: queue.partitions(),
            recovery: recovery.cuts.iter().map(ToString::to_string).collect(),
            queue: RwLock::new(Some(queue)),
        })
    }

    #[getter]
    fn partitions(&self) -> u32 {
        self.partitions
    }

    #[getter]
    fn recovery(&self) -> Vec<String> {
        self.recovery.clone()
    }

    fn append(&self, py: Python<'_>, appends: Vec<AppendRow>) -> PyResult<Vec<u64>> {
        let queue = self.open_queue()?;
        let appends = appends
            .into_iter()
            .map(|(name, partition, key, value)| {
                Ok(Append {
                    topic: topic(&queue, &name)?,
                    partition,
                    key: key.map(Bytes::from_owner),
                    value: value.map(Bytes::from_owner),
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let answer = py.detach(|| queue.append(&appends, now_us()));
        answer.map_err(queue_error)
    }

    fn get<'py>(
        &self,
        py: Python<'py>,
        topic: &str,
        partition: u32,
        keys: Vec<PyBackedBytes>,
    ) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let queue = self.open_queue()?;
        let topic = self::topic(&queue, topic)?;
        let values = py
            .detach(|| queue.get_many(topic, partition, &keys))
            .map_err(queue_error)?;
        let bytes = |value: Option<Bytes>| value.map(|value| PyBytes::new(py, &value));
        Ok(values.into_iter().map(bytes).collect())
    }

    #[pyo3(signature = (topic, partition, after = None, limit = 1000))]
    fn compacted<'py>(
        &self,
        py: Python<'py>,
        topic: &str,
        partition: u32,
        after: Option<PyBackedBytes>,
        limit: usize,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let queue = self.open_queue()?;
        let topic = self::topic(&queue, topic)?;
        let pairs: Result<Vec<_>, _> = py.detach(|| {
            let pairs = queue.compacted(topic, partition, after.as_deref())?;
            pairs.take(limit).collect()
        });
        let bytes =
            |(key, value): (Bytes, Bytes)| (PyBytes::new(py, &key), PyBytes::new(py, &value));
        Ok(pairs.map_err(queue_error)?.into_iter().map(bytes).collect())
    }

    fn expire(&self, py: Python<'_>, topic: &str, before_us: u64) -> PyResult<u64> {
        let queue = self.open_queue()?;
        let topic = self::topic(&queue, topic)?;
        py.detach(|| queue.expire(topic, before_us))
            .map_err(queue_error)
    }

    fn consumer(
        &self,
        py: Python<'_>,
        group: &str,
        topics: Vec<String>,
    ) -> PyResult<EmbeddedConsumer> {
        let queue = self.open_queue()?;
        let topics = topics
            .iter()
            .map(|name| topic(&queue, name))
            .collect::<PyResult<Vec<_>>>()?;
        let consumer = py
            .detach(|| queue.consumer(group, &topics))
            .map_err(queue_error)?;
        Ok(EmbeddedConsumer {
            open: RwLock::new(Some((queue, Arc::new(consumer)))),
        })
    }

    fn offsets(&self, topic: &str) -> PyResult<Vec<(u64, u64)>> {
        let queue = self.open_queue()?;
        queue
            .offsets(self::topic(&queue, topic)?)
            .map_err(queue_error)
    }

    fn oldest_at_us(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: u32,
        offset: u64,
    ) -> PyResult<Option<u64>> {
        let queue = self.open_queue()?;
        let topic = self::topic(&queue, topic)?;
        py.detach(|| queue.oldest_at_us(topic, partition, offset))
            .map_err(queue_error)
    }

    fn committed(&self, group: &str) -> PyResult<Commits> {
        let queue = self.open_queue()?;
        Ok(commits(&queue, queue.committed(group)))
    }

    fn apply_retention(&self, py: Python<'_>) -> PyResult<u64> {
        let queue = self.open_queue()?;
        let dropped = py.detach(|| queue.apply_retention(now_us()));
        Ok(dropped.map_err(queue_error)?.records)
    }

    fn close(&self) {
        if let Some(queue) = self.queue.write().take() {
            queue.close();
        }
    }
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct EmbeddedConsumer {
    open: RwLock<Option<(Queue, Arc<Consumer>)>>,
}

impl EmbeddedConsumer {
    fn open_consumer(&self) -> PyResult<(Queue, Arc<Consumer>)> {
        self.open
            .read()
            .clone()
            .ok_or_else(|| queue_error(Error::Closed))
    }
}

#[pymethods]
impl EmbeddedConsumer {
    fn poll(
        &self,
        py: Python<'_>,
        max_records: usize,
        max_bytes: usize,
        timeout_ms: u64,
    ) -> PyResult<RecordBatch> {
        let (queue, consumer) = self.open_consumer()?;
        let batch = py
            .detach(|| consumer.poll(max_records, max_bytes, Duration::from_millis(timeout_ms)))
            .map_err(queue_error)?;
        Ok(RecordBatch::of(&queue, batch))
    }

    fn commit(
        &self,
        py: Python<'_>,
        positions: HashMap<Place, (u64, PyBackedBytes)>,
    ) -> PyResult<()> {
        let (queue, consumer) = self.open_consumer()?;
        let commits = positions
            .into_iter()
            .map(|((name, partition), (offset, note))| {
                let note = Bytes::from_owner(note);
                Ok(((topic(&queue, &name)?, partition), Commit { offset, note }))
            })
            .collect::<PyResult<Vec<_>>>()?;
        py.detach(|| consumer.commit(&commits)).map_err(queue_error)
    }

    fn committed(&self) -> PyResult<Commits> {
        let (queue, consumer) = self.open_consumer()?;
        Ok(commits(&queue, consumer.committed()))
    }

    fn pause(&self, positions: Vec<Place>) -> PyResult<()> {
        let (queue, consumer) = self.open_consumer()?;
        positions.into_iter().try_for_each(|(name, partition)| {
            let position = (topic(&queue, &name)?, partition);
            consumer.pause(position).map_err(queue_error)
        })
    }

    fn resume(&self, positions: Vec<Place>) -> PyResult<()> {
        let (queue, consumer) = self.open_consumer()?;
        positions.into_iter().try_for_each(|(name, partition)| {
            let position = (topic(&queue, &name)?, partition);
            consumer.resume(position).map_err(queue_error)
        })
    }

    #[pyo3(signature = (topic, partition, *, offset = None, time_us = None))]
    fn seek(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: u32,
        offset: Option<u64>,
        time_us: Option<u64>,
    ) -> PyResult<()> {
        let (queue, consumer) = self.open_consumer()?;
        let to = match (offset, time_us) {
            (Some(offset), None) => To::Offset(offset),
            (None, Some(time_us)) => To::TimeUs(time_us),
            _ => return Err(PyValueError::new_err("give either offset or time_us")),
        };
        let position = (self::topic(&queue, topic)?, partition);
        py.detach(|| consumer.seek(position, to))
            .map_err(queue_error)
    }

    fn lag(&self) -> PyResult<HashMap<(&'static str, u32), u64>> {
        let (queue, consumer) = self.open_consumer()?;
        let lag = consumer
            .lag()
            .into_iter()
            .filter_map(|((topic, partition), records)| {
                Some(((known_topic(queue.name(topic))?, partition), records))
            });
        Ok(lag.collect())
    }

    fn close(&self) {
        self.open.write().take();
    }
}
