//! The SMTP receiver.
//!
//! **Model.** One thread, one event loop, every connection a task of it. `session` is the
//! protocol and owns no socket; `connection` moves bytes; `ledger` remembers.
//! **Invariant.** One write per read: all replies to what one read brought leave together.

mod connection;
mod ledger;
mod login;
mod proxy;
mod said;
mod session;
mod stats;
mod syntax;
mod tls;

pub use ledger::Received;
pub(crate) use tls::server_config;
pub use tls::{Certificate, TlsFault};

use crate::personality::Personalities;
use crate::require_loopback;
use crate::script::{Action, Script, Step};
use ledger::Ledger;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How a sink behaves.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// Offer PIPELINING.
    pub pipelining: bool,
    /// Offer 8BITMIME and SMTPUTF8.
    pub eight_bit: bool,
    /// Offer CHUNKING.
    pub chunking: bool,
    /// Offer STARTTLS with a certificate made on the spot.
    pub starttls: bool,
    /// Take only connections that begin with a PROXY header, version 2.
    pub proxy_protocol: bool,
    /// Offer STARTTLS with this one instead.
    pub certificate: Option<Certificate>,
    /// What goes wrong after the 220 to STARTTLS.
    pub tls_fault: Option<TlsFault>,
    /// User and password without which MAIL is refused; AUTH PLAIN and LOGIN are offered then.
    pub login: Option<(String, String)>,
    /// Further lines of the answer to EHLO, such as `LIMITS RCPTMAX=2`; nothing is done about them.
    pub extensions: Vec<String>,
    /// The SIZE offered and enforced, in octets.
    pub size_limit_bytes: u64,
    /// Play [personalities](crate::personality).
    pub personalities: bool,
    /// How long `slow…@` waits.
    pub slow: Duration,
    /// Rules, asked before the personalities.
    pub script: Script,
    /// Count messages and nothing else: no ledger, script or personalities.
    pub count_only: bool,
    /// The most messages remembered.
    pub most_remembered: usize,
    /// Append a line a message taken: Message-ID, TAB, recipient, TAB, recipient …
    pub ledger: Option<PathBuf>,
    /// Keep each message taken as a numbered `.eml` file here.
    pub store: Option<PathBuf>,
    /// Answer `GET /` with the counts and `GET /received` with the records, as JSON.
    pub stats_listen: Option<SocketAddr>,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            pipelining: true,
            eight_bit: true,
            chunking: false,
            starttls: false,
            proxy_protocol: false,
            certificate: None,
            tls_fault: None,
            login: None,
            extensions: Vec::new(),
            size_limit_bytes: 50 * 1024 * 1024,
            personalities: true,
            slow: Duration::from_secs(2),
            script: Script::new(),
            count_only: false,
            most_remembered: 100_000,
            ledger: None,
            store: None,
            stats_listen: None,
        }
    }
}

impl SinkOptions {
    fn has_tls(&self) -> bool {
        self.starttls || self.certificate.is_some()
    }

    fn say_extensions(&self, is_encrypted: bool, replies: &mut Vec<u8>) {
        let offered = [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit, "8BITMIME"),
            (self.eight_bit, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.has_tls() && !is_encrypted, "STARTTLS"),
            (self.login.is_some(), "AUTH LOGIN PLAIN"),
        ];
        replies.extend_from_slice(b"250-sink.test\r\n");
        for (_, keyword) in offered.iter().filter(|(is_offered, _)| *is_offered) {
            replies.extend_from_slice(format!("250-{keyword}\r\n").as_bytes());
        }
        for line in &self.extensions {
            replies.extend_from_slice(format!("250-{line}\r\n").as_bytes());
        }
        let size = self.size_limit_bytes;
        replies.extend_from_slice(
            format!("250-SIZE {size}\r\n250 ENHANCEDSTATUSCODES\r\n").as_bytes(),
        );
    }
}

/// What a sink has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Messages taken: the final dot came and the reply was, or would have been, positive.
    pub messages: u64,
    /// Messages refused at the final dot.
    pub refused: u64,
    /// Connections accepted.
    pub connections: u64,
}

