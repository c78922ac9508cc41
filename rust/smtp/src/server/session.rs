//! The state of one connection and what each command does to it.

use super::answer::Answer;
use super::client::Client;
use super::command;
use super::content::{Flaw, Intake};
use super::envelope::Envelope;
use super::login::Login;
use super::{Event, Options};
use bytes::BytesMut;
use memchr::memchr;
use obey::{MAIL_FIRST, NO_RECIPIENT};
use std::sync::Arc;

mod obey;

/// What the next octets are.
#[derive(Debug)]
enum Mode {
    Command,
    Login(Login),
    Data(Intake),
    /// A chunk of BDAT; `None`: its octets are thrown away.
    Chunk {
        intake: Option<Intake>,
        left: u64,
        is_last: bool,
        /// So few octets that many such chunks are only a way to hold the connection.
        is_tiny: bool,
    },
    /// The driver owes a judgement.
    Waiting,
    Closed,
}

/// A transaction between MAIL and the end of its content.
#[derive(Debug)]
struct Open {
    envelope: Envelope,
    /// What earlier chunks held.
    chunks: Option<Intake>,
}

/// One connection; see the module.
#[derive(Debug)]
pub struct Server {
    options: Arc<Options>,
    output: BytesMut,
    mode: Mode,
    is_greeted: bool,
    is_encrypted: bool,
    is_authenticated: bool,
    client: Client,
    open: Option<Open>,
    bad: u32,
    idle: u32,
    logins: u32,
}

impl Server {
    /// A connection that was just made, with its greeting to be written. `is_encrypted`: it speaks
    /// TLS already (RFC 8314).
    #[must_use]
    pub fn new(options: Arc<Options>, is_encrypted: bool) -> Self {
        let mut server = Self {
            options,
            output: BytesMut::new(),
            mode: Mode::Command,
            is_greeted: false,
            is_encrypted,
            is_authenticated: false,
            client: Client::default(),
            open: None,
            bad: 0,
            idle: 0,
            logins: 0,
        };
        let greeting = format!("220 {} ESMTP Postalynk", server.options.host);
        server.say(&greeting);
        server
    }

