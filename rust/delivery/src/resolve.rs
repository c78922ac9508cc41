//! The resolver's thread: from domains to destinations, from hosts to addresses.
//!
//! **Model.** One runtime of its own, because hickory's sockets belong to the runtime they were
//! made on. Domains being asked for are asked once; whatever else comes for them waits with the
//! first. At most [`MOST_QUESTIONS`] are open at a time; the others wait their turn.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use postalynk_dns::{Resolver, RouteError, StsPolicy, Targets};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::delivery::Delivery;
use crate::destination::Destination;
use crate::ending::unroutable;
use crate::host::{self, HostAnswer};
use crate::shared::Shared;
use crate::sts::{FetchError, Fetcher, StsPolicies};
use crate::tls::report::{Detail, PolicyFound};
use crate::tls::{Dane, TlsWish};

/// Deliveries of one domain that wait for its destination.
pub(crate) type Waiting = (String, Vec<Delivery>);
type Way = (Arc<Targets>, Option<Arc<StsPolicy>>);

/// What the thread is asked.
pub(crate) enum ToResolver {
    /// Where do these go?
    Domains(Vec<Waiting>),
    /// The addresses of an MX host, and its TLSA records if a port is given.
    Host {
        name: Arc<str>,
        tlsa_port: Option<u16>,
        answer: oneshot::Sender<Result<HostAnswer, RouteError>>,
    },
    Stop,
}

const MOST_QUESTIONS: usize = 128;
/// A destination is worked out anew after this, however long its MX records live: the caches below
/// answer, and a change of the domain's MTA-STS policy is seen.
const PLACE_MAX: Duration = Duration::from_secs(900);

struct Work {
    shared: Arc<Shared>,
    resolver: Resolver,
    fetcher: Fetcher,
    policies: StsPolicies,
    permits: Semaphore,
    waiting: RefCell<HashMap<String, Vec<Delivery>>>,
}

/// The thread's body.
pub(crate) fn run(
    shared: Arc<Shared>,
    (resolver, fetcher): (Resolver, Fetcher),
    runtime: &tokio::runtime::Runtime,
    questions: UnboundedReceiver<ToResolver>,
) {
    let now_s = clock::wall_us() / 1_000_000;
    let directory = &shared.settings.sts_directory;
    let Ok(policies) = StsPolicies::open(directory, now_s) else {
        // It could be opened a moment ago; whoever asks is told that the resolver has stopped.
        return;
    };
    let work = Rc::new(Work {
        policies,
        fetcher,
        shared,
        resolver,
        permits: Semaphore::new(MOST_QUESTIONS),
        waiting: RefCell::default(),
    });
    LocalSet::new().block_on(runtime, serve(work, questions));
}

async fn serve(work: Rc<Work>, mut questions: UnboundedReceiver<ToResolver>) {
    let every = Duration::from_secs(work.shared.settings.tls_report_every_s.max(1));
    let mut save = tokio::time::interval(every);
    save.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let question = tokio::select! {
            question = questions.recv() => question,
            // Counts that cannot be written are lost at a crash, and counted on meanwhile.
            _ = save.tick() => {
                let _ = work.shared.reports.save();
                continue;
            }
        };
        let Some(question) = question else { break };
        match question {
            ToResolver::Domains(domains) => {
                for (domain, deliveries) in domains {
                    work.clone().take(domain, deliveries);
                }
            }
            ToResolver::Host {
                name,
                tlsa_port,
                answer,
            } => {
                let work = Rc::clone(&work);
                spawn_local(async move {
                    // Whoever asked may be gone: its connection was given up.
                    let _ = answer.send(work.host(&name, tlsa_port).await);
                });
            }
            ToResolver::Stop => break,
        }
    }
}

impl Work {
    fn take(self: Rc<Self>, domain: String, mut deliveries: Vec<Delivery>) {
        if let Some(first) = self.waiting.borrow_mut().get_mut(&domain) {
            first.append(&mut deliveries);
            return;
        }
        self.waiting.borrow_mut().insert(domain.clone(), deliveries);
        spawn_local(async move {
            let answer = self.route(&domain).await;
            let deliveries = self
                .waiting
                .borrow_mut()
                .remove(&domain)
                .unwrap_or_default();
            self.answer(&domain, deliveries, answer);
        });
    }

    async fn route(&self, domain: &str) -> Result<Way, RouteError> {
        // The semaphore is never closed; were it, asking anyway is right.
        let _permit = self.permits.acquire().await;
        if !self.shared.settings.sts {
            return Ok((self.resolver.route(domain).await?, None));
        }
        let now_us = clock::wall_us();
        let means = (&self.resolver, &self.fetcher);
        let (targets, (policy, failure)) = tokio::join!(
            self.resolver.route(domain),
            self.policies.of(domain, means, now_us / 1_000_000)
        );
        if let Some(failure) = failure {
            self.report(domain, failure, now_us);
        }
        Ok((targets?, policy))
    }

    /// A policy that cannot be had is a failed session of its own kind (RFC 8460 section 4.3.2.2).
    fn report(&self, domain: &str, failure: FetchError, now_us: u64) {
        let policy = PolicyFound {
            policy_type: "sts".to_owned(),
            policy_domain: domain.to_owned(),
            ..PolicyFound::default()
        };
        let detail = Detail {
            result_type: failure.result,
            sending_mta_ip: String::new(),
            receiving_mx_hostname: String::new(),
            receiving_ip: String::new(),
            failure_reason_code: failure.text,
        };
        self.shared.reports.failed(&policy, detail, now_us);
    }

    async fn host(&self, host: &str, tlsa_port: Option<u16>) -> Result<HostAnswer, RouteError> {
        let is_mx = self.shared.settings.smart_host.is_empty();
        if is_mx || !self.shared.settings.dns_servers.is_empty() {
            return host::ask(&self.resolver, host, tlsa_port).await;
        }
        // A smart host is named as the machine knows it, /etc/hosts included.
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => Ok(HostAnswer {
                ips: found.map(|address| address.ip()).collect(),
                dane: Dane::None,
                base: host.to_owned(),
            }),
            Err(error) => Err(RouteError::Temporary {
                domain: host.to_owned(),
                cause: error.to_string(),
            }),
        }
    }

    fn answer(&self, domain: &str, deliveries: Vec<Delivery>, answer: Result<Way, RouteError>) {
        match answer {
            Ok((targets, sts)) => {
                let valid_until = targets.valid_until.min(clock::now() + PLACE_MAX);
                let settings = &self.shared.settings;
                let destination = Destination::of_targets(settings, domain, targets, sts);
                let destination = Arc::new(destination);
                self.shared
                    .places
                    .lock()
                    .put(domain, &destination, Some(valid_until));
                let place = |mut delivery: Delivery| {
                    let wish = TlsWish::of(delivery.message());
                    delivery.destination = Some(destination.with_wish(wish));
                    Arc::new(delivery)
                };
                self.shared
                    .routable
                    .push_all(deliveries.into_iter().map(place));
            }
            Err(error) => {
                let now_us = clock::wall_us();
                let finished = deliveries
                    .into_iter()
                    .map(|delivery| unroutable(delivery, &error, now_us));
                self.shared.outcomes.push_all(finished);
            }
        }
    }
}