/// A running SMTP receiver. Dropping it stops it.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    stats_address: Option<SocketAddr>,
    shared: Arc<SinkShared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Starts a sink on its own thread. Port 0 takes a free one, see [`Self::address`].
    ///
    /// # Errors
    /// An address that is not loopback or not free; a ledger or store that cannot be opened.
    pub fn start(address: SocketAddr, options: SinkOptions) -> io::Result<Self> {
        let listener = listen(address)?;
        let stats = options.stats_listen.map(listen).transpose()?;
        let shared = Arc::new(SinkShared::new(options)?);
        let sink_address = listener.local_addr()?;
        let stats_address = stats
            .as_ref()
            .map(std::net::TcpListener::local_addr)
            .transpose()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let of_thread = Arc::clone(&shared);
        let run = move || {
            runtime.block_on(async {
                let (Ok(listener), Ok(stats)) = (
                    tokio::net::TcpListener::from_std(listener),
                    stats.map(tokio::net::TcpListener::from_std).transpose(),
                ) else {
                    return;
                };
                if let Some(stats) = stats {
                    tokio::spawn(stats::serve(stats, Arc::clone(&of_thread)));
                }
                tokio::spawn(connection::accept_all(listener, of_thread));
                // A dropped sender stops the sink as well.
                let _ = stopped.await;
            });
        };
        let thread = std::thread::Builder::new().name("sink".into()).spawn(run)?;
        Ok(Self {
            address: sink_address,
            stats_address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers with its counts, when asked to.
    #[must_use]
    pub fn stats_address(&self) -> Option<SocketAddr> {
        self.stats_address
    }

    /// The certificate of STARTTLS in DER, for `sink.test` and `localhost`.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.shared
            .tls
            .as_ref()
            .map(|tls| tls.certificate.as_slice())
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// The latest messages, oldest first; at most [`SinkOptions::most_remembered`].
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock_ledger().records()
    }

    /// Waits until this many messages were taken; false when the time is over first.
    #[must_use]
    pub fn wait_for(&self, messages: u64, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        while self.counts().messages < messages {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Closes every connection and waits for the thread to end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    require_loopback(address)?;
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What all sessions of a sink share.
pub(crate) struct SinkShared {
    options: SinkOptions,
    is_scripted: bool,
    keeps_content: bool,
    tls: Option<tls::Tls>,
    script: Mutex<Script>,
    personalities: Mutex<Personalities>,
    ledger: Mutex<Ledger>,
    messages: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
}

impl std::fmt::Debug for SinkShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkShared")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl SinkShared {
    fn new(options: SinkOptions) -> io::Result<Self> {
        let (file, store) = (options.ledger.as_deref(), options.store.as_deref());
        let ledger = Ledger::open(options.most_remembered.max(1), file, store)?;
        Ok(Self {
            is_scripted: !options.script.is_empty(),
            keeps_content: ledger.keeps_content(),
            tls: match &options.certificate {
                Some(certificate) => Some(tls::of(certificate)?),
                None => options.starttls.then(tls::make).transpose()?,
            },
            script: Mutex::new(options.script.clone()),
            personalities: Mutex::default(),
            ledger: Mutex::new(ledger),
            messages: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            options,
        })
    }

    fn counts(&self) -> Counts {
        Counts {
            messages: self.messages.load(Relaxed),
            refused: self.refused.load(Relaxed),
            connections: self.connections.load(Relaxed),
        }
    }

    fn count_message(&self, was_taken: bool) {
        if was_taken {
            &self.messages
        } else {
            &self.refused
        }
        .fetch_add(1, Relaxed);
    }

    fn count_connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    // Nothing panics while it holds one of these locks, so a poisoned one is still whole.
    fn lock_ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, received: Received, was_taken: bool, content: &[u8]) -> io::Result<u64> {
        self.lock_ledger().record(received, was_taken, content)
    }

    /// What the personality of a recipient does at a step; `argument` is the recipient at RCPT and
    /// the Message-ID at the final dot.
    fn personality(
        &self,
        step: Step,
        reverse_path: Option<&str>,
        recipients: &[String],
        argument: &str,
    ) -> Option<Action> {
        let mut memory = self
            .personalities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::Rcpt => memory.at_rcpt(
                reverse_path.unwrap_or_default(),
                argument,
                self.options.slow,
            ),
            Step::Data => Personalities::at_data(recipients),
            Step::FinalDot => memory.at_final_dot(argument, recipients, self.options.slow),
            _ => None,
        }
    }
}
