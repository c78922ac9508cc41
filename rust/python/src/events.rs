//! Events as columns for a projection: one list per column, so that PostgreSQL takes them at once.

use postalynk_record::v1::{Accepted, Attempt, Event, Kind, Lane};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::batch::{Entry, damaged, entries};

/// (topic, partition, offset, reason).
type Undecodable = (&'static str, u32, u64, String);

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct EventColumns {
    events: Vec<(u64, Event)>,
    undecodable: Vec<Undecodable>,
}

fn lane(event: &Event) -> &'static str {
    match event.lane() {
        Lane::High => "high",
        Lane::Normal => "normal",
        Lane::Bulk => "bulk",
    }
}

fn kind(event: &Event) -> &'static str {
    match event.kind() {
        Kind::Unspecified => "unspecified",
        Kind::Accepted => "accepted",
        Kind::Deferred => "deferred",
        Kind::Delivered => "delivered",
        Kind::Bounced => "bounced",
        Kind::Expired => "expired",
        Kind::Suppressed => "suppressed",
        Kind::Cancelled => "cancelled",
        Kind::DeadLettered => "dead_lettered",
        Kind::InDoubt => "in_doubt",
        Kind::Scheduled => "scheduled",
        Kind::Resent => "resent",
    }
}

fn texts(items: &[String]) -> PyResult<String> {
    serde_json::to_string(items).map_err(crate::error::engine_error)
}

fn tags(accepted: &Accepted) -> PyResult<String> {
    let pairs = accepted.tags.iter().map(|tag| (&tag.name, &tag.value));
    let object: std::collections::BTreeMap<_, _> = pairs.collect();
    serde_json::to_string(&object).map_err(crate::error::engine_error)
}

fn or_none(instant_us: u64) -> Option<u64> {
    (instant_us != 0).then_some(instant_us)
}

/// Named columns of equal length, filled row by row.
struct Columns<'py> {
    py: Python<'py>,
    lists: Vec<(&'static str, Bound<'py, PyList>)>,
}

macro_rules! columns {
    ($py:expr, $rows:expr, { $($name:literal: $value:expr),+ $(,)? }) => {{
        let mut columns = Columns { py: $py, lists: Vec::new() };
        $( columns.add($name, $rows.iter().map($value))?; )+
        columns.into_dict()
    }};
}

impl<'py> Columns<'py> {
    fn add<T>(&mut self, name: &'static str, values: impl Iterator<Item = T>) -> PyResult<()>
    where
        T: IntoPyObject<'py>,
    {
        let values: Vec<T> = values.collect();
        self.lists.push((name, PyList::new(self.py, values)?));
        Ok(())
    }

    fn into_dict(self) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(self.py);
        for (name, list) in self.lists {
            dict.set_item(name, list)?;
        }
        Ok(dict)
    }
}

#[pymethods]
impl EventColumns {
    #[new]
    fn new(py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<Self> {
        let rows = entries(batch)?;
        let damaged = damaged(batch);
        Ok(py.detach(|| {
            let mut events = Vec::with_capacity(rows.len());
            let mut undecodable = damaged;
            for Entry {
                topic,
                partition,
                offset,
                at_us,
                value,
            } in rows
            {
                match postalynk_record::decode::<Event>(&value) {
                    Ok(event) => events.push((at_us, event)),
                    Err(error) => {
                        undecodable.push((topic, partition, offset, error.to_string()));
                    }
                }
            }
            Self {
                events,
                undecodable,
            }
        }))
    }

    #[getter]
    fn undecodable(&self) -> Vec<Undecodable> {
        self.undecodable.clone()
    }

    fn messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let accepted: Vec<(&Event, &Accepted)> = self
            .events
            .iter()
            .filter_map(|(_, event)| Some((event, event.accepted.as_ref()?)))
            .collect();
        let json = |items: fn(&Accepted) -> &[String]| {
            let column = accepted.iter().map(|(_, a)| texts(items(a)));
            column.collect::<PyResult<Vec<_>>>()
        };
        let (to, cc) = (json(|a| &a.to)?, json(|a| &a.cc)?);
        let (bcc, reply_to) = (json(|a| &a.bcc)?, json(|a| &a.reply_to)?);
        let recipients = json(|a| &a.recipients)?;
        let tags = accepted
            .iter()
            .map(|(_, a)| tags(a))
            .collect::<PyResult<Vec<_>>>()?;
        let dict: Bound<'py, PyDict> = columns!(py, accepted, {
            "id": |(e, _)| PyBytes::new(py, &e.message_id),
            "org": |(e, _)| &e.org,
            "accepted_at_us": |(e, _)| e.at_us,
            "expires_at_us": |(_, a)| or_none(a.expires_at_us),
            "scheduled_at_us": |(e, _)| or_none(e.due_at_us),
            "lane": |(e, _)| lane(e),
            "sender": |(_, a)| &a.from,
            "subject": |(_, a)| &a.subject,
            "size_bytes": |(_, a)| a.size_bytes,
            "message_id_header": |(_, a)| &a.message_id_header,
        })?;
        for (name, column) in [
            ("to", to),
            ("cc", cc),
            ("bcc", bcc),
            ("reply_to", reply_to),
            ("recipients", recipients),
            ("tags", tags),
        ] {
            dict.set_item(name, column)?;
        }
        Ok(dict)
    }

    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let none = Attempt::default();
        let rows: Vec<(u64, &Event, &Attempt)> = self
            .events
            .iter()
            .filter(|(_, event)| event.kind() != Kind::Accepted)
            .map(|(at_us, event)| (*at_us, event, event.tried.as_ref().unwrap_or(&none)))
            .collect();
        columns!(py, rows, {
            "message_id": |(_, e, _)| PyBytes::new(py, &e.message_id),
            "org": |(_, e, _)| &e.org,
            "recipient": |(_, e, _)| e.recipient,
            "attempt": |(_, e, _)| e.attempt,
            "kind": |(_, e, _)| kind(e),
            "at_us": |(_, e, _)| e.at_us,
            "recorded_at_us": |(at_us, _, _)| *at_us,
            "address": |(_, e, _)| &e.address,
            "due_at_us": |(_, e, _)| or_none(e.due_at_us),
            "reason": |(_, e, _)| &e.reason,
            "pool": |(_, _, t)| &t.pool,
            "source": |(_, _, t)| &t.source,
            "site": |(_, _, t)| &t.site,
            "mx": |(_, _, t)| &t.mx,
            "peer": |(_, _, t)| &t.peer,
            "reply_code": |(_, _, t)| t.reply_code,
            "enhanced": |(_, _, t)| &t.enhanced,
            "reply": |(_, _, t)| &t.reply,
            "class": |(_, _, t)| &t.class,
            "phase": |(_, _, t)| &t.phase,
            "tls": |(_, _, t)| &t.tls,
            "connect_us": |(_, _, t)| t.connect_us,
            "mail_us": |(_, _, t)| t.mail_us,
            "dot_us": |(_, _, t)| t.dot_us,
            "total_us": |(_, _, t)| t.total_us,
            "policy_version": |(_, _, t)| &t.policy_version,
            "route_reason": |(_, _, t)| &t.route_reason,
            "fallback": |(_, _, t)| t.fallback,
            "size_bytes": |(_, _, t)| t.size_bytes,
            "tls_refused": |(_, _, t)| &t.tls_refused,
            "relay": |(_, _, t)| &t.relay,
            "transcript": |(_, _, t)| &t.transcript,
            "explanation": |(_, _, t)| &t.explanation,
            "tls_policy": |(_, _, t)| &t.tls_policy,
        })
    }
}
