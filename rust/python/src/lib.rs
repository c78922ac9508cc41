//! `postalynk._engine`: the extension module. A table of contents; every function converts, lets
//! the GIL go where it can block, and forwards. Documentation is in `_engine.pyi`.

mod address;
mod audit;
mod batch;
mod codec;
mod engine;
mod error;
mod events;
mod keys;
mod limits;
mod memory;
mod mime;
mod multibuffer;
mod outcomes;
mod queue;
mod reports;
mod route;
mod routing;
mod signer;
mod sink;
mod sts;
mod submission;
mod submission_batch;
mod template;
mod views;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<audit::Audit>()?;
    module.add_class::<batch::RecordBatch>()?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<events::EventColumns>()?;
    module.add_class::<limits::TokenBucket>()?;
    module.add_class::<outcomes::Failure>()?;
    module.add_class::<outcomes::OutcomeBatch>()?;
    module.add_class::<views::Delivery>()?;
    module.add_class::<views::Organization>()?;
    module.add_class::<views::Recipient>()?;
    module.add_class::<views::RouteBatch>()?;
    module.add_class::<queue::EmbeddedQueue>()?;
    module.add_class::<queue::EmbeddedConsumer>()?;
    module.add_class::<signer::DkimSigner>()?;
    module.add_class::<multibuffer::SigningLanes>()?;
    module.add_class::<sink::DelayProxy>()?;
    module.add_class::<sink::Sink>()?;
    module.add_class::<submission::Submission>()?;
    module.add_class::<submission::SubmissionLogin>()?;
    module.add_class::<submission_batch::JudgedSubmissions>()?;
    module.add_class::<submission_batch::SubmissionBatch>()?;
    module.add_class::<submission_batch::SubmissionRules>()?;
    module.add_class::<submission::SubmittedMessage>()?;
    module.add_class::<template::Template>()?;
    module.add_class::<waiting::Timers>()?;
    module.add_function(wrap_pyfunction!(address::check_calendar_method, module)?)?;
    module.add_function(wrap_pyfunction!(address::check_header, module)?)?;
    module.add_function(wrap_pyfunction!(address::holds_nul, module)?)?;
    module.add_function(wrap_pyfunction!(address::parse_address, module)?)?;
    module.add_function(wrap_pyfunction!(address::parse_mailbox, module)?)?;
    module.add_function(wrap_pyfunction!(batch::topics, module)?)?;
    module.add_function(wrap_pyfunction!(codec::decode_accepted, module)?)?;
    module.add_function(wrap_pyfunction!(codec::decode_dead_letter, module)?)?;
    module.add_function(wrap_pyfunction!(codec::encode_dead_letter, module)?)?;
    module.add_function(wrap_pyfunction!(codec::encode_messages, module)?)?;
    module.add_function(wrap_pyfunction!(codec::new_message_id, module)?)?;
    module.add_function(wrap_pyfunction!(codec::partition_of, module)?)?;
    module.add_function(wrap_pyfunction!(codec::partitions_of, module)?)?;
    module.add_function(wrap_pyfunction!(routing::providers, module)?)?;
    module.add_function(wrap_pyfunction!(routing::routing_records, module)?)?;
    module.add_function(wrap_pyfunction!(limits::path_limits, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory_enter, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory_leave, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory_watch, module)?)?;
    module.add_function(wrap_pyfunction!(reports::tlsrpt_rua, module)?)?;
    module.add_function(wrap_pyfunction!(keys::dkim_generate, module)?)?;
    module.add_function(wrap_pyfunction!(keys::dkim_publishes, module)?)?;
    module.add_function(wrap_pyfunction!(keys::dkim_record, module)?)?;
    module.add_function(wrap_pyfunction!(keys::dkim_sign, module)?)?;
    module.add_function(wrap_pyfunction!(mime::mime_compose, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::encode_deferral, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::encode_event, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::encode_scheduled, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::waiting, module)?)?;
    module.add_function(wrap_pyfunction!(sts::fetch_sts_policy, module)?)?;
    Ok(())
}
