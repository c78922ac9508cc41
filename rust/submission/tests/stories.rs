//! Submission over real sockets, with a judge that keeps what it accepts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use parking_lot::Mutex;
use postalynk_submission::{
    Account, Error, Message, Options, Request, Submission, Timeouts, Trusted,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lets in whoever says `key`, keeps every message and counts its batches.
struct Judge {
    submission: Arc<Submission>,
    kept: Arc<Mutex<Vec<Message>>>,
    batches: Arc<Mutex<Vec<usize>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn options() -> Options {
    Options {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Options::default()
    }
}

impl Judge {
    /// `pace`: how long an append takes.
    fn start(options: Options, pace: Duration) -> Self {
        let submission = Arc::new(Submission::bind(options).unwrap());
        submission.open().unwrap();
        let (kept, batches) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let judge = (
            Arc::clone(&submission),
            Arc::clone(&kept),
            Arc::clone(&batches),
        );
        let thread = std::thread::spawn(move || {
            let (submission, kept, batches) = judge;
            while let Some(requests) = submission.requests(100, Duration::from_secs(1)) {
                let mut answers = Vec::new();
                for request in requests {
                    match request {
                        Request::Login(id, login) if login.password == "key" => {
                            let org = login.username;
                            submission.admit(
                                id,
                                Account {
                                    org,
                                    key: "k".into(),
                                },
                            );
                        }
                        Request::Login(id, _) => submission.answer(id, "535 5.7.8 no such key"),
                        Request::Message(id, message) => {
                            kept.lock().push(*message);
                            answers.push(id);
                        }
                    }
                }
                if !answers.is_empty() {
                    batches.lock().push(answers.len());
                    std::thread::sleep(pace);
                }
                answers
                    .iter()
                    .for_each(|id| submission.answer(*id, "250 2.0.0 kept"));
            }
        });
        Self {
            submission,
            kept,
            batches,
            thread: Some(thread),
        }
    }

    fn address(&self) -> SocketAddr {
        self.submission.addresses()[0]
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.submission.close();
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A client that reads reply by reply.
struct Client<S> {
    stream: S,
}

impl Client<TcpStream> {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self { stream }
    }

    fn log_in(address: SocketAddr, org: &str) -> Self {
        let mut client = Self::connect(address);
        assert_eq!(client.reply(), 220);
        assert_eq!(client.say("EHLO a"), 250);
        assert_eq!(client.say("AUTH LOGIN"), 334);
        assert_eq!(client.say(&base64(org)), 334);
        assert_eq!(client.say(&base64("key")), 235);
        client
    }
}

impl<S: Read + Write> Client<S> {
    /// The code of the next reply; 0 when the connection ends first.
    fn reply(&mut self) -> u16 {
        let mut line = Vec::new();
        let mut octet = [0];
        loop {
            match self.stream.read(&mut octet) {
                Ok(1) => line.push(octet[0]),
                _ => return 0,
            }
            if line.ends_with(b"\r\n") {
                if line[3] == b' ' {
                    return std::str::from_utf8(&line[..3]).unwrap().parse().unwrap();
                }
                line.clear();
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
        self.stream.flush().unwrap();
    }

    fn say(&mut self, line: &str) -> u16 {
        self.write(&format!("{line}\r\n"));
        self.reply()
    }

    fn send(&mut self, content: &str) -> u16 {
        assert_eq!(self.say("MAIL FROM:<a@b.example>"), 250);
        assert_eq!(self.say("RCPT TO:<c@d.example>"), 250);
        assert_eq!(self.say("DATA"), 354);
        self.write(content);
        self.say("\r\n.")
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut digits = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            digits.push(if place > chunk.len() {
                '='
            } else {
                digit as char
            });
        }
    }
    digits
}

const MAIL: &str = "From: a@b.example\r\nBcc: x@y.example\r\n\r\nHi";

#[test]
fn a_message_is_handed_up_and_answered() {
    let judge = Judge::start(options(), Duration::ZERO);
    let mut client = Client::log_in(judge.address(), "org_a");
    assert_eq!(client.send(MAIL), 250);
    assert_eq!(client.send("Subject: nobody\r\n\r\nHi"), 550);
    assert_eq!(client.send(MAIL), 250);
    assert_eq!(client.say("QUIT"), 221);
    let kept = judge.kept.lock();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].account.org, "org_a");
    assert_eq!(kept[0].head.raw, &b"From: a@b.example\r\n\r\nHi\r\n"[..]);
}

#[test]
fn a_wrong_key_is_refused_and_mail_before_it() {
    let judge = Judge::start(options(), Duration::ZERO);
    let mut client = Client::connect(judge.address());
    assert_eq!((client.reply(), client.say("EHLO a")), (220, 250));
    assert_eq!(client.say("MAIL FROM:<a@b.example>"), 530);
    assert_eq!(
        client.say(&format!("AUTH PLAIN {}", base64("\0u\0wrong"))),
        535
    );
    assert_eq!(
        client.say(&format!("AUTH PLAIN {}", base64("\0u\0key"))),
        235
    );
}

#[test]
fn messages_of_many_connections_share_a_batch() {
    let judge = Judge::start(options(), Duration::from_millis(100));
    let clients: Vec<_> = (0..12)
        .map(|_| Client::log_in(judge.address(), "org_a"))
        .collect();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|mut client| std::thread::spawn(move || client.send(MAIL)))
        .collect();
    assert!(
        threads
            .into_iter()
            .all(|thread| thread.join().unwrap() == 250)
    );
    let batches = judge.batches.lock();
    assert_eq!(batches.iter().sum::<usize>(), 12);
    assert!(batches.len() < 8, "{batches:?}");
}

#[test]
fn slow_clients_are_cut_off_however_they_dribble() {
    let short = Duration::from_secs(2);
    let timeouts = Timeouts {
        login: short,
        command: short,
        transaction: short,
        ..Timeouts::default()
    };
    let judge = Judge::start(
        Options {
            timeouts,
            ..options()
        },
        Duration::ZERO,
    );
    let mut silent = Client::connect(judge.address());
    let mut dribbling = Client::log_in(judge.address(), "org_a");
    assert_eq!(dribbling.say("MAIL FROM:<a@b.example>"), 250);
    assert_eq!(dribbling.say("RCPT TO:<c@d.example>"), 250);
    assert_eq!(dribbling.say("DATA"), 354);
    let began = Instant::now();
    while dribbling.stream.write_all(b"x").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(60), "never cut off");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        (silent.reply(), silent.reply(), silent.reply()),
        (220, 421, 0)
    );
    let mut idle = Client::log_in(judge.address(), "org_a");
    assert_eq!((idle.reply(), idle.reply()), (421, 0));
    assert!(judge.kept.lock().is_empty());
}

