//! Addresses that an organization sends nothing to, and since when.
//!
//! **Problem.** Whoever bounced for good, complained or asked to be left alone must get no more mail,
//! also none that was accepted, scheduled or deferred before; and a policy may want to treat an
//! address gently for a while after its suppression is over.
//! **Model.** Per organization a map from address (in lower case: no receiver that matters tells them
//! apart) to an entry. It is looked up once a delivery, just before its batch is routed; what is
//! suppressed at that moment ends there, without an attempt.
//! **Law `own_list_only`.** An entry of one organization never counts for another.
//! **Not here.** Who puts entries in: `postalynk.control.suppressions`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::delivery::Delivery;
use crate::ending::suppressed;
use crate::outcome::Finished;

/// Why and how long an address gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// Its beginning, in microseconds since the Unix epoch.
    pub since_us: u64,
    /// Its end, likewise; 0: none.
    pub until_us: u64,
    /// In words, for the delivery's story.
    pub reason: String,
}

/// Entries by address in lower case.
type List = HashMap<Box<str>, Suppression>;

/// See the module: lists by organization.
#[derive(Debug, Default)]
pub(crate) struct Suppressions(RwLock<HashMap<Box<str>, List>>);

impl Suppressions {
    /// Replaces an organization's list; an empty one is forgotten.
    pub(crate) fn replace(&self, org: &str, entries: Vec<(String, Suppression)>) {
        let list: List = entries
            .into_iter()
            .map(|(address, entry)| (address.to_lowercase().into(), entry))
            .collect();
        let mut lists = self.0.write();
        if list.is_empty() {
            lists.remove(org);
        } else {
            lists.insert(org.into(), list);
        }
    }

    /// Parts what ends here from what goes on, which learns how long ago its address was suppressed.
    pub(crate) fn part(
        &self,
        deliveries: Vec<Arc<Delivery>>,
        now_us: u64,
    ) -> (Vec<Finished>, Vec<Arc<Delivery>>) {
        let lists = self.0.read();
        if lists.is_empty() {
            return (Vec::new(), deliveries);
        }
        let (mut ended, mut going) = (Vec::new(), Vec::with_capacity(deliveries.len()));
        for delivery in deliveries {
            let list = lists.get(delivery.org());
            let entry = list.and_then(|list| list.get(&*delivery.address().to_lowercase()));
            match entry {
                Some(entry) if entry.holds(now_us) => {
                    ended.push(suppressed(delivery, &entry.reason, now_us));
                    continue;
                }
                entry => delivery.suppressed(entry.map_or(0, |entry| entry.since_us)),
            }
            going.push(delivery);
        }
        (ended, going)
    }
}

impl Suppression {
    /// Whether the address gets nothing at this moment.
    fn holds(&self, now_us: u64) -> bool {
        self.until_us == 0 || now_us < self.until_us
    }
}
