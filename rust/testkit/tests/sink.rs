//! Each personality, each kind of rule and the records, seen by a client that knows nothing.

use postalynk_testkit::{Counts, Rule, Script, Sink, SinkOptions, Step};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

struct Talk(BufReader<TcpStream>);

impl Talk {
    fn to(sink: &Sink) -> Self {
        let stream = TcpStream::connect(sink.address()).expect("the sink listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout is allowed");
        Self(BufReader::new(stream))
    }

    fn greeted(sink: &Sink) -> Self {
        let mut talk = Self::to(sink);
        assert!(talk.reply().starts_with("220 "));
        talk.say("EHLO client.test");
        while talk.reply().as_bytes()[3] == b'-' {}
        talk
    }

    fn write(&mut self, text: &str) {
        self.0
            .get_mut()
            .write_all(text.as_bytes())
            .expect("the sink reads");
    }

    fn say(&mut self, line: &str) {
        self.write(&format!("{line}\r\n"));
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn reply(&mut self) -> String {
        self.line().expect("a reply comes")
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.reply()
    }

    fn rcpt(&mut self, to: &str) -> String {
        self.ask("RSET");
        self.ask("MAIL FROM:<from@x.test>");
        self.ask(&format!("RCPT TO:<{to}>"))
    }

    fn send(&mut self, to: &str, id: &str) -> io::Result<String> {
        assert!(self.rcpt(to).starts_with("250"), "{to}");
        self.say("DATA");
        let reply = self.line()?;
        if !reply.starts_with("354") {
            return Ok(reply);
        }
        self.write(&format!("Message-ID: <{id}@x.test>\r\n\r\nhello\r\n.\r\n"));
        self.line()
    }
}

fn sink(options: SinkOptions) -> Sink {
    Sink::start("127.0.0.1:0".parse().expect("an address"), options).expect("the sink starts")
}

#[test]
fn everyone_else_is_accepted_and_recorded() {
    let sink = sink(SinkOptions::default());
    let mut talk = Talk::greeted(&sink);
    assert_eq!(talk.send("b@rcpt.test", "1").unwrap(), "250 2.0.0 OK");
    assert!(talk.ask("QUIT").starts_with("221"));
    let received = sink.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].message_id, "<1@x.test>");
    assert_eq!(received[0].recipients, ["b@rcpt.test"]);
    assert_eq!(received[0].reverse_path, "from@x.test");
    assert_eq!(received[0].size_bytes, 33);
    assert_eq!(received[0].reply_code, Some(250));
    assert_eq!(
        sink.counts(),
        Counts {
            messages: 1,
            refused: 0,
            connections: 1
        }
    );
    sink.stop();
}

#[test]
fn defer_refuses_the_first_try_only() {
    let sink = sink(SinkOptions::default());
    let mut talk = Talk::greeted(&sink);
    assert_eq!(
        talk.rcpt("defer1@x.test"),
        "451 4.7.1 Greylisted, try again"
    );
    assert!(talk.rcpt("Defer2@x.test").starts_with("451"));
    assert!(talk.rcpt("defer1@x.test").starts_with("250"));
}

#[test]
fn bounce_full_and_busy_refuse_always() {
    let sink = sink(SinkOptions::default());
    let mut talk = Talk::greeted(&sink);
    for _ in 0..2 {
        assert_eq!(talk.rcpt("bounce@x.test"), "550 5.1.1 No such user");
        assert_eq!(talk.rcpt("full@x.test"), "452 4.2.2 Mailbox full");
    }
    assert!(talk.rcpt("busy@x.test").starts_with("421 4.3.2"));
    assert_eq!(talk.line().unwrap(), "", "421 closes");
}

#[test]
fn slow_waits_before_rcpt_and_final_dot() {
    let slow = Duration::from_millis(80);
    let sink = sink(SinkOptions {
        slow,
        ..SinkOptions::default()
    });
    let mut talk = Talk::greeted(&sink);
    let start = Instant::now();
    assert!(talk.send("slow@x.test", "1").unwrap().starts_with("250"));
    assert!(start.elapsed() >= slow * 2);
}

#[test]
fn hangup_closes_after_data() {
    let sink = sink(SinkOptions::default());
    let mut talk = Talk::greeted(&sink);
    assert_eq!(talk.send("hangup@x.test", "1").unwrap(), "");
    assert_eq!(sink.counts().messages, 0);
}

#[test]
fn drop_resets_after_the_dot_once_a_message() {
    let sink = sink(SinkOptions::default());
    let error = Talk::greeted(&sink).send("drop@x.test", "1").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(
        Talk::greeted(&sink)
            .send("drop@x.test", "1")
            .unwrap()
            .starts_with("250")
    );
    let codes: Vec<_> = sink
        .received()
        .iter()
        .map(|received| received.reply_code)
        .collect();
    assert_eq!(codes, [None, Some(250)]);
}

