//! What an operator may say about delivery, as one JSON object.
//!
//! Every key has a default; an unknown key is refused. Zero and the empty text mean "the default",
//! so the Python side can pass its own settings through. Limits are looked up from special to
//! general: `sites[site]`, the operator's general limits, the provider's row, the kind's default.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postalynk_dns::{Dnssec, DnssecMode};
use postalynk_smtp::server::Credentials;
use postalynk_throttle::Rate;
use serde::Deserialize;

use crate::EngineError;
use crate::secret::Secret;
use crate::tls::TlsPolicy;

/// See the module.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// I/O threads; 0: one per four cores.
    pub shards: usize,
    /// Threads that compose and sign; 0: one per core.
    pub signing_threads: usize,
    /// Deliveries in the engine at a time.
    pub max_in_flight: usize,
    /// Bytes of records in the engine at a time.
    pub max_bytes: usize,
    /// File of open attempts; empty: none is kept and a crash is not told from "not tried".
    pub journal: PathBuf,
    /// Resolvers; empty: the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// `auto`, `on` or `off`; see [`DnssecMode`]. Empty: `auto`.
    pub dnssec: String,
    /// File of DNSKEY records to trust instead of the root's; empty: the root's.
    pub trust_anchor: PathBuf,
    /// `host:port` that takes everything; empty: the recipients' MX hosts.
    pub smart_host: String,
    /// Who we are to it (RFC 4954); empty: it asks for no login. With one, it must show a certificate
    /// for its name, whatever `tls` says.
    pub smart_host_user: String,
    /// What proves it.
    pub smart_host_password: Secret,
    /// `starttls`, or `implicit`: TLS from the start (RFC 8314, 3.3). Empty: implicit on port 465.
    pub smart_host_tls: String,
    /// Port of MX hosts.
    pub smtp_port: u16,
    /// EHLO name of sources that have none; empty: `localhost`.
    pub ehlo: String,
    /// Whether to use STARTTLS where it is offered.
    pub starttls: bool,
    /// What is demanded of TLS where neither site nor domain says otherwise.
    pub tls: TlsPolicy,
    /// What is demanded for single recipient domains.
    pub tls_domains: HashMap<String, TlsPolicy>,
    /// PEM file of authorities to trust beside Mozilla's; empty: none.
    pub tls_ca_file: PathBuf,
    /// Whether TLSA records are looked for (RFC 7672).
    pub dane: bool,
    /// Whether MTA-STS policies are looked for (RFC 8461).
    pub sts: bool,
    /// Where MTA-STS policies are kept; empty: in memory only.
    pub sts_directory: PathBuf,
    /// Port of the hosts that serve MTA-STS policies.
    pub sts_port: u16,
    /// File that the counts for TLS reports survive a restart in; empty: they do not.
    pub tls_report: PathBuf,
    /// How often it is written, so that a crash costs no more than that.
    pub tls_report_every_s: u64,
    /// Whether to use CHUNKING where it is offered (RFC 3030).
    pub chunking: bool,
    /// The same for single recipient domains.
    pub chunking_domains: HashMap<String, bool>,
    /// Most connections per path; 0: as the provider's row says.
    pub connections: usize,
    /// Most messages per connection; 0: as the provider's row says.
    pub per_connection: usize,
    /// Most messages per path and time; empty: as the provider's row says.
    pub rate: String,
    /// Limits by site name; each field as above.
    pub sites: HashMap<String, SiteLimits>,
    /// How long an idle connection is kept.
    pub idle_s: u64,
    /// A connection this old takes no further message: together with the greeting's and a
    /// transaction's own limits, the end of every session.
    pub max_age_s: u64,
    /// Of so many attempts that went well one keeps its transcript; 0: none does. Others always do.
    pub transcript_sample: u32,
    /// Most time for one connection attempt to one address.
    pub connect_timeout_s: u64,
    /// Most time from the connection to the end of the receiver's answer to EHLO and to a login,
    /// whatever the single timeouts allow.
    pub greeting_timeout_s: u64,
    /// Most time from MAIL to the final reply, whatever the single timeouts allow.
    pub transaction_timeout_s: u64,
    /// A delivery that cannot start within this is parked.
    pub park_after_s: u64,
    /// Seed of every random choice; 0: from the system.
    pub seed: u64,
}

/// Limits of one site; zero and empty mean "not said here".
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteLimits {
    /// Most connections per source.
    pub connections: usize,
    /// Most messages per connection.
    pub per_connection: usize,
    /// Most messages per source and time.
    pub rate: String,
    /// `opportunistic`, `require` or `verify`.
    pub tls: String,
    /// Whether to use CHUNKING; `None`: not said here.
    pub chunking: Option<bool>,
}

