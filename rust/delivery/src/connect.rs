//! From a path to a connection that takes transactions.
//!
//! **Order.** Hosts by preference, equals shuffled; of each host every address of a family the
//! source has; the first that greets is taken. What is demanded of a host's TLS is known before it is
//! connected to (`host`). Where nothing is, a failed handshake is tried once more in plaintext on a
//! new connection, which is recorded. A host that greets with a refusal counts as
//! one that cannot be reached (RFC 5321 section 4.2.2 leaves 554 to the client; others may answer).
//! **REQUIRETLS.** Mail that wants it has paths of its own. Where every host fails for good it bounces
//! (RFC 8689 section 4.2.1); one that only could not be reached is worth another attempt.

mod failure;
mod vet;

use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postalynk_smtp::{Client, CloseReason, Config, Event, Phase, Reply, StartTls, Timeout};

use crate::classify::{Class, classify};
use crate::clock;
use crate::destination::Hosts;
use crate::driver::{Driver, Step};
use crate::host::{self, Host, NO_REQUIRETLS, NO_TLS, host};
use crate::path::Path;
use crate::pools::Source;
use crate::relay;
use crate::shard::Shard;
use crate::stream::Stream;
use crate::tls::{Problem, ResultType, TlsPolicy, TlsWish};
use crate::trace;
use crate::transcript::Transcript;

pub(crate) use failure::Failure;
use failure::failed;
use vet::{broken, leave, not_tried, reachable};

/// Hosts and addresses tried for one connection: more would only keep the path waiting.
const MOST_HOSTS: usize = 10;
const MOST_ADDRESSES: usize = 8;

/// A greeted connection.
pub(crate) struct Session {
    pub(crate) driver: Driver,
    pub(crate) mx: Arc<str>,
    /// Address and port, as outcomes name it.
    pub(crate) peer: String,
    /// Protocol and cipher suite; empty: plaintext.
    pub(crate) tls: String,
    /// Why TLS was offered and not used.
    pub(crate) tls_refused: String,
    /// What was demanded of TLS.
    pub(crate) tls_policy: &'static str,
    /// The certificates are those that were wanted; true where none were.
    is_policy_met: bool,
    /// CHUNKING is not switched off.
    pub(crate) may_chunk: bool,
    pub(crate) connect_us: u32,
    /// As it was when the connection was made.
    pub(crate) source: Arc<Source>,
    /// The egress relay in between; empty: none.
    pub(crate) relay: String,
    pub(crate) greeted_at: Instant,
}

/// Connects to one of the path's hosts.
pub(crate) async fn establish(shard: &Rc<Shard>, path: &Path) -> Result<Session, Failure> {
    let hosts = Arc::clone(&path.destination.borrow());
    let source = Arc::clone(&path.source.borrow());
    let (names, port): (Vec<Arc<str>>, u16) = match &hosts.hosts {
        Hosts::Mx(targets) => {
            let order = targets.order(shard.chance()).into_iter().take(MOST_HOSTS);
            (
                order.map(|host| host.name).collect(),
                shard.links.shared.settings.smtp_port,
            )
        }
        Hosts::SmartHost { host, port } => (vec![Arc::clone(host)], *port),
    };
    let mut last = None;
    for name in names {
        let mut setting = hosts.tls.unwrap_or(path.site.limits.get().tls);
        if is_login_wanted(shard, &hosts.hosts) {
            // A password is for one host alone: it must prove to be that one.
            setting = TlsPolicy::Verify;
        } else if is_tls_implicit(shard, &hosts.hosts) && setting == TlsPolicy::Opportunistic {
            // There is no plaintext to fall back to on such a port.
            setting = TlsPolicy::Require;
        }
        let known = host(shard, (&hosts, setting), &name, port).await;
        let host = match known.and_then(|host| reachable(source.ip, &name, host)) {
            Ok(host) => host,
            Err(refused) => {
                let failure = not_tried(shard, source.ip, &name, refused);
                last = Some(failure.after(last));
                continue;
            }
        };
        for ip in host.ips.iter().take(MOST_ADDRESSES) {
            let attempt = Attempt {
                shard,
                path,
                source: &source,
                mx: &name,
                peer: SocketAddr::new(*ip, port),
                host: &host,
            };
            match attempt.make().await {
                Ok(session) => return Ok(session),
                Err(failure) => last = Some(failure.after(last)),
            }
        }
    }
    Err(last.unwrap_or_else(|| failed("dns", Class::Dns, "no host".to_owned(), "")))
}

