//! A client sends an octet now and then, for ever, or takes no answers.
//!
//! Runs: submission, with one of its deadlines short and all others as they are. Breaks: the client
//! begins a command, a password, a recipient, content by DATA or by BDAT, or a TLS handshake, and
//! never ends it; or it floods commands and reads nothing.
//! Holds: no octet moves a deadline. The client is told 421 (but within TLS), its connection is
//! closed, nothing of its mail is handed up, and nothing is held: its place and the room for its
//! octets are free for the next one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod judge;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use judge::{Client, Judge, MAIL, base64, options};
use postalynk_submission::{Options, Timeouts};

/// Far less than the deadlines, so that each would be moved many times if octets moved it.
const GAP: Duration = Duration::from_millis(10);
const SHORT: Duration = Duration::from_secs(1);
/// Only there so that a broken test ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// So much of a message fits once, not twice.
const LARGE: usize = 120_000;

fn login() -> Timeouts {
    Timeouts {
        login: SHORT,
        ..Timeouts::default()
    }
}

fn command() -> Timeouts {
    Timeouts {
        command: SHORT,
        ..Timeouts::default()
    }
}

fn transaction() -> Timeouts {
    Timeouts {
        transaction: SHORT,
        ..Timeouts::default()
    }
}

fn write() -> Timeouts {
    Timeouts {
        write: SHORT,
        ..Timeouts::default()
    }
}

/// Room for one connection of an address, one of an organization, and one large message.
fn judge(timeouts: Timeouts) -> Judge {
    let tight = Options {
        max_connections: 2,
        max_held_bytes: 400_000,
        timeouts,
        ..options()
    };
    Judge::start(tight, Duration::ZERO)
}

/// Sends an octet now and then until the connection ends; the last thing the server said.
fn dribble(mut stream: &TcpStream, octet: u8) -> String {
    stream.set_read_timeout(Some(GAP)).unwrap();
    let (mut said, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        let is_cut = stream.write_all(&[octet]).is_err();
        match stream.read(&mut buffer) {
            Ok(octets) if octets > 0 => said.extend_from_slice(&buffer[..octets]),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !is_cut => {}
            _ => return String::from_utf8(said).unwrap(),
        }
    }
}

/// Whoever comes next finds all the room there is; the slow one left no mail behind.
fn nothing_is_held(judge: &Judge) {
    wait_until_closed(judge);
    let mut next = Client::log_in(judge.address(), "org_a");
    assert_eq!(next.send(&format!("{MAIL}{}", "x".repeat(LARGE))), 250);
    assert_eq!(
        judge.kept.lock().len(),
        1,
        "only the last one was handed up"
    );
}

fn wait_until_closed(judge: &Judge) {
    let closed = "postalynk_submission_open_connections 0\n";
    let until = Instant::now() + PATIENCE;
    while !judge.submission.metrics().contains(closed) {
        assert!(Instant::now() < until, "never closed");
        std::thread::sleep(GAP);
    }
}

/// A client that is logged in and has said these commands, all of them answered.
fn after(judge: &Judge, commands: &[(&str, u16)]) -> TcpStream {
    let mut client = Client::log_in(judge.address(), "org_a");
    for (command, code) in commands {
        assert_eq!(client.say(command), *code, "{command}");
    }
    client.stream
}

const MAIL_FROM: (&str, u16) = ("MAIL FROM:<a@b.example>", 250);
const RCPT_TO: (&str, u16) = ("RCPT TO:<c@d.example>", 250);

#[test]
fn a_command_that_never_ends_before_the_login() {
    let judge = judge(login());
    let mut client = Client::connect(judge.address());
    assert_eq!(client.reply(), 220);
    assert!(dribble(&client.stream, b'E').starts_with("421 4.4.2"));
    drop(client);
    nothing_is_held(&judge);
}

#[test]
fn a_password_that_never_ends() {
    let judge = judge(login());
    let mut client = Client::connect(judge.address());
    assert_eq!((client.reply(), client.say("EHLO a")), (220, 250));
    assert_eq!(client.say("AUTH LOGIN"), 334);
    assert_eq!(client.say(&base64("org_a")), 334);
    assert!(dribble(&client.stream, b'a').starts_with("421 4.4.2"));
    drop(client);
    nothing_is_held(&judge);
}

#[test]
fn a_command_that_never_ends_after_the_login() {
    let judge = judge(command());
    let stream = after(&judge, &[]);
    assert!(dribble(&stream, b'N').starts_with("421 4.4.2"));
    drop(stream);
    nothing_is_held(&judge);
}

#[test]
fn a_recipient_that_never_ends() {
    let judge = judge(transaction());
    let mut stream = after(&judge, &[MAIL_FROM]);
    stream.write_all(b"RCPT TO:<").unwrap();
    assert!(dribble(&stream, b'c').starts_with("421 4.4.2"));
    drop(stream);
    nothing_is_held(&judge);
}

#[test]
fn recipients_without_end() {
    let judge = judge(transaction());
    let mut client = Client {
        stream: after(&judge, &[MAIL_FROM]),
    };
    // Each is a whole command, so what ends this is the transaction's deadline and no other.
    let mut code = 250;
    while code == 250 || code == 452 {
        std::thread::sleep(GAP);
        code = match client.stream.write_all(b"RCPT TO:<c@d.example>\r\n") {
            Ok(()) => client.reply(),
            Err(_) => 0,
        };
    }
    assert_eq!(code, 421);
    drop(client);
    nothing_is_held(&judge);
}

#[test]
fn content_that_never_ends_by_data() {
    let judge = judge(transaction());
    let mut stream = after(&judge, &[MAIL_FROM, RCPT_TO, ("DATA", 354)]);
    stream.write_all(&vec![b'x'; LARGE]).unwrap();
    assert!(dribble(&stream, b'x').starts_with("421 4.4.2"));
    // The client keeps its side open, and its place is free all the same.
    nothing_is_held(&judge);
    drop(stream);
}

#[test]
fn content_that_never_ends_by_bdat() {
    let judge = judge(transaction());
    let mut stream = after(&judge, &[MAIL_FROM, RCPT_TO]);
    stream.write_all(b"BDAT 150000 LAST\r\n").unwrap();
    stream.write_all(&vec![b'x'; LARGE]).unwrap();
    assert!(dribble(&stream, b'x').starts_with("421 4.4.2"));
    drop(stream);
    nothing_is_held(&judge);
}

#[test]
fn a_handshake_that_never_ends() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let files = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&files[0], made.cert.pem()).unwrap();
    std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
    let [certificate, key] = files;
    let with_tls = Options {
        certificate: Some((certificate, key)),
        max_connections: 2,
        timeouts: login(),
        ..options()
    };
    let judge = Judge::start(with_tls, Duration::ZERO);
    let mut client = Client::connect(judge.address());
    assert_eq!((client.reply(), client.say("EHLO a")), (220, 250));
    assert_eq!(client.say("STARTTLS"), 220);
    // A record of 16 KB that never comes to its end.
    client.stream.write_all(b"\x16\x03\x01\x40\x00").unwrap();
    assert_eq!(dribble(&client.stream, 1), "", "no plaintext within TLS");
    drop(client);
    nothing_is_held(&judge);
}

#[test]
fn a_client_that_takes_no_answers() {
    let judge = judge(write());
    let mut stream = after(&judge, &[]);
    // Until nobody reads any more, for the answers fill all there is between the two.
    stream.set_write_timeout(Some(GAP)).unwrap();
    let flood = b"NOOP\r\n".repeat(10_000);
    loop {
        match stream.write(&flood) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    drop(stream);
    nothing_is_held(&judge);
}
