//! The client core and the sink, over a real connection driven in the plainest way.

use bytes::Bytes;
use postalynk_smtp::{
    Client, CloseReason, Config, Content, EhloName, Event, ForwardPath, Phase, RecipientResult,
    ReversePath, StartTls, Transaction, TransactionId, Unfinished,
};
use postalynk_testkit::{Rule, Script, Sink, SinkOptions, Step};
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What became of the messages of one connection.
#[derive(Default)]
struct Ran {
    results: Vec<(u64, Vec<RecipientResult>)>,
    unfinished: Vec<Unfinished>,
    closed: Option<CloseReason>,
    writes: usize,
}

fn sink(options: SinkOptions) -> Sink {
    Sink::start("127.0.0.1:0".parse().expect("an address"), options).expect("the sink starts")
}

fn content(id: u64) -> Content {
    let head = format!("Message-ID: <{id}@x.test>\r\nSubject: dots\r\n\r\n");
    let body = ".\r\n..\r\nplain\r\n.end\r\n".repeat(40);
    Content::new([Bytes::from(head), Bytes::from(body)]).expect("clean content")
}

/// Sends one message a recipient list, writing only when there is something, reading otherwise.
fn run(sink: &Sink, envelopes: &[&[&str]]) -> Ran {
    let mut stream = TcpStream::connect(sink.address()).expect("the sink listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout is allowed");
    let ehlo_name = EhloName::new("client.test").expect("a name");
    let mut client = Client::new(Config {
        ehlo_name,
        starttls: StartTls::Never,
        login: None,
        chunk_window: 1,
    });
    let mut queue = envelopes.iter().zip(1..);
    let mut ran = Ran::default();
    let mut buffer = [0; 4096];
    loop {
        while let Some(event) = client.next_event() {
            match event {
                Event::TransactionDone(done) => ran.results.push((done.id.0, done.recipients)),
                Event::Closed(reason) => ran.closed = Some(reason),
                _ => {}
            }
        }
        if client.is_closed() {
            break;
        }
        while client.wants_transaction() {
            let Some((recipients, id)) = queue.next() else {
                client.quit();
                break;
            };
            let forward = |to: &&str| ForwardPath::new(to).expect("an address");
            let transaction = Transaction {
                dsn: None,
                require_tls: false,
                id: TransactionId(id),
                reverse_path: ReversePath::new("from@x.test").expect("an address"),
                recipients: recipients.iter().map(forward).collect(),
                content: content(id),
            };
            client
                .submit(transaction)
                .expect("the sink takes everything");
        }
        if client.has_output() {
            let mut slices = [IoSlice::new(&[]); 1024];
            let count = client.fill(&mut slices);
            let written = stream.write_vectored(&slices[..count]).unwrap_or(0);
            client.wrote(written);
            ran.writes += 1;
            if written > 0 {
                continue;
            }
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => client.receive(&buffer[..read]),
            _ => break,
        }
    }
    ran.unfinished = client.connection_lost();
    ran
}

#[test]
fn a_hundred_messages_arrive_whole_in_about_a_write_each() {
    let store = tempfile::tempdir().unwrap();
    let sink = sink(SinkOptions {
        store: Some(store.path().into()),
        ..SinkOptions::default()
    });
    let ran = run(&sink, &[&["a@y.test", "b@y.test"][..]; 100]);
    assert_eq!(ran.closed, Some(CloseReason::Quit));
    assert_eq!(ran.results.len(), 100);
    let all_accepted =
        |results: &[RecipientResult]| results.iter().all(|r| *r == RecipientResult::Accepted);
    assert!(
        ran.results
            .iter()
            .all(|(_, results)| results.len() == 2 && all_accepted(results))
    );
    assert_eq!(sink.counts().messages, 100);
    // EHLO, the first envelope, then content and next envelope together.
    assert_eq!(ran.writes, 102);
    let ids: Vec<_> = sink
        .received()
        .into_iter()
        .map(|received| received.message_id)
        .collect();
    assert_eq!(
        ids,
        (1..=100)
            .map(|id| format!("<{id}@x.test>"))
            .collect::<Vec<_>>()
    );
    let stored = std::fs::read_to_string(store.path().join("00000007.eml")).unwrap();
    let head = "Message-ID: <7@x.test>\r\nSubject: dots\r\n\r\n";
    assert_eq!(
        stored,
        format!("{head}{}", ".\r\n..\r\nplain\r\n.end\r\n".repeat(40))
    );
}

