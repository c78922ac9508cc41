//! Sites: groups of MX hosts that share their limits.
//!
//! **Idea.** Ten thousand domains at one mailbox provider are one receiver. A provider's hosts are
//! known by their suffix; any other set of hosts is named by what its names have in common.
//! **Law `site_ignores_order`.** The same set of hosts has the same site, in any order and case.

use std::sync::Arc;

use crate::MxHost;
use crate::provider::provider_of_host;

/// A receiver: the unit of limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// The provider, or the common domain of the hosts, or the hosts joined by `+`.
    pub name: Arc<str>,
    /// The mailbox provider, when all hosts are one's.
    pub provider: Option<&'static str>,
}

impl Site {
    /// The site of a set of hosts (at least one).
    #[must_use]
    pub fn of(hosts: &[MxHost]) -> Self {
        let mut names: Vec<String> = hosts
            .iter()
            .map(|host| host.name.to_ascii_lowercase())
            .collect();
        names.sort();
        names.dedup();
        let mut providers = names.iter().map(|name| provider_of_host(name));
        if let Some(Some(first)) = providers.next()
            && providers.all(|other| other == Some(first))
        {
            return Self {
                name: first.into(),
                provider: Some(first),
            };
        }
        let name = common_suffix(&names).unwrap_or_else(|| names.join("+"));
        Self {
            name: name.into(),
            provider: None,
        }
    }
}

/// The domain all hosts share, if it has as many labels as a registrable one.
///
/// No public suffix list: `co.uk`-like endings are told by a short label before a two-letter one,
/// and a wrong guess only makes a site larger or smaller, never mail go astray.
fn common_suffix(names: &[String]) -> Option<String> {
    let first: Vec<&str> = names.first()?.rsplit('.').collect();
    let mut shared = first.len();
    for name in &names[1..] {
        let same = name
            .rsplit('.')
            .zip(&first)
            .take_while(|(a, b)| a == *b)
            .count();
        shared = shared.min(same);
    }
    let has_two_part_ending =
        first.len() > 2 && first[0].len() == 2 && first.get(1).is_some_and(|l| l.len() <= 3);
    let wanted = if has_two_part_ending { 3 } else { 2 };
    // One host alone is named by its registrable part too: mx1 today and mx2 tomorrow are one site.
    (shared >= wanted).then(|| {
        let mut labels: Vec<&str> = first[..wanted].to_vec();
        labels.reverse();
        labels.join(".")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn site(names: &[&str]) -> Site {
        let hosts: Vec<_> = names
            .iter()
            .map(|n| MxHost {
                preference: 10,
                name: (*n).into(),
            })
            .collect();
        Site::of(&hosts)
    }

    #[test]
    fn a_provider_is_one_site() {
        let workspace = site(&[
            "aspmx.l.google.com",
            "alt1.aspmx.l.google.com",
            "aspmx2.googlemail.com",
        ]);
        assert_eq!(workspace, site(&["gmail-smtp-in.l.google.com"]));
        assert_eq!(workspace.provider, Some("google"));
    }

    #[test]
    fn hosts_of_one_domain_are_named_by_it() {
        assert_eq!(
            &*site(&["mx1.example.com", "mx2.example.com"]).name,
            "example.com"
        );
        assert_eq!(&*site(&["mail.example.co.uk"]).name, "example.co.uk");
        assert_eq!(
            &*site(&["mx.a.example", "mx.b.example"]).name,
            "mx.a.example+mx.b.example"
        );
        assert_eq!(&*site(&["a.co.uk", "b.co.uk"]).name, "a.co.uk+b.co.uk");
        assert_eq!(&*site(&["localhost"]).name, "localhost");
    }

    #[test]
    fn a_mixed_set_is_no_provider() {
        let mixed = site(&["aspmx.l.google.com", "mx.example.com"]);
        assert_eq!(mixed.provider, None);
    }

    proptest! {
        /// Law `site_ignores_order`.
        #[test]
        fn law_site_ignores_order(
            names in prop::collection::vec("[a-c]{1,2}(\\.[a-c]{1,3}){0,3}", 1..6),
            seed: u64,
        ) {
            let mut shuffled: Vec<String> =
                names.iter().map(|n| n.to_ascii_uppercase()).collect();
            shuffled.rotate_left(seed as usize % names.len());
            let a: Vec<&str> = names.iter().map(String::as_str).collect();
            let b: Vec<&str> = shuffled.iter().map(String::as_str).collect();
            prop_assert_eq!(site(&a), site(&b));
        }
    }
}
