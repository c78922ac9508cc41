//! The client side of one connection.
//!
//! **Model.** Replies come in the order of the commands, so the state of a conversation is the
//! queue of replies still expected (`expected`) and the transactions they are for (`open`): every
//! reply is for the first of them. With PIPELINING there are at most two, the envelope of one
//! following the content of the other in the same write.
//! **CHUNKING.** Where it is offered too, envelope and content leave together and several messages
//! are in flight (RFC 3030). The window begins with what the driver remembers of the receiver, grows
//! by one with each message taken, and falls when a connection is lost around a chunk: to one, or to
//! none where no chunk was ever taken. None means DATA.
//! **Invariants.** DATA, STARTTLS, EHLO and QUIT end a group of commands (RFC 2920, 3.1). Content
//! is queued only after 354 or behind its BDAT. A transaction leaves with exactly one result.
//! **Law.** `law_every_transaction_settles_once`, with chunks and without.
//! **Reading order.** Here: what the driver calls. `replies`: what each reply does. `login`: AUTH.

mod config;
mod login;
mod replies;

pub use config::{Config, StartTls, SubmitError};

use crate::capabilities::Capabilities;
use crate::event::{CloseReason, Event, ProtocolError};
use crate::output::Output;
use crate::reply::ReplyParser;
use crate::sent::{Notes, Sent};
use crate::timeout::{Deadline, Timeout};
use crate::transaction::{Open, Transaction, TransactionId, Unfinished};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::fmt::Write;
use std::io::IoSlice;

/// The most messages in flight with CHUNKING: more gain nothing and may all come in doubt.
const MOST_WINDOW: usize = 8;
/// Octets that may wait before another message is sent ahead.
const MOST_WAITING: u64 = 256 * 1024;

/// A reply that is owed to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    /// 235, or a refusal.
    AuthDone,
    /// The challenges of AUTH LOGIN.
    AuthUsername,
    AuthPassword,
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    FinalDot,
    /// The last chunk.
    Chunk,
    /// The end of data of a transaction whose recipients were all rejected.
    LoneDot,
    Quit,
}

/// Commands are cut from blocks of this size: an allocation for some ten messages, not for each
/// word. `BytesMut` keeps to the size it began with.
const COMMAND_BLOCK_BYTES: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Handshake,
    Ready,
    Closed,
}

/// The client side of one connection. See the crate for how to drive it.
#[derive(Debug)]
pub struct Client {
    config: Config,
    state: State,
    capabilities: Capabilities,
    is_encrypted: bool,
    parser: ReplyParser,
    output: Output,
    command: BytesMut,
    expected: VecDeque<Step>,
    /// Oldest first.
    open: VecDeque<Open>,
    window: usize,
    has_taken_chunk: bool,
    /// The receiver still holds the envelope of a transaction that ended without content.
    needs_reset: bool,
    /// A chunk was refused, and no MAIL accepted or RSET answered since: the receiver may still
    /// hold its envelope against what was sent ahead.
    is_blocked: bool,
    is_quitting: bool,
    replies: u64,
    events: VecDeque<Event>,
    notes: Notes,
}

