//! A batch of SMTP in: judged whole without the GIL, and what is left of it for Python.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use postalynk_record::{EVENTS, MessageId, send_topic};
use postalynk_submission::{Domain, Judged, Message, Organization, Request, Rules, judge};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::codec::in_doubt;
use crate::outcomes::AppendTuple;
use crate::submission::{SubmissionLogin, SubmittedMessage, submitted};

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct SubmissionRules {
    rules: Rules,
}

#[pymethods]
impl SubmissionRules {
    #[new]
    #[pyo3(signature = (*, organizations, keys, domains, host, partitions))]
    fn new(
        organizations: Vec<(String, String, String, u32)>,
        keys: HashSet<String>,
        domains: Vec<(String, String, bool)>,
        host: String,
        partitions: u32,
    ) -> PyResult<Self> {
        let organization = |(id, plan, wish, salt): (String, String, String, u32)| {
            let in_doubt = in_doubt(&wish)?;
            let organization = Organization {
                plan,
                in_doubt,
                salt,
            };
            Ok((id, organization))
        };
        let domain = |(name, org, is_signing)| (name, Domain { org, is_signing });
        let organizations = organizations.into_iter().map(organization);
        Ok(Self {
            rules: Rules {
                organizations: organizations.collect::<PyResult<_>>()?,
                keys,
                domains: domains.into_iter().map(domain).collect(),
                host,
                partitions,
            },
        })
    }
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct SubmissionBatch {
    #[pyo3(get)]
    logins: Vec<Py<SubmissionLogin>>,
    messages: Vec<(u64, Box<Message>)>,
}

impl SubmissionBatch {
    pub(crate) fn of(py: Python<'_>, requests: Vec<Request>) -> PyResult<Self> {
        let (mut logins, mut messages) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Request::Login(id, credentials) => {
                    let login = SubmissionLogin {
                        id,
                        username: credentials.username,
                        password: credentials.password,
                    };
                    logins.push(Py::new(py, login)?);
                }
                Request::Message(id, message) => messages.push((id, message)),
            }
        }
        Ok(Self { logins, messages })
    }
}

#[pymethods]
impl SubmissionBatch {
    #[getter]
    fn orgs(&self) -> BTreeSet<&str> {
        let orgs = self.messages.iter().map(|(_, m)| m.account.org.as_str());
        orgs.collect()
    }

    #[getter]
    fn request_ids(&self) -> Vec<u64> {
        self.messages.iter().map(|(id, _)| *id).collect()
    }

    fn judge(
        &self,
        py: Python<'_>,
        rules: &SubmissionRules,
        now_us: u64,
        apart: HashSet<String>,
    ) -> PyResult<JudgedSubmissions> {
        let mut random = vec![[0; 10]; self.messages.len()];
        getrandom::fill(random.as_flattened_mut())
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let verdicts: Vec<Option<Judged>> = py.detach(|| {
            let messages = self.messages.iter().zip(random);
            let verdict = |((_, message), random): (&(u64, Box<Message>), [u8; 10])| {
                let id = MessageId::new(now_us / 1_000, random);
                let is_apart = apart.contains(&message.account.org);
                if is_apart {
                    None
                } else {
                    judge(message, &rules.rules, now_us, id)
                }
            };
            messages.map(verdict).collect()
        });
        let mut judged = JudgedSubmissions::default();
        for ((request, message), verdict) in self.messages.iter().zip(verdicts) {
            match verdict {
                Some(verdict) => judged.add(py, *request, &verdict),
                None => judged
                    .apart
                    .push(Py::new(py, submitted(py, *request, message))?),
            }
        }
        Ok(judged)
    }
}

/// See the stub.
#[pyclass(frozen)]
#[derive(Default)]
pub(crate) struct JudgedSubmissions {
    pub(crate) requests: Vec<(u64, MessageId)>,
    appends: Vec<AppendTuple>,
    lanes: Vec<&'static str>,
    apart: Vec<Py<SubmittedMessage>>,
}

impl JudgedSubmissions {
    fn add(&mut self, py: Python<'_>, request: u64, judged: &Judged) {
        let value = |bytes: &Bytes| Some(PyBytes::new(py, bytes).unbind());
        let (topic, partition) = (send_topic(judged.lane), judged.partition);
        self.requests.push((request, judged.id));
        self.appends
            .push((topic, partition, None, value(&judged.record)));
        self.appends
            .push((EVENTS, partition, None, value(&judged.event)));
        self.lanes
            .push(topic.rsplit('.').next().unwrap_or_default());
    }
}

#[pymethods]
impl JudgedSubmissions {
    #[getter]
    fn appends(&self, py: Python<'_>) -> Vec<AppendTuple> {
        let shared = |value: &Option<Py<PyBytes>>| value.as_ref().map(|value| value.clone_ref(py));
        let append = |(topic, partition, key, value): &AppendTuple| {
            (*topic, *partition, shared(key), shared(value))
        };
        self.appends.iter().map(append).collect()
    }

    #[getter]
    fn lanes(&self) -> Vec<&'static str> {
        self.lanes.clone()
    }

    #[getter]
    fn accepted(&self, py: Python<'_>) -> Vec<(Py<PyBytes>, Py<PyBytes>)> {
        let events = self.appends.iter().skip(1).step_by(2);
        let pair = |((_, id), append): (&(u64, MessageId), &AppendTuple)| {
            let event = append.3.as_ref()?.clone_ref(py);
            Some((PyBytes::new(py, id.as_bytes()).unbind(), event))
        };
        self.requests.iter().zip(events).filter_map(pair).collect()
    }

    #[getter]
    fn apart(&self, py: Python<'_>) -> Vec<Py<SubmittedMessage>> {
        self.apart
            .iter()
            .map(|message| message.clone_ref(py))
            .collect()
    }
}
