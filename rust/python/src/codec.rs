//! Accepted messages from Python to records, and the small codecs the API validates with.

use bytes::Bytes;
use postalynk_record::v1::{
    self, Accepted, Attachment as AttachmentRecord, Calendar as CalendarRecord, Composed,
    DeadLetter, Dsn, Event, Header, InDoubt, Kind, Lane, Message, Notify, Recipient, Return,
    Scheduled, Tag, Template as TemplateRecord, message::Content,
};
use postalynk_record::{MessageId, Record, send_topic};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyDict};

use crate::outcomes::AppendTuple;

#[derive(FromPyObject)]
struct Mailbox {
    name: String,
    address: String,
}

#[derive(FromPyObject)]
struct Attachment {
    filename: String,
    content_type: String,
    content: PyBackedBytes,
    content_id: String,
}

/// `postalynk.model.Calendar`.
#[derive(FromPyObject)]
struct Calendar {
    method: String,
    object: PyBackedStr,
}

/// `postalynk.model.Filling`.
#[derive(FromPyObject)]
struct Filling {
    id: String,
    version: u32,
    subject: String,
    html: PyBackedStr,
    text: PyBackedStr,
    variables: PyBackedBytes,
    size_bytes: usize,
}

/// `postalynk.model.AcceptedMessage`, by its attributes.
#[derive(FromPyObject)]
struct AcceptedMessage {
    id: PyBackedBytes,
    org: String,
    accepted_at_us: u64,
    expires_at_us: u64,
    scheduled_at_us: u64,
    lane: PyBackedStr,
    reverse_path: String,
    recipients: Vec<String>,
    from_: Mailbox,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    reply_to: Vec<Mailbox>,
    subject: String,
    text: PyBackedStr,
    html: PyBackedStr,
    headers: Vec<(String, String)>,
    attachments: Vec<Attachment>,
    no_plain_text: bool,
    calendar: Option<Calendar>,
    template: Option<Filling>,
    list_unsubscribe: String,
    feedback_id: String,
    dkim_expires_s: u32,
    require_tls: bool,
    tls_optional: bool,
    raw: PyBackedBytes,
    tags: Vec<(String, String)>,
    message_id: String,
    dkim_domain: String,
    plan: String,
    in_doubt: PyBackedStr,
    ret: PyBackedStr,
    envelope_id: String,
    notify: Vec<String>,
    orcpt: Vec<String>,
    salt: u32,
}

impl Mailbox {
    fn shown(&self) -> String {
        if self.name.is_empty() {
            self.address.clone()
        } else {
            format!("{} <{}>", self.name, self.address)
        }
    }
}

fn shown(mailboxes: &[Mailbox]) -> Vec<String> {
    mailboxes.iter().map(Mailbox::shown).collect()
}

fn mailboxes(mailboxes: Vec<Mailbox>) -> Vec<v1::Mailbox> {
    mailboxes.into_iter().map(mailbox).collect()
}

fn mailbox(mailbox: Mailbox) -> v1::Mailbox {
    v1::Mailbox {
        name: mailbox.name,
        address: mailbox.address,
    }
}

fn template(filling: Filling) -> TemplateRecord {
    TemplateRecord {
        id: filling.id,
        version: filling.version,
        subject: filling.subject,
        html: borrowed(filling.html),
        text: borrowed(filling.text),
        variables: Bytes::from_owner(filling.variables),
    }
}

/// The text's own memory as `Bytes`: no copy before the record is written.
fn borrowed(text: PyBackedStr) -> Bytes {
    if text.is_empty() {
        Bytes::new()
    } else {
        Bytes::from_owner(text)
    }
}

fn lane(name: &str) -> PyResult<Lane> {
    match name {
        "high" => Ok(Lane::High),
        "normal" => Ok(Lane::Normal),
        "bulk" => Ok(Lane::Bulk),
        other => Err(PyValueError::new_err(format!("no such lane: {other:?}"))),
    }
}

