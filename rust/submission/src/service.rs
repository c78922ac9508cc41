//! The listeners and their thread.

use crate::certificate::Certificate;
use crate::connection;
use crate::counts::Counts;
use crate::desk::{Account, Desk, Request, Verdict};
use crate::error::Error;
use crate::options::Options;
use crate::shares::Shares;
use crate::trusted::TrustedNetworks;
use parking_lot::Mutex;
use postalynk_smtp::EhloName;
use postalynk_smtp::server::{self, Answer, Limits};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    certificate: Option<Certificate>,
    pub(crate) trusted: TrustedNetworks,
    pub(crate) counts: Counts,
    pub(crate) desk: Desk,
    /// Per client address.
    pub(crate) connections: Arc<Shares>,
    /// Connections per organization.
    pub(crate) organizations: Arc<Shares>,
    /// Octets held per organization.
    pub(crate) octets: Arc<Shares>,
    pub(crate) closing: watch::Sender<bool>,
    strict: Arc<server::Options>,
    /// For clients on loopback, whose octets cross no network.
    lenient: Arc<server::Options>,
}

impl Shared {
    fn new(options: Options) -> Result<Self, Error> {
        let host = EhloName::new(&options.host)
            .map_err(|error| Error::Host(options.host.clone(), error))?;
        let certificate = match &options.certificate {
            Some((chain, key)) => Some(Certificate::load(chain, key)?),
            None => None,
        };
        let strict = server::Options {
            host,
            limits: Limits {
                max_message_bytes: options.max_message_bytes,
                ..Limits::default()
            },
            offers_tls: certificate.is_some(),
            requires_tls: options.requires_tls,
        };
        Ok(Self {
            certificate,
            trusted: TrustedNetworks::new(options.trusted.clone()),
            counts: Counts::default(),
            desk: Desk::default(),
            connections: Shares::new(options.max_connections),
            organizations: Shares::capped(options.max_connections, options.max_connections_per_org),
            octets: Shares::new(options.max_held_bytes),
            closing: watch::Sender::new(false),
            lenient: Arc::new(server::Options {
                requires_tls: false,
                ..strict.clone()
            }),
            strict: Arc::new(strict),
            options,
        })
    }

    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.certificate.as_ref().map(Certificate::acceptor)
    }

    fn refresh_certificate(&self) {
        match self.certificate.as_ref().and_then(Certificate::refresh) {
            None => {}
            Some(Ok(())) => Counts::add(&self.counts.certificate_loads, 1),
            Some(Err(_)) => Counts::add(&self.counts.certificate_failures, 1),
        }
    }

    pub(crate) fn protocol(&self, peer: SocketAddr) -> Arc<server::Options> {
        let is_local = peer.ip().to_canonical().is_loopback();
        Arc::clone(if is_local {
            &self.lenient
        } else {
            &self.strict
        })
    }
}

/// Submission: bound, then open, then closed.
pub struct Submission {
    shared: Arc<Shared>,
    /// Each with whether TLS begins at once; taken when the thread starts.
    bound: Mutex<Vec<(TcpListener, bool)>>,
    addresses: Vec<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Submission {
    /// Takes the addresses; nobody is served before [`Submission::open`].
    ///
    /// # Errors
    /// [`Error`]: an address is taken, a file is wrong, or keys would travel in the clear.
    pub fn bind(options: Options) -> Result<Self, Error> {
        let shared = Shared::new(options)?;
        let options = &shared.options;
        let plain = options.listen.iter().map(|address| (*address, false));
        let implicit = options.listen_tls.iter().map(|address| (*address, true));
        let (mut bound, mut addresses) = (Vec::new(), Vec::new());
        for (address, begins_with_tls) in plain.chain(implicit) {
            let needs_tls =
                begins_with_tls || (options.requires_tls && !address.ip().is_loopback());
            if needs_tls && shared.certificate.is_none() {
                return Err(Error::NoCertificate { address });
            }
            let listener = listen(address).map_err(|cause| Error::Bind { address, cause })?;
            addresses.push(listener.1);
            bound.push((listener.0, begins_with_tls));
        }
        Ok(Self {
            shared: Arc::new(shared),
            bound: Mutex::new(bound),
            addresses,
            thread: Mutex::new(None),
        })
    }

    /// The addresses, in the order of the options; a port of 0 is replaced by the real one.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves from now on; once.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn open(&self) -> Result<(), Error> {
        let listeners = std::mem::take(&mut *self.bound.lock());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
        let listeners = {
            let _entered = runtime.enter();
            let listener = |(listener, begins_with_tls)| {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                Ok((listener, begins_with_tls))
            };
            let listeners: std::io::Result<Vec<_>> = listeners.into_iter().map(listener).collect();
            listeners.map_err(Error::Thread)?
        };
        let shared = Arc::clone(&self.shared);
        let thread = Builder::new()
            .name("submission".to_owned())
            .spawn(move || run(&runtime, listeners, &shared))
            .map_err(Error::Thread)?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Everything that waits to be judged, at most `max`; blocks until there is something or the
    /// time is over. `None` once submission is closed and all was taken.
    pub fn requests(&self, max: usize, timeout: Duration) -> Option<Vec<Request>> {
        self.shared.desk.take(max, timeout)
    }

    /// Lets the client of a login in.
    pub fn admit(&self, id: u64, account: Account) {
        self.shared.desk.judge([(id, Verdict::Admitted(account))]);
    }

    /// Answers messages, or refuses logins: `CODE E.N.H words` to each.
    pub fn answer(&self, answers: impl IntoIterator<Item = (u64, impl AsRef<str>)>) {
        let verdicts = answers
            .into_iter()
            .map(|(id, text)| (id, Verdict::Answered(Answer::new(text.as_ref()))));
        self.shared.desk.judge(verdicts);
    }

    /// What was counted, as Prometheus text (format 0.0.4).
    #[must_use]
    pub fn metrics(&self) -> String {
        let open = self.shared.connections.sum();
        self.shared.counts.exposition(open)
    }

    /// Takes no more connections, tells idle clients, waits for the answers to messages under way
    /// (which somebody must go on giving), then ends [`Submission::requests`].
    pub fn close(&self) {
        self.bound.lock().clear();
        self.shared.closing.send_replace(true);
        if let Some(thread) = self.thread.lock().take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
        self.shared.desk.close();
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        self.close();
    }
}

fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

type Listeners = Vec<(tokio::net::TcpListener, bool)>;

fn run(runtime: &Runtime, listeners: Listeners, shared: &Arc<Shared>) {
    runtime.block_on(async {
        for (listener, begins_with_tls) in listeners {
            tokio::spawn(accept(listener, begins_with_tls, Arc::clone(shared)));
        }
        let dealing = Arc::clone(shared);
        tokio::spawn(async move { dealing.desk.deal().await });
        let refreshing = Arc::clone(shared);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(refreshing.options.timeouts.certificate).await;
                refreshing.refresh_certificate();
            }
        });
        let mut closing = shared.closing.subscribe();
        // The sender lives in `shared`, so waiting cannot fail.
        let _ = closing.wait_for(|is_closing| *is_closing).await;
        let last = tokio::time::Instant::now() + shared.options.timeouts.closing;
        while !shared.connections.is_untouched() && tokio::time::Instant::now() < last {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

async fn accept(listener: tokio::net::TcpListener, begins_with_tls: bool, shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|is_closing| *is_closing) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection::serve(
                    stream,
                    peer,
                    begins_with_tls,
                    Arc::clone(&shared),
                ));
            }
            // Out of descriptors: the next one succeeds when a connection ends.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
