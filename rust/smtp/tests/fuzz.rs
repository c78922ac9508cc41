//! Both sides of SMTP against hostile octets: nothing panics, nothing is held without bound, and
//! what comes out keeps its promises.
//!
//! `make test` tries some thousands each; `make soak` a million (`BOLERO_RANDOM_ITERATIONS`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use postalynk_smtp::server::{Answer, Event, Limits as ServerLimits, Options, Server};
use postalynk_smtp::{
    Capabilities, Client, Config, Content, EhloName, ForwardPath, Limits, MAX_REPLY_LINE,
    MAX_REPLY_LINES, Reply, ReplyParser, ReversePath, StartTls, Transaction, TransactionId,
};
use std::io::IoSlice;
use std::sync::Arc;

fn iterations() -> usize {
    let wanted = std::env::var("BOLERO_RANDOM_ITERATIONS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(5_000)
}

fn name() -> EhloName {
    EhloName::new("fuzz.test").unwrap()
}

/// Pieces of replies and commands by the first octet, noise by the rest: random octets alone never
/// get past a greeting.
fn near(words: &[&[u8]], octets: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for pair in octets.chunks(2) {
        // Four times in so many it stays noise.
        match words.get(usize::from(pair[0]) % (words.len() + 4)) {
            Some(word) => text.extend_from_slice(word),
            None => text.extend_from_slice(pair),
        }
    }
    text
}

/// A reply is the same however it is split, and is bounded; no control character gets through.
#[test]
fn fuzz_replies() {
    const WORDS: &[&[u8]] = &[
        b"250-",
        b"250 ",
        b"354 ",
        b"421 ",
        b"550 5.1.1 ",
        b"\r\n",
        b"\n",
        b"\r",
        b"2",
        b"999 ",
    ];
    bolero::check!()
        .with_iterations(iterations())
        .with_type::<(Vec<u8>, u16)>()
        .for_each(|(octets, at)| {
            let text = near(WORDS, octets);
            let at = usize::from(*at) % (text.len() + 1);
            let whole = replies(&[&text]);
            assert_eq!(replies(&[&text[..at], &text[at..]]), whole);
            for reply in whole.0 {
                assert!((200..600).contains(&reply.code()));
                // What is not readable becomes a sign of three octets.
                assert!(reply.text().len() <= MAX_REPLY_LINES * (3 * MAX_REPLY_LINE + 1));
                assert!(
                    !reply
                        .text()
                        .contains(|c: char| c.is_control() && c != '\n' && c != '\t')
                );
            }
        });
}

/// The replies, and whether an error ended them.
fn replies(pieces: &[&[u8]]) -> (Vec<Reply>, bool) {
    let (mut parser, mut found) = (ReplyParser::default(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match parser.next_reply(&mut rest) {
                Ok(Some(reply)) => found.push(reply),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// Whatever a receiver offers is read; a limit that is read allows something.
#[test]
fn fuzz_ehlo() {
    const WORDS: &[&[u8]] = &[
        b"\nPIPELINING",
        b"\nSIZE ",
        b"\nAUTH ",
        b"PLAIN ",
        b"LOGIN ",
        b"\nLIMITS ",
        b"RCPTMAX=",
        b"\nSMTPUTF8 x",
        b"\nREQUIRETLS",
        b"\nCHUNKING",
        b"0",
        b"18446744073709551616",
        b"\n",
    ];
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            let text = near(WORDS, octets);
            let reply = Reply::new(250, &format!("mx{}", String::from_utf8_lossy(&text)));
            let found = Capabilities::from_ehlo(&reply);
            assert!(found.extended && found.size_limit != Some(0));
        });
}

/// LIMITS reads back or is ignored, and no limit is zero (RFC 9422).
#[test]
fn fuzz_limits() {
    const WORDS: &[&[u8]] = &[
        b"MAILMAX=",
        b"RCPTMAX=",
        b"RCPTDOMAINMAX=",
        b" ",
        b"0",
        b"1",
        b"999999",
        b";",
        b"=",
        b"x",
    ];
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            let text = String::from_utf8_lossy(&near(WORDS, octets)).into_owned();
            let found = Limits::parse(&text);
            let all = [found.mail_max, found.rcpt_max, found.rcpt_domain_max];
            assert!(
                all.into_iter()
                    .flatten()
                    .all(|n| (1..=999_999).contains(&n))
            );
        });
}

/// A client that sends two messages to whatever is at the other end: every one of them comes to
/// exactly one end, and no bare CR or LF leaves.
#[test]
fn fuzz_receiver() {
    const WORDS: &[&[u8]] = &[
        b"220 mx\r\n",
        b"250-mx\r\n250 PIPELINING\r\n",
        b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"354 go\r\n",
        b"452 4.5.3 many\r\n",
        b"550 no\r\n",
        b"503 order\r\n",
        b"421 bye\r\n",
        b"334 x\r\n",
        b"\r\n",
        b"250-",
        b"500 what\r\n",
    ];
    bolero::check!()
        .with_iterations(iterations())
        .with_type::<(Vec<u8>, u8)>()
        .for_each(|(octets, size)| {
            let mut heard = b"220 mx\r\n".to_vec();
            heard.extend(near(WORDS, octets));
            let mut client = Client::new(Config {
                ehlo_name: name(),
                starttls: StartTls::Never,
                login: None,
                chunk_window: 2,
            });
            let (mut submitted, mut ended, mut sent) = (0, 0, Vec::new());
            for piece in heard.chunks(usize::from(*size).max(1)) {
                client.receive(piece);
                while let Some(event) = client.next_event() {
                    use postalynk_smtp::Event::{Returned, TransactionDone};
                    ended += u64::from(matches!(event, TransactionDone(_) | Returned(_)));
                }
                while client.wants_transaction() && submitted < 2 {
                    client.submit(transaction(submitted)).unwrap();
                    submitted += 1;
                }
                write(&mut client, &mut sent);
            }
            ended += client.connection_lost().len() as u64;
            assert_eq!(ended, submitted);
            let bare = String::from_utf8_lossy(&sent).replace("\r\n", "");
            assert!(!bare.contains(['\r', '\n']));
        });
}

fn transaction(id: u64) -> Transaction {
    Transaction {
        id: TransactionId(id),
        reverse_path: ReversePath::new("a@x.test").unwrap(),
        recipients: ["b@y.test", "c@y.test"]
            .map(|to| ForwardPath::new(to).unwrap())
            .into(),
        content: Content::new([Bytes::from_static(b"A: b\r\n\r\n.\r\n..x\r\n")]).unwrap(),
        require_tls: false,
        dsn: None,
    }
}

fn write(client: &mut Client, sent: &mut Vec<u8>) {
    while client.has_output() {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = client.fill(&mut slices);
        let lent = slices[..count].iter();
        let octets: Vec<u8> = lent.flat_map(|slice| slice.iter().copied()).collect();
        client.wrote(octets.len());
        sent.extend(octets);
    }
}

/// Octets of a line.
const LINE: usize = 300;

fn server(max_message_bytes: u64) -> Server {
    let limits = ServerLimits {
        max_message_bytes,
        max_recipients: 3,
        max_line: LINE,
        ..ServerLimits::default()
    };
    let mut server = Server::new(
        Arc::new(Options {
            host: name(),
            limits,
            offers_tls: true,
            requires_tls: false,
        }),
        false,
    );
    server.trust();
    server
}

/// Messages handed up, all said, in the end.
fn serve(max_message_bytes: u64, pieces: &[&[u8]]) -> (Vec<Bytes>, Vec<u8>) {
    let mut server = server(max_message_bytes);
    let (mut unread, mut messages, mut said) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            let (taken, event) = server.receive(&unread);
            unread.drain(..taken);
            said.extend(server.output().split());
            match event {
                Some(Event::StartTls) => server.tls_established(),
                Some(Event::Login(_)) => server.login_judged(Some(&Answer::new("535 5.7.8 no"))),
                Some(Event::Message(_, content)) => {
                    messages.push(content);
                    server.message_judged(&Answer::new("250 2.0.0 kept"));
                }
                Some(Event::Closed) => return (messages, said),
                None => break,
            }
        }
        assert!(unread.len() <= LINE && server.held() as u64 <= max_message_bytes);
    }
    (messages, said)
}