pub(crate) fn in_doubt(name: &str) -> PyResult<InDoubt> {
    match name {
        "retry" => Ok(InDoubt::Retry),
        "hold" => Ok(InDoubt::Hold),
        "assume_delivered" => Ok(InDoubt::AssumeDelivered),
        other => Err(PyValueError::new_err(format!("no such wish: {other:?}"))),
    }
}

/// NOTIFY as at RCPT; empty: nothing was asked for.
fn read_notify(text: &str) -> Option<Notify> {
    let has = |word| text.split(',').any(|part| part == word);
    (!text.is_empty()).then(|| Notify {
        success: has("SUCCESS"),
        failure: has("FAILURE"),
        delay: has("DELAY"),
    })
}

impl AcceptedMessage {
    fn size_bytes(&self) -> u32 {
        let attached: usize = self.attachments.iter().map(|a| a.content.len()).sum();
        let filled = self
            .template
            .as_ref()
            .map_or(0, |filling| filling.size_bytes);
        let calendar = self
            .calendar
            .as_ref()
            .map_or(0, |calendar| calendar.object.len());
        let composed = self.text.len() + self.html.len() + attached + filled + calendar;
        // One of the two is empty.
        u32::try_from(composed + self.raw.len()).unwrap_or(u32::MAX)
    }

    fn tags(&self) -> Vec<Tag> {
        let tag = |(name, value): &(String, String)| Tag {
            name: name.clone(),
            value: value.clone(),
        };
        self.tags.iter().map(tag).collect()
    }

    fn event(&self, lane: Lane) -> Event {
        Event {
            message_id: Bytes::copy_from_slice(&self.id),
            org: self.org.clone(),
            kind: Kind::Accepted.into(),
            at_us: self.accepted_at_us,
            lane: lane.into(),
            due_at_us: self.scheduled_at_us,
            accepted: Some(Accepted {
                from: self.from_.shown(),
                to: shown(&self.to),
                cc: shown(&self.cc),
                bcc: shown(&self.bcc),
                reply_to: shown(&self.reply_to),
                subject: self.subject.clone(),
                tags: self.tags(),
                size_bytes: self.size_bytes(),
                recipients: self.recipients.clone(),
                expires_at_us: self.expires_at_us,
                message_id_header: self.message_id.clone(),
            }),
            ..Event::default()
        }
    }

    fn message(self, lane: Lane) -> PyResult<Message> {
        let tags = self.tags();
        let wish = in_doubt(&self.in_doubt)?;
        let attachment = |a: Attachment| AttachmentRecord {
            filename: a.filename,
            content_type: a.content_type,
            content_id: a.content_id,
            content: Bytes::from_owner(a.content),
        };
        let header = |(name, value)| Header { name, value };
        let calendar = |calendar: Calendar| CalendarRecord {
            method: calendar.method,
            object: borrowed(calendar.object),
        };
        let has_own_subject = self.template.as_ref().is_none_or(|t| t.subject.is_empty());
        let content = if self.raw.is_empty() {
            Content::Composed(Composed {
                from: Some(mailbox(self.from_)),
                to: mailboxes(self.to),
                cc: mailboxes(self.cc),
                reply_to: mailboxes(self.reply_to),
                // A subject that will be rendered again is only shown.
                subject: if has_own_subject {
                    self.subject
                } else {
                    String::new()
                },
                text: borrowed(self.text),
                html: borrowed(self.html),
                headers: self.headers.into_iter().map(header).collect(),
                attachments: self.attachments.into_iter().map(attachment).collect(),
                no_plain_text: self.no_plain_text,
                calendar: self.calendar.map(calendar),
                template: self.template.map(template),
                list_unsubscribe: self.list_unsubscribe,
                feedback_id: self.feedback_id,
                dkim_expires_s: self.dkim_expires_s,
            })
        } else {
            Content::Raw(Bytes::from_owner(self.raw))
        };
        let mut asked = self.notify.into_iter().zip(self.orcpt);
        let recipient = |address| {
            let (notify, orcpt) = asked.next().unwrap_or_default();
            Recipient {
                address,
                notify: read_notify(&notify),
                orcpt,
            }
        };
        let ret = match &*self.ret {
            "FULL" => Return::Full,
            "HDRS" => Return::Headers,
            _ => Return::Unspecified,
        };
        let is_asked = ret != Return::Unspecified || !self.envelope_id.is_empty();
        let dsn = is_asked.then(|| Dsn {
            ret: ret.into(),
            envelope_id: self.envelope_id,
        });
        Ok(Message {
            dsn,
            id: Bytes::copy_from_slice(&self.id),
            org: self.org,
            accepted_at_us: self.accepted_at_us,
            expires_at_us: self.expires_at_us,
            lane: lane.into(),
            reverse_path: self.reverse_path,
            recipients: self.recipients.into_iter().map(recipient).collect(),
            message_id: self.message_id,
            tags,
            dkim_domain: self.dkim_domain,
            plan: self.plan,
            in_doubt: wish.into(),
            require_tls: self.require_tls,
            tls_optional: self.tls_optional,
            content: Some(content),
        })
    }
}

