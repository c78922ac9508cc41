//! A receiver offers no 8BITMIME (RFC 6152).
//!
//! Runs: raw messages with 8-bit octets to such a receiver. Breaks: nothing; then one may not be
//! changed. Holds: they are re-encoded before they leave, in their order, without costing an attempt,
//! and leave so from then on; what may not be re-encoded bounces with 5.6.3 and the reason, and goes
//! out as it is where 8BITMIME is offered.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::{self, Kind};
use postalynk_testkit::{Sink, SinkOptions};

const TEXT: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\nGrüße aus Köln, der Stadt am Rhein\r\n";
const SIGNED: &str = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n\
    --s\r\n\r\nGrüße\r\n--s\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--s--\r\n";

fn raw(n: u64, rest: &str) -> v1::Message {
    let head =
        format!("From: me@sender.example\r\nMessage-ID: <{n}@sender.example>\r\nSubject: {n}\r\n");
    let recipients = ["ann@one.test", "bob@one.test"];
    v1::Message {
        content: Some(v1::message::Content::Raw(Bytes::from(head + rest))),
        ..message(n, &recipients[..1 + n as usize % 2])
    }
}

fn sink(directory: &Path, eight_bit: bool) -> Sink {
    let options = SinkOptions {
        eight_bit,
        store: Some(directory.to_owned()),
        ..SinkOptions::default()
    };
    Sink::start(loopback(), options).unwrap()
}

/// What was taken, in order.
fn stored(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &std::path::PathBuf| std::fs::read_to_string(file).unwrap();
    files.iter().map(read).collect()
}

#[test]
fn messages_leave_re_encoded_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let sink = sink(directory.path(), false);
    let mut settings = smart_host(sink.address());
    settings.connections = 1;
    let mut worker = Worker::new(settings);
    for batch in [0..10, 10..20] {
        worker.send(batch.map(|n| raw(n, TEXT)).collect());
        worker.run_to_end();
    }
    assert_eq!(worker.count(Kind::Delivered), 30);
    assert_eq!(
        worker.count(Kind::Deferred) + worker.count(Kind::Bounced),
        0
    );
    assert_eq!(sink.counts().messages, 20);
    let encoded = TEXT
        .replace("8bit", "quoted-printable")
        .replace('ü', "=C3=BC")
        .replace('ß', "=C3=9F")
        .replace('ö', "=C3=B6");
    for (n, message) in stored(directory.path()).iter().enumerate() {
        let head = format!(
            "From: me@sender.example\r\nMessage-ID: <{n}@sender.example>\r\nSubject: {n}\r\n"
        );
        assert_eq!(message, &(head + &encoded));
    }
    let parameters: Vec<_> = sink
        .received()
        .into_iter()
        .flat_map(|r| r.parameters)
        .collect();
    assert!(!parameters.iter().any(|p| p.contains("8BITMIME")));
}

#[test]
fn what_may_not_be_changed_bounces_or_goes_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let strict = sink(&directory.path().join("strict"), false);
    let mut settings = smart_host(strict.address());
    settings.connections = 1;
    let mut worker = Worker::new(settings);
    worker.send(vec![
        raw(1, SIGNED),
        raw(3, TEXT),
        raw(5, "\r\nGrüße aus einem Satz\r\n"),
    ]);
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 4);
    assert_eq!(strict.counts().messages, 2);
    let bounced = worker.first(Kind::Bounced);
    assert_eq!(bounced.tried.unwrap().enhanced, "5.6.3");
    assert!(bounced.reason.contains("is signed"), "{}", bounced.reason);
    let bare = stored(&directory.path().join("strict")).remove(1);
    let added = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n";
    assert!(
        bare.ends_with(&format!("{added}Gr=C3=BC=C3=9Fe aus einem Satz\r\n")),
        "{bare}"
    );

    let open = sink(&directory.path().join("open"), true);
    let mut worker = Worker::new(smart_host(open.address()));
    worker.send(vec![raw(1, SIGNED)]);
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 2);
    assert!(stored(&directory.path().join("open"))[0].ends_with(SIGNED));
}

#[test]
fn a_header_in_utf_8_is_another_matter() {
    let directory = tempfile::tempdir().unwrap();
    let sink = sink(directory.path(), false);
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.send(vec![raw(2, "X-Note: Grüße\r\n\r\nHi\r\n")]);
    worker.run_to_end();
    let bounced = worker.first(Kind::Bounced);
    assert_eq!(bounced.tried.unwrap().enhanced, "5.6.7");
}
