//! The bytes of schema version 1, pinned: a file of `tests/vectors/record/v1` decodes to the value
//! written here, and the value encodes to the bytes of the file.
//!
//! `BLESS=1 cargo test -p postalynk-record` writes files for new values; bytes that exist are a
//! promise and are never rewritten. The readable form beside them names every field of today's schema,
//! so a new field appears in it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Debug;
use std::path::PathBuf;

use bytes::Bytes;
use postalynk_record::v1::{
    Accepted, Attachment, Attempt, Calendar, Composed, DeadLetter, Deferral, Event, Header,
    InDoubt, Kind, Lane, Mailbox, Message, Recipient, Scheduled, Tag, Template, message::Content,
};
use postalynk_record::{Check, MessageId, Record, decode, encode};

fn path(name: &str) -> PathBuf {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/record/v1");
    PathBuf::from(vectors).join(name)
}

fn assert_golden<T>(name: &str, value: &T)
where
    T: prost::Message + Default + Check + Debug + PartialEq,
{
    let (bin, txt) = (path(&format!("{name}.bin")), path(&format!("{name}.txt")));
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path("")).unwrap();
        // Bytes once written stay; how they read grows with the schema.
        if !bin.exists() {
            std::fs::write(&bin, encode(value)).unwrap();
        }
        std::fs::write(&txt, format!("{value:#?}\n")).unwrap();
    }
    let pinned = Bytes::from(std::fs::read(&bin).unwrap());
    assert_eq!(&decode::<T>(&pinned).unwrap(), value, "{name}: the value");
    assert_eq!(encode(value), pinned, "{name}: the bytes");
    let readable = std::fs::read_to_string(&txt).unwrap();
    assert_eq!(
        format!("{value:#?}\n"),
        readable,
        "{name}: the readable form"
    );
}

fn id() -> Bytes {
    Bytes::copy_from_slice(MessageId::new(1_700_000_000_000, *b"0123456789").as_bytes())
}

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox {
        name: name.into(),
        address: address.into(),
    }
}

fn composed() -> Message {
    Message {
        id: id(),
        org: "org_acme".into(),
        accepted_at_us: 1_700_000_000_000_000,
        expires_at_us: 1_700_259_200_000_000,
        lane: Lane::High.into(),
        reverse_path: "bounces@acme.example".into(),
        recipients: ["ann@example.com", "bob@xn--bcher-kva.example"]
            .map(|address| Recipient {
                address: address.into(),
                ..Default::default()
            })
            .into(),
        content: Some(Content::Composed(Composed {
            from: Some(mailbox("Acme ☂", "hello@acme.example")),
            to: vec![mailbox("Ann", "ann@example.com")],
            cc: vec![mailbox("", "bob@xn--bcher-kva.example")],
            reply_to: vec![mailbox("", "help@acme.example")],
            subject: "Grüße".into(),
            text: Bytes::from_static("Hallo\n".as_bytes()),
            html: Bytes::from_static(b"<p>Hallo</p>"),
            headers: vec![Header {
                name: "X-Campaign".into(),
                value: "spring".into(),
            }],
            attachments: vec![Attachment {
                filename: "logo.png".into(),
                content_type: "image/png".into(),
                content_id: "logo".into(),
                content: Bytes::from_static(b"\x89PNG\r\n"),
            }],
            ..Composed::default()
        })),
        message_id: "018bcfe5.1@acme.example".into(),
        tags: vec![Tag {
            name: "kind".into(),
            value: "welcome".into(),
        }],
        dkim_domain: "acme.example".into(),
        plan: "pro".into(),
        in_doubt: InDoubt::Hold.into(),
        ..Default::default()
    }
}

fn raw() -> Message {
    Message {
        id: id(),
        org: "org_acme".into(),
        accepted_at_us: 1_700_000_000_000_000,
        reverse_path: "bounces@acme.example".into(),
        recipients: vec![Recipient {
            address: "ann@example.com".into(),
            ..Default::default()
        }],
        content: Some(Content::Raw(Bytes::from_static(
            b"Subject: hi\r\n\r\nhi\r\n",
        ))),
        message_id: "1@acme.example".into(),
        ..Default::default()
    }
}

