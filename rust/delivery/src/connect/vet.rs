//! Hosts and certificates held against what is demanded, and counted for the report.

use std::net::IpAddr;

use postalynk_smtp::StartTls;

use super::{Attempt, Failure, Session, Trouble, failed};
use crate::classify::Class;
use crate::clock;
use crate::host::{Host, HostRefused, is_reported};
use crate::shard::Shard;
use crate::tls::report::Detail;
use crate::tls::{Problem, ResultType, check};

/// Keeps the addresses that a source with this address can reach.
pub(super) fn reachable(
    from: Option<IpAddr>,
    name: &str,
    mut host: Host,
) -> Result<Host, HostRefused> {
    if let Some(from) = from {
        host.ips.retain(|ip| ip.is_ipv4() == from.is_ipv4());
    }
    if !host.ips.is_empty() {
        return Ok(host);
    }
    Err(HostRefused {
        phase: "dns",
        class: Class::Dns,
        reason: format!("{name} has no address that the source can reach"),
        label: "",
        result: None,
    })
}

/// A host that was not connected to.
pub(super) fn not_tried(
    shard: &Shard,
    from: Option<IpAddr>,
    name: &str,
    refused: HostRefused,
) -> Failure {
    if let Some((result_type, policy)) = refused.result.as_deref() {
        let detail = Detail {
            result_type: *result_type,
            sending_mta_ip: from.map(|ip| ip.to_string()).unwrap_or_default(),
            receiving_mx_hostname: name.to_owned(),
            receiving_ip: String::new(),
            failure_reason_code: refused.reason.clone(),
        };
        let reports = &shard.links.shared.reports;
        reports.failed(policy, detail, clock::wall_us());
    }
    Failure {
        tls_policy: refused.label,
        ..failed(refused.phase, refused.class, refused.reason, name)
    }
}

/// The handshake came to nothing.
pub(super) fn broken(text: String) -> Trouble {
    Trouble::Tls(Problem {
        result: ResultType::ValidationFailure,
        text,
    })
}

impl Attempt<'_> {
    /// Whether the certificates meet the demand, before any mail is spoken of.
    pub(super) fn check(&self, session: &Session) -> Result<bool, Problem> {
        let demand = &self.host.demand;
        let names: Vec<&str> = self.host.names.iter().map(String::as_str).collect();
        let shown = session.driver.stream.certificates();
        let roots = &self.shard.links.shared.roots;
        match check(
            &demand.check,
            shown,
            &names,
            roots,
            clock::certificate_time(),
        ) {
            Err(problem) if demand.must_pass => Err(problem),
            Err(problem) => {
                self.count_failure(problem.result, &problem.text);
                Ok(false)
            }
            Ok(()) => Ok(true),
        }
    }

    /// A greeted session, for the report: it met the policy, or TLS was not to be had.
    pub(super) fn count(&self, session: &Session, wanted: StartTls) {
        if !session.tls.is_empty() {
            // Where it is not met that was counted when it was found.
            if session.is_policy_met && is_reported(&self.path.destination.borrow()) {
                let reports = &self.shard.links.shared.reports;
                reports.succeeded(&self.host.policy, clock::wall_us());
            }
        } else if wanted != StartTls::Never {
            self.count_failure(ResultType::StarttlsNotSupported, &session.tls_refused);
        }
    }

    pub(super) fn count_failure(&self, result_type: ResultType, text: &str) {
        if !is_reported(&self.path.destination.borrow()) {
            return;
        }
        let from = self.source.ip;
        let detail = Detail {
            result_type,
            sending_mta_ip: from.map(|ip| ip.to_string()).unwrap_or_default(),
            receiving_mx_hostname: self.mx.to_string(),
            receiving_ip: self.peer.ip().to_string(),
            failure_reason_code: text.to_owned(),
        };
        let reports = &self.shard.links.shared.reports;
        reports.failed(&self.host.policy, detail, clock::wall_us());
    }
}