/// The record, or the entry in the schedule, and the ACCEPTED event of each message, ready for
/// `Queue.append`.
#[pyfunction]
pub(crate) fn encode_messages(
    py: Python<'_>,
    messages: Vec<Bound<'_, PyAny>>,
    partitions: u32,
) -> PyResult<Vec<AppendTuple>> {
    let mut appends = Vec::with_capacity(2 * messages.len());
    for object in messages {
        let accepted: AcceptedMessage = object.extract()?;
        let lane = lane(&accepted.lane)?;
        let first = accepted.recipients.first().map_or("", String::as_str);
        let partition =
            postalynk_record::of_message(&accepted.org, accepted.salt, first, partitions);
        let event = postalynk_record::encode(&accepted.event(lane));
        let (id, due_at_us) = (accepted.id.to_vec(), accepted.scheduled_at_us);
        let record = Record::encode(accepted.message(lane)?)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let value = |bytes: &Bytes| Some(PyBytes::new(py, bytes).unbind());
        if due_at_us == 0 {
            appends.push((send_topic(lane), partition, None, value(record.raw())));
        } else {
            let record = record.raw().clone();
            let scheduled = postalynk_record::encode(&Scheduled { record, due_at_us });
            let key = Some(PyBytes::new(py, &id).unbind());
            let topic = postalynk_record::SCHEDULED;
            appends.push((topic, partition, key, value(&scheduled)));
        }
        appends.push((postalynk_record::EVENTS, partition, None, value(&event)));
    }
    Ok(appends)
}

/// What an ACCEPTED event says, as a dict.
#[pyfunction]
pub(crate) fn decode_accepted<'py>(
    py: Python<'py>,
    value: PyBackedBytes,
) -> PyResult<Bound<'py, PyDict>> {
    let wrong = |text: String| PyValueError::new_err(text);
    let event: Event = postalynk_record::decode(&Bytes::from_owner(value))
        .map_err(|error| wrong(error.to_string()))?;
    let lane = event
        .lane()
        .as_str_name()
        .trim_start_matches("LANE_")
        .to_lowercase();
    let accepted = event
        .accepted
        .ok_or_else(|| wrong("no ACCEPTED event".to_owned()))?;
    let tags: Vec<_> = accepted
        .tags
        .into_iter()
        .map(|tag| (tag.name, tag.value))
        .collect();
    let shown = PyDict::new(py);
    shown.set_item("org", event.org)?;
    shown.set_item("at_us", event.at_us)?;
    shown.set_item("lane", lane)?;
    shown.set_item("due_at_us", event.due_at_us)?;
    shown.set_item("from", accepted.from)?;
    shown.set_item("to", accepted.to)?;
    shown.set_item("cc", accepted.cc)?;
    shown.set_item("bcc", accepted.bcc)?;
    shown.set_item("reply_to", accepted.reply_to)?;
    shown.set_item("subject", accepted.subject)?;
    shown.set_item("tags", tags)?;
    shown.set_item("recipients", accepted.recipients)?;
    shown.set_item("message_id", accepted.message_id_header)?;
    Ok(shown)
}