/// Commands in any order and form are answered, each with one reply that begins with a code.
#[test]
fn fuzz_commands() {
    const WORDS: &[&[u8]] = &[
        b"EHLO a\r\n",
        b"MAIL FROM:<a@x.test>",
        b"RCPT TO:<b@y.test>",
        b"DATA\r\n",
        b"BDAT 3",
        b" LAST",
        b"\r\n",
        b"\r\n.\r\n",
        b"RSET\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN ",
        b"AHUAa2V5",
        b" SIZE=9",
        b" REQUIRETLS",
        b" NOTIFY=NEVER",
        b" ORCPT=rfc822;x",
        b"\0",
        b"\xff",
    ];
    bolero::check!()
        .with_iterations(iterations())
        .with_type::<(Vec<u8>, u16)>()
        .for_each(|(octets, at)| {
            let mut text = b"EHLO a\r\n".to_vec();
            text.extend(near(WORDS, octets));
            let at = usize::from(*at) % (text.len() + 1);
            // So large that nobody is cut off in the middle, which a split may do earlier.
            let whole = serve(1_000_000, &[&text]);
            assert_eq!(serve(1_000_000, &[&text[..at], &text[at..]]), whole);
            for line in String::from_utf8(whole.1).unwrap().lines() {
                let (code, rest) = line.split_at(3);
                assert!((200..600).contains(&code.parse::<u16>().unwrap()));
                assert!(rest.starts_with([' ', '-']));
            }
        });
}

/// Content by DATA and by BDAT: at most one message comes of it, and none holds a bare CR or LF.
#[test]
fn fuzz_content() {
    const WORDS: &[&[u8]] = &[
        b"\r\n",
        b"\r\n.\r\n",
        b"\n.\n",
        b"\r.\r",
        b"\n.\r\n",
        b"\r\n.\n",
        b".",
        b"\r",
        b"\n",
        b"\0",
        b"MAIL FROM:<z@x.test>\r\nRCPT TO:<z@y.test>\r\nDATA\r\n",
    ];
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            let content = near(WORDS, octets);
            let envelope = b"EHLO a\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n";
            let size = format!("BDAT {} LAST\r\n", content.len());
            let chunk = [envelope, size.as_bytes(), &content, b"QUIT\r\n"].concat();
            let (messages, _) = serve(400, &[&chunk]);
            assert!(messages.len() <= 1);
            if let Some(message) = messages.first() {
                assert_eq!(message, &content);
            }
            let data = [envelope, &b"DATA\r\n"[..], &content, b"\r\n.\r\nQUIT\r\n"].concat();
            for message in messages.into_iter().chain(serve(400, &[&data]).0) {
                let bare = String::from_utf8_lossy(&message).replace("\r\n", "");
                assert!(!bare.contains(['\r', '\n']), "{message:?}");
            }
        });
}
