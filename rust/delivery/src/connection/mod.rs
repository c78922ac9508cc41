//! One connection: transactions in, outcomes out, until there is a reason to close.
//!
//! **Model.** A loop of five steps: take what the core reports, offer it the next message, note in
//! the journal what is about to leave, see whether to close, and let the driver move bytes. The next
//! message is offered as soon as the content of the last one is queued, so both leave in one write.
//! **Invariants.** A slot of the journal is written before the first octet of a message's content
//! leaves; if it cannot be, or if the lease has run out meanwhile, the connection is given up instead.
//! Every message taken ends here: in an outcome, or back at the front of its path when the receiver
//! never answered its MAIL.

mod settle;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::time::{Duration, Instant};

use postalynk_smtp::{
    CloseReason, Event, Phase, ProtocolError, Reply, SubmitError, Transaction, TransactionId,
};

use crate::classify::{Class, classify};
use crate::clock;
use crate::connect::{Session, establish};
use crate::driver::Step;
use crate::host::NO_REQUIRETLS;
use crate::journal::Opened;
use crate::notification::dsn_of;
use crate::outcome::End;
use crate::path::Path;
use crate::prepare::Mail;
use crate::shard::{Shard, Take};
use crate::tenure::Begun;

/// How often a message may lose its connection before MAIL is answered and not pay for it.
const MOST_REQUEUES: u32 = 3;
/// Time for QUIT to be answered; nobody waits for it.
const GOODBYE: Duration = Duration::from_secs(5);

/// The task of a connection.
pub(crate) async fn run(shard: Rc<Shard>, path: Rc<Path>) {
    match establish(&shard, &path).await {
        Ok(session) => {
            {
                let mut state = path.state.borrow_mut();
                state.breaker.succeed();
                state.established += 1;
            }
            // More connections may be worth it, now that one has proven itself.
            shard.pump(&path);
            let mut connection = Connection::new(&shard, &path, session);
            let why = connection.serve().await;
            let transcript = &mut connection.session.driver.transcript;
            transcript.note(clock::now(), &why.reason);
            connection.lose(&why);
            connection.learn_window();
            path.state.borrow_mut().established -= 1;
        }
        Err(failure) => shard.connect_failed(&path, &failure),
    }
    shard.connection_closed(&path);
}

/// A message on its way.
struct Open {
    id: TransactionId,
    mail: Box<Mail>,
    began: Instant,
    /// When 354 came.
    content_at: Option<Instant>,
    /// When the last octet had left.
    sent_at: Option<Instant>,
    /// Of the journal, by recipient; empty until content is about to leave.
    slots: Vec<Option<u32>>,
    /// By recipient.
    begun: Vec<Begun>,
    is_first: bool,
}

/// Why a connection is over.
struct Why {
    class: Class,
    reply: Option<Reply>,
    reason: String,
    /// It was about how we speak: what is not in doubt is sent again at once, in another way.
    is_manner: bool,
}

struct Connection<'a> {
    shard: &'a Rc<Shard>,
    path: &'a Rc<Path>,
    session: Session,
    open: Vec<Open>,
    /// Transactions submitted.
    submitted: usize,
    /// Domains of the recipients so far; kept only where the receiver limits them (RFC 9422).
    domains: Vec<Box<str>>,
    idle_since: Option<Instant>,
    next_token_at: Option<Instant>,
    quit_at: Option<Instant>,
}

impl<'a> Connection<'a> {
    fn new(shard: &'a Rc<Shard>, path: &'a Rc<Path>, session: Session) -> Self {
        Self {
            shard,
            path,
            session,
            open: Vec::with_capacity(2),
            submitted: 0,
            domains: Vec::new(),
            idle_since: None,
            next_token_at: None,
            quit_at: None,
        }
    }

    async fn serve(&mut self) -> Why {
        loop {
            if let Some(why) = self.take_events() {
                return why;
            }
            self.offer();
            if let Err(why) = self.journal() {
                return why;
            }
            self.quit_if_useless();
            match self.step().await {
                Step::Received | Step::Woken => {}
                Step::Wrote => self.note_sent(),
                Step::Elapsed => {
                    if let Some(why) = self.overdue() {
                        return why;
                    }
                }
                Step::TimedOut(timeout) => return transport(format!("timeout: {timeout:?}")),
                Step::Ended => return transport("the receiver closed the connection".to_owned()),
                Step::Broke(error) => return transport(error.to_string()),
            }
        }
    }

    /// Outcomes and the end, as the core tells them.
    fn take_events(&mut self) -> Option<Why> {
        while let Some(event) = self.session.driver.client.next_event() {
            match event {
                Event::TransactionDone(done) => self.done(done),
                Event::Returned(id) => self.returned(id),
                Event::Closed(reason) => return Some(why_closed(reason)),
                Event::Ready(_) | Event::StartTls | Event::StartTlsRefused(_) => {}
            }
        }
        None
    }