#[test]
fn connections_and_content_are_bounded_and_shared() {
    let bounds = Options {
        max_connections: 4,
        max_held_bytes: 200_000,
        ..options()
    };
    let judge = Judge::start(bounds, Duration::ZERO);
    let mut first = Client::log_in(judge.address(), "org_a");
    let second = Client::log_in(judge.address(), "org_b");
    let mut third = Client::connect(judge.address());
    assert_eq!(third.reply(), 421, "half of four per address");
    drop(second);
    let large = format!("{MAIL}{}", "x".repeat(150_000));
    assert_eq!(
        first.send(&large),
        452,
        "half of the octets per organization"
    );
    assert_eq!(first.send(MAIL), 250);
}

#[test]
fn closing_answers_what_is_under_way_and_tells_the_idle() {
    let judge = Judge::start(options(), Duration::from_millis(300));
    let mut idle = Client::log_in(judge.address(), "org_a");
    let mut busy = Client::log_in(judge.address(), "org_a");
    let sending = std::thread::spawn(move || (busy.send(MAIL), busy.reply()));
    while judge.kept.lock().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    judge.submission.close();
    assert_eq!(sending.join().unwrap(), (250, 421));
    assert_eq!(idle.reply(), 421);
    assert!(TcpStream::connect(judge.address()).is_err());
}

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
fn settings_that_cannot_work_are_refused() {
    let open_to_all = Options {
        listen: vec!["0.0.0.0:0".parse().unwrap()],
        ..Options::default()
    };
    assert!(matches!(
        Submission::bind(open_to_all.clone()),
        Err(Error::NoCertificate { .. })
    ));
    assert!(
        Submission::bind(Options {
            requires_tls: false,
            ..open_to_all
        })
        .is_ok()
    );
    let missing = Some((PathBuf::from("no/cert.pem"), PathBuf::from("no/key.pem")));
    let error = Submission::bind(Options {
        certificate: missing,
        ..options()
    })
    .err()
    .unwrap();
    assert!(error.to_string().starts_with("no/cert.pem: "), "{error}");
    let taken = Submission::bind(options()).unwrap();
    let again = Options {
        listen: taken.addresses().to_vec(),
        ..options()
    };
    assert!(matches!(Submission::bind(again), Err(Error::Bind { .. })));
    assert!(matches!(
        Submission::bind(Options {
            host: "a b".into(),
            ..options()
        }),
        Err(Error::Host(..))
    ));
}

#[test]
fn a_trusted_network_needs_no_login_and_strangers_do() {
    let trusted = Trusted {
        network: "127.0.0.2".parse().unwrap(),
        prefix: 32,
        org: "org_trusted".into(),
    };
    let judge = Judge::start(
        Options {
            trusted: vec![trusted],
            ..options()
        },
        Duration::ZERO,
    );
    let from = |ip: &str| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let here: SocketAddr = format!("{ip}:0").parse().unwrap();
        socket.bind(&here.into()).unwrap();
        socket.connect(&judge.address().into()).unwrap();
        let stream = TcpStream::from(socket);
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut client = Client { stream };
        assert_eq!(client.reply(), 220);
        assert_eq!(client.say("EHLO client.test"), 250);
        client
    };
    let mut stranger = from("127.0.0.3");
    assert_eq!(stranger.say("MAIL FROM:<a@b.test>"), 530);
    let mut known = from("127.0.0.2");
    assert_eq!(known.send("From: a@b.test\r\n\r\nhi\r\n"), 250);
    let kept = judge.kept.lock();
    let (account, origin) = (&kept[0].account, &kept[0].origin);
    assert_eq!((&*account.org, &*account.key), ("org_trusted", ""));
    assert_eq!((&*origin.name, &*origin.protocol), ("client.test", "ESMTP"));
    assert_eq!(origin.ip.to_string(), "127.0.0.2");
    drop(kept);
    let metrics = judge.submission.metrics();
    assert!(
        metrics.contains("postalynk_submission_messages_accepted_total 1\n"),
        "{metrics}"
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
