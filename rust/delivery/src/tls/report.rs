//! What TLS sessions with each domain came to (RFC 8460), counted for the daily report.
//!
//! **Model.** By UTC day, policy domain and the policy that was found: sessions that met it and
//! sessions that did not, these by reason and host. A session counts for the domain whose mail opened
//! the connection. The counts are plain data; they survive a restart in one JSON file beside the
//! journal, which the resolver's thread writes every minute when something was counted, so a crash
//! costs the sessions of a minute.
//! **Bounds.** [`MOST_POLICIES`] a day, [`MOST_DETAILS`] kinds of failure each; what is over is counted
//! in the totals only. [`DAYS_KEPT`] days.
//! **Law `counts_add_up`.** Failed sessions of a policy are the sum of its details and what was over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Release};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

const MOST_POLICIES: usize = 50_000;
const MOST_DETAILS: usize = 100;
/// Yesterday is reported today; one more for a machine that was off.
const DAYS_KEPT: u64 = 3;
const DAY_S: u64 = 86_400;

/// Result types of RFC 8460 section 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ResultType {
    StarttlsNotSupported,
    CertificateHostMismatch,
    CertificateExpired,
    CertificateNotTrusted,
    ValidationFailure,
    DnssecInvalid,
    StsPolicyFetchError,
    StsPolicyInvalid,
    StsWebpkiInvalid,
}

/// The policy sessions were held to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PolicyFound {
    /// `tlsa`, `sts` or `no-policy-found`.
    pub(crate) policy_type: String,
    /// Lines of the STS policy, or the TLSA records.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) policy_string: Vec<String>,
    pub(crate) policy_domain: String,
    /// MX patterns of an STS policy.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) mx_host: Vec<String>,
}

/// One way sessions failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Detail {
    pub(crate) result_type: ResultType,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) sending_mta_ip: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) receiving_mx_hostname: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) receiving_ip: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) failure_reason_code: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    successful: u64,
    failed: u64,
    details: BTreeMap<Detail, u64>,
}

type Days = BTreeMap<u64, BTreeMap<PolicyFound, Tally>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    days: Mutex<Days>,
    file: PathBuf,
    /// Something was counted since it was written.
    is_changed: AtomicBool,
}

#[derive(Serialize, Deserialize)]
struct Counted {
    #[serde(flatten)]
    detail: Detail,
    #[serde(rename = "failed-session-count")]
    count: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    total_successful_session_count: u64,
    total_failure_session_count: u64,
}

/// An element of `policies` (RFC 8460 section 4.4).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    policy: PolicyFound,
    summary: Summary,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    failure_details: Vec<Counted>,
}

/// The UTC day of an instant, in days since the Unix epoch.
pub(crate) fn day_of(now_us: u64) -> u64 {
    now_us / 1_000_000 / DAY_S
}

impl Reports {
    /// Reads what an earlier process counted; a file that cannot be read begins anew, for counts are
    /// worth less than a start. An empty name: nothing is kept.
    pub(crate) fn open(file: &Path) -> Self {
        let read = || -> Option<Days> {
            let text = std::fs::read(file).ok()?;
            let days: BTreeMap<u64, Vec<Entry>> = serde_json::from_slice(&text).ok()?;
            Some(
                days.into_iter()
                    .map(|(day, entries)| (day, entries.into_iter().map(tally).collect()))
                    .collect(),
            )
        };
        Self {
            days: Mutex::new(read().unwrap_or_default()),
            file: file.to_owned(),
            is_changed: AtomicBool::new(false),
        }
    }

    /// A session that met the policy.
    pub(crate) fn succeeded(&self, policy: &PolicyFound, now_us: u64) {
        self.count(policy, now_us, |tally| tally.successful += 1);
    }

    /// A session that did not.
    pub(crate) fn failed(&self, policy: &PolicyFound, detail: Detail, now_us: u64) {
        self.count(policy, now_us, |tally| {
            tally.failed += 1;
            if tally.details.len() < MOST_DETAILS || tally.details.contains_key(&detail) {
                *tally.details.entry(detail).or_default() += 1;
            }
        });
    }

    fn count(&self, policy: &PolicyFound, now_us: u64, change: impl FnOnce(&mut Tally)) {
        let today = day_of(now_us);
        let mut days = self.days.lock();
        days.retain(|day, _| day + DAYS_KEPT > today);
        let policies = days.entry(today).or_default();
        if policies.len() >= MOST_POLICIES && !policies.contains_key(policy) {
            return;
        }
        change(policies.entry(policy.clone()).or_default());
        self.is_changed.store(true, Release);
    }