fn is_login_wanted(shard: &Shard, hosts: &Hosts) -> bool {
    shard.links.shared.login.is_some() && matches!(hosts, Hosts::SmartHost { .. })
}

fn is_tls_implicit(shard: &Shard, hosts: &Hosts) -> bool {
    shard.links.shared.settings.is_tls_implicit() && matches!(hosts, Hosts::SmartHost { .. })
}

/// One address of one host.
struct Attempt<'a> {
    shard: &'a Shard,
    path: &'a Path,
    source: &'a Arc<Source>,
    mx: &'a Arc<str>,
    peer: SocketAddr,
    host: &'a Host,
}

/// A failure, or one that plaintext may get around.
enum Trouble {
    Failure(Box<Failure>),
    Tls(Problem),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl Attempt<'_> {
    async fn make(&self) -> Result<Session, Failure> {
        let is_implicit = is_tls_implicit(self.shard, &self.path.destination.borrow().hosts);
        let wanted = if is_implicit {
            StartTls::Implicit
        } else if self.host.demand.must_encrypt {
            StartTls::Required
        } else if self.shard.links.shared.settings.starttls {
            StartTls::WhenOffered
        } else {
            StartTls::Never
        };
        let began = clock::now();
        let refused = match self.greet(wanted, began, String::new()).await {
            Ok(session) => {
                self.count(&session, wanted);
                return Ok(session);
            }
            Err(Trouble::Failure(failure)) => return Err(*failure),
            Err(Trouble::Tls(problem)) => {
                self.count_failure(problem.result, &problem.text);
                self.note_tls("failed", "");
                problem
            }
        };
        if self.host.demand.must_encrypt {
            let reason = format!(
                "{} is demanded of TLS: {}",
                self.host.demand.label, refused.text
            );
            return Err(Failure {
                tls_refused: refused.text,
                for_good: self.for_good(NO_TLS).filter(|_| !refused.is_passing),
                ..self.failed("starttls", Class::Transport, reason, began)
            });
        }
        // Opportunistic: mail in plaintext rather than no mail, and the event says so.
        match self
            .greet(StartTls::Never, began, refused.text.clone())
            .await
        {
            Ok(session) => {
                self.note_tls("plaintext", "");
                Ok(session)
            }
            Err(Trouble::Failure(failure)) => Err(Failure {
                tls_refused: refused.text,
                ..*failure
            }),
            Err(Trouble::Tls(problem)) => {
                Err(self.failed("starttls", Class::Transport, problem.text, began))
            }
        }
    }

    fn client(&self, starttls: StartTls, may_chunk: bool) -> Client {
        let chunk_window = match may_chunk {
            true => self.path.state.borrow().habits.chunk_window,
            false => 0,
        };
        Client::new(Config {
            ehlo_name: self.source.ehlo.clone(),
            starttls,
            login: self.login(),
            chunk_window,
        })
    }

