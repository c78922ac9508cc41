//! What each reply does to the conversation.

use super::{Client, MOST_WINDOW, StartTls, State, Step};
use crate::capabilities::Capabilities;
use crate::event::{CloseReason, Event, ProtocolError};
use crate::reply::Reply;
use crate::sent::Sent;
use crate::transaction::{Phase, Rejection};
use bytes::Bytes;

impl Client {
    /// `has_more`: bytes follow the reply in what was received.
    pub(super) fn take_reply(&mut self, reply: Reply, has_more: bool) {
        let step = self.expected.pop_front();
        if reply.code() == 421 {
            self.settle_by_closing(step, &reply);
            return self.close(CloseReason::ServiceClosing(reply));
        }
        let Some(step) = step else {
            return self.close(CloseReason::Protocol(ProtocolError::Unsolicited));
        };
        let may_go_on = matches!(step, Step::Data | Step::AuthUsername | Step::AuthPassword);
        if reply.is_intermediate() && !may_go_on {
            self.expected.push_front(step);
            return self.unexpected(&reply);
        }
        match step {
            Step::Banner if reply.is_positive() => self.greet(),
            Step::Banner => self.close(CloseReason::Refused(reply)),
            Step::Ehlo => self.take_ehlo(reply),
            Step::Helo if reply.is_positive() => self.log_in(),
            Step::Helo => self.close(CloseReason::Refused(reply)),
            Step::StartTls => self.take_starttls(reply, has_more),
            Step::AuthDone | Step::AuthUsername | Step::AuthPassword => {
                self.take_auth(step, reply);
            }
            Step::Reset => self.take_reset(reply),
            Step::Mail => self.take_mail(&reply),
            Step::Rcpt(index) => self.take_rcpt(index, &reply),
            Step::Data => self.take_data(&reply),
            Step::FinalDot => self.take_final(reply),
            Step::Chunk => self.take_chunk(reply),
            // Its recipients were rejected before; nobody waits for this reply.
            Step::LoneDot => {}
            Step::Quit => self.close(CloseReason::Quit),
        }
    }

    fn take_ehlo(&mut self, reply: Reply) {
        let must_encrypt = self.config.starttls == StartTls::Required && !self.is_encrypted;
        if reply.is_positive() {
            self.capabilities = Capabilities::from_ehlo(&reply);
            let may_encrypt = self.config.starttls != StartTls::Never && !self.is_encrypted;
            if may_encrypt && self.capabilities.starttls {
                self.command.extend_from_slice(b"STARTTLS\r\n");
                self.expected.push_back(Step::StartTls);
                self.send_command();
            } else if must_encrypt {
                self.close(CloseReason::TlsUnavailable(None));
            } else {
                self.log_in();
            }
        } else if reply.is_permanent() && !must_encrypt {
            // A receiver from before 1995 (RFC 5321, 3.2).
            self.command_with(b"HELO ", Step::Helo);
        } else if reply.is_permanent() {
            self.close(CloseReason::TlsUnavailable(Some(reply)));
        } else {
            self.close(CloseReason::Refused(reply));
        }
    }

    fn take_starttls(&mut self, reply: Reply, has_more: bool) {
        if reply.is_positive() && has_more {
            // Told instead of the event, so that no driver starts a handshake on it.
            self.close(CloseReason::Protocol(ProtocolError::PlaintextAfterStartTls));
        } else if reply.is_positive() {
            self.state = State::Handshake;
            self.events.push_back(Event::StartTls);
        } else if self.config.starttls == StartTls::Required {
            self.close(CloseReason::TlsUnavailable(Some(reply)));
        } else {
            self.events.push_back(Event::StartTlsRefused(reply));
            self.log_in();
        }
    }

    pub(super) fn ready(&mut self) {
        self.state = State::Ready;
        self.events
            .push_back(Event::Ready(self.capabilities.clone()));
    }

    fn take_reset(&mut self, reply: Reply) {
        if !reply.is_positive() {
            return self.close(CloseReason::Refused(reply));
        }
        self.is_blocked = false;
        if !self.capabilities.pipelining {
            self.command_mail();
            self.send_command();
        }
    }

    fn take_mail(&mut self, reply: &Reply) {
        let is_pipelined = self.capabilities.pipelining;
        let is_blocked = reply.code() == 503 && self.is_blocked;
        self.is_blocked &= !reply.is_positive();
        let Some(open) = self.open.front_mut() else {
            return;
        };
        if reply.is_positive() {
            open.phase = Phase::Rcpt;
            open.mail_accepted = true;
            if !is_pipelined {
                self.command_rcpt(0);
                self.send_command();
            }
            return;
        }
        if open.is_chunk && is_blocked {
            open.settled = true;
            self.events.push_back(Event::Returned(open.transaction.id));
            return;
        }
        open.reject_rest(Phase::Mail, reply);
        let done = open.settle(Phase::Mail, None);
        self.events.push_back(Event::TransactionDone(done));
        if !is_pipelined {
            self.open.pop_front();
        }
    }