/// The partition of a message, or without a salt of its organization.
#[pyfunction]
#[pyo3(signature = (org, partitions, *, salt = 1, first_recipient = ""))]
pub(crate) fn partition_of(org: &str, partitions: u32, salt: u32, first_recipient: &str) -> u32 {
    postalynk_record::of_message(org, salt, first_recipient, partitions)
}

/// The partitions of an organization.
#[pyfunction]
pub(crate) fn partitions_of(org: &str, partitions: u32, salt: u32) -> Vec<u32> {
    postalynk_record::of_organization(org, salt, partitions)
}

/// A fresh UUIDv7.
#[pyfunction]
pub(crate) fn new_message_id(py: Python<'_>, now_ms: u64) -> PyResult<Bound<'_, PyBytes>> {
    let mut random = [0; 10];
    getrandom::fill(&mut random)
        .map_err(|error| crate::error::EngineError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, MessageId::new(now_ms, random).as_bytes()))
}

/// A record of `email.dlq` that holds `value` whole, with its message id if it has one.
#[pyfunction]
#[pyo3(signature = (reason, detail, topic, partition, offset, at_us, value, *, key = None, version = "", policy_version = ""))]
#[allow(clippy::too_many_arguments, reason = "one per field of the schema")]
pub(crate) fn encode_dead_letter<'py>(
    py: Python<'py>,
    reason: String,
    detail: String,
    topic: String,
    partition: u32,
    offset: u64,
    at_us: u64,
    value: PyBackedBytes,
    key: Option<PyBackedBytes>,
    version: &str,
    policy_version: &str,
) -> Bound<'py, PyBytes> {
    let record = Bytes::from_owner(value);
    let known = Record::decode(record.clone()).ok();
    let message = known.as_ref().map(Record::message);
    let key = key.map_or_else(Bytes::new, Bytes::from_owner);
    // Keys of compacted topics begin with the message's id.
    let named = key.slice(..key.len().min(16));
    let letter = DeadLetter {
        reason,
        detail,
        topic,
        partition,
        offset,
        at_us,
        message_id: message.map_or(named, |m| m.id.clone()),
        org: message.map_or_else(String::new, |m| m.org.clone()),
        record,
        key,
        version: version.to_owned(),
        policy_version: policy_version.to_owned(),
    };
    PyBytes::new(py, &postalynk_record::encode(&letter))
}

/// A dead letter as a dict.
#[pyfunction]
pub(crate) fn decode_dead_letter<'py>(
    py: Python<'py>,
    value: PyBackedBytes,
) -> PyResult<Bound<'py, PyDict>> {
    let letter: DeadLetter = postalynk_record::decode(&Bytes::from_owner(value))
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let id = MessageId::from_slice(&letter.message_id).ok();
    let shown = PyDict::new(py);
    shown.set_item("reason", letter.reason)?;
    shown.set_item("detail", letter.detail)?;
    shown.set_item("topic", letter.topic)?;
    shown.set_item("source_partition", letter.partition)?;
    shown.set_item("source_offset", letter.offset)?;
    shown.set_item("message_id", id.map(|id| id.to_string()))?;
    shown.set_item("org", letter.org)?;
    let key = (!letter.key.is_empty()).then(|| PyBytes::new(py, &letter.key));
    shown.set_item("key", key)?;
    shown.set_item("version", letter.version)?;
    shown.set_item("policy_version", letter.policy_version)?;
    shown.set_item("record", PyBytes::new(py, &letter.record))?;
    Ok(shown)
}
