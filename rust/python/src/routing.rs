//! What a policy may read of accepted messages, for a replay: no content, no engine.

use postalynk_record::Record;
use postalynk_record::v1::{self, message::Content};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::batch::{Entry, entries};

/// See the stub.
#[pyfunction]
pub(crate) fn providers() -> Vec<&'static str> {
    postalynk_dns::providers()
}

fn lane(message: &v1::Message) -> &'static str {
    match message.lane() {
        v1::Lane::Normal => "normal",
        v1::Lane::High => "high",
        v1::Lane::Bulk => "bulk",
    }
}

/// As the engine's own view says it: the author's address, or MAIL FROM of a raw message.
fn sender(message: &v1::Message) -> &str {
    match &message.content {
        Some(Content::Composed(composed)) => {
            composed.from.as_ref().map_or("", |from| &from.address)
        }
        _ => &message.reverse_path,
    }
}

fn template(message: &v1::Message) -> &str {
    match &message.content {
        Some(Content::Composed(composed)) => composed
            .template
            .as_ref()
            .map_or("", |template| &template.id),
        _ => "",
    }
}

fn recipient(address: &str) -> (&str, &str, &'static str) {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let provider = postalynk_dns::provider_of_domain(domain).unwrap_or("");
    (address, domain, provider)
}

/// See the stub.
#[pyfunction]
pub(crate) fn routing_records<'py>(
    py: Python<'py>,
    batch: &Bound<'py, PyAny>,
) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let rows: Vec<Entry> = entries(batch)?;
    let records: Vec<Record> = py.detach(|| {
        // What cannot be decoded was never routed: the worker wrote a dead letter in its place.
        rows.into_iter()
            .filter_map(|row| Record::decode(row.value).ok())
            .collect()
    });
    let tuple = |record: &Record| {
        let message = record.message();
        let tags = PyDict::new(py);
        for tag in &message.tags {
            tags.set_item(&tag.name, &tag.value)?;
        }
        let recipients: Vec<_> = message
            .recipients
            .iter()
            .map(|r| recipient(&r.address))
            .collect();
        (
            record.id().to_string(),
            &message.org,
            &message.plan,
            lane(message),
            tags,
            template(message),
            sender(message),
            recipients,
            record.raw().len(),
            message.accepted_at_us,
        )
            .into_pyobject(py)
    };
    records.iter().map(tuple).collect()
}
