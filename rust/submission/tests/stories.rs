//! Submission over real sockets, with a judge that keeps what it accepts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod judge;

use judge::{Client, Judge, MAIL, base64, options};
use postalynk_submission::{Error, Options, Submission, Timeouts, Trusted};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

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