    async fn greet(
        &self,
        starttls: StartTls,
        began: Instant,
        tls_refused: String,
    ) -> Result<Session, Trouble> {
        let may_chunk = self.may_chunk();
        let client = self.client(starttls, may_chunk);
        let stream = self.connect(began).await.map_err(Trouble::from)?;
        let mut session = Session {
            driver: Driver::new(client, stream, self.transcript()),
            mx: Arc::clone(self.mx),
            peer: self.peer.to_string(),
            tls: String::new(),
            tls_refused,
            tls_policy: self.host.demand.label,
            is_policy_met: true,
            may_chunk,
            connect_us: 0,
            source: Arc::clone(self.source),
            relay: self.relay(),
            greeted_at: began,
        };
        if starttls == StartTls::Implicit {
            self.encrypt(&mut session).await?;
        }
        let until = clock::now() + self.shard.links.shared.settings.greeting_timeout();
        loop {
            let is_greeted = self.take_events(&mut session, began).await?;
            if is_greeted && !self.is_promised(&session) {
                leave(&mut session).await;
                return Err(self.unpromised(&session, began).into());
            }
            if is_greeted {
                session.greeted_at = clock::now();
                session.connect_us = clock::micros(session.greeted_at - began).max(1);
                session.driver.transcript.greeted();
                return Ok(session);
            }
            let phase = phase_of(&session.driver.client);
            let reason = match session.driver.step(pending(), Some(until)).await {
                Step::Received | Step::Wrote | Step::Woken => continue,
                Step::TimedOut(timeout) => format!("timeout waiting for {timeout:?}"),
                Step::Elapsed => "the greeting took too long".to_owned(),
                Step::Ended => "the receiver closed the connection".to_owned(),
                Step::Broke(error) => error.to_string(),
            };
            session.driver.transcript.note(clock::now(), &reason);
            if is_starting_tls(&session) {
                return Err(broken(format!("after STARTTLS: {reason}")));
            }
            let mut failure = self.failed(phase, Class::Transport, reason, began);
            failure.transcript = session.driver.transcript.text(began);
            return Err(failure.into());
        }
    }

    /// True when transactions may be submitted.
    async fn take_events(&self, session: &mut Session, began: Instant) -> Result<bool, Trouble> {
        while let Some(event) = session.driver.client.next_event() {
            match event {
                Event::Ready(_) => return Ok(true),
                Event::StartTls => {
                    self.encrypt(session).await?;
                    session.driver.client.tls_established();
                }
                Event::StartTlsRefused(reply) => session.tls_refused = reply.to_string(),
                Event::Closed(reason) => {
                    let phase = if self.is_logging_in(session) {
                        "auth"
                    } else {
                        phase_of(&session.driver.client)
                    };
                    let mut failure = self.closed(phase, reason, began);
                    failure.transcript = session.driver.transcript.text(began);
                    return Err(failure.into());
                }
                // None was submitted, so none can be done.
                Event::TransactionDone(_) | Event::Returned(_) => {}
            }
        }
        Ok(false)
    }

