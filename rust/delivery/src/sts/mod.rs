//! MTA-STS policies of domains: announced in DNS, fetched over HTTPS, kept (RFC 8461).
//!
//! **Problem.** A policy protects only if an attacker cannot make us forget it: it must outlive failed
//! fetches, missing TXT records and our own restarts.
//! **Model.** A policy is kept until its `max_age` is over, in memory and as a file. It is fetched when
//! the TXT record names another id, and again after a day to renew its life (section 3.3). A failed
//! fetch leaves the old policy in force and is not repeated for [`AGAIN_S`].
//! **Format.** A file per domain: id and time of fetching on the first line, the policy below it.
//! **Bounds.** [`MOST`] domains; beyond it policies are used and not kept.
//! **Law `kept_until_max_age`.** A policy seen once is found at every instant of its life, whatever
//! later answers fail, across a restart.

mod fetch;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postalynk_dns::{Resolver, StsPolicy, sts_id};

use crate::tls::Roots;

pub(crate) use fetch::{FetchError, Fetcher};

const MOST: usize = 50_000;
/// A policy older than this is fetched again, if only to know that it still stands.
const RENEW_S: u64 = 86_400;
/// No second try within this.
const AGAIN_S: u64 = 300;

/// The policy a domain serves now, as the engine would get it, kept nowhere. Blocks, for a minute at
/// most. `ips` are those of its policy host; `ca_file` has authorities beside Mozilla's (empty: none).
///
/// # Errors
/// What senders get instead of a policy, in words.
pub fn fetch_sts_policy(
    domain: &str,
    ips: &[IpAddr],
    ca_file: &Path,
    port: u16,
) -> Result<StsPolicy, String> {
    let roots = Roots::load(ca_file).map_err(|error| error.to_string())?;
    let fetcher = Fetcher::new(roots, port).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let host = format!("mta-sts.{domain}");
    let fetched = runtime.block_on(fetcher.fetch(&host, ips));
    fetched.map_err(|error| error.text)
}

/// A policy and where its life stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    id: String,
    fetched_at_s: u64,
    policy: Arc<StsPolicy>,
}

impl Kept {
    fn is_alive(&self, now_s: u64) -> bool {
        now_s < self.fetched_at_s.saturating_add(self.policy.max_age_s)
    }
}

/// See the module. Belongs to the resolver's thread.
pub(crate) struct StsPolicies {
    /// Empty: memory only.
    directory: PathBuf,
    kept: RefCell<HashMap<String, Kept>>,
    /// Domains whose last fetch failed, and when.
    failed_at_s: RefCell<HashMap<String, u64>>,
}

