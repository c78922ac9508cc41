//! The server's laws and stories, over bytes alone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use postalynk_smtp::EhloName;
use postalynk_smtp::server::{Answer, Credentials, Envelope, Event, Limits, Options, Server};
use proptest::prelude::*;
use std::sync::Arc;

fn options(requires_tls: bool) -> Options {
    Options {
        host: EhloName::new("mx.example").unwrap(),
        limits: Limits {
            max_message_bytes: 200,
            max_recipients: 3,
            max_line: 300,
            max_bad_commands: 10,
            max_idle_commands: 12,
            max_logins: 2,
        },
        offers_tls: requires_tls,
        requires_tls,
    }
}

/// A client and a driver that judges at once: the password is `key`, every message is taken.
struct Talk {
    server: Server,
    unread: Vec<u8>,
    said: String,
    events: Vec<Event>,
    is_closed: bool,
}

impl Talk {
    fn new(options: Options) -> Self {
        Self {
            server: Server::new(Arc::new(options), false),
            unread: Vec::new(),
            said: String::new(),
            events: Vec::new(),
            is_closed: false,
        }
    }

    fn authenticated() -> Self {
        let mut talk = Self::new(options(false));
        talk.send(b"EHLO a\r\nAUTH PLAIN AHUAa2V5\r\n");
        assert!(talk.said.contains("235 2.7.0"), "{}", talk.said);
        talk.said.clear();
        talk.events.clear();
        talk
    }

    fn send(&mut self, octets: &[u8]) -> &str {
        self.unread.extend_from_slice(octets);
        while !self.is_closed {
            let (taken, event) = self.server.receive(&self.unread);
            self.unread.drain(..taken);
            match &event {
                Some(Event::StartTls) => self.server.tls_established(),
                Some(Event::Login(Credentials { password, .. })) => {
                    let refusal = Answer::new("535 5.7.8 no such key");
                    let refusal = (password != "key").then_some(&refusal);
                    self.server.login_judged(refusal);
                }
                Some(Event::Message(..)) => {
                    self.server.message_judged(&Answer::new("250 2.0.0 kept"));
                }
                Some(Event::Closed) => self.is_closed = true,
                None => break,
            }
            self.events.extend(event);
        }
        let output = self.server.output().split();
        self.said.push_str(std::str::from_utf8(&output).unwrap());
        &self.said
    }

    /// The codes of the replies since the last call.
    fn codes(&mut self, octets: &str) -> Vec<u16> {
        self.said.clear();
        self.send(octets.as_bytes());
        let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
        let code = |line: &str| line[..3].parse().unwrap();
        self.said.lines().filter(last).map(code).collect()
    }

    fn messages(&self) -> Vec<(&Envelope, &Bytes)> {
        let messages = self.events.iter().filter_map(|event| match event {
            Event::Message(envelope, content) => Some((envelope, content)),
            _ => None,
        });
        messages.collect()
    }
}

const ENVELOPE: &str = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

