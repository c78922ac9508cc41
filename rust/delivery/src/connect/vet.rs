//! Hosts and certificates held against what is demanded, and counted for the report.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postalynk_smtp::StartTls;
use postalynk_smtp::server::Credentials;

use super::{Attempt, Failure, Session, Trouble, failed, is_login_wanted};
use crate::classify::Class;
use crate::clock;
use crate::driver::Step;
use crate::host::{Host, HostRefused, is_reported};
use crate::shard::Shard;
use crate::tls::report::Detail;
use crate::tls::{Check, Problem, ResultType, TlsWish, check};

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
        for_good: None,
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
    if !refused.label.is_empty() {
        let metrics = &shard.links.shared.metrics;
        metrics.tls("not_tried", "", refused.label);
    }
    Failure {
        tls_policy: refused.label,
        for_good: refused.for_good,
        ..failed(refused.phase, refused.class, refused.reason, name)
    }
}

/// The handshake came to nothing.
pub(super) fn broken(text: String) -> Trouble {
    Trouble::Tls(Problem {
        result: ResultType::ValidationFailure,
        text,
        is_passing: true,
    })
}

/// Time for QUIT to be answered.
const GOODBYE: Duration = Duration::from_secs(5);

/// Says QUIT to a host that gets no mail from us now.
pub(super) async fn leave(session: &mut Session) {
    session.driver.client.quit();
    let until = clock::now() + GOODBYE;
    while !session.driver.client.is_closed() {
        match session.driver.step(pending(), Some(until)).await {
            Step::Received | Step::Wrote | Step::Woken => {}
            Step::TimedOut(_) | Step::Elapsed | Step::Ended | Step::Broke(_) => return,
        }
    }
}

impl Attempt<'_> {
    /// Whether CHUNKING may be used with this host for this domain.
    pub(super) fn may_chunk(&self) -> bool {
        let of_domain = self.path.destination.borrow().chunking;
        of_domain.unwrap_or(self.path.site.limits.get().chunking)
    }

    /// What we prove ourselves with here.
    pub(super) fn login(&self) -> Option<Arc<Credentials>> {
        let is_wanted = is_login_wanted(self.shard, &self.path.destination.borrow().hosts);
        let login = self.shard.links.shared.login.as_ref();
        login.filter(|_| is_wanted).map(Arc::clone)
    }

    /// The login has begun: it comes right after the EHLO that TLS made anew.
    pub(super) fn is_logging_in(&self, session: &Session) -> bool {
        let is_greeted = session.driver.client.capabilities().extended;
        is_greeted && !session.tls.is_empty() && self.login().is_some()
    }

    /// Whether the host may have the path's mail: REQUIRETLS where that wants it (RFC 8689).
    pub(super) fn is_promised(&self, session: &Session) -> bool {
        let wish = self.path.destination.borrow().wish;
        wish != TlsWish::Required || session.driver.client.capabilities().require_tls
    }

    /// Counts a connection by what TLS came to.
    pub(super) fn note_tls(&self, result: &'static str, version: &str) {
        let metrics = &self.shard.links.shared.metrics;
        metrics.tls(result, version, self.host.demand.label);
    }

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
        let result = match (session.tls.is_empty(), session.is_policy_met) {
            (true, _) => "plaintext",
            (false, false) => "untrusted",
            (false, true) if self.host.demand.check == Check::Nothing => "encrypted",
            (false, true) => "verified",
        };
        let version = session.tls.split(' ').next().unwrap_or_default();
        self.note_tls(result, version);
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