#[test]
fn scripts_decide_before_personalities() {
    let script = Script::new()
        .with(
            Rule::at(Step::Banner)
                .skip(1)
                .times(1)
                .reply("554 5.3.2 No"),
        )
        .with(
            Rule::at(Step::Rcpt)
                .matching("bounce")
                .reply("250 2.1.5 As you like"),
        )
        .with(Rule::at(Step::Mail).matching("bad@").raw(b"what?\r\n"))
        .with(
            Rule::at(Step::FinalDot)
                .times(1)
                .reply("451 4.3.0 Try again"),
        );
    let sink = sink(SinkOptions {
        script,
        ..SinkOptions::default()
    });
    let mut talk = Talk::greeted(&sink);
    assert_eq!(Talk::to(&sink).reply(), "554 5.3.2 No");
    assert_eq!(talk.ask("MAIL FROM:<bad@x.test>"), "what?");
    assert_eq!(
        talk.send("bounce@x.test", "1").unwrap(),
        "451 4.3.0 Try again"
    );
    assert_eq!(talk.send("bounce@x.test", "2").unwrap(), "250 2.0.0 OK");
    assert_eq!(
        sink.counts(),
        Counts {
            messages: 1,
            refused: 1,
            connections: 2
        }
    );
}

#[test]
fn the_order_of_commands_is_enforced() {
    let sink = sink(SinkOptions {
        size_limit_bytes: 40,
        ..SinkOptions::default()
    });
    let mut talk = Talk::greeted(&sink);
    assert!(talk.ask("DATA").starts_with("503"));
    assert!(talk.ask("RCPT TO:<a@b.test>").starts_with("503"));
    assert!(talk.ask("MAIL FROM:<a@b.test> SIZE=41").starts_with("552"));
    assert!(talk.ask("MAIL FROM:<a@b.test> SIZE=40").starts_with("250"));
    assert!(talk.ask("MAIL FROM:<a@b.test>").starts_with("503"));
    assert!(talk.ask("DATA").starts_with("554"));
    assert!(talk.ask("BDAT 3 LAST").starts_with("501"));
    assert!(talk.ask("WHAT").starts_with("502"));
    assert!(
        talk.send("a@b.test", &"x".repeat(40))
            .unwrap()
            .starts_with("552")
    );
}

#[test]
fn pipelined_messages_split_anywhere_are_told_apart() {
    let sink = sink(SinkOptions::default());
    let mut talk = Talk::greeted(&sink);
    let envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n";
    let wire = format!(
        "{envelope}.\r\n{envelope}x\r\n..y\r\n.\r\n{envelope}Message-Id: <3@x>\r\n.\r\nQUIT\r\n"
    );
    for piece in wire.as_bytes().chunks(3) {
        talk.0.get_mut().write_all(piece).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    let mut replies = String::new();
    talk.0.read_to_string(&mut replies).unwrap();
    let codes: Vec<_> = replies.lines().map(|line| &line[..3]).collect();
    let message = ["250", "250", "354", "250"];
    assert_eq!(codes, [&message[..], &message, &message, &["221"]].concat());
    let sizes: Vec<_> = sink
        .received()
        .iter()
        .map(|received| received.size_bytes)
        .collect();
    assert_eq!(sizes, [0, 8, 19]);
    assert_eq!(sink.received()[2].message_id, "<3@x>");
}

#[test]
fn chunks_are_taken_without_stuffing() {
    let sink = sink(SinkOptions {
        chunking: true,
        ..SinkOptions::default()
    });
    let mut talk = Talk::greeted(&sink);
    talk.write("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 21\r\nMessage-ID: <9@x>\r\n\r\nBDAT 5 LAST\r\n.\r\nx\rBDAT 0 LAST\r\n");
    let codes: Vec<_> = (0..5).map(|_| talk.reply()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "250", "250", "503"]);
    assert_eq!(sink.received()[0].size_bytes, 26);
    assert_eq!(sink.received()[0].message_id, "<9@x>");
}

#[test]
fn ledger_store_and_statistics_tell_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.tsv");
    let store = directory.path().join("messages");
    let sink = sink(SinkOptions {
        ledger: Some(ledger.clone()),
        store: Some(store.clone()),
        stats_listen: Some("127.0.0.1:0".parse().unwrap()),
        ..SinkOptions::default()
    });
    assert!(Talk::greeted(&sink).send("a@b.test", "1").is_ok());
    assert!(Talk::greeted(&sink).send("drop@b.test", "2").is_err());
    assert!(sink.wait_for(2, Duration::from_secs(5)));
    let lines = std::fs::read_to_string(ledger).unwrap();
    assert_eq!(lines, "<1@x.test>\ta@b.test\n<2@x.test>\tdrop@b.test\n");
    let kept = std::fs::read_to_string(store.join("00000001.eml")).unwrap();
    assert_eq!(kept, "Message-ID: <1@x.test>\r\n\r\nhello\r\n");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(sink.stats_address().unwrap()).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(get("/"), r#"{"messages":2,"refused":0,"connections":2}"#);
    assert!(get("/received").contains("<2@x.test>"));
}

#[test]
fn count_only_counts() {
    let sink = sink(SinkOptions {
        count_only: true,
        ..SinkOptions::default()
    });
    let mut talk = Talk::greeted(&sink);
    assert!(talk.send("bounce@x.test", "1").unwrap().starts_with("250"));
    assert_eq!(sink.counts().messages, 1);
    assert!(sink.received().is_empty());
}

#[test]
fn other_machines_are_refused() {
    let error = Sink::start("0.0.0.0:0".parse().unwrap(), SinkOptions::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}