impl Client {
    /// A connection that was just made; the receiver speaks first.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let window = config.chunk_window.min(MOST_WINDOW);
        Self {
            is_encrypted: config.starttls == StartTls::Implicit,
            config,
            state: State::Greeting,
            capabilities: Capabilities::default(),
            parser: ReplyParser::default(),
            output: Output::default(),
            command: BytesMut::with_capacity(COMMAND_BLOCK_BYTES),
            expected: VecDeque::from([Step::Banner]),
            open: VecDeque::with_capacity(2),
            window,
            has_taken_chunk: false,
            needs_reset: false,
            is_blocked: false,
            is_quitting: false,
            replies: 0,
            events: VecDeque::new(),
            notes: Notes::default(),
        }
    }

    /// Takes what was read from the stream, split anywhere. Drain [`Self::next_event`] afterwards.
    pub fn receive(&mut self, mut input: &[u8]) {
        while self.state != State::Closed && !input.is_empty() {
            if self.state == State::Handshake {
                self.close(CloseReason::Protocol(ProtocolError::PlaintextAfterStartTls));
                return;
            }
            match self.parser.next_reply(&mut input) {
                Ok(None) => return,
                Ok(Some(reply)) => {
                    self.replies += 1;
                    self.take_reply(reply, !input.is_empty());
                    self.send_quit_when_possible();
                }
                Err(error) => self.close(CloseReason::Protocol(error.into())),
            }
        }
    }

    /// What happened, oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What was queued to leave since the last call, oldest first; for transcripts.
    pub fn next_sent(&mut self) -> Option<Sent> {
        self.notes.pop()
    }

    /// Tells that the stream is encrypted, in answer to [`Event::StartTls`]. Greets again:
    /// what was learned in plaintext is forgotten (RFC 3207, 4.2).
    pub fn tls_established(&mut self) {
        if self.state == State::Handshake {
            self.is_encrypted = true;
            self.state = State::Greeting;
            self.capabilities = Capabilities::default();
            self.greet();
        }
    }

    /// Whether [`Self::submit`] would take a transaction now. Ask after the events were drained
    /// and before writing, so that envelope and content share a write.
    #[must_use]
    pub fn wants_transaction(&self) -> bool {
        self.is_group_open() && !self.is_quitting
    }

    /// Starts a transaction.
    ///
    /// # Errors
    /// [`SubmitError`] when the receiver cannot take it or the connection not now; nothing was
    /// sent then and the connection is as it was.
    pub fn submit(&mut self, transaction: Transaction) -> Result<(), SubmitError> {
        if !self.wants_transaction() {
            return Err(SubmitError::NotReady);
        }
        self.check(&transaction)?;
        if std::mem::take(&mut self.needs_reset) {
            self.command.extend_from_slice(b"RSET\r\n");
            self.expected.push_back(Step::Reset);
        }
        self.open.push_back(Open::new(transaction));
        if self.is_chunking() {
            self.command_mail();
            self.command_rcpts();
            self.command_chunk();
            return Ok(());
        }
        if self.capabilities.pipelining {
            self.command_mail();
            self.command_rcpts();
            self.command_data();
        } else if self.expected.is_empty() {
            self.command_mail();
        }
        self.send_command();
        Ok(())
    }

    /// Says QUIT as soon as the open transactions allow; takes no more of them.
    pub fn quit(&mut self) {
        self.is_quitting = true;
        self.send_quit_when_possible();
    }

    /// Lends what is to be written, oldest first, and answers how many slices were filled. Lent
    /// octets count as possibly sent until [`Self::wrote`] says better.
    pub fn fill<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        if self.state == State::Closed {
            0
        } else {
            self.output.fill(slices)
        }
    }

    /// Tells how many octets of those lent were written. After a failed write that took nothing,
    /// say zero: it keeps transactions out of doubt.
    pub fn wrote(&mut self, octets: usize) {
        self.output.wrote(octets);
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.state != State::Closed && !self.output.is_empty()
    }

    /// The timeout that runs now; `None` when idle or closed.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let written = Some(self.output.written());
        let is_content_leaving = self.open.iter().any(|open| open.dot_at > written);
        let timeout = match (self.state, self.expected.front()) {
            (State::Closed, _) => return None,
            (State::Handshake, _) => Timeout::Handshake,
            (_, None) => return None,
            _ if is_content_leaving => Timeout::Block,
            (_, Some(Step::Banner)) => Timeout::Banner,
            (_, Some(Step::Mail)) => Timeout::Mail,
            (_, Some(Step::Rcpt(_))) => Timeout::Rcpt,
            (_, Some(Step::Data)) => Timeout::Data,
            (_, Some(Step::FinalDot | Step::Chunk | Step::LoneDot)) => Timeout::FinalDot,
            (_, Some(_)) => Timeout::Command,
        };
        Some(Deadline {
            timeout,
            epoch: self.replies + self.output.written(),
        })
    }

    /// The transactions whose content is queued and whose final reply is awaited. Content is queued
    /// in [`Self::receive`] and [`Self::submit`] only, so a driver that looks before it writes sees
    /// each before its first octet of content leaves.
    pub fn sending(&self) -> impl Iterator<Item = TransactionId> {
        let sending = self.open.iter().filter(|open| open.dot_at.is_some());
        sending.map(|open| open.transaction.id)
    }

    /// Messages that may be in flight at a time with CHUNKING, as far as this connection has shown;
    /// 0: the receiver is better given DATA.
    #[must_use]
    pub fn chunk_window(&self) -> usize {
        self.window
    }

    /// What the receiver offers; empty before [`Event::Ready`].
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether no transaction is open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == State::Ready && self.expected.is_empty()
    }

    /// Whether the connection is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Ends the connection: it broke, timed out, or [`Event::Closed`] was seen. Answers every
    /// transaction without a result; drain the events first, they hold the others.
    #[must_use]
    pub fn connection_lost(&mut self) -> Vec<Unfinished> {
        self.state = State::Closed;
        let output = &self.output;
        let has_left = |open: &Open| open.dot_at.is_some_and(|at| output.could_have_left(at));
        let open = std::mem::take(&mut self.open);
        if open.iter().any(|open| open.is_chunk && has_left(open)) {
            self.window = self.window.min(usize::from(self.has_taken_chunk));
        }
        let tell = |open: Open| Unfinished {
            id: open.transaction.id,
            phase: open.phase,
            in_doubt: has_left(&open),
            rejected: open.rejected,
        };
        open.into_iter()
            .filter(|open| !open.settled)
            .map(tell)
            .collect()
    }

    fn check(&self, transaction: &Transaction) -> Result<(), SubmitError> {
        let offered = &self.capabilities;
        let size = transaction.content.size();
        if transaction.recipients.is_empty() {
            return Err(SubmitError::NoRecipients);
        }
        if let Some(limit) = offered.size_limit.filter(|&limit| size > limit) {
            return Err(SubmitError::TooLarge { size, limit });
        }
        if transaction.needs_smtputf8() && !offered.smtp_utf8 {
            return Err(SubmitError::Utf8Unsupported);
        }
        if transaction.content.is_eight_bit() && !offered.eight_bit_mime {
            return Err(SubmitError::EightBitUnsupported);
        }
        if transaction.require_tls && !(offered.require_tls && self.is_encrypted) {
            return Err(SubmitError::RequireTlsUnsupported);
        }
        Ok(())
    }

    /// Whether a command may be queued now: once the last reply came without PIPELINING; with it
    /// behind queued content, and for chunks as far as the window goes.
    fn is_group_open(&self) -> bool {
        if self.state != State::Ready {
            false
        } else if !self.capabilities.pipelining {
            self.expected.is_empty() && self.open.is_empty()
        } else if self.is_chunking() {
            self.open.len() < self.window && self.output.waiting() <= MOST_WAITING
        } else {
            self.open.back().is_none_or(|open| open.dot_at.is_some())
        }
    }

    fn is_chunking(&self) -> bool {
        self.capabilities.chunking && self.capabilities.pipelining && self.window > 0
    }

    fn send_quit_when_possible(&mut self) {
        if self.is_quitting && self.is_group_open() && !self.expected.contains(&Step::Quit) {
            self.command.extend_from_slice(b"QUIT\r\n");
            self.expected.push_back(Step::Quit);
            self.send_command();
        }
    }

    fn greet(&mut self) {
        self.command_with(b"EHLO ", Step::Ehlo);
    }

    fn command_with(&mut self, verb: &[u8], step: Step) {
        self.command.extend_from_slice(verb);
        self.command
            .extend_from_slice(self.config.ehlo_name.as_str().as_bytes());
        self.command.extend_from_slice(b"\r\n");
        self.expected.push_back(step);
        self.send_command();
    }

    fn command_mail(&mut self) {
        let Some(open) = self.open.back() else { return };
        let command = &mut self.command;
        command.extend_from_slice(b"MAIL FROM:<");
        command.extend_from_slice(open.transaction.reverse_path.as_str().as_bytes());
        command.extend_from_slice(b">");
        if self.capabilities.size {
            // Writing to a buffer that grows cannot fail.
            let _ = write!(command, " SIZE={}", open.transaction.content.size());
        }
        if self.capabilities.eight_bit_mime && open.transaction.content.is_eight_bit() {
            command.extend_from_slice(b" BODY=8BITMIME");
        }
        if open.transaction.needs_smtputf8() {
            command.extend_from_slice(b" SMTPUTF8");
        }
        if open.transaction.require_tls {
            command.extend_from_slice(b" REQUIRETLS");
        }
        if let Some(dsn) = open
            .transaction
            .dsn
            .as_ref()
            .filter(|_| self.capabilities.dsn)
        {
            let _ = dsn.write_mail(command);
        }
        command.extend_from_slice(b"\r\n");
        self.expected.push_back(Step::Mail);
    }

    fn command_rcpts(&mut self) {
        let recipients = |open: &Open| open.transaction.recipients.len();
        let count = self.open.back().map_or(0, recipients);
        (0..count).for_each(|index| self.command_rcpt(index));
    }

    fn command_rcpt(&mut self, index: usize) {
        let Some(open) = self.open.back() else { return };
        self.command.extend_from_slice(b"RCPT TO:<");
        self.command
            .extend_from_slice(open.transaction.recipients[index].as_str().as_bytes());
        self.command.extend_from_slice(b">");
        if let Some(dsn) = open
            .transaction
            .dsn
            .as_ref()
            .filter(|_| self.capabilities.dsn)
        {
            let _ = dsn.write_rcpt(index, &mut self.command);
        }
        self.command.extend_from_slice(b"\r\n");
        self.expected.push_back(Step::Rcpt(index));
    }

    fn command_data(&mut self) {
        self.command.extend_from_slice(b"DATA\r\n");
        self.expected.push_back(Step::Data);
    }

    fn command_chunk(&mut self) {
        let Some(open) = self.open.back_mut() else {
            return;
        };
        let size = open.transaction.content.size();
        let _ = write!(self.command, "BDAT {size} LAST\r\n");
        self.expected.push_back(Step::Chunk);
        let commands = self.command.split().freeze();
        self.notes.push(Sent::Commands(commands.clone()));
        self.notes.push(Sent::Content(size));
        self.output.push(commands);
        open.is_chunk = true;
        open.dot_at = Some(open.transaction.content.queue_chunk(&mut self.output));
    }

    fn send_command(&mut self) {
        let commands = self.command.split().freeze();
        if !commands.is_empty() {
            self.notes.push(Sent::Commands(commands.clone()));
        }
        self.output.push(commands);
    }

    fn close(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.events.push_back(Event::Closed(reason));
    }
}
