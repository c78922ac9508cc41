//! The testkit's receiver and its delay proxy for Python.

use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use postalynk_testkit::{Certificate, DelayProxy as TestProxy, Provider, Received, Rule, Script};
use postalynk_testkit::{Sink as TestSink, SinkOptions, Step, TlsFault};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::engine_error;

/// (step, matching, skip, times, delay_ms, action, text); see the stub.
type RuleTuple = (String, String, u64, u64, u64, String, String);

/// (message id, reverse path, recipients, parameters, EHLO name, reply code).
type ReceivedTuple = (String, String, Vec<String>, Vec<String>, String, u16);

fn address(text: &str) -> PyResult<SocketAddr> {
    text.parse()
        .map_err(|_| PyValueError::new_err(format!("{text:?} is no address:port")))
}

fn step(name: &str) -> PyResult<Step> {
    Ok(match name {
        "banner" => Step::Banner,
        "ehlo" => Step::Ehlo,
        "starttls" => Step::StartTls,
        "mail" => Step::Mail,
        "rcpt" => Step::Rcpt,
        "data" => Step::Data,
        "dot" => Step::FinalDot,
        "rset" => Step::Rset,
        "quit" => Step::Quit,
        _ => return Err(PyValueError::new_err(format!("no step {name:?}"))),
    })
}

fn rule((at, matching, skip, times, delay_ms, action, text): RuleTuple) -> PyResult<Rule> {
    let rule = Rule::at(step(&at)?).matching(&matching).skip(skip);
    let rule = if times == 0 { rule } else { rule.times(times) };
    let rule = rule.after(Duration::from_millis(delay_ms));
    Ok(match action.as_str() {
        "behave" => rule,
        "reply" => rule.reply(&text),
        "raw" => rule.raw(text.as_bytes()),
        "close" => rule.close(),
        "reset" => rule.reset(),
        _ => return Err(PyValueError::new_err(format!("no action {action:?}"))),
    })
}

/// With what is wrong about its TLS.
fn faulty(options: SinkOptions, fault: &str) -> PyResult<SinkOptions> {
    let names = ["sink.test", "localhost"];
    Ok(match fault {
        "" => options,
        "expired" => SinkOptions {
            certificate: Some(Certificate::expired(&names).map_err(engine_error)?),
            ..options
        },
        name => SinkOptions {
            starttls: true,
            tls_fault: Some(
                TlsFault::named(name)
                    .ok_or_else(|| PyValueError::new_err(format!("no TLS fault {name:?}")))?,
            ),
            ..options
        },
    })
}

fn received(received: Received) -> ReceivedTuple {
    (
        received.message_id,
        received.reverse_path,
        received.recipients,
        received.parameters,
        received.ehlo,
        received.reply_code.unwrap_or(0),
    )
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct Sink {
    sink: Mutex<Option<TestSink>>,
    address: SocketAddr,
}

#[pymethods]
impl Sink {
    #[new]
    #[pyo3(signature = (
        listen = "127.0.0.1:0", *, ledger = None, provider = "", rules = Vec::new(),
        chunking = false, starttls = false, pipelining = true, tls_fault = "",
    ))]
    #[allow(
        clippy::too_many_arguments,
        reason = "keyword arguments, one an option"
    )]
    fn new(
        listen: &str,
        ledger: Option<String>,
        provider: &str,
        rules: Vec<RuleTuple>,
        chunking: bool,
        starttls: bool,
        pipelining: bool,
        tls_fault: &str,
    ) -> PyResult<Self> {
        let rules: PyResult<Vec<_>> = rules.into_iter().map(rule).collect();
        let script = rules?.into_iter().fold(Script::new(), Script::with);
        let base = match provider {
            "" => SinkOptions {
                script,
                chunking,
                starttls,
                ..SinkOptions::default()
            },
            name => Provider::named(name)
                .ok_or_else(|| PyValueError::new_err(format!("no provider {name:?}")))?
                .options(script),
        };
        let options = SinkOptions {
            ledger: ledger.map(Into::into),
            pipelining,
            ..base
        };
        let options = faulty(options, tls_fault)?;
        let sink = TestSink::start(address(listen)?, options).map_err(engine_error)?;
        Ok(Self {
            address: sink.address(),
            sink: Mutex::new(Some(sink)),
        })
    }

    #[getter]
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn received(&self) -> u64 {
        self.sink
            .lock()
            .as_ref()
            .map_or(0, |sink| sink.counts().messages)
    }

    fn messages(&self) -> Vec<ReceivedTuple> {
        let sink = self.sink.lock();
        let found = sink.as_ref().map(TestSink::received).unwrap_or_default();
        found.into_iter().map(received).collect()
    }

    fn stop(&self, py: Python<'_>) {
        let sink = self.sink.lock().take();
        py.detach(|| drop(sink));
    }
}

/// See the stub.
#[pyclass(frozen)]
pub(crate) struct DelayProxy {
    proxy: Mutex<Option<TestProxy>>,
    address: SocketAddr,
}

#[pymethods]
impl DelayProxy {
    #[new]
    #[pyo3(signature = (target, *, round_trip_ms, listen = "127.0.0.1:0"))]
    fn new(target: &str, round_trip_ms: u64, listen: &str) -> PyResult<Self> {
        let round_trip = Duration::from_millis(round_trip_ms);
        let proxy = TestProxy::start(address(listen)?, address(target)?, round_trip);
        let proxy = proxy.map_err(engine_error)?;
        Ok(Self {
            address: proxy.address(),
            proxy: Mutex::new(Some(proxy)),
        })
    }

    #[getter]
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn stop(&self, py: Python<'_>) {
        let proxy = self.proxy.lock().take();
        py.detach(|| drop(proxy));
    }
}
