//! A judge that keeps what it accepts, and a client that reads reply by reply.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use parking_lot::Mutex;
use postalynk_submission::{Account, Message, Options, Request, Submission};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Lets in whoever says `key`, keeps every message and counts its batches.
pub struct Judge {
    pub submission: Arc<Submission>,
    pub kept: Arc<Mutex<Vec<Message>>>,
    pub batches: Arc<Mutex<Vec<usize>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

pub fn options() -> Options {
    Options {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Options::default()
    }
}

impl Judge {
    /// `pace`: how long an append takes.
    pub fn start(options: Options, pace: Duration) -> Self {
        let submission = Arc::new(Submission::bind(options).unwrap());
        submission.open().unwrap();
        let (kept, batches) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let judge = (
            Arc::clone(&submission),
            Arc::clone(&kept),
            Arc::clone(&batches),
        );
        let thread = std::thread::spawn(move || {
            let (submission, kept, batches) = judge;
            while let Some(requests) = submission.requests(100, Duration::from_secs(1)) {
                let mut answers = Vec::new();
                for request in requests {
                    match request {
                        Request::Login(id, login) if login.password == "key" => {
                            let org = login.username;
                            submission.admit(
                                id,
                                Account {
                                    org,
                                    key: "k".into(),
                                },
                            );
                        }
                        Request::Login(id, _) => submission.answer([(id, "535 5.7.8 no such key")]),
                        Request::Message(id, message) => {
                            kept.lock().push(*message);
                            answers.push(id);
                        }
                    }
                }
                if !answers.is_empty() {
                    batches.lock().push(answers.len());
                    std::thread::sleep(pace);
                }
                submission.answer(answers.iter().map(|id| (*id, "250 2.0.0 kept")));
            }
        });
        Self {
            submission,
            kept,
            batches,
            thread: Some(thread),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.submission.addresses()[0]
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.submission.close();
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A client that reads reply by reply.
pub struct Client<S> {
    pub stream: S,
}

impl Client<TcpStream> {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self { stream }
    }

    pub fn log_in(address: SocketAddr, org: &str) -> Self {
        let mut client = Self::connect(address);
        assert_eq!(client.reply(), 220);
        assert_eq!(client.say("EHLO a"), 250);
        assert_eq!(client.say("AUTH LOGIN"), 334);
        assert_eq!(client.say(&base64(org)), 334);
        assert_eq!(client.say(&base64("key")), 235);
        client
    }
}

impl<S: Read + Write> Client<S> {
    /// The code of the next reply; 0 when the connection ends first.
    pub fn reply(&mut self) -> u16 {
        let mut line = Vec::new();
        let mut octet = [0];
        loop {
            match self.stream.read(&mut octet) {
                Ok(1) => line.push(octet[0]),
                _ => return 0,
            }
            if line.ends_with(b"\r\n") {
                if line[3] == b' ' {
                    return std::str::from_utf8(&line[..3]).unwrap().parse().unwrap();
                }
                line.clear();
            }
        }
    }

    pub fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
        self.stream.flush().unwrap();
    }

    pub fn say(&mut self, line: &str) -> u16 {
        self.write(&format!("{line}\r\n"));
        self.reply()
    }

    pub fn send(&mut self, content: &str) -> u16 {
        assert_eq!(self.say("MAIL FROM:<a@b.example>"), 250);
        assert_eq!(self.say("RCPT TO:<c@d.example>"), 250);
        assert_eq!(self.say("DATA"), 354);
        self.write(content);
        self.say("\r\n.")
    }
}

pub fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut digits = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            digits.push(if place > chunk.len() {
                '='
            } else {
                digit as char
            });
        }
    }
    digits
}

pub const MAIL: &str = "From: a@b.example\r\nBcc: x@y.example\r\n\r\nHi";
