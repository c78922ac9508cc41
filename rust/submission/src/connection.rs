//! One connection: a socket, deadlines and bounds around the protocol.
//!
//! **Deadlines.** They are set by what was completed (the connection, a command, MAIL), never by
//! single octets, so a client that dribbles is cut off as one that is silent.

use crate::counts::Counts;
use crate::desk::{Account, Message, Origin, Request, Verdict};
use crate::head::Head;
use crate::service::Shared;
use crate::shares::Share;
use bytes::{Buf, Bytes, BytesMut};
use postalynk_smtp::server::{Answer, Credentials, Envelope, Event, Server};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Room for a read: commands, and content once it comes.
const READ_COMMANDS: usize = 4 * 1024;
const READ_CONTENT: usize = 64 * 1024;
/// How long and how much is read from a client that was cut off, so that it sees the reason before
/// its system reports a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1_000_000;

/// What the protocol wants next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Read,
    StartTls,
    Close,
}

/// A conversation, which may change its stream once.
struct Conversation {
    peer: IpAddr,
    shared: Arc<Shared>,
    server: Server,
    input: BytesMut,
    account: Option<Account>,
    /// Content held, counted once the client is known.
    held: Option<Share>,
    /// The organization's connections.
    seat: Option<Share>,
    began: Instant,
    /// The last completed command.
    step_at: Instant,
    transaction_at: Option<Instant>,
    closing: watch::Receiver<bool>,
}

/// Serves a connection until it ends; `begins_with_tls` as its address says.
pub(crate) async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    begins_with_tls: bool,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let ip = peer.ip().to_canonical();
    Counts::add(&shared.counts.connections, 1);
    let mut seat = shared.connections.of(&ip.to_string());
    if !seat.set(1) {
        Counts::add(&shared.counts.refused_connections, 1);
        let refusal = b"421 4.3.2 Too many connections; come again later\r\n";
        return stream.write_all(refusal).await;
    }
    stream.set_nodelay(true)?;
    let options = shared.protocol(peer);
    let mut conversation = Conversation {
        peer: ip,
        server: Server::new(options, begins_with_tls),
        input: BytesMut::new(),
        account: None,
        held: None,
        seat: None,
        began: Instant::now(),
        step_at: Instant::now(),
        transaction_at: None,
        closing: shared.closing.subscribe(),
        shared,
    };
    if let Some(account) = conversation.shared.trusted.account(ip)
        && let Some(refusal) = conversation.trust(account)
    {
        Counts::add(&conversation.shared.counts.refused_connections, 1);
        let refusal = format!("421 {}\r\n", refusal.as_str().trim_start_matches("454 "));
        return stream.write_all(refusal.as_bytes()).await;
    }
    if begins_with_tls {
        return conversation.encrypted(stream).await;
    }
    match conversation.converse(&mut stream).await? {
        Next::StartTls if conversation.input.is_empty() => conversation.encrypted(stream).await,
        // Plaintext behind STARTTLS is an injection (RFC 3207, section 6; CVE-2011-0411).
        _ => Ok(()),
    }
}

