//! Networks whose clients submit without a login.
//!
//! **Model.** A list of networks, each with the organization its clients send for; the longest
//! prefix wins. **Invariant.** Only addresses an operator listed are let in, and only those the
//! kernel reports: nothing a client says counts.

use std::net::IpAddr;

use crate::desk::Account;

/// A network and whom its clients send for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The network's address.
    pub network: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// The organization.
    pub org: String,
}

#[derive(Debug)]
pub(crate) struct TrustedNetworks(Vec<Trusted>);

impl TrustedNetworks {
    pub(crate) fn new(mut networks: Vec<Trusted>) -> Self {
        networks.sort_by_key(|trusted| std::cmp::Reverse(trusted.prefix));
        Self(networks)
    }

    pub(crate) fn account(&self, ip: IpAddr) -> Option<Account> {
        let trusted = self.0.iter().find(|trusted| trusted.contains(ip))?;
        Some(Account {
            org: trusted.org.clone(),
            key: String::new(),
        })
    }
}

impl Trusted {
    fn contains(&self, ip: IpAddr) -> bool {
        let (network, address, width) = match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                (u128::from(network.to_bits()), u128::from(ip.to_bits()), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => (network.to_bits(), ip.to_bits(), 128),
            _ => return false,
        };
        let rest = u32::from(width - self.prefix.min(width));
        (network ^ address).checked_shr(rest).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(list: &[(&str, u8, &str)]) -> TrustedNetworks {
        let trusted = |(network, prefix, org): &(&str, u8, &str)| Trusted {
            network: network.parse().expect("an address"),
            prefix: *prefix,
            org: (*org).to_owned(),
        };
        TrustedNetworks::new(list.iter().map(trusted).collect())
    }

    #[test]
    fn the_longest_prefix_wins_and_others_are_strangers() {
        let known = networks(&[
            ("10.0.0.0", 8, "wide"),
            ("10.1.0.0", 16, "narrow"),
            ("2001:db8::", 32, "six"),
        ]);
        let org = |ip: &str| {
            known
                .account(ip.parse().expect("an address"))
                .map(|a| a.org)
        };
        assert_eq!(org("10.1.2.3").as_deref(), Some("narrow"));
        assert_eq!(org("10.2.2.3").as_deref(), Some("wide"));
        assert_eq!(org("2001:db8:1::1").as_deref(), Some("six"));
        assert_eq!(
            (org("11.0.0.1"), org("2001:db9::1"), org("::1")),
            (None, None, None)
        );
    }

    proptest! {
        /// Law `trusts_only_its_prefix`: an address is in a network when its leading bits are.
        #[test]
        fn law_trusts_only_its_prefix(network: u32, ip: u32, prefix in 0u8..=32) {
            let trusted = Trusted {
                network: std::net::Ipv4Addr::from_bits(network).into(),
                prefix,
                org: String::new(),
            };
            let bits = |n: u32| format!("{n:032b}")[..usize::from(prefix)].to_owned();
            let ip_address = IpAddr::from(std::net::Ipv4Addr::from_bits(ip));
            prop_assert_eq!(trusted.contains(ip_address), bits(network) == bits(ip));
        }
    }
}
