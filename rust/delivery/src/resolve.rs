//! The resolver's thread: from domains to destinations, from hosts to addresses.
//!
//! **Model.** One runtime of its own, because hickory's sockets belong to the runtime they were
//! made on. Domains being asked for are asked once; whatever else comes for them waits with the
//! first. At most [`MOST_QUESTIONS`] are open at a time; the others wait their turn.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use postalynk_dns::{Resolver, RouteError};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::clock;
use crate::delivery::Delivery;
use crate::destination::Destination;
use crate::ending::unroutable;
use crate::shared::Shared;

/// Deliveries of one domain that wait for its destination.
pub(crate) type Waiting = (String, Vec<Delivery>);
pub(crate) type Addresses = Result<Vec<IpAddr>, RouteError>;

/// What the thread is asked.
pub(crate) enum ToResolver {
    /// Where do these go?
    Domains(Vec<Waiting>),
    /// The addresses of an MX host.
    Addresses(Arc<str>, oneshot::Sender<Addresses>),
    Stop,
}

const MOST_QUESTIONS: usize = 128;

struct Work {
    shared: Arc<Shared>,
    resolver: Resolver,
    permits: Semaphore,
    waiting: RefCell<HashMap<String, Vec<Delivery>>>,
}

/// The thread's body.
pub(crate) fn run(
    shared: Arc<Shared>,
    resolver: Resolver,
    runtime: &tokio::runtime::Runtime,
    questions: UnboundedReceiver<ToResolver>,
) {
    let work = Rc::new(Work {
        shared,
        resolver,
        permits: Semaphore::new(MOST_QUESTIONS),
        waiting: RefCell::default(),
    });
    LocalSet::new().block_on(runtime, serve(work, questions));
}

async fn serve(work: Rc<Work>, mut questions: UnboundedReceiver<ToResolver>) {
    while let Some(question) = questions.recv().await {
        match question {
            ToResolver::Domains(domains) => {
                for (domain, deliveries) in domains {
                    work.clone().take(domain, deliveries);
                }
            }
            ToResolver::Addresses(host, answer) => {
                let work = Rc::clone(&work);
                spawn_local(async move {
                    // Whoever asked may be gone: its connection was given up.
                    let _ = answer.send(work.addresses(&host).await);
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

    async fn route(&self, domain: &str) -> Result<Arc<postalynk_dns::Targets>, RouteError> {
        // The semaphore is never closed; were it, asking anyway is right.
        let _permit = self.permits.acquire().await;
        self.resolver.route(domain).await
    }

    async fn addresses(&self, host: &str) -> Addresses {
        let is_mx = self.shared.settings.smart_host.is_empty();
        if is_mx || !self.shared.settings.dns_servers.is_empty() {
            return self.resolver.addresses(host).await;
        }
        // A smart host is named as the machine knows it, /etc/hosts included.
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(error) => Err(RouteError::Temporary {
                domain: host.to_owned(),
                cause: error.to_string(),
            }),
        }
    }

    fn answer(
        &self,
        domain: &str,
        deliveries: Vec<Delivery>,
        answer: Result<Arc<postalynk_dns::Targets>, RouteError>,
    ) {
        match answer {
            Ok(targets) => {
                let valid_until = targets.valid_until;
                let destination = Arc::new(Destination::of_targets(targets));
                self.shared
                    .places
                    .lock()
                    .put(domain, &destination, Some(valid_until));
                let place = |mut delivery: Delivery| {
                    delivery.destination = Some(Arc::clone(&destination));
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
