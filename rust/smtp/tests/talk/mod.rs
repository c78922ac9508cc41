//! A client, and a person at the other end.
#![allow(dead_code, reason = "each test program uses its part")]

use bytes::Bytes;
use postalynk_smtp::server::Credentials;
use postalynk_smtp::{
    Client, Config, Content, EhloName, Event, ForwardPath, Phase, RecipientResult, ReversePath,
    StartTls, Timeout, Transaction, TransactionDone, TransactionId,
};
use std::io::IoSlice;
use std::sync::Arc;

/// The reply to EHLO of a receiver with nothing but PIPELINING.
pub const PIPELINING: &str = "250-mx.test\r\n250 PIPELINING\r\n";

/// And one that takes messages ahead.
pub const CHUNKING: &str = "250-mx.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n";

pub struct Talk {
    pub client: Client,
}

impl Talk {
    pub fn new(starttls: StartTls) -> Self {
        Self::with_login(starttls, None)
    }

    pub fn with_login(starttls: StartTls, login: Option<Credentials>) -> Self {
        let ehlo_name = EhloName::new("client.test").expect("a name");
        Self {
            client: Client::new(Config {
                ehlo_name,
                starttls,
                login: login.map(Arc::new),
                chunk_window: 1,
            }),
        }
    }

    /// After the reply to EHLO.
    pub fn greeted(starttls: StartTls, ehlo_reply: &str) -> Self {
        let mut talk = Self::new(starttls);
        talk.hear("220 mx.test\r\n");
        assert_eq!(talk.sent(), "EHLO client.test\r\n");
        talk.hear(ehlo_reply);
        talk
    }

    /// Ready for transactions, its events drained.
    pub fn ready(ehlo_reply: &str) -> Self {
        let mut talk = Self::greeted(StartTls::Never, ehlo_reply);
        assert!(matches!(talk.event(), Some(Event::Ready(_))));
        talk
    }

    pub fn hear(&mut self, text: &str) {
        self.client.receive(text.as_bytes());
    }

    pub fn submit(&mut self, transaction: Transaction) {
        self.client
            .submit(transaction)
            .expect("the client takes a transaction");
    }

    pub fn event(&mut self) -> Option<Event> {
        self.client.next_event()
    }

    pub fn done(&mut self) -> TransactionDone {
        match self.event() {
            Some(Event::TransactionDone(done)) => done,
            other => panic!("a result was expected, not {other:?}"),
        }
    }

    pub fn timeout(&self) -> Option<Timeout> {
        self.client.deadline().map(|deadline| deadline.timeout)
    }

    /// What is lent, without a word on how much was written.
    pub fn lend(&mut self) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = self.client.fill(&mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    /// Writes this many octets.
    pub fn write(&mut self, octets: usize) -> String {
        let mut lent = self.lend();
        lent.truncate(octets);
        self.client.wrote(lent.len());
        String::from_utf8(lent).expect("tests write text")
    }

    /// Writes everything.
    pub fn sent(&mut self) -> String {
        self.write(usize::MAX)
    }
}

pub fn message(id: u64, recipients: &[&str]) -> Transaction {
    with_content(id, recipients, "Subject: x\r\n\r\nhello\r\n")
}

pub fn with_content(id: u64, recipients: &[&str], content: &str) -> Transaction {
    Transaction {
        dsn: None,
        require_tls: false,
        id: TransactionId(id),
        reverse_path: ReversePath::new("from@x.test").expect("an address"),
        recipients: recipients
            .iter()
            .map(|to| ForwardPath::new(to).expect("an address"))
            .collect(),
        content: Content::new([Bytes::copy_from_slice(content.as_bytes())]).expect("clean content"),
    }
}

/// Phase and code of each recipient's rejection.
pub fn rejected(done: &TransactionDone) -> Vec<Option<(Phase, u16)>> {
    let told = |result: &RecipientResult| match result {
        RecipientResult::Accepted => None,
        RecipientResult::Rejected(rejection) => Some((rejection.phase, rejection.reply.code())),
    };
    done.recipients.iter().map(told).collect()
}
