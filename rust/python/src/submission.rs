//! SMTP in for Python: requests up, answers down.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use postalynk_smtp::server::{Notify, Returns};
use postalynk_submission::{Account, Message, Options, Submission as Inner, Trusted};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::engine_error;
use crate::submission_batch::{JudgedSubmissions, SubmissionBatch};

/// See the stub.
#[pyclass(frozen, get_all)]
pub(crate) struct SubmissionLogin {
    pub(crate) id: u64,
    pub(crate) username: String,
    pub(crate) password: String,
}

/// See the stub.
#[pyclass(frozen, get_all)]
pub(crate) struct SubmittedMessage {
    id: u64,
    org: String,
    key: String,
    reverse_path: String,
    recipients: Vec<String>,
    raw: Py<PyBytes>,
    from_: String,
    to: String,
    cc: String,
    reply_to: String,
    subject: String,
    message_id: String,
    has_date: bool,
    tags: Vec<String>,
    priority: String,
    idempotency_key: String,
    client_name: String,
    client_ip: String,
    protocol: String,
    ret: &'static str,
    envelope_id: String,
    notify: Vec<String>,
    orcpt: Vec<String>,
    require_tls: bool,
    tls_optional: bool,
}

/// As at RCPT; empty: nothing was asked for.
fn notify(notify: Option<Notify>) -> String {
    let Some(notify) = notify else {
        return String::new();
    };
    let wanted = [
        (notify.success, "SUCCESS"),
        (notify.failure, "FAILURE"),
        (notify.delay, "DELAY"),
    ];
    let wanted: Vec<&str> = wanted.iter().filter(|(is, _)| *is).map(|w| w.1).collect();
    if wanted.is_empty() {
        "NEVER".to_owned()
    } else {
        wanted.join(",")
    }
}

pub(crate) fn submitted(py: Python<'_>, id: u64, message: &Message) -> SubmittedMessage {
    let (account, envelope, head) = (&message.account, &message.envelope, &message.head);
    let recipients = envelope.recipients.iter();
    let asked = envelope.recipients.iter();
    let (notify, orcpt) = asked
        .map(|r| (notify(r.notify), r.original.clone().unwrap_or_default()))
        .unzip();
    let head = head.clone();
    SubmittedMessage {
        id,
        org: account.org.clone(),
        key: account.key.clone(),
        reverse_path: envelope.reverse_path.as_str().to_owned(),
        recipients: recipients.map(|r| r.path.as_str().to_owned()).collect(),
        raw: PyBytes::new(py, &head.raw).unbind(),
        from_: head.from,
        to: head.to,
        cc: head.cc,
        reply_to: head.reply_to,
        subject: head.subject,
        message_id: head.message_id,
        has_date: head.has_date,
        tags: head.tags,
        priority: head.priority,
        idempotency_key: head.idempotency_key,
        client_name: message.origin.name.clone(),
        client_ip: message.origin.ip.to_string(),
        protocol: message.origin.protocol.clone(),
        ret: match envelope.returns {
            None => "",
            Some(Returns::Full) => "FULL",
            Some(Returns::Headers) => "HDRS",
        },
        envelope_id: envelope.envelope_id.clone().unwrap_or_default(),
        notify,
        orcpt,
        require_tls: envelope.requires_tls,
        tls_optional: head.is_tls_optional,
    }
}

fn addresses(listen: Vec<String>) -> PyResult<Vec<SocketAddr>> {
    let address = |text: String| {
        text.parse()
            .map_err(|_| PyValueError::new_err(format!("{text:?} is no address:port")))
    };
    listen.into_iter().map(address).collect()
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Submission {
    inner: Inner,
}

#[pymethods]
impl Submission {
    #[new]
    #[pyo3(signature = (
        *, listen, listen_tls, host, certificate, require_tls, max_message_bytes, max_connections,
        max_connections_per_org = 0, trusted_networks = Vec::new(),
    ))]
    #[allow(
        clippy::too_many_arguments,
        reason = "keyword arguments, one a setting"
    )]
    fn new(
        listen: Vec<String>,
        listen_tls: Vec<String>,
        host: String,
        certificate: Option<(PathBuf, PathBuf)>,
        require_tls: bool,
        max_message_bytes: u64,
        max_connections: u64,
        max_connections_per_org: u64,
        trusted_networks: Vec<(String, u8, String)>,
    ) -> PyResult<Self> {
        let trusted = |(network, prefix, org): (String, u8, String)| {
            let network = network
                .parse()
                .map_err(|_| PyValueError::new_err(format!("{network:?} is no address")))?;
            Ok(Trusted {
                network,
                prefix,
                org,
            })
        };
        let trusted: PyResult<Vec<_>> = trusted_networks.into_iter().map(trusted).collect();
        let inner = Inner::bind(Options {
            listen: addresses(listen)?,
            listen_tls: addresses(listen_tls)?,
            host,
            certificate,
            requires_tls: require_tls,
            max_message_bytes,
            max_connections,
            max_connections_per_org,
            trusted: trusted?,
            ..Options::default()
        });
        inner.map(|inner| Self { inner }).map_err(engine_error)
    }

    #[getter]
    fn addresses(&self) -> Vec<String> {
        self.inner
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn open(&self) -> PyResult<()> {
        self.inner.open().map_err(engine_error)
    }

    fn requests(
        &self,
        py: Python<'_>,
        max_requests: usize,
        timeout_ms: u64,
    ) -> PyResult<Option<SubmissionBatch>> {
        let timeout = Duration::from_millis(timeout_ms);
        let taken = py.detach(|| self.inner.requests(max_requests, timeout));
        taken
            .map(|requests| SubmissionBatch::of(py, requests))
            .transpose()
    }

    /// Answers all that were judged in order: 250 with their ids, or with the text.
    #[pyo3(signature = (judged, refusal = None))]
    fn answer_all(&self, py: Python<'_>, judged: &JudgedSubmissions, refusal: Option<&str>) {
        py.detach(|| {
            let answers = judged.requests.iter().map(|(request, id)| {
                let accepted = || format!("250 2.0.0 Accepted as {id}").into();
                (*request, refusal.map_or_else(accepted, Cow::Borrowed))
            });
            self.inner.answer(answers);
        });
    }

    fn admit(&self, request_id: u64, org: String, key: String) {
        self.inner.admit(request_id, Account { org, key });
    }

    fn answer(&self, request_id: u64, text: &str) {
        self.inner.answer([(request_id, text)]);
    }

    fn metrics(&self) -> String {
        self.inner.metrics()
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }
}
