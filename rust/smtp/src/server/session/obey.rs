//! What each command does; the order they must come in is checked here.

use super::{Mode, Open, Server};
use crate::server::Event;
use crate::server::answer::Answer;
use crate::server::command::{self, Command, Mail};
use crate::server::content::Intake;
use crate::server::envelope::{Envelope, Recipient};
use crate::server::login::{Login, Step};
use std::sync::Arc;

/// Octets of a chunk that is worth its command.
const TINY_CHUNK: u64 = 1_024;
pub(super) const MAIL_FIRST: Answer = Answer::fixed("503 5.5.1 Say MAIL first");
/// The extension exists on an encrypted connection only (RFC 8689, 2).
const TLS_FIRST: Answer =
    Answer::fixed("555 5.7.10 REQUIRETLS is taken over TLS only: say STARTTLS first");
pub(super) const NO_RECIPIENT: Answer = Answer::fixed("554 5.5.1 There is no valid recipient");

impl Server {
    pub(super) fn obey(&mut self, command: Command<'_>) -> Result<Option<Event>, Answer> {
        match command {
            Command::Ehlo(name) => {
                self.client.name(name, true);
                self.greet();
            }
            Command::Helo(name) => {
                self.client.name(name, false);
                (self.is_greeted, self.open) = (true, None);
                let line = format!("250 {}", self.options.host);
                self.idle(&line);
            }
            Command::StartTls => return self.start_tls(),
            Command::Auth(mechanism, initial) => return self.auth(&mechanism, initial),
            Command::Mail(mail) => self.mail(mail)?,
            Command::Rcpt(recipient, needs_utf8) => self.rcpt(recipient, needs_utf8)?,
            Command::Data => self.data()?,
            Command::Bdat { size, is_last } => return Ok(self.bdat(size, is_last)),
            Command::Rset => {
                self.open = None;
                self.idle("250 2.0.0 Forgotten");
            }
            Command::Noop => self.idle("250 2.0.0 Ok; see RFC 6409"),
            Command::Verify => self.idle("252 2.0.0 Send it and see"),
            Command::Quit => self.close("221 2.0.0 Bye"),
        }
        Ok(self.is_closed().then_some(Event::Closed))
    }

    /// Answers a command that costs nothing; too many of them are a way to hold a connection.
    pub(super) fn idle(&mut self, line: &str) {
        self.say(line);
        self.idle += 1;
        if self.idle >= self.options.limits.max_idle_commands {
            self.close("421 4.7.0 Too many commands and no message");
        }
    }

    fn greet(&mut self) {
        (self.is_greeted, self.open) = (true, None);
        let options = Arc::clone(&self.options);
        let mut lines = format!("250-{}\r\n250-PIPELINING\r\n", options.host);
        lines.push_str(&format!(
            "250-SIZE {}\r\n",
            options.limits.max_message_bytes
        ));
        lines.push_str("250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n");
        if options.offers_tls && !self.is_encrypted {
            lines.push_str("250-STARTTLS\r\n");
        }
        if self.is_encrypted || !options.requires_tls {
            lines.push_str("250-AUTH PLAIN LOGIN\r\n");
        }
        if self.is_encrypted {
            lines.push_str("250-REQUIRETLS\r\n");
        }
        lines.push_str("250 ENHANCEDSTATUSCODES");
        self.idle(&lines);
    }

