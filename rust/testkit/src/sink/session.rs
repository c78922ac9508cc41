//! The receiver's side of one conversation, without the connection.
//!
//! **Model.** [`Session::process`] takes what was read, appends replies and says what comes next.
//! Content is `content`'s. A delayed reply stops the reading where it stands, as in a slow receiver.
//! **Bound.** A command line is at most [`MOST_LINE`] octets.

mod content;

use super::SinkShared;
use super::ledger::{Received, message_id, now_ms};
use super::login::Login;
use super::said::Said;
use super::syntax::{code, good_reply, is_positive, path};
use crate::personality;
use crate::script::{Action, Step, Verdict};
use memchr::memchr;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest command line (RFC 5321 asks for 512 plus extensions).
const MOST_LINE: usize = 4096;

/// What the connection does after writing the replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Read,
    Wait(Duration),
    StartTls,
    Close,
    Reset,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Command,
    /// The next line answers a challenge of AUTH.
    Login(Login),
    /// Inside DATA; true until its first octet was seen.
    Data {
        at_start: bool,
    },
    Chunk {
        left: usize,
        is_last: bool,
    },
}

/// A step whose verdict is known and not carried out.
#[derive(Debug)]
struct Decided {
    step: Step,
    argument: String,
    verdict: Verdict,
    record: Option<u64>,
}

/// One conversation.
pub(crate) struct Session {
    shared: Arc<SinkShared>,
    mode: Mode,
    is_encrypted: bool,
    /// Logged in, or no login is asked for.
    is_known: bool,
    said: Said,
    reverse_path: Option<String>,
    recipients: Vec<String>,
    /// Content from earlier reads.
    held: Vec<u8>,
    size: u64,
    delayed: Option<Decided>,
    has_recorded: bool,
    /// Records whose reply is among what is to be written.
    answered: Vec<(u64, u16)>,
}

impl Session {
    pub(crate) fn new(shared: Arc<SinkShared>, peer_ip: IpAddr) -> Self {
        Self {
            is_known: shared.options.login.is_none(),
            shared,
            mode: Mode::Command,
            is_encrypted: false,
            said: Said::by(peer_ip),
            reverse_path: None,
            recipients: Vec::new(),
            held: Vec::new(),
            size: 0,
            delayed: None,
            has_recorded: false,
            answered: Vec::new(),
        }
    }

    pub(crate) fn greet(&mut self, replies: &mut Vec<u8>) -> Next {
        self.step(Step::Banner, "", replies)
    }

    pub(crate) fn encrypted(&mut self) {
        self.is_encrypted = true;
        self.forget_transaction();
    }

