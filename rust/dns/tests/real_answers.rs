//! The resolver against a DNS server.
//!
//! Runs: testkit's server. Breaks: nothing, null MX, NXDOMAIN, SERVFAIL, an empty answer. Holds: an
//! error is temporary and everything else what RFC 5321 and RFC 7505 say; one question is asked once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use postalynk_dns::{Dnssec, Resolver, RouteError};
use postalynk_testkit::{Resolver as Server, Zone};

const ZONE: &str = "
two.test        MX       20 b.two.test
two.test        MX       10 a.two.test
a.two.test      A        127.0.0.1
a.two.test      AAAA     ::1
alias.test      CNAME    two.test
plain.test      A        127.0.0.1
text.test       TXT      hello
null.test       MX       0 .
broken.test     SERVFAIL
";

fn on_runtime<T>(work: impl AsyncFnOnce(Resolver, &Server) -> T) -> T {
    let server = Server::start("127.0.0.1:0".parse().unwrap(), Zone::parse(ZONE).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let resolver = Resolver::new(Some(vec![server.address()]), &Dnssec::off()).unwrap();
        work(resolver, &server).await
    })
}

#[test]
fn domains_have_the_targets_their_records_say() {
    on_runtime(async |resolver, _| {
        let names = async |domain: &str| {
            let targets = resolver.route(domain).await.unwrap();
            targets
                .hosts
                .iter()
                .map(|host| host.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("two.test").await, ["a.two.test", "b.two.test"]);
        assert_eq!(names("alias.test").await, ["a.two.test", "b.two.test"]);
        assert_eq!(names("plain.test").await, ["plain.test"]);
        let addresses = resolver.addresses("a.two.test").await.unwrap();
        assert_eq!(
            addresses.ips,
            [
                "127.0.0.1".parse::<std::net::IpAddr>().unwrap(),
                "::1".parse().unwrap()
            ]
        );
        assert!(
            resolver
                .addresses("missing.test")
                .await
                .unwrap()
                .ips
                .is_empty()
        );
    });
}

#[test]
fn an_error_is_not_a_no() {
    on_runtime(async |resolver, _| {
        let error = async |domain: &str| resolver.route(domain).await.unwrap_err();
        assert_eq!(
            error("null.test").await,
            RouteError::NullMx("null.test".into())
        );
        assert_eq!(
            error("missing.test").await,
            RouteError::NoDomain("missing.test".into())
        );
        assert_eq!(
            error("text.test").await,
            RouteError::NoRoute("text.test".into())
        );
        assert_eq!(error("a..b").await, RouteError::BadName("a..b".into()));
        let broken = error("broken.test").await;
        assert!(
            broken.is_temporary() && broken.enhanced() == "4.4.3",
            "{broken:?}"
        );
    });
}

#[test]
fn one_question_is_asked_once() {
    on_runtime(async |resolver, server| {
        let before = server.questions();
        let ask = || resolver.route("two.test");
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert!(ask().await.is_ok());
        assert_eq!(server.questions() - before, 1);
    });
}