    fn start_tls(&mut self) -> Result<Option<Event>, Answer> {
        if self.is_encrypted {
            return Err(Answer::fixed(
                "503 5.5.1 The connection is encrypted already",
            ));
        }
        if !self.options.offers_tls {
            return Err(Answer::fixed(
                "502 5.5.1 There is no certificate here: TLS is not offered",
            ));
        }
        self.say("220 2.0.0 Go ahead");
        self.mode = Mode::Waiting;
        Ok(Some(Event::StartTls))
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Result<Option<Event>, Answer> {
        self.check_greeted()?;
        self.check_encrypted()?;
        if self.is_authenticated || self.open.is_some() {
            return Err(Answer::fixed("503 5.5.1 AUTH comes once, before MAIL"));
        }
        let step = Login::begin(mechanism, initial)?;
        Ok(self.login(step))
    }

    pub(super) fn login(&mut self, step: Step) -> Option<Event> {
        match step {
            Step::Challenge(login, challenge) => {
                self.mode = Mode::Login(login);
                self.say(challenge);
                None
            }
            Step::Done(credentials) => {
                self.mode = Mode::Waiting;
                Some(Event::Login(credentials))
            }
        }
    }

    fn check_greeted(&self) -> Result<(), Answer> {
        if self.is_greeted {
            Ok(())
        } else {
            Err(Answer::fixed("503 5.5.1 Say EHLO first"))
        }
    }

    fn check_encrypted(&self) -> Result<(), Answer> {
        if self.is_encrypted || !self.options.requires_tls {
            Ok(())
        } else {
            Err(Answer::fixed(
                "538 5.7.11 Encryption is required: say STARTTLS first",
            ))
        }
    }

    fn mail(&mut self, mail: Mail) -> Result<(), Answer> {
        self.check_greeted()?;
        if !self.is_authenticated {
            return Err(Answer::fixed(
                "530 5.7.0 Say AUTH first; the password is an API key",
            ));
        }
        if self.open.is_some() {
            return Err(Answer::fixed(
                "503 5.5.1 A message is under way: end it or say RSET",
            ));
        }
        if mail.requires_tls && !self.is_encrypted {
            return Err(TLS_FIRST);
        }
        let limit = self.options.limits.max_message_bytes;
        if mail.size > limit {
            return Err(Answer::new(&format!(
                "552 5.3.4 At most {limit} octets a message"
            )));
        }
        self.open = Some(Open {
            envelope: Envelope {
                reverse_path: mail.reverse_path,
                recipients: Vec::new(),
                is_eight_bit: mail.is_eight_bit,
                is_smtputf8: mail.is_smtputf8,
                requires_tls: mail.requires_tls,
                returns: mail.returns,
                envelope_id: mail.envelope_id,
            },
            chunks: None,
        });
        self.say("250 2.1.0 Ok");
        Ok(())
    }

    fn rcpt(&mut self, recipient: Recipient, needs_utf8: bool) -> Result<(), Answer> {
        let limit = self.options.limits.max_recipients;
        let open = self.open.as_mut().ok_or(MAIL_FIRST)?;
        if open.chunks.is_some() {
            return Err(Answer::fixed(
                "503 5.5.1 The content is under way: BDAT follows BDAT",
            ));
        }
        if needs_utf8 && !open.envelope.is_smtputf8 {
            return Err(command::NEEDS_UTF8);
        }
        let recipients = &mut open.envelope.recipients;
        let is_known = recipients.iter().any(|known| known.path == recipient.path);
        if recipients.len() >= limit && !is_known {
            return Err(Answer::new(&format!(
                "452 4.5.3 At most {limit} recipients a message"
            )));
        }
        if !is_known {
            recipients.push(recipient);
        }
        self.say("250 2.1.5 Ok");
        Ok(())
    }

    fn data(&mut self) -> Result<(), Answer> {
        let open = self.open.as_ref().ok_or(MAIL_FIRST)?;
        if open.chunks.is_some() {
            return Err(Answer::fixed(
                "503 5.5.1 The content is under way: BDAT follows BDAT",
            ));
        }
        if open.envelope.recipients.is_empty() {
            return Err(NO_RECIPIENT);
        }
        self.mode = Mode::Data(Intake::new(self.options.limits.max_message_bytes));
        self.say("354 Go ahead; end with CRLF . CRLF");
        Ok(())
    }

    fn bdat(&mut self, size: u64, is_last: bool) -> Option<Event> {
        let limit = self.options.limits.max_message_bytes;
        let intake = match &mut self.open {
            Some(open) if !open.envelope.recipients.is_empty() => {
                Some(open.chunks.take().unwrap_or_else(|| Intake::new(limit)))
            }
            _ => None,
        };
        let seen = intake.as_ref().map_or(0, Intake::seen);
        if seen.saturating_add(size) > limit.saturating_mul(2) {
            // Nobody reads that much only to stay in step.
            self.close("552 5.3.4 The message is far too large");
            return Some(Event::Closed);
        }
        self.mode = Mode::Chunk {
            intake,
            left: size,
            is_last,
            is_tiny: size < TINY_CHUNK,
        };
        None
    }
}
