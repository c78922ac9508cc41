//! What a sink received: in memory, in a file, and as whole messages.
//!
//! **Invariants.** A message is recorded before any byte of the reply to its final dot is
//! written, so what a sender was told is never ahead of the ledger. Memory is bounded: the oldest
//! records go first. A message refused at the final dot stands in memory with its reply, and not
//! in the file, whose lines are messages the sink took.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One message whose final dot arrived.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Received {
    /// The Message-ID field's value, brackets included; empty when there is none.
    pub message_id: String,
    /// Whom it came from: the peer, or whom a relay's PROXY header names.
    pub peer_ip: Option<IpAddr>,
    /// The name given with EHLO or HELO.
    pub ehlo: String,
    /// The parameters of MAIL, and of each RCPT taken, in order; empty where there were none.
    pub parameters: Vec<String>,
    /// The MAIL FROM address.
    pub reverse_path: String,
    /// The accepted recipients.
    pub recipients: Vec<String>,
    /// Octets of content as they came, dot-stuffing included, final dot excluded.
    pub size_bytes: u64,
    /// When the final dot arrived, in milliseconds since 1970.
    pub received_at_ms: u64,
    /// The code of the reply that was written; `None` when the connection ended without one.
    pub reply_code: Option<u16>,
}

/// Where records go.
#[derive(Debug)]
pub(crate) struct Ledger {
    records: VecDeque<Received>,
    /// The number of the oldest record held; numbers count up from zero.
    first: u64,
    most: usize,
    file: Option<BufWriter<File>>,
    store: Option<PathBuf>,
    stored: u64,
}

impl Ledger {
    pub(crate) fn open(most: usize, file: Option<&Path>, store: Option<&Path>) -> io::Result<Self> {
        let file = file
            .map(|path| OpenOptions::new().create(true).append(true).open(path))
            .transpose()?;
        if let Some(store) = store {
            std::fs::create_dir_all(store)?;
        }
        Ok(Self {
            records: VecDeque::new(),
            first: 0,
            most,
            file: file.map(BufWriter::new),
            store: store.map(Path::to_owned),
            stored: 0,
        })
    }

    pub(crate) fn keeps_content(&self) -> bool {
        self.store.is_some()
    }

    /// Records a message and answers its number. `content` is kept when a store was asked for.
    pub(crate) fn record(
        &mut self,
        received: Received,
        was_taken: bool,
        content: &[u8],
    ) -> io::Result<u64> {
        if was_taken {
            if let Some(file) = &mut self.file {
                file.write_all(received.message_id.as_bytes())?;
                for recipient in &received.recipients {
                    write!(file, "\t{recipient}")?;
                }
                file.write_all(b"\n")?;
            }
            if let Some(store) = &self.store {
                self.stored += 1;
                std::fs::write(
                    store.join(format!("{:08}.eml", self.stored)),
                    unstuff(content),
                )?;
            }
        }
        if self.records.len() == self.most {
            self.records.pop_front();
            self.first += 1;
        }
        self.records.push_back(received);
        Ok(self.first + self.records.len() as u64 - 1)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }

    pub(crate) fn answered(&mut self, number: u64, code: Option<u16>) {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        if let Some(received) = index.and_then(|index| self.records.get_mut(index)) {
            received.reply_code = code;
        }
    }

    pub(crate) fn records(&self) -> Vec<Received> {
        self.records.iter().cloned().collect()
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Takes the second dot off lines that begin with one (RFC 5321, 4.5.2).
fn unstuff(content: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        let is_after_crlf = plain.is_empty() || plain.ends_with(b"\r\n");
        plain.extend_from_slice(
            line.strip_prefix(b".")
                .filter(|_| is_after_crlf)
                .unwrap_or(line),
        );
    }
    plain
}

/// The value of the Message-ID field, unfolded; empty when the header has none.
pub(crate) fn message_id(content: &[u8]) -> String {
    let mut value: Option<Vec<u8>> = None;
    for line in content.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_continuation = matches!(line.first(), Some(b' ' | b'\t'));
        match &mut value {
            Some(value) if is_continuation => value.extend_from_slice(line),
            Some(_) => break,
            None if line.is_empty() => break,
            None => {
                let (name, rest) = line.split_at(line.len().min(11));
                value = name
                    .eq_ignore_ascii_case(b"message-id:")
                    .then(|| rest.to_vec());
            }
        }
    }
    // Control characters would break the ledger's lines and fields.
    let value = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    value.replace(char::is_control, " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_id_is_found_folded_or_not_and_only_in_the_header() {
        assert_eq!(
            message_id(b"Subject: a\r\nmessage-id: <1@x>\r\nTo: b\r\n\r\n"),
            "<1@x>"
        );
        assert_eq!(message_id(b"Message-ID:\r\n <1@x>\r\n\r\n"), "<1@x>");
        assert_eq!(message_id(b"Subject: a\r\n\r\nMessage-ID: <1@x>\r\n"), "");
        assert_eq!(message_id(b""), "");
    }

    #[test]
    fn stored_content_is_what_was_meant() {
        assert_eq!(unstuff(b"..a\r\nb.c\r\n...\r\n"), b".a\r\nb.c\r\n..\r\n");
        assert_eq!(unstuff(b"a\n..b\r\n"), b"a\n..b\r\n");
    }

    #[test]
    fn the_oldest_records_go_first() {
        let mut ledger = Ledger::open(2, None, None).unwrap();
        let received = |id: &str| Received {
            message_id: id.into(),
            peer_ip: None,
            ehlo: String::new(),
            parameters: vec![],
            reverse_path: String::new(),
            recipients: vec![],
            size_bytes: 0,
            received_at_ms: 0,
            reply_code: None,
        };
        let numbers: Vec<u64> = ["a", "b", "c"]
            .iter()
            .map(|id| ledger.record(received(id), true, b"").unwrap())
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
        numbers
            .iter()
            .for_each(|&number| ledger.answered(number, Some(250)));
        let kept: Vec<_> = ledger
            .records()
            .into_iter()
            .map(|r| (r.message_id, r.reply_code))
            .collect();
        assert_eq!(kept, [("b".into(), Some(250)), ("c".into(), Some(250))]);
    }
}
