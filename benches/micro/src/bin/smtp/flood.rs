//! `flood`: what a sink takes when its client costs next to nothing.
//!
//! `--to HOST:PORT --messages N [--mode data|bdat] [--connections 16] [--bytes 10000]`
//! One thread writes ready-made octets to all connections, then reads all answers. With DATA a
//! write is content, dot and the next envelope (RFC 2920); with BDAT it is a group of messages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::Arguments;
use crate::send::content;

/// Messages of a group with BDAT.
const GROUP: usize = 8;
const ENVELOPE: &str = "MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\n";

/// Octets to write, and what answers them.
struct Round {
    octets: Vec<u8>,
    replies: usize,
    messages: usize,
}

struct Peer {
    stream: TcpStream,
    replies: Vec<u8>,
}

impl Peer {
    fn connect(to: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut peer = Self {
            stream,
            replies: vec![0; 4_096],
        };
        peer.read_lines(1)?;
        peer.stream.write_all(b"HELO bench\r\n")?;
        peer.read_lines(1)?;
        Ok(peer)
    }

    /// Reads so many lines, each a reply of its own that must be positive.
    fn read_lines(&mut self, mut lines: usize) -> Result<(), Failure> {
        let mut is_start = true;
        while lines > 0 {
            let read = self.stream.read(&mut self.replies)?;
            if read == 0 {
                return Err("the sink closed the connection".into());
            }
            for octet in &self.replies[..read] {
                if is_start && !matches!(octet, b'2' | b'3') {
                    return Err("the sink refused something".into());
                }
                is_start = *octet == b'\n';
                lines -= usize::from(is_start);
            }
        }
        Ok(())
    }
}

fn data(message: &[u8]) -> (Round, Round) {
    let begin = format!("{ENVELOPE}DATA\r\n");
    let mut merged = message.to_vec();
    merged.extend_from_slice(b".\r\n");
    merged.extend_from_slice(begin.as_bytes());
    let first = Round {
        octets: begin.into_bytes(),
        replies: 3,
        messages: 0,
    };
    let next = Round {
        octets: merged,
        replies: 4,
        messages: 1,
    };
    (first, next)
}

fn chunks(message: &[u8]) -> Round {
    let mut one = format!("{ENVELOPE}BDAT {} LAST\r\n", message.len()).into_bytes();
    one.extend_from_slice(message);
    Round {
        octets: one.repeat(GROUP),
        replies: 3 * GROUP,
        messages: GROUP,
    }
}

pub fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let (to, messages) = (
        arguments.text("to")?,
        arguments.number("messages", 100_000)?,
    );
    let message = content(arguments.number("bytes", 10_000)?).concat();
    let connections = arguments.number("connections", 16)?;
    let mut peers = Vec::new();
    for _ in 0..connections {
        peers.push(Peer::connect(to)?);
    }
    let (first, round) = match arguments.text("mode")? {
        "bdat" => (None, chunks(&message)),
        _ => {
            let (first, next) = data(&message);
            (Some(first), next)
        }
    };
    let began = Instant::now();
    let mut sent = 0;
    for round in first.iter().chain(std::iter::repeat(&round)) {
        if sent >= messages {
            break;
        }
        for peer in &mut peers {
            peer.stream.write_all(&round.octets)?;
        }
        for peer in &mut peers {
            peer.read_lines(round.replies)?;
        }
        sent += round.messages * connections;
    }
    Ok(json!({"messages": sent, "took_s": began.elapsed().as_secs_f64()}))
}
