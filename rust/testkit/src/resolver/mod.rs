//! A DNS server that answers from a static zone, over UDP and TCP.
//!
//! **Model.** Two blocking threads, one a transport: tests ask little. What is answered is a pure
//! function of [`Zone`] and question, see `zone`.
//! **Not here.** Zone transfers, EDNS beyond its payload size.

mod signing;
mod zone;

pub use zone::{Answer, Zone, ZoneError};

use crate::require_loopback;
use hickory_proto::op::Message;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a thread looks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(20);
/// What fits a UDP answer to a client without EDNS (RFC 1035, 4.2.1).
const PLAIN_UDP: usize = 512;

/// A running DNS server. Dropping it stops it.
#[derive(Debug)]
pub struct Resolver {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    zone: Mutex<Zone>,
    questions: AtomicU64,
    is_stopping: AtomicBool,
}

impl Resolver {
    /// Starts a server for UDP and TCP on one port; port 0 takes a free one.
    ///
    /// # Errors
    /// An address that is not loopback or not free.
    pub fn start(address: SocketAddr, zone: Zone) -> io::Result<Self> {
        require_loopback(address)?;
        let (udp, tcp) = bind_both(address)?;
        udp.set_read_timeout(Some(STOP_CHECK))?;
        tcp.set_nonblocking(true)?;
        let address = udp.local_addr()?;
        let shared = Arc::new(Shared {
            zone: Mutex::new(zone),
            questions: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
        });
        let (of_udp, of_tcp) = (Arc::clone(&shared), Arc::clone(&shared));
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        let threads = vec![
            named("dns-udp").spawn(move || serve_udp(&udp, &of_udp))?,
            named("dns-tcp").spawn(move || serve_tcp(&tcp, &of_tcp))?,
        ];
        Ok(Self {
            address,
            shared,
            threads,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Questions that arrived so far, the silently dropped ones included.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.shared.questions.load(Relaxed)
    }

    /// Answers from another zone from now on.
    pub fn replace_zone(&self, zone: Zone) {
        *self
            .shared
            .zone
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = zone;
    }

    /// Stops both threads and waits for them.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.is_stopping.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// The answer's octets; `None` where the zone is silent or the question is no DNS.
    fn answer(&self, question: &[u8]) -> Option<Message> {
        let question = Message::from_vec(question).ok()?;
        self.questions.fetch_add(1, Relaxed);
        self.zone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .respond(&question)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }
}

/// A free UDP port may be taken for TCP by another process: try a few.
fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if address.port() == 0 { 20 } else { 1 };
    loop {
        let udp = UdpSocket::bind(address)?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if tries == 1 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 4096];
    while !shared.is_stopping() {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let question = &buffer[..length];
        let Some(answer) = shared.answer(question) else {
            continue;
        };
        let payload = answer
            .edns
            .as_ref()
            .map_or(PLAIN_UDP, |edns| usize::from(edns.max_payload()));
        let octets = match answer.to_vec() {
            Ok(octets) if octets.len() > payload => answer.truncate().to_vec(),
            other => other,
        };
        if let Ok(octets) = octets {
            // The client is gone: nothing to tell anyone.
            let _ = socket.send_to(&octets, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.is_stopping() {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                // Ends with the client or at its read timeout.
                std::thread::spawn(move || serve_stream(stream, &shared));
            }
            Err(_) => std::thread::sleep(STOP_CHECK),
        }
    }
}

fn serve_stream(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        let Some(answer) = shared.answer(&question) else {
            continue;
        };
        let octets = answer.to_vec().map_err(io::Error::other)?;
        let length = u16::try_from(octets.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &octets].concat())?;
    }
}
