//! Where a delivery goes: the site that limits count for, and the hosts to connect to.

use std::sync::Arc;

use postalynk_dns::{Security, Site, StsMode, StsPolicy, Targets, provider_of_domain};

use crate::settings::Settings;
use crate::tls::{TlsPolicy, TlsWish};

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
    /// The domain that this was worked out for; others with an equal key may use it.
    pub(crate) domain: Arc<str>,
    /// Whether DNSSEC vouches for the hosts.
    pub(crate) security: Security,
    /// The domain's MTA-STS policy.
    pub(crate) sts: Option<Arc<StsPolicy>>,
    /// What the settings say of the domain, rather than of the site.
    pub(crate) tls: Option<TlsPolicy>,
    /// Likewise about CHUNKING.
    pub(crate) chunking: Option<bool>,
    /// What its mail says about TLS itself.
    pub(crate) wish: TlsWish,
}

impl Destination {
    /// A domain's destination by its MX hosts and its MTA-STS policy.
    pub(crate) fn of_targets(
        settings: &Settings,
        domain: &str,
        targets: Arc<Targets>,
        sts: Option<Arc<StsPolicy>>,
    ) -> Self {
        let tls = settings.tls_domains.get(domain).copied();
        let chunking = settings.chunking_domains.get(domain).copied();
        let site = Site::of(&targets.hosts);
        let key: Vec<String> = targets
            .hosts
            .iter()
            .map(|host| format!("{} {}", host.preference, host.name))
            .collect();
        let mut key = key.join(",");
        // Mail that demands more of the same hosts needs connections of its own.
        if targets.security.is_secure() {
            key.push_str(" secure");
            // Its name then counts in their certificates, which it must not for other domains' mail.
            if targets
                .hosts
                .iter()
                .any(|host| is_below(&host.name, domain))
            {
                key.push_str(&format!(" of {domain}"));
            }
        }
        if let Some(policy) = sts.as_ref().filter(|policy| policy.mode != StsMode::None) {
            key.push_str(&format!(
                " sts {} {}",
                policy.mode.as_str(),
                policy.mx.join(",")
            ));
        }
        if let Some(tls) = tls {
            key.push_str(&format!(" tls {}", tls.as_str()));
        }
        if let Some(chunking) = chunking {
            key.push_str(&format!(" chunking {chunking}"));
        }
        Self {
            site: site.name,
            provider: site.provider,
            key: key.into(),
            security: targets.security,
            hosts: Hosts::Mx(targets),
            domain: domain.into(),
            sts,
            tls,
            chunking,
            wish: TlsWish::None,
        }
    }

    /// The same for mail that has a wish of its own: on connections of its own, where it makes a
    /// difference.
    pub(crate) fn with_wish(self: &Arc<Self>, wish: TlsWish) -> Arc<Self> {
        let word = match wish {
            TlsWish::None => return Arc::clone(self),
            TlsWish::Optional if !self.security.is_secure() && self.sts.is_none() => {
                return Arc::clone(self);
            }
            TlsWish::Optional => "tls-optional",
            TlsWish::Required => "requiretls",
        };
        Arc::new(Self {
            key: format!("{} {word}", self.key).into(),
            wish,
            ..Self::clone(self)
        })
    }

    /// Names beside a host's own that its certificate may be for under DANE-TA: the domain itself,
    /// which the MX records lead away from (RFC 7672 section 3.2.2). Only where the host stands below
    /// the domain: others' hosts take mail of many domains on one connection, and a certificate for
    /// one of them must not vouch for the rest.
    pub(crate) fn further_name(&self, host: &str) -> Option<&str> {
        let is_own = matches!(self.hosts, Hosts::Mx(_)) && is_below(host, &self.domain);
        is_own.then_some(&*self.domain)
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
            domain: domain.into(),
            security: Security::Insecure,
            sts: None,
            tls: None,
            chunking: None,
            wish: TlsWish::None,
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

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|head| head.ends_with('.'))
}