    /// Gives the core the next message, if it wants one and there is one.
    fn offer(&mut self) {
        self.next_token_at = None;
        while self.quit_at.is_none() && self.session.driver.client.wants_transaction() {
            if self.submitted >= self.most_transactions() || self.is_outdated() {
                self.quit();
                return;
            }
            match self.shard.take(self.path) {
                Take::Mail(mut mail) => match self.room_for(&mail) {
                    0 => {
                        // Its domain is one too many for this session.
                        self.shard.put_back(self.path, mail);
                        self.quit();
                        return;
                    }
                    room if room < mail.recipients.len() => {
                        let rest = mail.split_off(room);
                        self.shard.put_back(self.path, rest);
                        self.submit(mail);
                    }
                    _ => self.submit(mail),
                },
                Take::After(at) => {
                    self.next_token_at = Some(at);
                    return;
                }
                Take::Nothing => return,
            }
        }
    }

    fn submit(&mut self, mail: Box<Mail>) {
        let begun: Vec<Begun> = mail
            .recipients
            .iter()
            .filter_map(|to| to.job.delivery.tenure.begin())
            .collect();
        if begun.len() < mail.recipients.len() {
            return self.shard.abandon(mail.into_jobs());
        }
        let id = TransactionId(self.submitted as u64);
        let transaction = Transaction {
            dsn: dsn_of(&mail),
            require_tls: mail.requires_tls(),
            id,
            reverse_path: mail.reverse_path.clone(),
            recipients: mail
                .recipients
                .iter()
                .map(|to| to.address.clone())
                .collect(),
            content: mail.content.clone(),
        };
        let result = self.session.driver.client.submit(transaction);
        let open = Open {
            id,
            mail,
            began: clock::now(),
            content_at: None,
            sent_at: None,
            slots: Vec::new(),
            begun,
            is_first: self.submitted == 0,
        };
        match result {
            Ok(()) => {
                self.submitted += 1;
                self.idle_since = None;
                self.shard
                    .links
                    .shared
                    .open_transactions
                    .fetch_add(1, AcqRel);
                self.open.push(open);
            }
            Err(SubmitError::NotReady) => self.shard.put_back(self.path, open.mail),
            // Not tried without them yet.
            Err(SubmitError::EightBitUnsupported) if open.mail.eight_bit.is_none() => {
                self.make_again(*open.mail);
            }
            Err(error) => self.refuse(&open, error),
        }
    }

    /// The receiver said beforehand that it cannot take the message.
    fn refuse(&self, open: &Open, error: SubmitError) {
        let reason = match (error, open.mail.eight_bit) {
            (SubmitError::EightBitUnsupported, Some(cause)) => format!("{error}: {cause}"),
            _ => error.to_string(),
        };
        let (code, class) = match error {
            SubmitError::TooLarge { .. } => ("5.3.4", Class::Content),
            SubmitError::Utf8Unsupported => ("5.6.7", Class::Content),
            SubmitError::RequireTlsUnsupported => (NO_REQUIRETLS, Class::Policy),
            _ => ("5.6.3", Class::Content),
        };
        for index in 0..open.mail.recipients.len() {
            let mut finished = self.finished(open, index, End::Bounced);
            finished.class = Some(class);
            class.as_str().clone_into(&mut finished.tried.class);
            "mail".clone_into(&mut finished.tried.phase);
            code.clone_into(&mut finished.tried.enhanced);
            finished.reason.clone_from(&reason);
            self.shard.finish(finished);
        }
    }

    /// Too old for another message, or its source was changed meanwhile.
    fn is_outdated(&self) -> bool {
        let age = clock::now().saturating_duration_since(self.session.greeted_at);
        age >= self.shard.links.shared.settings.max_age()
            || !Arc::ptr_eq(&self.path.source.borrow(), &self.session.source)
    }

    fn most_transactions(&self) -> usize {
        let announced = self.session.driver.client.capabilities().limits.mail_max;
        let configured = self.path.site.limits.get().per_connection;
        announced.map_or(configured, |most| configured.min(most as usize))
    }

    /// How many of a message's recipients may come in one transaction now; notes their domains.
    fn room_for(&mut self, mail: &Mail) -> usize {
        let announced = self.session.driver.client.capabilities().limits;
        let learned = self.path.state.borrow().habits.recipients;
        let most = announced
            .rcpt_max
            .map_or(learned, |most| learned.min(most as usize));
        let Some(most_domains) = announced.rcpt_domain_max else {
            return mail.recipients.len().min(most);
        };
        for (index, to) in mail.recipients.iter().take(most).enumerate() {
            let domain = to.job.delivery.domain();
            if !self.domains.iter().any(|known| **known == *domain) {
                if self.domains.len() >= most_domains as usize {
                    return index;
                }
                self.domains.push(domain.into());
            }
        }
        mail.recipients.len().min(most)
    }

