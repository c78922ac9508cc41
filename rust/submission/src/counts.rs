//! What submission counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicU64,
    pub(crate) refused_connections: AtomicU64,
    pub(crate) logins: AtomicU64,
    pub(crate) refused_logins: AtomicU64,
    pub(crate) certificate_loads: AtomicU64,
    pub(crate) certificate_failures: AtomicU64,
    accepted: AtomicU64,
    deferred: AtomicU64,
    refused: AtomicU64,
    accepted_bytes: AtomicU64,
}

impl Counts {
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Relaxed);
    }

    /// A message was answered.
    pub(crate) fn judged(&self, answer: &str, octets: u64) {
        match answer.as_bytes().first() {
            Some(b'2') => {
                Self::add(&self.accepted, 1);
                Self::add(&self.accepted_bytes, octets);
            }
            Some(b'4') => Self::add(&self.deferred, 1),
            _ => Self::add(&self.refused, 1),
        }
    }

    /// Prometheus text (format 0.0.4).
    pub(crate) fn exposition(&self, open: u64) -> String {
        let counters = [
            ("connections", "Connections that came", &self.connections),
            (
                "refused_connections",
                "Connections refused at once: too many of the address or organization",
                &self.refused_connections,
            ),
            ("logins", "Logins that were let in", &self.logins),
            ("refused_logins", "Logins refused", &self.refused_logins),
            ("messages_accepted", "Messages answered 250", &self.accepted),
            ("messages_deferred", "Messages answered 4yz", &self.deferred),
            ("messages_refused", "Messages answered 5yz", &self.refused),
            (
                "accepted_bytes",
                "Octets of those answered 250",
                &self.accepted_bytes,
            ),
            (
                "certificate_loads",
                "Times a changed certificate was taken",
                &self.certificate_loads,
            ),
            (
                "certificate_failures",
                "Times a changed certificate could not be read; the old one stays",
                &self.certificate_failures,
            ),
        ];
        let mut text = format!(
            "# HELP postalynk_submission_open_connections Connections open now.\n\
             # TYPE postalynk_submission_open_connections gauge\n\
             postalynk_submission_open_connections {open}\n"
        );
        for (name, help, counter) in counters {
            let (name, value) = (
                format!("postalynk_submission_{name}_total"),
                counter.load(Relaxed),
            );
            text.push_str(&format!(
                "# HELP {name} {help}.\n# TYPE {name} counter\n{name} {value}\n"
            ));
        }
        text
    }
}
