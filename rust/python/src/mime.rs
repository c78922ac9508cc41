//! Composing for Python: texts in, the octets of a message out.

use postalynk_mime::{Composed, Draft, Error, Field, Mailbox, Origin, Reason, parse_mailbox};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;

use crate::error::MessageError;

type Attachment = (PyBackedStr, PyBackedStr, PyBackedStr, PyBackedBytes);

/// What Python handed over, still in its own buffers.
struct Parts<'a> {
    from: &'a str,
    to: &'a [PyBackedStr],
    cc: &'a [PyBackedStr],
    reply_to: &'a [PyBackedStr],
    subject: &'a str,
    text: Option<&'a str>,
    html: Option<&'a str>,
    calendar: Option<(&'a str, &'a str)>,
    headers: &'a [(PyBackedStr, PyBackedStr)],
    attachments: &'a [Attachment],
    auto_text: bool,
    message_id: &'a str,
    date_s: u64,
    seed: u64,
}

/// (message, octets of its header fields, needs SMTPUTF8).
#[pyfunction]
#[pyo3(signature = (*, from_, to, cc, reply_to, subject, text, html, calendar, headers, attachments,
                    auto_text, message_id, date_s, seed))]
#[allow(
    clippy::too_many_arguments,
    reason = "the fields of a message, each passed by name and none of them built in Python first"
)]
pub(crate) fn mime_compose<'py>(
    py: Python<'py>,
    from_: &str,
    to: Vec<PyBackedStr>,
    cc: Vec<PyBackedStr>,
    reply_to: Vec<PyBackedStr>,
    subject: &str,
    text: Option<&str>,
    html: Option<&str>,
    calendar: Option<(PyBackedStr, PyBackedStr)>,
    headers: Vec<(PyBackedStr, PyBackedStr)>,
    attachments: Vec<Attachment>,
    auto_text: bool,
    message_id: &str,
    date_s: u64,
    seed: u64,
) -> PyResult<(Bound<'py, PyBytes>, usize, bool)> {
    let parts = Parts {
        from: from_,
        to: &to,
        cc: &cc,
        reply_to: &reply_to,
        subject,
        text,
        html,
        calendar: calendar
            .as_ref()
            .map(|(method, object)| (&**method, &**object)),
        headers: &headers,
        attachments: &attachments,
        auto_text,
        message_id,
        date_s,
        seed,
    };
    let composed = py
        .detach(|| parts.compose())
        .map_err(|error| MessageError::new_err(error.to_string()))?;
    let message = PyBytes::new(py, &composed.bytes);
    Ok((message, composed.header_len, composed.needs_smtputf8))
}

impl Parts<'_> {
    fn compose(&self) -> Result<Composed, Error> {
        let from = mailbox(self.from, Field::From)?;
        let [to, cc, reply_to] = [
            mailboxes(self.to, Field::To)?,
            mailboxes(self.cc, Field::Cc)?,
            mailboxes(self.reply_to, Field::ReplyTo)?,
        ];
        let mut draft = Draft::new(Origin {
            from_name: from.name(),
            from_address: from.address().as_str(),
            message_id: self.message_id,
            date_s: self.date_s,
            seed: self.seed,
        })?;
        for mailbox in &to {
            draft.to(mailbox.name(), mailbox.address().as_str())?;
        }
        for mailbox in &cc {
            draft.cc(mailbox.name(), mailbox.address().as_str())?;
        }
        for mailbox in &reply_to {
            draft.reply_to(mailbox.name(), mailbox.address().as_str())?;
        }
        draft.subject(self.subject)?;
        if let Some(text) = self.text {
            draft.text(text.as_bytes())?;
        }
        if let Some(html) = self.html {
            draft.html(html.as_bytes())?;
        }
        if self.auto_text {
            draft.auto_text();
        }
        if let Some((method, object)) = self.calendar {
            draft.calendar(method, object.as_bytes())?;
        }
        for (name, value) in self.headers {
            draft.header(name, value)?;
        }
        for (filename, content_type, content_id, content) in self.attachments {
            draft.attach(filename, content_type, content_id, content)?;
        }
        Ok(draft.compose())
    }
}

fn mailbox(text: &str, field: Field) -> Result<Mailbox<'_>, Error> {
    parse_mailbox(text).map_err(|error| Error {
        field,
        reason: Reason::Address(error),
    })
}

fn mailboxes(texts: &[PyBackedStr], field: fn(usize) -> Field) -> Result<Vec<Mailbox<'_>>, Error> {
    let numbered = texts.iter().enumerate();
    numbered.map(|(n, text)| mailbox(text, field(n))).collect()
}
