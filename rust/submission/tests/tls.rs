//! Submission over TLS: by STARTTLS, from the start, with a certificate that is renewed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod judge;

use judge::{Client, Judge, MAIL, base64, options};
use postalynk_submission::{Options, Timeouts};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Certificate {
    directory: tempfile::TempDir,
    der: rustls::pki_types::CertificateDer<'static>,
}

impl Certificate {
    fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(
            directory.path().join("key.pem"),
            made.signing_key.serialize_pem(),
        )
        .unwrap();
        Self {
            directory,
            der: made.cert.der().clone(),
        }
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        (
            self.directory.path().join("cert.pem"),
            self.directory.path().join("key.pem"),
        )
    }

    fn encrypt(
        &self,
        stream: TcpStream,
    ) -> Client<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        Client {
            stream: rustls::StreamOwned::new(connection, stream),
        }
    }
}

#[test]
fn tls_begins_with_starttls_or_at_once() {
    let certificate = Certificate::make();
    let with_tls = Options {
        listen_tls: vec!["127.0.0.1:0".parse().unwrap()],
        certificate: Some(certificate.files()),
        ..options()
    };
    let judge = Judge::start(with_tls, Duration::ZERO);
    let mut plain = Client::connect(judge.address());
    assert_eq!(
        (plain.reply(), plain.say("EHLO a"), plain.say("STARTTLS")),
        (220, 250, 220)
    );
    let mut client = certificate.encrypt(plain.stream);
    assert_eq!(
        client.say(&format!("EHLO a\r\nAUTH PLAIN {}", base64("\0u\0key"))),
        250
    );
    assert_eq!(client.reply(), 235);
    assert_eq!(client.send(MAIL), 250);

    let implicit = TcpStream::connect(judge.submission.addresses()[1]).unwrap();
    let mut client = certificate.encrypt(implicit);
    assert_eq!((client.reply(), client.say("EHLO a")), (220, 250));
    assert_eq!(
        client.say(&format!("AUTH PLAIN {}", base64("\0u\0key"))),
        235
    );

    let mut injecting = Client::connect(judge.address());
    assert_eq!((injecting.reply(), injecting.say("EHLO a")), (220, 250));
    injecting.write("STARTTLS\r\nEHLO injected\r\n");
    assert_eq!(
        (injecting.reply(), injecting.reply()),
        (220, 0),
        "plaintext behind STARTTLS"
    );
}

#[test]
fn a_renewed_certificate_is_taken_without_a_restart() {
    let (first, second) = (Certificate::make(), Certificate::make());
    let judge = Judge::start(
        Options {
            certificate: Some(first.files()),
            timeouts: Timeouts {
                certificate: Duration::from_millis(20),
                ..Timeouts::default()
            },
            ..options()
        },
        Duration::ZERO,
    );
    let greets = |certificate: &Certificate| {
        let mut client = Client::connect(judge.address());
        client.reply();
        client.say("EHLO a");
        assert_eq!(client.say("STARTTLS"), 220);
        let mut client = certificate.encrypt(client.stream);
        client.stream.write_all(b"EHLO a\r\n").is_ok() && client.stream.read(&mut [0; 100]).is_ok()
    };
    assert!(greets(&first));
    // Half of a renewal: chain and key do not fit, so the old pair stays in use.
    let (files, renewed) = (first.files(), second.files());
    std::fs::copy(&renewed.0, &files.0).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let counted = |name: &str| {
        !judge
            .submission
            .metrics()
            .contains(&format!("{name}_total 0\n"))
    };
    while !counted("certificate_failures") {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(greets(&first));
    std::fs::copy(&renewed.1, &files.1).unwrap();
    while !counted("certificate_loads") {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(greets(&second));
}
