//! What waits: scheduled messages and deferrals, as operators choose among them.

use bytes::Bytes;
use parking_lot::Mutex;
use postalynk_delivery::Timers as Inner;
use postalynk_record::v1::{Deferral, Event, Kind, Lane, Message, Scheduled};
use postalynk_record::{DEFERRED, DeliveryKey, MessageId, Record, decode, encode};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};

/// Nobody's recipient index: a message has fewer. Key of a whole message's timer.
const WHOLE: u32 = u32::MAX;

fn wrong(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn kind(name: &str) -> PyResult<Kind> {
    match name {
        "cancelled" => Ok(Kind::Cancelled),
        "scheduled" => Ok(Kind::Scheduled),
        "resent" => Ok(Kind::Resent),
        other => Err(wrong(format!("no event of kind {other:?} is made here"))),
    }
}

fn lane(message: &Message) -> &'static str {
    match message.lane() {
        Lane::High => "high",
        Lane::Normal => "normal",
        Lane::Bulk => "bulk",
    }
}

/// See the stub.
#[pyfunction]
pub(crate) fn encode_scheduled(
    py: Python<'_>,
    record: PyBackedBytes,
    due_at_us: u64,
) -> Bound<'_, PyBytes> {
    let record = Bytes::from_owner(record);
    PyBytes::new(py, &encode(&Scheduled { record, due_at_us }))
}

/// See the stub.
#[pyfunction]
pub(crate) fn encode_deferral(
    py: Python<'_>,
    record: PyBackedBytes,
    recipient: u32,
    attempt: u32,
    due_at_us: u64,
) -> Bound<'_, PyBytes> {
    let deferral = Deferral {
        record: Bytes::from_owner(record),
        recipient,
        attempt,
        due_at_us,
        ..Deferral::default()
    };
    PyBytes::new(py, &encode(&deferral))
}

/// See the stub.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "one per field of the schema")]
pub(crate) fn encode_event<'py>(
    py: Python<'py>,
    record: PyBackedBytes,
    kind: &str,
    at_us: u64,
    recipient: u32,
    attempt: u32,
    due_at_us: u64,
    reason: String,
) -> PyResult<Bound<'py, PyBytes>> {
    let record = Record::decode(Bytes::from_owner(record)).map_err(wrong)?;
    let message = record.message();
    let Some(address) = message.recipients.get(recipient as usize) else {
        return Err(wrong(format!("the message has no recipient {recipient}")));
    };
    let event = Event {
        message_id: message.id.clone(),
        org: message.org.clone(),
        kind: self::kind(kind)?.into(),
        at_us,
        recipient,
        attempt,
        address: address.address.clone(),
        due_at_us,
        lane: message.lane,
        reason,
        ..Event::default()
    };
    Ok(PyBytes::new(py, &encode(&event)))
}

/// What a value of `email.deferred` or `email.scheduled` says.
struct Read {
    record: Record,
    due_at_us: u64,
    /// Of a deferral: recipient, attempts made, site of the last.
    of: Option<(u32, u32, String)>,
}

fn read(is_deferral: bool, value: Bytes) -> Result<Read, String> {
    let text = |error: postalynk_record::DecodeError| error.to_string();
    let (record, due_at_us, of) = if is_deferral {
        let deferral: Deferral = decode(&value).map_err(text)?;
        let of = (deferral.recipient, deferral.attempt, deferral.site);
        (deferral.record, deferral.due_at_us, Some(of))
    } else {
        let scheduled: Scheduled = decode(&value).map_err(text)?;
        (scheduled.record, scheduled.due_at_us, None)
    };
    let record = Record::decode(record).map_err(text)?;
    Ok(Read {
        record,
        due_at_us,
        of,
    })
}

/// See the stub.
#[pyfunction]
pub(crate) fn waiting<'py>(
    py: Python<'py>,
    topic: &str,
    values: Vec<PyBackedBytes>,
) -> PyResult<Vec<Option<Bound<'py, PyTuple>>>> {
    let is_deferral = topic == DEFERRED;
    let values: Vec<Bytes> = values.into_iter().map(Bytes::from_owner).collect();
    let read: Vec<Option<Read>> = py.detach(|| {
        let values = values.into_iter();
        values.map(|value| read(is_deferral, value).ok()).collect()
    });
    let shown = |Read {
                     record,
                     due_at_us,
                     of,
                 }: Read| {
        let message = record.message();
        let tags: Vec<_> = message.tags.iter().map(|t| (&t.name, &t.value)).collect();
        let (only, attempt, site) = of.map_or((None, 0, String::new()), |(recipient, n, site)| {
            (Some(recipient), n, site)
        });
        let recipients: Vec<(usize, &str)> = message
            .recipients
            .iter()
            .enumerate()
            .filter(|(index, _)| only.is_none_or(|only| only as usize == *index))
            .map(|(index, recipient)| (index, recipient.address.as_str()))
            .collect();
        (
            PyBytes::new(py, &message.id),
            &message.org,
            lane(message),
            tags,
            recipients,
            site,
            attempt,
            due_at_us,
            PyBytes::new(py, record.raw()),
        )
            .into_pyobject(py)
    };
    read.into_iter()
        .map(|one| one.map(shown).transpose())
        .collect()
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Timers(Mutex<Inner>);

fn key(id: &[u8]) -> PyResult<DeliveryKey> {
    let id = MessageId::from_slice(id).map_err(wrong)?;
    Ok(DeliveryKey {
        id,
        recipient: WHOLE,
    })
}

#[pymethods]
impl Timers {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn __len__(&self) -> usize {
        self.0.lock().len()
    }

    fn set(&self, partition: u32, message_id: PyBackedBytes, due_at_us: u64) -> PyResult<()> {
        let key = key(&message_id)?;
        self.0.lock().schedule(partition, key, due_at_us);
        Ok(())
    }

    fn remove(&self, message_id: PyBackedBytes) -> PyResult<()> {
        self.0.lock().remove(&key(&message_id)?);
        Ok(())
    }

    fn forget(&self, partition: u32) {
        self.0.lock().forget(partition);
    }

    fn due<'py>(
        &self,
        py: Python<'py>,
        now_us: u64,
        most: usize,
    ) -> Vec<(u32, Vec<Bound<'py, PyBytes>>)> {
        let id = |key: DeliveryKey| PyBytes::new(py, key.id.as_bytes());
        let due = self.0.lock().due(now_us, most);
        due.into_iter()
            .map(|(partition, keys)| (partition, keys.into_iter().map(id).collect()))
            .collect()
    }
}
