//! AUTH to a receiver that knows us (RFC 4954): only when encrypted, and never in a transcript.

mod talk;

use postalynk_smtp::server::Credentials;
use postalynk_smtp::{CloseReason, Event, Sent, StartTls, SubmitError};
use talk::{Talk, message};

const SECRET: &str = "p\u{e4}ss";

fn talk(starttls: StartTls) -> Talk {
    let login = Credentials {
        username: "user".into(),
        password: SECRET.into(),
    };
    let mut talk = Talk::with_login(starttls, Some(login));
    talk.hear("220 mx.test\r\n");
    talk.sent();
    talk
}

/// Encrypted, and greeted again with this.
fn encrypted(ehlo_reply: &str) -> Talk {
    let mut talk = talk(StartTls::Required);
    talk.hear("250-mx.test\r\n250 STARTTLS\r\n");
    assert_eq!(talk.sent(), "STARTTLS\r\n");
    talk.hear("220 go\r\n");
    assert_eq!(talk.event(), Some(Event::StartTls));
    talk.client.tls_established();
    assert_eq!(talk.sent(), "EHLO client.test\r\n");
    talk.hear(ehlo_reply);
    talk
}

fn noted(talk: &mut Talk) -> String {
    let mut text = String::new();
    while let Some(sent) = talk.client.next_sent() {
        if let Sent::Commands(commands) = sent {
            text.push_str(&String::from_utf8_lossy(&commands));
        }
    }
    text
}

#[test]
fn plain_is_preferred_and_comes_before_any_mail() {
    let mut talk = encrypted("250-mx.test\r\n250 AUTH LOGIN PLAIN XOAUTH2\r\n");
    assert_eq!(talk.sent(), "AUTH PLAIN AHVzZXIAcMOkc3M=\r\n");
    assert!(!talk.client.wants_transaction());
    talk.hear("235 2.7.0 welcome\r\n");
    assert!(matches!(talk.event(), Some(Event::Ready(_))));
    assert!(talk.client.wants_transaction());
    let noted = noted(&mut talk);
    assert!(noted.ends_with("AUTH PLAIN ***\r\n"), "{noted}");
    assert!(!noted.contains("AHVzZXIA"));
}

#[test]
fn login_where_there_is_no_plain() {
    let mut talk = encrypted("250-mx.test\r\n250 AUTH LOGIN\r\n");
    assert_eq!(talk.sent(), "AUTH LOGIN\r\n");
    talk.hear("334 VXNlcm5hbWU6\r\n");
    assert_eq!(talk.sent(), "dXNlcg==\r\n");
    talk.hear("334 UGFzc3dvcmQ6\r\n");
    assert_eq!(talk.sent(), "cMOkc3M=\r\n");
    talk.hear("235 ok\r\n");
    assert!(matches!(talk.event(), Some(Event::Ready(_))));
    assert!(noted(&mut talk).ends_with("AUTH LOGIN\r\n***\r\n***\r\n"));
}

#[test]
fn no_octet_of_it_leaves_in_plaintext() {
    for starttls in [StartTls::Never, StartTls::WhenOffered] {
        let mut talk = talk(starttls);
        talk.hear("250-mx.test\r\n250 AUTH PLAIN LOGIN\r\n");
        let reason = CloseReason::TlsUnavailable(None);
        assert_eq!(talk.event(), Some(Event::Closed(reason)));
        assert_eq!(talk.sent(), "");
    }
    let mut refused = talk(StartTls::WhenOffered);
    refused.hear("250-mx.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n");
    refused.sent();
    refused.hear("454 not now\r\n");
    assert!(matches!(refused.event(), Some(Event::StartTlsRefused(_))));
    assert!(matches!(refused.event(), Some(Event::Closed(_))));
    assert_eq!(refused.sent(), "");
}

#[test]
fn what_is_refused_or_not_offered_ends_the_connection() {
    let mut none = encrypted("250-mx.test\r\n250 AUTH GSSAPI\r\n");
    let reason = CloseReason::LoginUnavailable;
    assert_eq!(none.event(), Some(Event::Closed(reason)));
    for (heard, is_refusal) in [("535 5.7.8 no\r\n", true), ("334 what\r\n", false)] {
        let mut talk = encrypted("250-mx.test\r\n250 AUTH PLAIN\r\n");
        talk.sent();
        talk.hear(heard);
        let event = talk.event();
        let refused = matches!(event, Some(Event::Closed(CloseReason::Refused(_))));
        assert_eq!(refused, is_refusal, "{event:?}");
        assert!(talk.client.is_closed());
    }
}

#[test]
fn a_message_that_requires_tls_goes_where_it_is_promised_only() {
    let demanding = || postalynk_smtp::Transaction {
        require_tls: true,
        ..message(1, &["a@y.test"])
    };
    let mut plaintext = Talk::ready("250-mx.test\r\n250 REQUIRETLS\r\n");
    let refused = Err(SubmitError::RequireTlsUnsupported);
    assert_eq!(plaintext.client.submit(demanding()), refused);
    for (offered, command) in [("PIPELINING", ""), ("REQUIRETLS", " REQUIRETLS")] {
        let mut talk = Talk::greeted(StartTls::Required, "250-mx.test\r\n250 STARTTLS\r\n");
        talk.sent();
        talk.hear("220 go\r\n");
        talk.event();
        talk.client.tls_established();
        talk.sent();
        talk.hear(&format!("250-mx.test\r\n250 {offered}\r\n"));
        talk.event();
        if command.is_empty() {
            assert_eq!(talk.client.submit(demanding()), refused);
        } else {
            talk.submit(demanding());
            assert_eq!(talk.sent(), "MAIL FROM:<from@x.test> REQUIRETLS\r\n");
        }
    }
}