    /// Takes octets off the front of `input`: how many, and what the driver must do. Without an
    /// event all that can be taken was: come back with more.
    pub fn receive(&mut self, input: &[u8]) -> (usize, Option<Event>) {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let is_line = matches!(self.mode, Mode::Command | Mode::Login(_));
            let (taken, event) = match &mut self.mode {
                Mode::Command | Mode::Login(_) => self.receive_line(rest),
                Mode::Data(intake) => {
                    let (taken, is_end) = intake.read_stuffed(rest);
                    (
                        taken,
                        if is_end {
                            self.end_of_data()
                        } else {
                            self.cut_off()
                        },
                    )
                }
                Mode::Chunk { intake, left, .. } => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |n| n.min(rest.len()));
                    if let Some(intake) = intake {
                        intake.read_chunk(&rest[..taken]);
                    }
                    *left -= taken as u64;
                    let is_whole = *left == 0;
                    (
                        taken,
                        if is_whole {
                            self.end_of_chunk()
                        } else {
                            self.cut_off()
                        },
                    )
                }
                Mode::Waiting => return (at, None),
                Mode::Closed => return (at, Some(Event::Closed)),
            };
            at += taken;
            if event.is_some() {
                return (at, event);
            }
            let needs_more = is_line && taken == 0;
            if needs_more || (at == input.len() && !self.is_at_empty_chunk()) {
                return (at, self.is_closed().then_some(Event::Closed));
            }
        }
    }

    /// What is to be written, in order; take it with `split`.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Octets of content held.
    #[must_use]
    pub fn held(&self) -> usize {
        match (&self.mode, &self.open) {
            (
                Mode::Data(intake)
                | Mode::Chunk {
                    intake: Some(intake),
                    ..
                },
                _,
            ) => intake.held(),
            (
                _,
                Some(Open {
                    chunks: Some(intake),
                    ..
                }),
            ) => intake.held(),
            _ => 0,
        }
    }

    /// Whether a transaction is open, which the driver gives a deadline.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a login succeeded.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Lets the client in without a login: the driver knows it by its address.
    pub fn trust(&mut self) {
        (self.is_authenticated, self.client.is_trusted) = (true, true);
    }

    /// The name the client gave with EHLO or HELO; empty: none that may stand in a header.
    #[must_use]
    pub fn client_name(&self) -> &str {
        &self.client.name
    }

    /// The protocol as a Received field names it (RFC 3848, RFC 6531).
    #[must_use]
    pub fn protocol(&self, is_smtputf8: bool) -> String {
        let base = match (is_smtputf8, self.client.is_extended) {
            (true, _) => "UTF8SMTP",
            (false, true) => "ESMTP",
            (false, false) => return "SMTP".to_owned(),
        };
        let secure = if self.is_encrypted { "S" } else { "" };
        let login = if self.client.is_trusted { "" } else { "A" };
        format!("{base}{secure}{login}")
    }

    /// Lets go of the content under way and answers 452 at its end: there is no room for it.
    pub fn refuse_content(&mut self) {
        match (&mut self.mode, &mut self.open) {
            (
                Mode::Data(intake)
                | Mode::Chunk {
                    intake: Some(intake),
                    ..
                },
                _,
            ) => {
                intake.refuse(Flaw::NoRoom);
            }
            (
                _,
                Some(Open {
                    chunks: Some(intake),
                    ..
                }),
            ) => intake.refuse(Flaw::NoRoom),
            _ => {}
        }
    }

    /// The stream is encrypted: all the client said before is forgotten (RFC 3207, section 4.2).
    pub fn tls_established(&mut self) {
        self.is_encrypted = true;
        self.is_greeted = false;
        self.open = None;
        self.mode = Mode::Command;
    }

    /// The judgement on [`Event::Login`]: `None` lets the client in.
    pub fn login_judged(&mut self, refusal: Option<&Answer>) {
        self.mode = Mode::Command;
        match refusal {
            None => {
                self.is_authenticated = true;
                self.say("235 2.7.0 Welcome");
            }
            Some(answer) => {
                self.answer(answer);
                self.logins += 1;
                if self.logins >= self.options.limits.max_logins {
                    self.close("421 4.7.0 Too many refused logins");
                }
            }
        }
    }

    /// The judgement on [`Event::Message`].
    pub fn message_judged(&mut self, answer: &Answer) {
        self.mode = Mode::Command;
        if answer.is_positive() {
            (self.bad, self.idle) = (0, 0);
        }
        self.answer(answer);
    }

    /// Says 421 and closes, for reasons of the driver's.
    pub fn close(&mut self, reason: &str) {
        self.say(reason);
        self.open = None;
        self.mode = Mode::Closed;
    }

    fn is_closed(&self) -> bool {
        matches!(self.mode, Mode::Closed)
    }

    /// `BDAT 0 LAST` ends without a further octet.
    fn is_at_empty_chunk(&self) -> bool {
        matches!(self.mode, Mode::Chunk { left: 0, .. })
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn answer(&mut self, answer: &Answer) {
        self.say(answer.as_str());
    }

    fn receive_line(&mut self, input: &[u8]) -> (usize, Option<Event>) {
        let longest = self.options.limits.max_line;
        let Some(end) = memchr(b'\n', &input[..input.len().min(longest)]) else {
            if input.len() >= longest {
                // Where the next command would begin is anybody's guess.
                self.close("500 5.5.2 The line is too long");
                return (input.len(), Some(Event::Closed));
            }
            return (0, None);
        };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        let done = match std::mem::replace(&mut self.mode, Mode::Command) {
            Mode::Login(login) => login.step(line).map(|step| self.login(step)),
            _ => command::parse(line).and_then(|command| self.obey(command)),
        };
        match done {
            Ok(event) => (end + 1, event),
            Err(answer) => {
                self.refuse(&answer);
                (end + 1, self.is_closed().then_some(Event::Closed))
            }
        }
    }

    /// Answers a command that is wrong, and counts it.
    fn refuse(&mut self, answer: &Answer) {
        self.answer(answer);
        self.bad += 1;
        if self.bad >= self.options.limits.max_bad_commands {
            self.close("421 4.7.0 Too many wrong commands");
        }
    }

    /// A sender that goes on and on past the limit is not waited for.
    fn cut_off(&mut self) -> Option<Event> {
        let is_hopeless = match &self.mode {
            Mode::Data(intake)
            | Mode::Chunk {
                intake: Some(intake),
                ..
            } => intake.is_hopeless(),
            _ => false,
        };
        is_hopeless.then(|| {
            self.close("552 5.3.4 The message is far too large");
            Event::Closed
        })
    }

    fn end_of_data(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.mode, Mode::Command) {
            Mode::Data(intake) => self.end_of_message(intake),
            _ => None,
        }
    }

    fn end_of_chunk(&mut self) -> Option<Event> {
        let Mode::Chunk {
            intake,
            is_last,
            is_tiny,
            ..
        } = std::mem::replace(&mut self.mode, Mode::Command)
        else {
            return None;
        };
        let Some(intake) = intake else {
            // The octets are out of the way, the transaction is void (RFC 3030, section 2).
            let answer = if self.open.take().is_some() {
                NO_RECIPIENT
            } else {
                MAIL_FIRST
            };
            self.refuse(&answer);
            return self.is_closed().then_some(Event::Closed);
        };
        if is_last {
            return self.end_of_message(intake);
        }
        let line = format!("250 2.0.0 {} octets so far", intake.seen());
        if let Some(open) = &mut self.open {
            open.chunks = Some(intake);
        }
        if is_tiny {
            self.idle(&line);
        } else {
            self.say(&line);
        }
        self.is_closed().then_some(Event::Closed)
    }

    fn end_of_message(&mut self, intake: Intake) -> Option<Event> {
        let open = self.open.take()?;
        match intake.finish() {
            Ok(content) => {
                self.mode = Mode::Waiting;
                Some(Event::Message(open.envelope, content))
            }
            Err(flaw) => {
                self.refuse(&told(flaw, self.options.limits.max_message_bytes));
                self.is_closed().then_some(Event::Closed)
            }
        }
    }
}

fn told(flaw: Flaw, limit: u64) -> Answer {
    Answer::new(&match flaw {
        Flaw::BareCr(at) => {
            format!("550 5.6.0 Bare CR at octet {at}: end every line with CRLF (RFC 5321, 2.3.8)")
        }
        Flaw::BareLf(at) => {
            format!("550 5.6.0 Bare LF at octet {at}: end every line with CRLF (RFC 5321, 2.3.8)")
        }
        Flaw::TooLarge => format!("552 5.3.4 At most {limit} octets a message"),
        Flaw::NoRoom => "452 4.3.1 Too much mail is under way: send it again later".to_owned(),
    })
}