    /// The handshake, and whether the certificates are those that are demanded.
    async fn encrypt(&self, session: &mut Session) -> Result<(), Trouble> {
        let whole = self.shard.links.shared.settings.greeting_timeout();
        let limit = Timeout::Handshake.duration().min(whole);
        let stream = &mut session.driver.stream;
        let handshake = stream.start_tls(&self.shard.links.tls, &self.host.names[0]);
        match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(tls)) => {
                session.driver.transcript.note(clock::now(), &tls);
                session.tls = tls;
            }
            Ok(Err(error)) => return Err(broken(format!("handshake: {error}"))),
            Err(_) => return Err(broken("handshake: timeout".to_owned())),
        }
        session.is_policy_met = self.check(session).map_err(Trouble::Tls)?;
        Ok(())
    }

    async fn connect(&self, began: Instant) -> Result<Stream, Failure> {
        let limit = Duration::from_secs(self.shard.links.shared.settings.connect_timeout_s);
        let connecting = self.stream();
        let reason = match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => format!("cannot connect to {}: {error}", self.peer),
            Err(_) => format!("cannot connect to {}: timeout", self.peer),
        };
        Err(self.failed("connect", Class::Transport, reason, began))
    }

    /// From the source's address, or through its relay.
    async fn stream(&self) -> std::io::Result<Stream> {
        let Some(relay) = &self.source.relay else {
            return Stream::connect(self.source.ip, self.peer).await;
        };
        let host: Arc<str> = Arc::from(&*relay.host);
        let found = host::addresses(self.shard, &host).await;
        let found = found.map_err(|cause| std::io::Error::other(format!("the relay: {cause}")))?;
        let stream = relay::connect(relay, &found, self.source.ip, self.peer).await?;
        Ok(Stream::Plain(stream))
    }

    fn relay(&self) -> String {
        let relay = self.source.relay.as_ref();
        relay.map(ToString::to_string).unwrap_or_default()
    }

    fn transcript(&self) -> Transcript {
        let mut transcript = Transcript::new(clock::now());
        let traces = &self.shard.links.shared.traces;
        let session = trace::Session {
            number: traces.next_number(),
            site: Arc::clone(self.path.destination.borrow().limited_as()),
            source: Arc::clone(&self.source.name),
            mx: Arc::clone(self.mx),
        };
        transcript.show_to(traces, session);
        transcript
    }

    fn closed(&self, phase: &'static str, reason: CloseReason, began: Instant) -> Failure {
        match reason {
            CloseReason::Refused(reply) | CloseReason::ServiceClosing(reply) => {
                let class = classify(&reply, Phase::Mail);
                let mut failure = self.failed(phase, class, reply.to_string(), began);
                failure.reply = Some(reply);
                failure
            }
            CloseReason::Protocol(error) => {
                self.failed(phase, Class::Protocol, error.to_string(), began)
            }
            CloseReason::TlsUnavailable(reply) => {
                let is_passing = reply.as_ref().is_some_and(Reply::is_transient);
                let said = reply.map_or("not offered".to_owned(), |reply| reply.to_string());
                self.count_failure(ResultType::StarttlsNotSupported, &said);
                self.note_tls("unavailable", "");
                let demand = self.host.demand.label;
                let reason = format!("{demand} is demanded of TLS: STARTTLS: {said}");
                Failure {
                    tls_refused: said,
                    for_good: self.for_good(NO_TLS).filter(|_| !is_passing),
                    ..self.failed("starttls", Class::Transport, reason, began)
                }
            }
            CloseReason::LoginUnavailable => {
                let reason = "the smart host offers neither AUTH PLAIN nor AUTH LOGIN".to_owned();
                self.failed(phase, Class::Authentication, reason, began)
            }
            CloseReason::Quit => {
                let reason = "the receiver ended the conversation".to_owned();
                self.failed(phase, Class::Transport, reason, began)
            }
        }
    }

    /// What a failure of TLS means for mail that cannot do without: the code it bounces with.
    fn for_good(&self, code: &'static str) -> Option<&'static str> {
        let wish = self.path.destination.borrow().wish;
        (wish == TlsWish::Required).then_some(code)
    }

    /// The receiver does not keep on TLS what must stay on it.
    fn unpromised(&self, session: &Session, began: Instant) -> Failure {
        let reason = format!(
            "{}: the message requires TLS all the way and the host does not offer REQUIRETLS",
            self.mx
        );
        Failure {
            for_good: self.for_good(NO_REQUIRETLS),
            transcript: session.driver.transcript.text(began),
            ..self.failed("ehlo", Class::Policy, reason, began)
        }
    }

    fn failed(&self, phase: &'static str, class: Class, reason: String, began: Instant) -> Failure {
        Failure {
            peer: self.peer.to_string(),
            relay: self.relay(),
            took: clock::now() - began,
            tls_policy: self.host.demand.label,
            ..failed(phase, class, reason, self.mx)
        }
    }
}

/// STARTTLS was sent on this connection and nothing came of it yet.
fn is_starting_tls(session: &Session) -> bool {
    session.tls.is_empty()
        && session.tls_refused.is_empty()
        && session.driver.client.capabilities().starttls
}

/// Where the greeting stands, by what the core waits for.
fn phase_of(client: &Client) -> &'static str {
    match client.deadline().map(|deadline| deadline.timeout) {
        Some(Timeout::Banner) => "banner",
        Some(Timeout::Handshake) => "starttls",
        _ => "ehlo",
    }
}
