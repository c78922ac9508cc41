//! What each reply does to the conversation.

use super::{Client, StartTls, State, Step};
use crate::capabilities::Capabilities;
use crate::event::{CloseReason, Event, ProtocolError};
use crate::reply::Reply;
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
        if reply.is_intermediate() && step != Step::Data {
            self.expected.push_front(step);
            return self.unexpected(&reply);
        }
        match step {
            Step::Banner if reply.is_positive() => self.greet(),
            Step::Banner => self.close(CloseReason::Refused(reply)),
            Step::Ehlo => self.take_ehlo(reply),
            Step::Helo if reply.is_positive() => self.ready(),
            Step::Helo => self.close(CloseReason::Refused(reply)),
            Step::StartTls => self.take_starttls(reply, has_more),
            Step::Reset => self.take_reset(reply),
            Step::Mail => self.take_mail(&reply),
            Step::Rcpt(index) => self.take_rcpt(index, &reply),
            Step::Data => self.take_data(&reply),
            Step::FinalDot => self.take_final(reply),
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
                self.ready();
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
            self.ready();
        }
    }

    fn ready(&mut self) {
        self.state = State::Ready;
        self.events
            .push_back(Event::Ready(self.capabilities.clone()));
    }

    fn take_reset(&mut self, reply: Reply) {
        if !reply.is_positive() {
            return self.close(CloseReason::Refused(reply));
        }
        if !self.capabilities.pipelining {
            self.command_mail();
            self.send_command();
        }
    }

    fn take_mail(&mut self, reply: &Reply) {
        let is_pipelined = self.capabilities.pipelining;
        let Some(open) = &mut self.opening else {
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
        open.reject_rest(Phase::Mail, reply);
        let done = open.settle(Phase::Mail, None);
        self.events.push_back(Event::TransactionDone(done));
        if !is_pipelined {
            self.opening = None;
        }
    }

    fn take_rcpt(&mut self, index: usize, reply: &Reply) {
        let is_pipelined = self.capabilities.pipelining;
        let Some(open) = &mut self.opening else {
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
                self.opening = None;
                self.needs_reset = true;
            }
            return;
        }
        if is_last {
            open.phase = Phase::Data;
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
        let Some(mut open) = self.opening.take() else {
            return;
        };
        if reply.is_intermediate() && open.settled {
            // Content is wanted for nobody: end it at once (RFC 2920, 3.1).
            self.output.push(Bytes::from_static(b".\r\n"));
            self.expected.push_back(Step::LoneDot);
        } else if reply.is_intermediate() {
            open.phase = Phase::FinalDot;
            open.dot_at = Some(open.transaction.content.queue(&mut self.output));
            self.expected.push_back(Step::FinalDot);
            self.finishing = Some(open);
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
        let Some(mut open) = self.finishing.take() else {
            return;
        };
        let has_left = open
            .dot_at
            .is_some_and(|dot_at| self.output.could_have_left(dot_at));
        if reply.is_positive() && !has_left {
            self.finishing = Some(open);
            return self.close(CloseReason::Protocol(ProtocolError::EarlyAcceptance));
        }
        if !reply.is_positive() {
            open.reject_rest(Phase::FinalDot, &reply);
        }
        let done = open.settle(Phase::FinalDot, Some(reply));
        self.events.push_back(Event::TransactionDone(done));
    }

    /// 421 answers the command it stands for, and none after it will be answered.
    fn settle_by_closing(&mut self, step: Option<Step>, reply: &Reply) {
        let (slot, phase) = match step {
            Some(Step::Mail) => (&mut self.opening, Phase::Mail),
            Some(Step::Rcpt(_)) => (&mut self.opening, Phase::Rcpt),
            Some(Step::Data) => (&mut self.opening, Phase::Data),
            Some(Step::FinalDot) => (&mut self.finishing, Phase::FinalDot),
            _ => return,
        };
        let Some(mut open) = slot.take().filter(|open| !open.settled) else {
            return;
        };
        open.reject_rest(phase, reply);
        let final_reply = (phase == Phase::FinalDot).then(|| reply.clone());
        self.events
            .push_back(Event::TransactionDone(open.settle(phase, final_reply)));
    }

    fn unexpected(&mut self, reply: &Reply) {
        let error = ProtocolError::Unexpected { code: reply.code() };
        self.close(CloseReason::Protocol(error));
    }
}
