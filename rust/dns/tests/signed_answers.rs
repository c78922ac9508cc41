//! The validating resolver against signed zones.
//!
//! Runs: testkit's server with a signed zone. Breaks: signatures, delegations, the trust anchor.
//! Holds: what validates is secure, what is provably unsigned is insecure, the rest is an error.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use postalynk_dns::{Dnssec, DnssecMode, Resolver, RouteError, Security};
use postalynk_testkit::{Resolver as Server, Zone};

const ZONE: &str = "
a.test            MX       10 mx.a.test
mx.a.test         A        127.0.0.1
_25._tcp.mx.a.test  TLSA   3 1 1 0a0b
alias.test        MX       10 mx.alias.test
mx.alias.test     CNAME    mx.a.test
_25._tcp.mx.alias.test  BOGUS
_25._tcp.mx.alias.test  TLSA   3 1 1 0a0b
bad.test          BOGUS
bad.test          MX       10 mx.a.test
plain.test        UNSIGNED
plain.test        MX       10 mx.plain.test
mx.plain.test     A        127.0.0.1
out.test          CNAME    mx.plain.test
text.test         TXT      hello
";

fn with_zone<T>(zone: Zone, dnssec: &Dnssec, work: impl AsyncFnOnce(Resolver) -> T) -> T {
    let server = Server::start("127.0.0.1:0".parse().unwrap(), zone).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        work(Resolver::new(Some(vec![server.address()]), dnssec).unwrap()).await
    })
}

fn anchored(zone: &Zone, directory: &tempfile::TempDir) -> Dnssec {
    let file = directory.path().join("anchor");
    std::fs::write(&file, zone.trust_anchor().unwrap()).unwrap();
    Dnssec {
        mode: DnssecMode::Auto,
        trust_anchor: Some(file),
    }
}

#[test]
fn a_signed_zone_is_secure_and_an_unsigned_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let zone = Zone::parse(ZONE).unwrap().signed().unwrap();
    let dnssec = anchored(&zone, &directory);
    with_zone(zone, &dnssec, async |resolver| {
        assert!(resolver.is_validating().await);
        let security = async |domain: &str| resolver.route(domain).await.unwrap().security;
        assert_eq!(security("a.test").await, Security::Secure);
        assert_eq!(security("alias.test").await, Security::Secure);
        assert_eq!(security("mx.a.test").await, Security::Secure);
        assert_eq!(security("plain.test").await, Security::Insecure);
        let host = resolver.addresses("mx.alias.test").await.unwrap();
        assert_eq!(
            (host.security, host.name.as_str()),
            (Security::Secure, "mx.a.test")
        );
        let out = resolver.addresses("out.test").await.unwrap();
        assert_eq!(
            out.security,
            Security::Insecure,
            "a chain is as secure as its last link"
        );
        let tlsa = resolver.tlsa("_25._tcp.mx.a.test").await.unwrap();
        assert_eq!(tlsa.security, Security::Secure);
        assert_eq!(tlsa.records[0].to_string(), "3 1 1 0a0b");
    });
}

#[test]
fn a_broken_signature_is_an_error_and_no_is_proved() {
    let directory = tempfile::tempdir().unwrap();
    let zone = Zone::parse(ZONE).unwrap().signed().unwrap();
    let dnssec = anchored(&zone, &directory);
    with_zone(zone, &dnssec, async |resolver| {
        let error = async |domain: &str| resolver.route(domain).await.unwrap_err();
        assert_eq!(
            error("bad.test").await,
            RouteError::Bogus("bad.test".into())
        );
        assert!(error("bad.test").await.is_temporary());
        assert_eq!(
            error("zone.test").await,
            RouteError::NoDomain("zone.test".into())
        );
        assert_eq!(
            error("text.test").await,
            RouteError::NoRoute("text.test".into())
        );
        let tlsa = resolver.tlsa("_25._tcp.mx.alias.test").await;
        assert!(tlsa.is_err_and(|error| error.is_temporary()));
        assert!(
            resolver
                .tlsa("_25._tcp.mx.plain.test")
                .await
                .unwrap()
                .records
                .is_empty()
        );
        assert!(resolver.texts("_mta-sts.a.test").await.unwrap().is_empty());
    });
}

#[test]
fn another_anchor_makes_everything_bogus() {
    let directory = tempfile::tempdir().unwrap();
    let dnssec = anchored(&Zone::new().signed().unwrap(), &directory);
    with_zone(
        Zone::parse(ZONE).unwrap().signed().unwrap(),
        &dnssec,
        async |resolver| {
            let error = resolver.route("a.test").await.unwrap_err();
            assert_eq!(error, RouteError::Bogus("a.test".into()));
        },
    );
}

#[test]
fn where_nobody_signs_auto_goes_without() {
    let auto = Dnssec::default();
    with_zone(Zone::parse(ZONE).unwrap(), &auto, async |resolver| {
        assert!(!resolver.is_validating().await);
        let targets = resolver.route("a.test").await.unwrap();
        assert_eq!(targets.security, Security::Insecure);
    });
    let on = Dnssec {
        mode: DnssecMode::On,
        trust_anchor: None,
    };
    with_zone(Zone::parse(ZONE).unwrap(), &on, async |resolver| {
        assert!(resolver.route("a.test").await.unwrap_err().is_temporary());
    });
}
