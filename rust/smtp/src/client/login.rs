//! Proving who we are to a receiver that knows us, such as a smart host (RFC 4954).
//!
//! **Model.** PLAIN where it is offered, else LOGIN, right after the last EHLO; transactions are
//! taken once 235 came. A receiver that offers neither, or refuses, ends the connection: mail would
//! not be taken either.
//! **Invariants.** Nothing of a secret leaves a plaintext stream, and none of it is noted for a
//! transcript.

use super::{Client, Step};
use crate::event::CloseReason;
use crate::reply::Reply;
use crate::sent::Sent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// What a transcript shows in place of what left.
const PLAIN_SHOWN: &[u8] = b"AUTH PLAIN ***\r\n";
const ANSWER_SHOWN: &[u8] = b"***\r\n";

impl Client {
    /// After the last EHLO: logs in where that is wanted; else transactions may come.
    pub(super) fn log_in(&mut self) {
        let Some(login) = self.config.login.clone() else {
            return self.ready();
        };
        if !self.is_encrypted {
            return self.close(CloseReason::TlsUnavailable(None));
        }
        if self.capabilities.auth_plain {
            let response = format!("\0{}\0{}", login.username, login.password);
            let line = format!("AUTH PLAIN {}\r\n", STANDARD.encode(response));
            self.say_hidden(line, PLAIN_SHOWN, Step::AuthDone);
        } else if self.capabilities.auth_login {
            self.command.extend_from_slice(b"AUTH LOGIN\r\n");
            self.expected.push_back(Step::AuthUsername);
            self.send_command();
        } else {
            self.close(CloseReason::LoginUnavailable);
        }
    }

    /// The receiver's part of the exchange.
    pub(super) fn take_auth(&mut self, step: Step, reply: Reply) {
        let login = self.config.login.clone();
        match (step, login) {
            (Step::AuthDone, _) if reply.is_positive() => self.ready(),
            (Step::AuthUsername, Some(login)) if reply.is_intermediate() => {
                let line = format!("{}\r\n", STANDARD.encode(&login.username));
                self.say_hidden(line, ANSWER_SHOWN, Step::AuthPassword);
            }
            (Step::AuthPassword, Some(login)) if reply.is_intermediate() => {
                let line = format!("{}\r\n", STANDARD.encode(&login.password));
                self.say_hidden(line, ANSWER_SHOWN, Step::AuthDone);
            }
            _ if reply.is_positive() || reply.is_intermediate() => self.unexpected(&reply),
            _ => self.close(CloseReason::Refused(reply)),
        }
    }

    fn say_hidden(&mut self, line: String, shown: &'static [u8], step: Step) {
        self.notes.push(Sent::Commands(Bytes::from_static(shown)));
        self.output.push(Bytes::from(line));
        self.expected.push_back(step);
    }
}