    /// A day's counts as a JSON array of RFC 8460's `policies`, sorted by policy.
    pub(crate) fn day(&self, day: u64) -> String {
        let entries: Vec<Entry> = self.days.lock().get(&day).map(entries).unwrap_or_default();
        serde_json::to_string(&entries).unwrap_or_default()
    }

    /// Writes the counts beside the journal, if there are new ones.
    pub(crate) fn save(&self) -> io::Result<()> {
        if self.file.as_os_str().is_empty() || !self.is_changed.swap(false, AcqRel) {
            return Ok(());
        }
        let written = self.write();
        if written.is_err() {
            self.is_changed.store(true, Release);
        }
        written
    }

    fn write(&self) -> io::Result<()> {
        let days: BTreeMap<u64, Vec<Entry>> = self
            .days
            .lock()
            .iter()
            .map(|(day, policies)| (*day, entries(policies)))
            .collect();
        let text = serde_json::to_vec(&days).map_err(io::Error::other)?;
        let new = self.file.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        // The old counts are there until the new ones are on disk.
        file.sync_data()?;
        fs::rename(&new, &self.file)
    }
}

fn entries(policies: &BTreeMap<PolicyFound, Tally>) -> Vec<Entry> {
    let counted = |(detail, count): (&Detail, &u64)| Counted {
        detail: detail.clone(),
        count: *count,
    };
    policies
        .iter()
        .map(|(policy, tally)| Entry {
            policy: policy.clone(),
            summary: Summary {
                total_successful_session_count: tally.successful,
                total_failure_session_count: tally.failed,
            },
            failure_details: tally.details.iter().map(counted).collect(),
        })
        .collect()
}

fn tally(entry: Entry) -> (PolicyFound, Tally) {
    let details = entry.failure_details.into_iter();
    let tally = Tally {
        successful: entry.summary.total_successful_session_count,
        failed: entry.summary.total_failure_session_count,
        details: details
            .map(|counted| (counted.detail, counted.count))
            .collect(),
    };
    (entry.policy, tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(n: u64) -> PolicyFound {
        PolicyFound {
            policy_type: "no-policy-found".into(),
            policy_domain: format!("d{n}.example"),
            ..PolicyFound::default()
        }
    }

    fn detail(n: u64) -> Detail {
        Detail {
            result_type: ResultType::CertificateExpired,
            sending_mta_ip: String::new(),
            receiving_mx_hostname: format!("mx{n}.example"),
            receiving_ip: String::new(),
            failure_reason_code: "x".into(),
        }
    }

    proptest! {
        /// Law `counts_add_up`, across a restart too.
        #[test]
        fn law_counts_add_up(sessions in prop::collection::vec((0u64..3, prop::option::of(0u64..200)), 0..400)) {
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("tls-report.json");
            let now_us = 20_000 * DAY_S * 1_000_000;
            let reports = Reports::open(&file);
            for (domain, failure) in &sessions {
                match failure {
                    Some(mx) => reports.failed(&policy(*domain), detail(*mx), now_us),
                    None => reports.succeeded(&policy(*domain), now_us),
                }
            }
            reports.save().expect("written");
            let again = Reports::open(&file);
            prop_assert_eq!(again.day(20_000), reports.day(20_000));
            let entries: Vec<Entry> = serde_json::from_str(&again.day(20_000)).expect("JSON");
            let total: u64 = entries.iter().map(|e| e.summary.total_successful_session_count + e.summary.total_failure_session_count).sum();
            prop_assert_eq!(total, sessions.len() as u64);
            for entry in entries {
                let detailed: u64 = entry.failure_details.iter().map(|d| d.count).sum();
                prop_assert!(detailed <= entry.summary.total_failure_session_count);
                prop_assert!(entry.failure_details.len() <= MOST_DETAILS);
            }
        }
    }

    #[test]
    fn old_days_go() {
        let reports = Reports::default();
        reports.succeeded(&policy(1), 0);
        reports.succeeded(&policy(1), DAYS_KEPT * DAY_S * 1_000_000);
        assert_eq!(reports.day(0), "[]");
        assert!(
            reports
                .day(DAYS_KEPT)
                .contains("\"total-successful-session-count\":1")
        );
    }
}
