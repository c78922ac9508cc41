//! Mailbox providers: by the suffix of their MX hosts, and by their own domains.
//!
//! Tables only; limits that go with a provider are the engine's settings. Sources: KumoMTA's shaping
//! files (suffixes), the providers' own pages (domains).

/// MX host suffix to provider. A suffix is matched on a label border.
const MX_SUFFIXES: &[(&str, &str)] = &[
    ("google.com", "google"),
    ("googlemail.com", "google"),
    ("yahoodns.net", "yahoo"),
    ("olc.protection.outlook.com", "outlook"),
    ("mail.protection.outlook.com", "office365"),
    ("mx.microsoft", "office365"),
    ("icloud.com", "icloud"),
    ("comcast.net", "comcast"),
    ("gmx.net", "gmx"),
    ("web.de", "gmx"),
    ("orange.fr", "orange"),
    ("mimecast.com", "mimecast"),
    ("barracudanetworks.com", "barracuda"),
    ("kpnmail.nl", "kpn"),
    ("cox.net", "cox"),
    ("qq.com", "qq"),
    ("163.com", "163"),
    ("netease.com", "163"),
    ("mail.yahoo.co.jp", "yahoo-jp"),
];

/// Domains whose mailboxes a provider runs, for deliveries that never look at MX records.
const DOMAINS: &[(&str, &[&str])] = &[
    ("google", &["gmail.com", "googlemail.com"]),
    (
        "yahoo",
        &[
            "yahoo.com",
            "yahoo.co.uk",
            "yahoo.fr",
            "yahoo.de",
            "yahoo.it",
            "yahoo.es",
            "ymail.com",
            "rocketmail.com",
            "aol.com",
            "aol.co.uk",
            "aim.com",
        ],
    ),
    (
        "outlook",
        &[
            "outlook.com",
            "hotmail.com",
            "hotmail.co.uk",
            "hotmail.fr",
            "hotmail.de",
            "live.com",
            "live.co.uk",
            "msn.com",
            "passport.com",
        ],
    ),
    ("icloud", &["icloud.com", "me.com", "mac.com"]),
    ("comcast", &["comcast.net"]),
    (
        "gmx",
        &["gmx.net", "gmx.de", "gmx.at", "gmx.ch", "gmx.com", "web.de"],
    ),
    ("orange", &["orange.fr", "wanadoo.fr"]),
    ("cox", &["cox.net"]),
    ("qq", &["qq.com", "foxmail.com"]),
    ("163", &["163.com", "126.com", "yeah.net"]),
    ("yahoo-jp", &["yahoo.co.jp"]),
];

/// The provider that runs an MX host.
pub(crate) fn provider_of_host(host: &str) -> Option<&'static str> {
    MX_SUFFIXES
        .iter()
        .find(|(suffix, _)| is_below(host, suffix))
        .map(|(_, name)| *name)
}

/// The provider that runs a recipient domain's mailboxes, as far as the name alone tells
/// (`"gmail.com"` → `"google"`). Expects lower case.
#[must_use]
pub fn provider_of_domain(domain: &str) -> Option<&'static str> {
    DOMAINS
        .iter()
        .find(|(_, domains)| domains.contains(&domain))
        .map(|(name, _)| *name)
}

/// Every provider that has a name here, sorted.
#[must_use]
pub fn providers() -> Vec<&'static str> {
    let by_host = MX_SUFFIXES.iter().map(|(_, name)| *name);
    let by_domain = DOMAINS.iter().map(|(name, _)| *name);
    let names: std::collections::BTreeSet<_> = by_host.chain(by_domain).collect();
    names.into_iter().collect()
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix)
        .is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_match_on_label_borders() {
        assert_eq!(
            provider_of_host("gmail-smtp-in.l.google.com"),
            Some("google")
        );
        assert_eq!(provider_of_host("aspmx2.googlemail.com"), Some("google"));
        assert_eq!(
            provider_of_host("x.mail.protection.outlook.com"),
            Some("office365")
        );
        assert_eq!(
            provider_of_host("hotmail-com.olc.protection.outlook.com"),
            Some("outlook")
        );
        assert_eq!(provider_of_host("mx.notgoogle.com"), None);
    }

    #[test]
    fn well_known_domains_have_a_provider() {
        assert_eq!(provider_of_domain("gmail.com"), Some("google"));
        assert_eq!(provider_of_domain("me.com"), Some("icloud"));
        assert_eq!(provider_of_domain("example.com"), None);
    }
}