fn filled() -> Message {
    Message {
        content: Some(Content::Composed(Composed {
            from: Some(mailbox("", "hello@acme.example")),
            to: vec![mailbox("", "ann@example.com")],
            no_plain_text: true,
            calendar: Some(Calendar {
                method: "REQUEST".into(),
                object: Bytes::from_static(
                    b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n",
                ),
            }),
            template: Some(Template {
                id: "0193a1b2-0000-4000-8000-000000000000".into(),
                version: 3,
                subject: "Hi {{ name }}".into(),
                html: Bytes::from_static(b"<p>{{ name }}</p>"),
                text: Bytes::from_static(b"{{ name }}"),
                variables: Bytes::from_static(br#"{"name":"Ann"}"#),
            }),
            list_unsubscribe: "https://acme.example/u/1".into(),
            feedback_id: "spring:ann:mail:acme1".into(),
            dkim_expires_s: 604_800,
            ..Default::default()
        })),
        ..composed()
    }
}

#[test]
fn messages() {
    assert_golden("message_composed", &composed());
    assert_golden("message_filled", &filled());
    assert_golden("message_raw", &raw());
}

#[test]
fn an_acceptance() {
    assert_golden(
        "event_accepted",
        &Event {
            message_id: id(),
            org: "org_acme".into(),
            kind: Kind::Accepted.into(),
            at_us: 1_700_000_000_000_100,
            accepted: Some(Accepted {
                from: "Acme ☂ <hello@acme.example>".into(),
                to: vec!["Ann <ann@example.com>".into()],
                cc: vec!["bob@example.com".into()],
                bcc: vec!["eve@example.com".into()],
                reply_to: vec!["help@acme.example".into()],
                subject: "Grüße".into(),
                tags: vec![Tag {
                    name: "kind".into(),
                    value: "welcome".into(),
                }],
                size_bytes: 4_321,
                recipients: vec!["ann@example.com".into()],
                expires_at_us: 1_700_259_200_000_000,
                message_id_header: "1@acme.example".into(),
            }),
            lane: Lane::Bulk.into(),
            ..Default::default()
        },
    );
}

#[test]
fn an_attempt() {
    assert_golden(
        "event_deferred",
        &Event {
            message_id: id(),
            org: "org_acme".into(),
            kind: Kind::Deferred.into(),
            at_us: 1_700_000_001_000_000,
            recipient: 1,
            attempt: 2,
            address: "bob@example.com".into(),
            accepted: None,
            tried: Some(Attempt {
                pool: "shared-std".into(),
                source: "ip-1".into(),
                site: "google".into(),
                mx: "mx.example.com".into(),
                peer: "192.0.2.1:25".into(),
                reply_code: 421,
                enhanced: "4.7.0".into(),
                reply: "slow down\nplease".into(),
                class: "rate".into(),
                phase: "mail".into(),
                tls: "TLSv1.3 TLS_AES_256_GCM_SHA384".into(),
                connect_us: 1_000,
                mail_us: 2_000,
                dot_us: 3_000,
                total_us: 6_000,
                policy_version: "sha256:abc".into(),
                route_reason: "three-way choice".into(),
                fallback: true,
                size_bytes: 10_240,
                tls_refused: "certificate expired".into(),
                tls_policy: String::new(),
                ..Default::default()
            }),
            due_at_us: 1_700_000_061_000_000,
            lane: Lane::Normal.into(),
            reason: "the receiver asked for a slower rate".into(),
        },
    );
}

#[test]
fn what_waits_and_what_died() {
    assert_golden(
        "deferral",
        &Deferral {
            record: encode(&raw()),
            recipient: 0,
            attempt: 1,
            due_at_us: 1_700_000_061_000_000,
            last_reply_code: 451,
            last_enhanced: "4.3.0".into(),
            last_reply: "try later".into(),
            last_class: "transport".into(),
            pool: "shared-std".into(),
            first_attempt_at_us: 1_700_000_001_000_000,
            site: "example.com".into(),
        },
    );
    assert_golden(
        "dead_letter",
        &DeadLetter {
            reason: "undecodable".into(),
            detail: "schema version 7 is unknown here (this build reads version 1)".into(),
            topic: "email.send.normal".into(),
            partition: 17,
            offset: 4_711,
            at_us: 1_700_000_002_000_000,
            record: Bytes::from_static(&[0x9b, 7, 0, 255]),
            message_id: Bytes::new(),
            org: String::new(),
            ..Default::default()
        },
    );
    assert_golden(
        "dead_letter_of_a_deferral",
        &DeadLetter {
            reason: "undecodable".into(),
            detail: "the protobuf message is broken".into(),
            topic: "email.deferred".into(),
            partition: 17,
            at_us: 1_700_000_002_000_000,
            record: Bytes::from_static(&[0x9b, 1, 255]),
            key: Bytes::from_static(b"0123456789abcdef\0\0\0\x01"),
            version: "1.4.0".into(),
            policy_version: "sha256:0d5".into(),
            ..Default::default()
        },
    );
    assert_golden(
        "scheduled",
        &Scheduled {
            record: Bytes::from_static(b"the record as it came"),
            due_at_us: 1_700_086_400_000_000,
        },
    );
}

/// Written by a later version: field 999 is unknown here, is read over, and is passed on.
#[test]
fn a_record_of_a_newer_writer() {
    let pinned = path("message_unknown_field.bin");
    if std::env::var_os("BLESS").is_some() && !pinned.exists() {
        std::fs::create_dir_all(path("")).unwrap();
        let newer = [encode(&raw()).as_ref(), &[0xba, 0x3e, 3, b'n', b'e', b'w']].concat();
        std::fs::write(&pinned, newer).unwrap();
        let text = format!(
            "{:#?}\n+ field 999 (unknown to version 1): b\"new\"\n",
            raw()
        );
        std::fs::write(path("message_unknown_field.txt"), text).unwrap();
    }
    let bytes = Bytes::from(std::fs::read(&pinned).unwrap());
    let record = Record::decode(bytes.clone()).unwrap();
    assert_eq!(record.message(), &raw());
    assert_eq!(record.raw(), &bytes);
    assert!(bytes.len() > encode(record.message()).len());
}