    fn take_rcpt(&mut self, index: usize, reply: &Reply) {
        let is_pipelined = self.capabilities.pipelining;
        let Some(open) = self.open.front_mut() else {
            return;
        };
        if open.settled {
            return;
        }
        if !reply.is_positive() {
            open.rejected[index] = Some(Rejection {
                phase: Phase::Rcpt,
                reply: reply.clone(),
            });
        }
        let is_last = index + 1 == open.transaction.recipients.len();
        if is_last && open.is_all_rejected() {
            let done = open.settle(Phase::Rcpt, None);
            self.events.push_back(Event::TransactionDone(done));
            if !is_pipelined {
                self.open.pop_front();
                self.needs_reset = true;
            }
            return;
        }
        if is_last {
            open.phase = if open.is_chunk {
                Phase::FinalDot
            } else {
                Phase::Data
            };
        }
        if !is_pipelined {
            if is_last {
                self.command_data()
            } else {
                self.command_rcpt(index + 1)
            }
            self.send_command();
        }
    }

    fn take_data(&mut self, reply: &Reply) {
        if reply.is_positive() {
            self.expected.push_front(Step::Data);
            return self.unexpected(reply);
        }
        let Some(mut open) = self.open.pop_front() else {
            return;
        };
        if reply.is_intermediate() && open.settled {
            // Content is wanted for nobody: end it at once (RFC 2920, 3.1).
            self.notes.push(Sent::Content(0));
            self.output.push(Bytes::from_static(b".\r\n"));
            self.expected.push_back(Step::LoneDot);
        } else if reply.is_intermediate() {
            open.phase = Phase::FinalDot;
            self.notes
                .push(Sent::Content(open.transaction.content.size()));
            open.dot_at = Some(open.transaction.content.queue(&mut self.output));
            self.expected.push_back(Step::FinalDot);
            self.open.push_front(open);
        } else {
            self.needs_reset = open.mail_accepted;
            if !open.settled {
                open.reject_rest(Phase::Data, reply);
                self.events
                    .push_back(Event::TransactionDone(open.settle(Phase::Data, None)));
            }
        }
    }

    fn take_final(&mut self, reply: Reply) {
        let Some(mut open) = self.open.pop_front() else {
            return;
        };
        let has_left = open
            .dot_at
            .is_some_and(|dot_at| self.output.could_have_left(dot_at));
        if reply.is_positive() && !has_left {
            self.open.push_front(open);
            return self.close(CloseReason::Protocol(ProtocolError::EarlyAcceptance));
        }
        if !reply.is_positive() {
            open.reject_rest(Phase::FinalDot, &reply);
        }
        let done = open.settle(Phase::FinalDot, Some(reply));
        self.events.push_back(Event::TransactionDone(done));
    }

    fn take_chunk(&mut self, reply: Reply) {
        let Some(open) = self.open.front_mut() else {
            return;
        };
        let is_settled = open.settled;
        // Its MAIL was not answered for itself, so the receiver may be as it was before it.
        let is_returned = is_settled && self.is_blocked;
        if !is_settled && matches!(reply.code(), 500..=504) {
            // BDAT itself is meant, and what it is taken for nobody knows: nothing more may leave.
            open.dot_at = None;
            self.window = 0;
            let code = reply.code();
            return self.close(CloseReason::Protocol(ProtocolError::ChunkingRefused {
                code,
            }));
        }
        // Receivers differ on whether a refused chunk ends the transaction.
        if open.mail_accepted && !reply.is_positive() {
            (self.needs_reset, self.is_blocked) = (true, true);
        } else if is_returned {
            self.needs_reset = true;
        }
        if is_settled {
            self.open.pop_front();
            return;
        }
        if reply.is_positive() {
            self.has_taken_chunk = true;
            self.window = (self.window + 1).min(MOST_WINDOW);
        }
        self.take_final(reply);
    }

    /// 421 answers the command it stands for, and none after it will be answered.
    fn settle_by_closing(&mut self, step: Option<Step>, reply: &Reply) {
        let phase = match step {
            Some(Step::Mail) => Phase::Mail,
            Some(Step::Rcpt(_)) => Phase::Rcpt,
            Some(Step::Data) => Phase::Data,
            Some(Step::FinalDot | Step::Chunk) => Phase::FinalDot,
            _ => return,
        };
        let Some(mut open) = self.open.pop_front() else {
            return;
        };
        // Replies keep their order, so what was sent ahead of this one's end was not taken.
        self.open.iter_mut().for_each(|open| open.dot_at = None);
        if open.settled {
            return;
        }
        open.reject_rest(phase, reply);
        let final_reply = (phase == Phase::FinalDot).then(|| reply.clone());
        self.events
            .push_back(Event::TransactionDone(open.settle(phase, final_reply)));
    }

    pub(super) fn unexpected(&mut self, reply: &Reply) {
        let error = ProtocolError::Unexpected { code: reply.code() };
        self.close(CloseReason::Protocol(error));
    }
}