impl Conversation {
    async fn encrypted(&mut self, stream: TcpStream) -> io::Result<()> {
        let Some(tls) = self.shared.acceptor() else {
            return Ok(());
        };
        let deadline = self.began + self.shared.options.timeouts.login;
        let mut stream = timeout_at(deadline, tls.accept(stream)).await??;
        self.server.tls_established();
        self.converse(&mut stream).await.map(drop)
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> io::Result<Next> {
        loop {
            let next = self.take().await;
            self.flush(stream).await?;
            match next {
                Next::Read => {}
                Next::StartTls => return Ok(next),
                Next::Close => {
                    linger(stream).await;
                    return Ok(next);
                }
            }
            if self.read(stream).await? == 0 {
                return Ok(Next::Close);
            }
        }
    }

    /// Lets the protocol take what was read, and gets it the judgements it asks for.
    async fn take(&mut self) -> Next {
        loop {
            let (taken, event) = self.server.receive(&self.input);
            self.input.advance(taken);
            if taken > 0 {
                self.step_at = Instant::now();
            }
            match event {
                None => {
                    self.note_transaction();
                    self.hold();
                    return Next::Read;
                }
                Some(Event::StartTls) => return Next::StartTls,
                Some(Event::Closed) => return Next::Close,
                Some(Event::Login(credentials)) => self.log_in(credentials).await,
                Some(Event::Message(envelope, content)) => {
                    self.hand_in(envelope, content).await;
                    (self.step_at, self.transaction_at) = (Instant::now(), None);
                }
            }
        }
    }

    fn note_transaction(&mut self) {
        if !self.server.is_in_transaction() {
            self.transaction_at = None;
        } else if self.transaction_at.is_none() {
            self.transaction_at = Some(Instant::now());
        }
    }

    /// Accounts for the content held; what there is no room for is let go.
    fn hold(&mut self) {
        let held = self.server.held() as u64;
        if let Some(share) = &mut self.held
            && !share.set(held)
        {
            self.server.refuse_content();
            share.set(0);
        }
    }

    async fn log_in(&mut self, credentials: Credentials) {
        let limit = self.shared.options.timeouts.judgement;
        let verdict = self
            .shared
            .desk
            .ask(limit, |id| Request::Login(id, credentials))
            .await;
        let refusal = match verdict {
            Some(Verdict::Admitted(account)) => self.admit(account),
            Some(Verdict::Answered(answer)) => Some(answer),
            None => Some(Answer::new(
                "454 4.7.0 Logins cannot be checked now; come again later",
            )),
        };
        let counts = &self.shared.counts;
        let counter = match &refusal {
            None => &counts.logins,
            Some(_) => &counts.refused_logins,
        };
        Counts::add(counter, 1);
        self.server.login_judged(refusal.as_ref());
    }

    /// Lets in whom the operator trusts by its address; the limits are those of a login.
    fn trust(&mut self, account: Account) -> Option<Answer> {
        let refusal = self.admit(account);
        if refusal.is_none() {
            self.server.trust();
        }
        refusal
    }

    fn admit(&mut self, account: Account) -> Option<Answer> {
        let mut seat = self.shared.organizations.of(&account.org);
        if !seat.set(1) {
            return Some(Answer::new(
                "454 4.7.0 Too many connections of your organization",
            ));
        }
        self.held = Some(self.shared.octets.of(&account.org));
        (self.seat, self.account) = (Some(seat), Some(account));
        None
    }

    async fn hand_in(&mut self, envelope: Envelope, content: Bytes) {
        let size = content.len() as u64;
        let has_room = self
            .held
            .as_mut()
            .is_some_and(|share| share.set(content.len() as u64));
        let answer = match (&self.account, Head::read(&content)) {
            (_, _) if !has_room => {
                Answer::new("452 4.3.1 Too much mail is under way: send it again later")
            }
            (Some(account), Ok(head)) => {
                let account = account.clone();
                let message = Box::new(Message {
                    account,
                    origin: Origin {
                        name: self.server.client_name().to_owned(),
                        ip: self.peer,
                        protocol: self.server.protocol(envelope.is_smtputf8),
                    },
                    envelope,
                    head,
                });
                let limit = self.shared.options.timeouts.judgement;
                let desk = &self.shared.desk;
                match desk.ask(limit, |id| Request::Message(id, message)).await {
                    Some(Verdict::Answered(answer)) => answer,
                    _ => Answer::new("451 4.3.0 It may not have been kept: send it again later"),
                }
            }
            (_, Err(refusal)) => refusal,
            (None, _) => Answer::new("530 5.7.0 Say AUTH first; the password is an API key"),
        };
        if let Some(share) = &mut self.held {
            share.set(0);
        }
        self.shared.counts.judged(answer.as_str(), size);
        self.server.message_judged(&answer);
    }

    async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        let output = self.server.output().split();
        if output.is_empty() {
            return Ok(());
        }
        let writing = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        timeout(self.shared.options.timeouts.write, writing).await?
    }

    fn deadline(&self) -> Instant {
        let timeouts = &self.shared.options.timeouts;
        match self.transaction_at {
            _ if !self.server.is_authenticated() => self.began + timeouts.login,
            Some(began) => began + timeouts.transaction,
            None => self.step_at + timeouts.command,
        }
    }

    /// Octets read; 0 once the conversation is over, which the client is told where it was us.
    async fn read<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> io::Result<usize> {
        let room = if self.server.is_in_transaction() {
            READ_CONTENT
        } else {
            READ_COMMANDS
        };
        self.input.reserve(room);
        let deadline = self.deadline();
        let reason = tokio::select! {
            read = timeout_at(deadline, stream.read_buf(&mut self.input)) => match read {
                Ok(read) => return read,
                Err(_) => "421 4.4.2 Too slow; come again",
            },
            _ = self.closing.wait_for(|is_closing| *is_closing) => "421 4.3.2 Closing; come again later",
        };
        self.server.close(reason);
        self.flush(stream).await?;
        linger(stream).await;
        Ok(0)
    }
}

/// Ends our side and reads on for a moment.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let reading = async {
        stream.shutdown().await?;
        let mut waste = vec![0; 16 * 1024];
        let mut total = 0;
        while total < LINGER_BYTES {
            match stream.read(&mut waste).await? {
                0 => break,
                octets => total += octets,
            }
        }
        Ok::<(), io::Error>(())
    };
    // Whatever fails here concerns a conversation that is over.
    let _ = timeout(LINGER, reading).await;
}