impl StsPolicies {
    /// Reads what earlier processes kept, and drops what is over.
    pub(crate) fn open(directory: &Path, now_s: u64) -> std::io::Result<Self> {
        let mut kept = HashMap::new();
        if !directory.as_os_str().is_empty() {
            fs::create_dir_all(directory)?;
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                let policy = fs::read_to_string(&path).ok().and_then(|text| read(&text));
                match (name, policy) {
                    (Some(domain), Some(policy)) if policy.is_alive(now_s) => {
                        kept.insert(domain.to_owned(), policy);
                    }
                    // Over, or half written: either way of no use.
                    _ => drop(fs::remove_file(&path)),
                }
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            kept: RefCell::new(kept),
            failed_at_s: RefCell::default(),
        })
    }

    /// The policy in force for a domain, and what went wrong if it could not be renewed.
    pub(crate) async fn of(
        &self,
        domain: &str,
        (resolver, fetcher): (&Resolver, &Fetcher),
        now_s: u64,
    ) -> (Option<Arc<StsPolicy>>, Option<FetchError>) {
        let kept = self
            .kept
            .borrow()
            .get(domain)
            .filter(|k| k.is_alive(now_s))
            .cloned();
        let texts = resolver.texts(&format!("_mta-sts.{domain}")).await;
        let announced = texts.ok().and_then(|texts| sts_id(&texts));
        let Some(id) = announced else {
            return (kept.map(|kept| kept.policy), None);
        };
        let is_current = kept
            .as_ref()
            .is_some_and(|kept| kept.id == id && now_s < kept.fetched_at_s.saturating_add(RENEW_S));
        let has_just_failed = self
            .failed_at_s
            .borrow()
            .get(domain)
            .is_some_and(|at| now_s < at + AGAIN_S);
        if is_current || has_just_failed {
            return (kept.map(|kept| kept.policy), None);
        }
        let host = format!("mta-sts.{domain}");
        let ips = resolver.addresses(&host).await;
        let ips = ips.map(|found| found.ips.clone()).unwrap_or_default();
        match fetcher.fetch(&host, &ips).await {
            Ok(policy) => (Some(self.keep(domain, id, policy, now_s)), None),
            Err(error) => {
                self.note_failure(domain, now_s);
                (kept.map(|kept| kept.policy), Some(error))
            }
        }
    }

    fn keep(&self, domain: &str, id: String, policy: StsPolicy, now_s: u64) -> Arc<StsPolicy> {
        let policy = Arc::new(policy);
        self.failed_at_s.borrow_mut().remove(domain);
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= MOST {
            kept.retain(|_, kept| kept.is_alive(now_s));
        }
        if kept.len() >= MOST && !kept.contains_key(domain) {
            return policy;
        }
        let entry = Kept {
            id,
            fetched_at_s: now_s,
            policy: Arc::clone(&policy),
        };
        // A disk that is full costs the policy's survival, not the mail.
        let _ = self.write(domain, &entry);
        kept.insert(domain.to_owned(), entry);
        policy
    }

    fn note_failure(&self, domain: &str, now_s: u64) {
        let mut failed = self.failed_at_s.borrow_mut();
        if failed.len() >= MOST {
            failed.clear();
        }
        failed.insert(domain.to_owned(), now_s);
    }

    fn write(&self, domain: &str, kept: &Kept) -> std::io::Result<()> {
        if self.directory.as_os_str().is_empty() {
            return Ok(());
        }
        let file = self.directory.join(domain);
        // Not a name that DNS gives: begins with a dot.
        let new = self.directory.join(format!(".{domain}"));
        let text = format!("{} {}\n{}", kept.id, kept.fetched_at_s, kept.policy);
        fs::write(&new, text)?;
        fs::rename(&new, file)
    }
}

fn read(text: &str) -> Option<Kept> {
    let (head, policy) = text.split_once('\n')?;
    let (id, fetched_at_s) = head.split_once(' ')?;
    Some(Kept {
        id: id.to_owned(),
        fetched_at_s: fetched_at_s.parse().ok()?,
        policy: Arc::new(StsPolicy::parse(policy).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use postalynk_dns::StsMode;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Law `kept_until_max_age`, for the part without a network: what was kept is found after a
        /// restart while it lives, and not a second longer.
        #[test]
        fn law_kept_until_max_age(max_age_s in 1u64..1_000_000, later_s in 0u64..2_000_000) {
            let directory = tempfile::tempdir().expect("a directory");
            let policies = StsPolicies::open(directory.path(), 1_000).expect("opens");
            let policy = StsPolicy { mode: StsMode::Enforce, max_age_s, mx: vec!["mx.example".into()] };
            policies.keep("example.com", "id1".into(), policy.clone(), 1_000);
            let again = StsPolicies::open(directory.path(), 1_000 + later_s).expect("opens");
            let kept = again.kept.borrow().get("example.com").map(|kept| (*kept.policy).clone());
            prop_assert_eq!(kept, (later_s < max_age_s).then_some(policy));
        }
    }

    #[test]
    fn half_a_file_is_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(
            directory.path().join("example.com"),
            "id1 1000\nversion: STS",
        )
        .expect("written");
        let policies = StsPolicies::open(directory.path(), 1_000).expect("opens");
        assert!(policies.kept.borrow().is_empty());
        assert!(!directory.path().join("example.com").exists());
    }
}