    /// Takes octets off the front of `input`; answers how many, and what comes next.
    pub(crate) fn process(&mut self, input: &[u8], replies: &mut Vec<u8>) -> (usize, Next) {
        if let Some(decided) = self.delayed.take() {
            let next = self.carry_out(decided, replies);
            if next != Next::Read {
                return (0, next);
            }
        }
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let (taken, next) = match self.mode {
                Mode::Command | Mode::Login(_) => self.take_line(rest, replies),
                Mode::Data { at_start } => self.take_data(rest, at_start, replies),
                Mode::Chunk { left, is_last } => self.take_chunk(rest, left, is_last, replies),
            };
            at += taken;
            if taken == 0 || next != Next::Read {
                return (at, next);
            }
        }
    }

    /// Makes the ledger's file cover what the replies are about to say.
    pub(crate) fn flush_ledger(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.has_recorded) {
            self.shared.lock_ledger().flush()
        } else {
            Ok(())
        }
    }

    /// Notes the replies given so far. Called before they are written, so that whoever has seen
    /// one finds it in the ledger.
    pub(crate) fn mark_answered(&mut self) {
        if !self.answered.is_empty() {
            let mut ledger = self.shared.lock_ledger();
            self.answered
                .iter()
                .for_each(|&(record, code)| ledger.answered(record, Some(code)));
        }
    }

    /// Tells how writing them ended: what could not be written was not answered.
    pub(crate) fn replies_written(&mut self, is_written: bool) {
        if !is_written {
            let mut ledger = self.shared.lock_ledger();
            self.answered
                .iter()
                .for_each(|&(record, _)| ledger.answered(record, None));
        }
        self.answered.clear();
    }

    fn take_line(&mut self, input: &[u8], replies: &mut Vec<u8>) -> (usize, Next) {
        let Some(end) = memchr(b'\n', input) else {
            if input.len() > MOST_LINE {
                replies.extend_from_slice(b"500 5.5.2 Line too long\r\n");
                return (input.len(), Next::Close);
            }
            return (0, Next::Read);
        };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        let next = match std::mem::replace(&mut self.mode, Mode::Command) {
            Mode::Login(login) => self.log_in(login, line, replies),
            _ => self.command(line, replies),
        };
        (end + 1, next)
    }

    fn command(&mut self, line: &[u8], replies: &mut Vec<u8>) -> Next {
        let (verb, argument) = match memchr(b' ', line) {
            Some(space) => (&line[..space], line[space + 1..].trim_ascii()),
            None => (line, &b""[..]),
        };
        let mut name = [0; 8];
        let name = &mut name[..verb.len().min(8)];
        name.copy_from_slice(&verb[..verb.len().min(8)]);
        name.make_ascii_uppercase();
        let text = String::from_utf8_lossy(argument);
        if !self.shared.options.count_only {
            self.said.command(&text);
        }
        match &*name {
            b"MAIL" => self.mail(&text, replies),
            b"AUTH" if self.shared.options.login.is_some() => {
                let (login, line) = Login::begin(argument);
                match line {
                    Some(line) => self.log_in(login, line, replies),
                    None => self.challenge(login, replies),
                }
            }
            b"RCPT" if self.reverse_path.is_none() => say(replies, "503 5.5.1 MAIL first"),
            b"RCPT" => match path(&text, "TO:").filter(|path| !path.is_empty()) {
                Some(path) => self.step(Step::Rcpt, path, replies),
                None => say(replies, "501 5.5.4 Syntax: RCPT TO:<address>"),
            },
            b"DATA" if self.reverse_path.is_none() => say(replies, "503 5.5.1 MAIL first"),
            b"DATA" if self.recipients.is_empty() => say(replies, "554 5.5.1 No valid recipients"),
            b"DATA" => self.step(Step::Data, "", replies),
            b"BDAT" => self.bdat(&text, replies),
            b"EHLO" => {
                text.as_ref().clone_into(&mut self.said.ehlo);
                self.step(Step::Ehlo, &text, replies)
            }
            b"HELO" => {
                text.as_ref().clone_into(&mut self.said.ehlo);
                self.step(Step::Ehlo, "", replies)
            }
            b"RSET" => self.step(Step::Rset, "", replies),
            b"NOOP" => say(replies, "250 2.0.0 OK"),
            b"QUIT" => self.step(Step::Quit, "", replies),
            b"STARTTLS" if self.shared.tls.is_some() && !self.is_encrypted => {
                self.step(Step::StartTls, "", replies)
            }
            _ => say(replies, "502 5.5.1 Command not implemented"),
        }
    }

    fn challenge(&mut self, login: Login, replies: &mut Vec<u8>) -> Next {
        say(replies, login.challenge());
        self.mode = Mode::Login(login);
        Next::Read
    }

    fn log_in(&mut self, login: Login, line: &[u8], replies: &mut Vec<u8>) -> Next {
        match login.step(line, self.shared.options.login.as_ref()) {
            Ok(next) => self.challenge(next, replies),
            Err(is_right) => {
                self.is_known = is_right;
                let refusal = "535 5.7.8 Authentication credentials invalid";
                say(
                    replies,
                    if is_right {
                        "235 2.7.0 Welcome"
                    } else {
                        refusal
                    },
                )
            }
        }
    }

    fn mail(&mut self, text: &str, replies: &mut Vec<u8>) -> Next {
        let Some(reverse_path) = path(text, "FROM:") else {
            return say(replies, "501 5.5.4 Syntax: MAIL FROM:<address>");
        };
        if self.reverse_path.is_some() {
            return say(replies, "503 5.5.1 Nested MAIL command");
        }
        if !self.is_known {
            return say(replies, "530 5.7.0 Authentication required");
        }
        let declared = text
            .split(' ')
            .find_map(|word| word.strip_prefix("SIZE=")?.parse::<u64>().ok());
        if declared.is_some_and(|size| size > self.shared.options.size_limit_bytes) {
            return say(replies, "552 5.3.4 Message too big");
        }
        self.step(Step::Mail, reverse_path, replies)
    }

    /// Decides on a complete message, records it, then answers.
    fn finish(&mut self, content: &[u8], replies: &mut Vec<u8>) -> Next {
        let size_bytes = std::mem::take(&mut self.size);
        if self.shared.options.count_only {
            self.shared.count_message(true);
            self.forget_transaction();
            return say(replies, "250 2.0.0 OK");
        }
        let message_id = message_id(content);
        let mut action = self.decide(Step::FinalDot, &message_id);
        if size_bytes > self.shared.options.size_limit_bytes {
            action.verdict = Verdict::Reply("552 5.3.4 Message too big".into());
        }
        let was_refused = matches!(&action.verdict, Verdict::Reply(text) if !is_positive(text));
        let received = Received {
            message_id,
            peer_ip: self.said.peer_ip,
            ehlo: self.said.ehlo.clone(),
            parameters: self.said.take(),
            reverse_path: self.reverse_path.take().unwrap_or_default(),
            recipients: std::mem::take(&mut self.recipients),
            size_bytes,
            received_at_ms: now_ms(),
            reply_code: None,
        };
        self.shared.count_message(!was_refused);
        self.has_recorded = true;
        let Ok(record) = self.shared.record(received, !was_refused, content) else {
            return say(replies, "451 4.3.0 The ledger cannot be written");
        };
        let decided = Decided {
            step: Step::FinalDot,
            argument: String::new(),
            verdict: action.verdict,
            record: Some(record),
        };
        self.act(action.delay, decided, replies)
    }

    fn decide(&self, step: Step, argument: &str) -> Action {
        let behave = Action {
            delay: Duration::ZERO,
            verdict: Verdict::Behave,
        };
        let shared = &self.shared;
        if shared.options.count_only {
            return behave;
        }
        if shared.is_scripted {
            let recipients =
                matches!(step, Step::Data | Step::FinalDot).then(|| self.recipients.join(" "));
            let text = recipients.as_deref().unwrap_or(argument);
            if let Some(action) = shared.lock_script().decide(step, text) {
                return action;
            }
        }
        let is_plain = match step {
            Step::Rcpt => personality::is_plain(argument),
            Step::Data | Step::FinalDot => self.recipients.iter().all(|r| personality::is_plain(r)),
            _ => true,
        };
        if is_plain || !shared.options.personalities {
            return behave;
        }
        shared
            .personality(
                step,
                self.reverse_path.as_deref(),
                &self.recipients,
                argument,
            )
            .unwrap_or(behave)
    }

    fn step(&mut self, step: Step, argument: &str, replies: &mut Vec<u8>) -> Next {
        let action = self.decide(step, argument);
        let argument = argument.to_owned();
        self.act(
            action.delay,
            Decided {
                step,
                argument,
                verdict: action.verdict,
                record: None,
            },
            replies,
        )
    }

    fn act(&mut self, delay: Duration, decided: Decided, replies: &mut Vec<u8>) -> Next {
        if delay.is_zero() {
            return self.carry_out(decided, replies);
        }
        self.delayed = Some(decided);
        Next::Wait(delay)
    }

    fn carry_out(&mut self, decided: Decided, replies: &mut Vec<u8>) -> Next {
        let Decided {
            step,
            argument,
            verdict,
            record,
        } = decided;
        let start = replies.len();
        match verdict {
            Verdict::Close => return Next::Close,
            Verdict::Reset => return Next::Reset,
            Verdict::Raw(bytes) => {
                replies.extend_from_slice(&bytes);
                self.apply(step, argument, false);
                return Next::Read;
            }
            Verdict::Reply(text) => {
                say(replies, &text);
            }
            Verdict::Behave => self.reply_well(step, &argument, replies),
        }
        let code = code(&replies[start..]);
        if let Some(record) = record {
            self.answered.push((record, code));
        }
        self.apply(step, argument, (200..400).contains(&code));
        match (step, code) {
            (_, 421) | (Step::Quit, _) => Next::Close,
            (Step::Banner, 500..) => Next::Close,
            (Step::StartTls, 220) => Next::StartTls,
            _ => Next::Read,
        }
    }

    fn reply_well(&self, step: Step, argument: &str, replies: &mut Vec<u8>) {
        if step == Step::Ehlo && !argument.is_empty() {
            let options = &self.shared.options;
            return options.say_extensions(self.is_encrypted, replies);
        }
        say(replies, good_reply(step));
    }

    fn apply(&mut self, step: Step, argument: String, was_positive: bool) {
        match step {
            Step::Mail if was_positive => {
                self.said.mail_taken();
                self.reverse_path = Some(argument);
            }
            Step::Rcpt if was_positive => {
                self.said.rcpt_taken();
                self.recipients.push(argument);
            }
            Step::Data if was_positive => self.mode = Mode::Data { at_start: true },
            Step::FinalDot | Step::Rset | Step::Ehlo => self.forget_transaction(),
            _ => {}
        }
    }

    fn forget_transaction(&mut self) {
        self.mode = Mode::Command;
        self.reverse_path = None;
        self.recipients.clear();
        self.held.clear();
        self.size = 0;
    }
}

fn say(replies: &mut Vec<u8>, text: &str) -> Next {
    replies.extend_from_slice(text.as_bytes());
    replies.extend_from_slice(b"\r\n");
    Next::Read
}