impl SiteLimits {
    /// Whether every field can be used; `place` is named in the error.
    pub(crate) fn check(&self, place: &str) -> Result<(), EngineError> {
        let wrong =
            |key: &str, cause: String| EngineError::Settings(format!("{place}.{key}: {cause}"));
        parse_rate(&self.rate).map_err(|cause| wrong("rate", cause))?;
        TlsPolicy::parse(&self.tls).map_err(|cause| wrong("tls", cause))?;
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 0,
            signing_threads: 0,
            max_in_flight: 10_000,
            max_bytes: 256 << 20,
            journal: PathBuf::new(),
            dns_servers: Vec::new(),
            dnssec: String::new(),
            trust_anchor: PathBuf::new(),
            smart_host: String::new(),
            smart_host_user: String::new(),
            smart_host_password: Secret::default(),
            smart_host_tls: String::new(),
            smtp_port: 25,
            ehlo: String::new(),
            starttls: true,
            tls: TlsPolicy::Opportunistic,
            tls_domains: HashMap::new(),
            tls_ca_file: PathBuf::new(),
            dane: true,
            sts: true,
            sts_directory: PathBuf::new(),
            sts_port: 443,
            tls_report: PathBuf::new(),
            tls_report_every_s: 60,
            chunking: true,
            chunking_domains: HashMap::new(),
            connections: 0,
            per_connection: 0,
            rate: String::new(),
            sites: HashMap::new(),
            // Receivers commonly close after one to five minutes; closing first is the polite way.
            idle_s: 30,
            // Long enough that its handshake costs nothing, short enough that a change of DNS or of
            // a receiver's mind is seen soon.
            max_age_s: 300,
            transcript_sample: 1_000,
            connect_timeout_s: 30,
            // The RFC's five minutes for the banner, and as much for all that follows it.
            greeting_timeout_s: 600,
            // The RFC's own sum: 5 + 5 + 2 + 10 minutes, and room for the block writes.
            transaction_timeout_s: 1_500,
            park_after_s: 60,
            seed: 0,
        }
    }
}

/// What holds on one (source, site).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections.
    pub connections: usize,
    /// Most messages per connection.
    pub per_connection: usize,
    /// Most messages per time.
    pub rate: Rate,
    /// What is demanded of TLS.
    pub tls: TlsPolicy,
    /// Whether CHUNKING may be used.
    pub chunking: bool,
}

impl Limits {
    /// What is said here wins over what holds anyway.
    pub(crate) fn with(self, said: &SiteLimits) -> Self {
        let or = |said: usize, own: usize| if said > 0 { said } else { own };
        Self {
            connections: or(said.connections, self.connections),
            per_connection: or(said.per_connection, self.per_connection),
            // Checked when it was read.
            rate: parse_rate(&said.rate).ok().flatten().unwrap_or(self.rate),
            tls: TlsPolicy::parse(&said.tls)
                .ok()
                .flatten()
                .unwrap_or(self.tls),
            chunking: said.chunking.unwrap_or(self.chunking),
        }
    }

    /// Most messages at once.
    pub(crate) fn burst(&self) -> usize {
        match self.rate {
            Rate::Limited { max_burst, .. } => usize::try_from(max_burst).unwrap_or(usize::MAX),
            Rate::Unlimited => usize::MAX,
        }
    }
}

impl Settings {
    /// Reads and checks the JSON form.
    ///
    /// # Errors
    /// [`EngineError::Settings`] names the key.
    pub fn from_json(text: &str) -> Result<Self, EngineError> {
        let settings: Self =
            serde_json::from_str(text).map_err(|error| EngineError::Settings(error.to_string()))?;
        settings.check()?;
        Ok(settings)
    }

    /// What [`Self::from_json`] checks.
    ///
    /// # Errors
    /// [`EngineError::Settings`] names the key.
    pub fn check(&self) -> Result<(), EngineError> {
        let wrong = |key: &str, cause: String| EngineError::Settings(format!("{key}: {cause}"));
        if self.max_in_flight == 0 || self.max_bytes == 0 {
            let named = "max_in_flight, max_bytes";
            return Err(wrong(named, "must be 1 or more".into()));
        }
        if !self.smart_host.is_empty() && split_host_port(&self.smart_host).is_none() {
            let said = format!("{:?} is not host:port", self.smart_host);
            return Err(wrong("smart_host", said));
        }
        if !matches!(self.smart_host_tls.as_str(), "" | "starttls" | "implicit") {
            let said = format!("{:?} is neither starttls nor implicit", self.smart_host_tls);
            return Err(wrong("smart_host_tls", said));
        }
        let has_password = !self.smart_host_password.expose().is_empty();
        if self.smart_host_user.is_empty() == has_password
            || (has_password && self.smart_host.is_empty())
        {
            return Err(wrong(
                "smart_host_user, smart_host_password",
                "give both and a smart_host, or none".into(),
            ));
        }
        // RFC 4616 ends each with NUL.
        if self.smart_host_user.contains('\0') || self.smart_host_password.expose().contains('\0') {
            let named = "smart_host_user, smart_host_password";
            return Err(wrong(named, "holds NUL".into()));
        }
        postalynk_smtp::EhloName::new(self.ehlo_name())
            .map_err(|cause| wrong("ehlo", cause.to_string()))?;
        parse_rate(&self.rate).map_err(|cause| wrong("rate", cause))?;
        self.dnssec
            .parse::<DnssecMode>()
            .map_err(|cause| wrong("dnssec", cause))?;
        for (site, limits) in &self.sites {
            limits.check(&format!("sites.{site}"))?;
        }
        Ok(())
    }

