//! Where a delivery goes: the site that limits count for, and the hosts to connect to.

use std::sync::Arc;

use postalynk_dns::{Site, Targets, provider_of_domain};

use crate::settings::Settings;

/// The hosts to connect to.
#[derive(Clone, Debug)]
pub(crate) enum Hosts {
    /// The MX hosts of a domain.
    Mx(Arc<Targets>),
    /// A fixed next hop.
    SmartHost {
        /// A name or an address.
        host: Arc<str>,
        /// Its port.
        port: u16,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// What the policy sees and limits count for.
    pub(crate) site: Arc<str>,
    pub(crate) provider: Option<&'static str>,
    /// Deliveries with equal keys may share a connection: the same hosts take their mail.
    pub(crate) key: Arc<str>,
    pub(crate) hosts: Hosts,
}

impl Destination {
    /// A domain's destination by its MX hosts.
    pub(crate) fn of_targets(targets: Arc<Targets>) -> Self {
        let site = Site::of(&targets.hosts);
        let key: Vec<String> = targets
            .hosts
            .iter()
            .map(|host| format!("{} {}", host.preference, host.name))
            .collect();
        Self {
            site: site.name,
            provider: site.provider,
            key: key.join(",").into(),
            hosts: Hosts::Mx(targets),
        }
    }

    /// A domain's destination when everything goes to the smart host: what the policy sees comes
    /// from the domain's name, and all share the connections.
    pub(crate) fn of_smart_host(settings: &Settings, domain: &str) -> Option<Self> {
        let (host, port) = settings.smart_host_address()?;
        let provider = provider_of_domain(domain);
        Some(Self {
            site: provider.unwrap_or(domain).into(),
            provider,
            key: settings.smart_host.as_str().into(),
            hosts: Hosts::SmartHost {
                host: host.into(),
                port,
            },
        })
    }

    /// Whose limits count: the site's, or the smart host's as one receiver.
    pub(crate) fn limited_as(&self) -> &Arc<str> {
        match self.hosts {
            Hosts::Mx(_) => &self.site,
            Hosts::SmartHost { .. } => &self.key,
        }
    }
}