#[test]
fn requiretls_is_offered_and_taken_over_tls_only() {
    let mut talk = Talk::authenticated();
    let demand = b"MAIL FROM:<a@b.example> REQUIRETLS\r\n";
    assert!(
        talk.send(demand).starts_with("555 5.7.10 "),
        "{}",
        talk.said
    );
    let mut talk = Talk::new(options(true));
    talk.send(b"EHLO a\r\n");
    assert!(!talk.said.contains("REQUIRETLS"));
    talk.send(b"STARTTLS\r\nEHLO a\r\nAUTH PLAIN AHUAa2V5\r\n");
    assert!(talk.said.contains("250-REQUIRETLS\r\n"), "{}", talk.said);
    talk.send(demand);
    talk.send(b"RCPT TO:<c@d.example>\r\nDATA\r\nFrom: a\r\n\r\n.\r\n");
    talk.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 2 LAST\r\n\r\n");
    let demanded = talk.events.iter().filter_map(|event| match event {
        Event::Message(envelope, _) => Some(envelope.requires_tls),
        _ => None,
    });
    assert_eq!(demanded.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_pipelined_group_is_answered_in_order() {
    let mut talk = Talk::authenticated();
    let group = format!("{ENVELOPE}DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n{ENVELOPE}QUIT\r\n");
    assert_eq!(talk.codes(&group), [250, 250, 354, 250, 250, 250, 221]);
    let (envelope, content) = talk.messages()[0];
    assert_eq!(envelope.reverse_path.as_str(), "a@b.example");
    assert_eq!(envelope.recipients[0].path.as_str(), "c@d.example");
    assert_eq!(content, &b"Subject: x\r\n\r\n.dot\r\n"[..]);
    assert!(talk.is_closed);
}

#[test]
fn chunks_make_one_message() {
    let mut talk = Talk::authenticated();
    let group = format!(
        "{ENVELOPE}BDAT 3\r\na\r\nBDAT 0\r\nBDAT 4 LAST\r\n.\r\nb{ENVELOPE}BDAT 1\r\nxRSET\r\n{ENVELOPE}BDAT 0 LAST\r\n"
    );
    assert_eq!(
        talk.codes(&group),
        [250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250]
    );
    assert_eq!(talk.messages()[0].1, &b"a\r\n.\r\nb"[..]);
    assert!(talk.messages()[1].1.is_empty());
    assert_eq!(
        talk.codes("BDAT 5\r\nQUIT\rMAIL"),
        [503],
        "octets of a chunk are no commands"
    );
    assert_eq!(
        talk.codes(&format!("\r\n{ENVELOPE}BDAT 2\r\na\nBDAT 0 LAST\r\n")),
        [501, 250, 250, 250, 550]
    );
    assert_eq!(
        talk.codes(&format!("{ENVELOPE}BDAT 999\r\n")),
        [250, 250, 552]
    );
    assert!(talk.is_closed);
}

#[test]
fn the_order_of_commands_is_kept() {
    let mut talk = Talk::new(options(true));
    talk.send(b"");
    assert_eq!(
        talk.codes("AUTH PLAIN AHUAa2V5\r\nMAIL FROM:<a@b.example>\r\n"),
        [503, 503]
    );
    assert_eq!(talk.codes("EHLO a\r\nAUTH PLAIN AHUAa2V5\r\n"), [250, 538]);
    assert!(talk.said.contains("250-STARTTLS") && !talk.said.contains("AUTH PLAIN"));
    assert_eq!(talk.codes("MAIL FROM:<a@b.example>\r\n"), [530]);
    assert_eq!(talk.codes("STARTTLS\r\n"), [220]);
    let mut talk = Talk::new(options(true));
    talk.send(b"EHLO a\r\nSTARTTLS\r\n");
    assert_eq!(
        talk.codes("MAIL FROM:<a@b.example>\r\n"),
        [503],
        "EHLO again after TLS"
    );
    assert_eq!(
        talk.codes("EHLO a\r\nSTARTTLS\r\nAUTH PLAIN\r\nAHUAa2V5\r\n"),
        [250, 503, 334, 235]
    );
    assert!(talk.said.contains("250-AUTH PLAIN LOGIN"));
    assert_eq!(talk.codes("RCPT TO:<c@d.example>\r\nDATA\r\n"), [503, 503]);
    assert_eq!(
        talk.codes(
            "MAIL FROM:<a@b.example>\r\nDATA\r\nRCPT TO:<c@d.example>\r\nAUTH PLAIN AHUAa2V5\r\n"
        ),
        [250, 554, 250, 503]
    );
}

#[test]
fn login_is_asked_for_twice_and_a_wrong_one_ends_it() {
    let mut talk = Talk::new(options(false));
    talk.send(b"EHLO a\r\n");
    assert_eq!(
        talk.codes("AUTH LOGIN\r\ndQ==\r\n*\r\nAUTH GSSAPI\r\n"),
        [334, 334, 501, 504]
    );
    assert_eq!(talk.codes("AUTH LOGIN dQ==\r\nd3Jvbmc=\r\n"), [334, 535]);
    assert_eq!(talk.codes("AUTH PLAIN AHUAd3Jvbmc=\r\n"), [535, 421]);
    assert!(talk.is_closed);
    assert!(
        !format!("{:?}", talk.events).contains("wrong"),
        "secrets stay out of logs"
    );
}

#[test]
fn every_resource_has_its_bound() {
    let four = "RCPT TO:<1@d.example>\r\nRCPT TO:<2@d.example>\r\nRCPT TO:<2@d.example>\r\nRCPT TO:<3@d.example>\r\nRCPT TO:<4@d.example>\r\n";
    let mut talk = Talk::authenticated();
    assert_eq!(
        talk.codes(&format!("MAIL FROM:<>\r\n{four}")),
        [250, 250, 250, 250, 250, 452]
    );
    assert_eq!(talk.codes("DATA\r\nx\r\n.\r\n"), [354, 250]);
    assert_eq!(
        talk.messages()[0].0.recipients.len(),
        3,
        "an address counts once"
    );

    assert_eq!(talk.codes("MAIL FROM:<a@b.example> SIZE=201\r\n"), [552]);
    assert_eq!(
        talk.codes(&format!("{ENVELOPE}DATA\r\n{}\r\n.\r\n", "x".repeat(300))),
        [250, 250, 354, 552]
    );
    assert_eq!(
        talk.codes(&format!("{ENVELOPE}DATA\r\n{}", "x".repeat(401))),
        [250, 250, 354, 552]
    );
    assert!(talk.is_closed, "a flood is not read to its end");

    let mut talk = Talk::authenticated();
    assert_eq!(
        talk.codes(&"NOOP\r\n".repeat(20)).len(),
        12,
        "eleven after EHLO, and 421"
    );
    assert!(talk.is_closed);
    let mut talk = Talk::authenticated();
    assert_eq!(
        talk.codes(&"X\r\n".repeat(20)),
        [vec![500; 10], vec![421]].concat()
    );
    let mut talk = Talk::authenticated();
    assert_eq!(talk.codes(&"x".repeat(300)), [500]);
    assert!(talk.is_closed);
}

#[test]
fn refused_content_is_not_held() {
    let mut talk = Talk::authenticated();
    talk.send(format!("{ENVELOPE}DATA\r\nhello").as_bytes());
    assert_eq!(talk.server.held(), 5);
    talk.server.refuse_content();
    assert_eq!(talk.server.held(), 0);
    assert_eq!(talk.codes("more\r\n.\r\nNOOP\r\n"), [452, 250]);
    talk.send(format!("{ENVELOPE}BDAT 5\r\nhello").as_bytes());
    assert_eq!(talk.server.held(), 5);
    talk.server.refuse_content();
    assert_eq!(talk.codes("BDAT 1 LAST\r\nx"), [452]);
}

#[test]
fn smtputf8_is_declared_where_it_is_needed() {
    let mut talk = Talk::authenticated();
    assert_eq!(
        talk.codes("MAIL FROM:<a@b.example>\r\nRCPT TO:<ü@d.example>\r\nRSET\r\n"),
        [250, 553, 250]
    );
    assert_eq!(
        talk.codes("MAIL FROM:<ü@b.example> SMTPUTF8\r\nRCPT TO:<ü@d.example>\r\n"),
        [250, 250]
    );
}

fn conversation() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "EHLO a\r\n",
        "AUTH PLAIN AHUAa2V5\r\n",
        "AUTH LOGIN\r\n",
        "dQ==\r\n",
        "a2V5\r\n",
        "*\r\n",
        ENVELOPE,
        "MAIL FROM:<a@b.example> SIZE=5 BODY=8BITMIME\r\n",
        "RCPT TO:<x@d.example> NOTIFY=NEVER\r\n",
        "DATA\r\n",
        "Subject: x\r\n\r\nü\r\n",
        "..\r\n",
        ".\r\n",
        "\n.\n",
        "\r.\r",
        "BDAT 4\r\n",
        "BDAT 0 LAST\r\n",
        "BDAT 3 LAST\r\n",
        "ab\r\n",
        "RSET\r\n",
        "NOOP\n",
        "\0",
        "junk junk junk",
        "QUIT\r\n",
    ]);
    let start = prop::sample::select(vec!["", "EHLO a\r\nAUTH PLAIN AHUAa2V5\r\n"]);
    (start, prop::collection::vec(piece, 0..30))
        .prop_map(|(start, p)| start.to_owned() + &p.concat())
}

proptest! {
    /// Law: however the input is cut, the events and the octets said are the same.
    #[test]
    fn law_any_split_same_events(
        text in conversation(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut whole = Talk::new(options(false));
        whole.send(text.as_bytes());
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.sort_unstable();
        let mut split = Talk::new(options(false));
        let mut start = 0;
        for end in at.into_iter().chain([text.len()]) {
            split.send(&text.as_bytes()[start..end]);
            start = end;
        }
        prop_assert_eq!(&whole.events, &split.events);
        prop_assert_eq!(&whole.said, &split.said);
    }

    /// Law: no octets make the server panic, hold more than its limits, or say what is no reply.
    #[test]
    fn law_server_never_panics(octets in prop::collection::vec(any::<u8>(), 0..600), text in conversation()) {
        let mut talk = Talk::new(options(true));
        for piece in [text.as_bytes(), &octets, text.as_bytes()] {
            talk.send(piece);
            prop_assert!(talk.server.held() <= 200);
            prop_assert!(talk.unread.len() <= 300 || talk.is_closed);
        }
        prop_assert!(talk.said.lines().all(|l| l.len() > 3 && l.is_ascii() && l.as_bytes()[..3].iter().all(u8::is_ascii_digit)));
    }
}
