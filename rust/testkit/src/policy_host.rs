//! An HTTPS server that answers every request alike, such as the host of an MTA-STS policy.
//!
//! **Model.** A thread, a connection at a time, the answer's octets as given: tests ask little, and
//! want answers no proper server would give.

use crate::require_loopback;
use crate::sink::{Certificate, server_config};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct PolicyHost {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<String>,
    requests: AtomicU64,
    is_stopping: AtomicBool,
}

impl PolicyHost {
    /// Starts on a loopback address; port 0 takes a free one. It serves `policy` as `text/plain`.
    ///
    /// # Errors
    /// An address that is not loopback or not free; a certificate that is none.
    pub fn start(address: SocketAddr, certificate: &Certificate, policy: &str) -> io::Result<Self> {
        require_loopback(address)?;
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.key.clone()));
        let chain = certificate.chain.iter().map(|der| der.clone().into());
        let config = Arc::new(server_config(chain.collect(), key)?);
        let shared = Arc::new(Shared {
            answer: Mutex::new(plain(policy)),
            requests: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let serve = move || {
            while let Ok((stream, _)) = listener.accept() {
                if of_thread.is_stopping.load(Relaxed) {
                    break;
                }
                // A client that gives up is what some tests want.
                let _ = answer(stream, &config, &of_thread);
            }
        };
        let thread = std::thread::Builder::new()
            .name("policy-host".into())
            .spawn(serve)?;
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that were read.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Relaxed)
    }

    /// Serves another policy from now on.
    pub fn replace_policy(&self, policy: &str) {
        self.replace_answer(&plain(policy));
    }

    /// Answers with these octets, status line included, from now on.
    pub fn replace_answer(&self, answer: &str) {
        answer.clone_into(
            &mut self
                .shared
                .answer
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Drop for PolicyHost {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Relaxed);
        // Wakes the thread; where nobody listens any more it has ended.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn plain(policy: &str) -> String {
    let length = policy.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{policy}"
    )
}

fn answer(
    stream: TcpStream,
    config: &Arc<rustls::ServerConfig>,
    shared: &Shared,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    shared.requests.fetch_add(1, Relaxed);
    let answer = shared
        .answer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