    /// Notes the attempts whose content is queued, before any of it leaves.
    fn journal(&mut self) -> Result<(), Why> {
        let shared = &self.shard.links.shared;
        for id in self.session.driver.client.sending() {
            let open = self.open.iter_mut().find(|open| open.id == id);
            let Some(open) = open.filter(|open| open.content_at.is_none()) else {
                continue;
            };
            // The process may have been stopped since MAIL, and its partitions be others' now.
            if shared.lease.renewed_at_best().is_some() {
                return Err(Why {
                    is_manner: true,
                    ..transport("no commit for a session timeout: nothing more is sent".to_owned())
                });
            }
            open.content_at = Some(clock::now());
            let at_us = clock::wall_us();
            for to in &open.mail.recipients {
                let delivery = &to.job.delivery;
                let slot = shared.journal.begin(Opened {
                    key: delivery.key(),
                    partition: delivery.partition,
                    attempt: delivery.attempt(),
                    at_us,
                });
                let slot = slot.map_err(|error| {
                    transport(format!("the journal cannot be written: {error}"))
                })?;
                open.slots.push(slot);
            }
        }
        Ok(())
    }

    fn note_sent(&mut self) {
        for id in self.session.driver.client.sending() {
            let open = self.open.iter_mut().find(|open| open.id == id);
            if let Some(open) = open.filter(|open| open.sent_at.is_none()) {
                open.sent_at = Some(clock::now());
            }
        }
    }

    /// An idle connection closes when its time is over, or when another path needs its place.
    fn quit_if_useless(&mut self) {
        if self.quit_at.is_some() || !self.session.driver.client.is_idle() {
            return;
        }
        let now = clock::now();
        let idle_since = *self.idle_since.get_or_insert(now);
        let is_wanted_elsewhere =
            !self.path.site.waiting.borrow().is_empty() && self.path.state.borrow().backlog() == 0;
        let is_done = self.is_outdated();
        let is_idle_too_long =
            now.saturating_duration_since(idle_since) >= self.shard.links.shared.settings.idle();
        if self.shard.is_draining.get() || is_wanted_elsewhere || is_idle_too_long || is_done {
            self.quit();
        }
    }

    fn quit(&mut self) {
        self.session.driver.client.quit();
        self.quit_at = Some(clock::now());
    }

    async fn step(&mut self) -> Step {
        let is_hungry = self.quit_at.is_none()
            && self.session.driver.client.wants_transaction()
            && self.next_token_at.is_none();
        let until = self.wake_at();
        let path = Rc::clone(self.path);
        if is_hungry {
            path.state.borrow_mut().hungry += 1;
        }
        let wake = async {
            if is_hungry {
                path.wake.notified().await;
            } else {
                std::future::pending().await
            }
        };
        let step = self.session.driver.step(wake, until).await;
        if is_hungry {
            path.state.borrow_mut().hungry -= 1;
        }
        step
    }

    /// When to look again even if nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        let settings = &self.shard.links.shared.settings;
        let limit = Duration::from_secs(settings.transaction_timeout_s);
        let overdue = self.open.first().map(|open| open.began + limit);
        let idle = self.idle_since.map(|since| since + settings.idle());
        let goodbye = self
            .quit_at
            .filter(|_| self.open.is_empty())
            .map(|at| at + GOODBYE);
        [overdue, idle, goodbye, self.next_token_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn overdue(&self) -> Option<Why> {
        let now = clock::now();
        let limit = Duration::from_secs(self.shard.links.shared.settings.transaction_timeout_s);
        if self
            .open
            .first()
            .is_some_and(|open| now >= open.began + limit)
        {
            return Some(transport(
                "the transaction took longer than allowed in all".to_owned(),
            ));
        }
        let is_gone = self.open.is_empty() && self.quit_at.is_some_and(|at| now >= at + GOODBYE);
        is_gone.then(|| transport("QUIT was not answered".to_owned()))
    }
}

fn transport(reason: String) -> Why {
    Why {
        class: Class::Transport,
        reply: None,
        reason,
        is_manner: false,
    }
}

fn why_closed(reason: CloseReason) -> Why {
    match reason {
        CloseReason::ServiceClosing(reply) | CloseReason::Refused(reply) => Why {
            class: classify(&reply, Phase::Mail),
            reason: reply.to_string(),
            is_manner: false,
            reply: Some(reply),
        },
        CloseReason::Protocol(error) => Why {
            class: Class::Protocol,
            is_manner: matches!(error, ProtocolError::ChunkingRefused { .. }),
            reply: None,
            reason: error.to_string(),
        },
        CloseReason::TlsUnavailable(_) | CloseReason::LoginUnavailable | CloseReason::Quit => {
            transport("QUIT".to_owned())
        }
    }
}