#[test]
fn lockstep_gives_the_same_results() {
    let sink = sink(SinkOptions {
        pipelining: false,
        ..SinkOptions::default()
    });
    let ran = run(
        &sink,
        &[
            &["a@y.test", "bounce@y.test"],
            &["bounce@y.test"],
            &["b@y.test"],
        ],
    );
    assert_eq!(ran.results.len(), 3);
    assert_eq!(sink.counts().messages, 2);
    assert_eq!(ran.closed, Some(CloseReason::Quit));
}

#[test]
fn every_personality_has_its_result() {
    let sink = sink(SinkOptions {
        slow: Duration::from_millis(5),
        ..SinkOptions::default()
    });
    let ran = run(
        &sink,
        &[
            &["bounce@y.test"],
            &["defer@y.test", "a@y.test"],
            &["full@y.test"],
            &["slow@y.test"],
            &["defer@y.test"],
        ],
    );
    let codes = |results: &[RecipientResult]| -> Vec<u16> {
        let code = |result: &RecipientResult| match result {
            RecipientResult::Accepted => 250,
            RecipientResult::Rejected(rejection) => rejection.reply.code(),
        };
        results.iter().map(code).collect()
    };
    let told: Vec<_> = ran
        .results
        .iter()
        .map(|(_, results)| codes(results))
        .collect();
    assert_eq!(
        told,
        [vec![550], vec![451, 250], vec![452], vec![250], vec![250]]
    );
    assert_eq!(sink.counts().messages, 3);
}

#[test]
fn busy_closes_and_later_messages_are_untried() {
    let sink = sink(SinkOptions::default());
    let ran = run(&sink, &[&["a@y.test"], &["busy@y.test"], &["a@y.test"]]);
    assert!(matches!(ran.closed, Some(CloseReason::ServiceClosing(_))));
    assert_eq!(
        ran.results.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(ran.unfinished.is_empty());
}

#[test]
fn hang_up_after_data_is_safe() {
    let sink = sink(SinkOptions::default());
    let ran = run(&sink, &[&["hangup@y.test"]]);
    assert_eq!(ran.unfinished.len(), 1);
    assert!(!ran.unfinished[0].in_doubt);
    assert_eq!(ran.unfinished[0].phase, Phase::Data);
}

#[test]
fn drop_after_the_dot_is_in_doubt_and_the_next_message_is_not() {
    let sink = sink(SinkOptions::default());
    let ran = run(&sink, &[&["a@y.test"], &["drop@y.test"], &["a@y.test"]]);
    let told: Vec<_> = ran
        .unfinished
        .iter()
        .map(|u| (u.id.0, u.in_doubt))
        .collect();
    assert_eq!(told, [(2, true), (3, false)]);
    assert_eq!(sink.received()[1].reply_code, None);
}

#[test]
fn garbage_ends_the_connection() {
    let script = Script::new().with(Rule::at(Step::Mail).skip(1).raw(b"\x00\xff what\r\n"));
    let sink = sink(SinkOptions {
        script,
        ..SinkOptions::default()
    });
    let ran = run(&sink, &[&["a@y.test"], &["b@y.test"]]);
    assert!(matches!(ran.closed, Some(CloseReason::Protocol(_))));
    assert_eq!(ran.results.len(), 1);
    assert_eq!(
        (ran.unfinished[0].id.0, ran.unfinished[0].in_doubt),
        (2, false)
    );
}