    /// The EHLO name of a source without its own.
    #[must_use]
    pub fn ehlo_name(&self) -> &str {
        if self.ehlo.is_empty() {
            "localhost"
        } else {
            &self.ehlo
        }
    }

    /// Host and port of the smart host, if there is one.
    #[must_use]
    pub fn smart_host_address(&self) -> Option<(&str, u16)> {
        split_host_port(&self.smart_host)
    }

    /// Whether TLS with the smart host begins before its greeting.
    pub(crate) fn is_tls_implicit(&self) -> bool {
        match self.smart_host_tls.as_str() {
            "" => self
                .smart_host_address()
                .is_some_and(|(_, port)| port == 465),
            said => said == "implicit" && !self.smart_host.is_empty(),
        }
    }

    /// How we log in to the smart host; `None`: not at all.
    pub(crate) fn login(&self) -> Option<Arc<Credentials>> {
        let has_user = !self.smart_host_user.is_empty();
        has_user.then(|| {
            Arc::new(Credentials {
                username: self.smart_host_user.clone(),
                password: self.smart_host_password.expose().to_owned(),
            })
        })
    }

    /// How DNS answers are validated.
    #[must_use]
    pub fn dnssec(&self) -> Dnssec {
        Dnssec {
            // Checked when the settings were read.
            mode: self.dnssec.parse().unwrap_or_default(),
            trust_anchor: (!self.trust_anchor.as_os_str().is_empty())
                .then(|| self.trust_anchor.clone()),
        }
    }

    /// The limits of a site.
    #[must_use]
    pub fn limits(&self, site: &str, provider: Option<&str>) -> Limits {
        let base = if self.smart_host.is_empty() {
            provider.and_then(provider_limits).unwrap_or(MX_DEFAULT)
        } else {
            SMART_HOST_DEFAULT
        };
        let general = SiteLimits {
            connections: self.connections,
            per_connection: self.per_connection,
            rate: self.rate.clone(),
            tls: self.tls.as_str().to_owned(),
            chunking: Some(self.chunking),
        };
        let special = self.sites.get(site).cloned().unwrap_or_default();
        base.with(&general).with(&special)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_s)
    }

    pub(crate) fn greeting_timeout(&self) -> Duration {
        Duration::from_secs(self.greeting_timeout_s)
    }

    pub(crate) fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_s)
    }

    pub(crate) fn park_after(&self) -> Duration {
        Duration::from_secs(self.park_after_s)
    }
}

const fn per_second(count: u64) -> Rate {
    Rate::Limited {
        count,
        period: Duration::from_secs(1),
        max_burst: count,
    }
}

const MX_DEFAULT: Limits = Limits {
    connections: 10,
    per_connection: 100,
    rate: per_second(100),
    tls: TlsPolicy::Opportunistic,
    chunking: true,
};
/// One's own relay: no receiver's patience to guard.
const SMART_HOST_DEFAULT: Limits = Limits {
    connections: 20,
    per_connection: 1_000,
    rate: Rate::Unlimited,
    tls: TlsPolicy::Opportunistic,
    chunking: true,
};

/// Connections and messages per connection a provider tolerates from one source. Starting values
/// from KumoMTA's shaping files, Yahoo's SLN3433 and sisimai; an operator may override each.
fn provider_limits(provider: &str) -> Option<Limits> {
    let (connections, per_connection, rate) = match provider {
        "google" | "outlook" | "office365" => (5, 50, 100),
        "yahoo" => (10, 20, 100),
        "icloud" => (10, 5, 100),
        "comcast" => (25, 1_000, 100),
        "gmx" => (4, 20, 100),
        "orange" => (2, 100, 100),
        "mimecast" => (10, 100, 100),
        "barracuda" => (10, 15, 100),
        "kpn" => (10, 10, 100),
        "cox" => (5, 100, 100),
        "qq" => (4, 8, 100),
        "163" => (4, 7, 100),
        "yahoo-jp" => (2, 20, 10),
        _ => return None,
    };
    Some(Limits {
        connections,
        per_connection,
        rate: per_second(rate),
        tls: TlsPolicy::Opportunistic,
        chunking: true,
    })
}

fn parse_rate(text: &str) -> Result<Option<Rate>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error: postalynk_throttle::RateError| error.to_string())
}

fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests;
