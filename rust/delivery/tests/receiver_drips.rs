//! A receiver answers octet by octet, for ever.
//!
//! Runs: a receiver that takes one message at a time, and a single connection to it. Breaks: on its
//! first connection it begins a reply and never ends it, an octet now and then: the banner, the
//! answer to EHLO, to STARTTLS, to MAIL, to RCPT, to DATA, to the final dot; or a record of TLS; or it
//! takes none of the content meanwhile.
//! Holds: no octet moves a deadline. The connection is closed at the one of the greeting or of the
//! transaction, the event says which, and the path goes on: the same message is delivered over the
//! next connection (G1), and only the one whose content had left is in doubt (G2).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use common::{Worker, loopback, message, smart_host};
use postalynk_delivery::Settings;
use postalynk_record::v1::{Kind, message::Content};

/// Far less than any deadline here, so that each would be moved many times if octets moved it.
const GAP: Duration = Duration::from_millis(10);

/// Answers each command; the one called `stage` gets `octets` again and again instead.
fn converse(stream: &TcpStream, stage: &str, octets: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream;
    let mut answer = |to: &str, reply: &str| -> io::Result<()> {
        if to != stage {
            return writer.write_all(reply.as_bytes());
        }
        for octet in octets.iter().cycle() {
            writer.write_all(&[*octet])?;
            std::thread::sleep(GAP);
        }
        Ok(())
    };
    answer("banner", "220 slow.test\r\n")?;
    let mut is_content = false;
    let (mut reader, mut line) = (BufReader::new(stream), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let said = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
        let verb = said.split([' ', '\r']).next().unwrap_or_default();
        match (is_content, verb) {
            (true, ".") => {
                is_content = false;
                answer("dot", "250 2.0.0 taken\r\n")?;
            }
            (true, _) => {}
            (false, "EHLO") if ["STARTTLS", "handshake"].contains(&stage) => {
                answer(verb, "250-slow.test\r\n250 STARTTLS\r\n")?;
            }
            (false, "STARTTLS") => {
                answer(verb, "220 go on\r\n")?;
                // Octets before the ClientHello would be an injection of plaintext.
                reader.fill_buf()?;
                answer("handshake", "")?;
            }
            (false, "DATA") => {
                is_content = true;
                answer(verb, "354 go on\r\n")?;
                answer("content", "")?;
            }
            (false, "QUIT") => return answer(verb, "221 bye\r\n"),
            (false, _) => answer(verb, "250 ok\r\n")?,
        }
    }
    Ok(())
}

/// A receiver whose first connection drips at `stage`; it tells when that one has been closed.
fn receiver(stage: &'static str, octets: &'static [u8]) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut stage = stage;
        while let Ok((stream, _)) = listener.accept() {
            let drips = std::mem::take(&mut stage);
            let ended = converse(&stream, drips, octets);
            if !drips.is_empty() {
                assert!(ended.is_err(), "it was to drip at {drips}");
                let _ = tell.send(());
            }
        }
    });
    (address, told)
}

/// Sends one message of so many lines; what the event of the attempt that was cut off says, with its
/// kind.
fn cut_off(stage: &'static str, octets: &'static [u8], lines: usize) -> (Kind, String, String) {
    let (address, closed) = receiver(stage, octets);
    let mut worker = Worker::new(Settings {
        connections: 1,
        greeting_timeout_s: 1,
        // Time enough for the second attempt, which is to succeed.
        transaction_timeout_s: if lines > 1 { 5 } else { 1 },
        ..smart_host(address)
    });
    let mut sent = message(1, &["ann@example.com"]);
    if let Some(Content::Composed(composed)) = &mut sent.content {
        composed.text = Bytes::from("A line of the text.\r\n".repeat(lines));
    }
    worker.send(vec![sent]);
    worker.run_to_end();
    closed
        .recv_timeout(common::PATIENCE)
        .expect("the dripping connection is closed, not only given up");
    let events = worker.events();
    let [first, last] = &events[..] else {
        panic!("one attempt fails, one succeeds: {events:#?}");
    };
    assert_eq!(last.kind(), Kind::Delivered);
    let tried = first.tried.clone().unwrap();
    (first.kind(), tried.phase, first.reason.clone())
}

#[test]
fn before_a_message_the_greetings_deadline_holds() {
    let reason = "the greeting took too long";
    for (stage, phase) in [("banner", "banner"), ("EHLO", "ehlo")] {
        let (kind, where_it_was, said) = cut_off(stage, b"250-still here\r\n", 1);
        assert_eq!(
            (kind, where_it_was.as_str(), said.as_str()),
            (Kind::Deferred, phase, reason)
        );
    }
}

#[test]
fn within_a_message_the_transactions_deadline_holds() {
    let reason = "the transaction took longer than allowed in all";
    for (stage, kind) in [
        ("MAIL", Kind::Deferred),
        ("RCPT", Kind::Deferred),
        ("DATA", Kind::Deferred),
        ("dot", Kind::InDoubt),
    ] {
        // A line that has no end, too.
        let (ended, _, said) = cut_off(stage, b"2", 1);
        assert_eq!((ended, said.as_str()), (kind, reason), "at {stage}");
    }
}

#[test]
fn content_that_is_not_taken_is_not_in_doubt() {
    // More than all buffers between the two hold: its end has not left when it is given up.
    let (kind, _, said) = cut_off("content", b"2", 1_000_000);
    let reason = "the transaction took longer than allowed in all";
    assert_eq!((kind, said.as_str()), (Kind::Deferred, reason));
}

#[test]
fn while_tls_begins_the_greetings_deadline_holds_and_plaintext_is_the_recorded_last_resort() {
    // The second: a record of 16 KB that never comes to its end.
    let stages: [(_, &[u8], _); 2] = [
        ("STARTTLS", b"220-go on\r\n", "the greeting took too long"),
        ("handshake", b"\x16\x03\x03\x40\x00", "handshake: timeout"),
    ];
    for (stage, octets, said) in stages {
        let (address, closed) = receiver(stage, octets);
        let mut worker = Worker::new(Settings {
            connections: 1,
            greeting_timeout_s: 1,
            ..smart_host(address)
        });
        worker.send(vec![message(1, &["ann@example.com"])]);
        worker.run_to_end();
        closed.recv_timeout(common::PATIENCE).expect("it is closed");
        assert_eq!(
            worker.events().len(),
            1,
            "at {stage}: {:#?}",
            worker.events()
        );
        let tried = worker.first(Kind::Delivered).tried.unwrap();
        assert!(tried.tls_refused.contains(said), "{stage}: {tried:?}");
    }
}
