//! A proxy that puts distance between two programs.
//!
//! **Model.** What comes from either side leaves on the other half a round trip later, in order and
//! as fast as it came: a long line, not a thin one. A side that closes is closed on the other after
//! the same time. **Bounds.** [`MOST_ON_THE_WAY`] octets each way; then the sender is not read, as
//! a full window would have it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::require_loopback;

/// What a line of 1 Gbit/s and 250 ms holds, about.
const MOST_ON_THE_WAY: usize = 32 * 1024 * 1024;
const READ: usize = 64 * 1024;

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct DelayProxy {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DelayProxy {
    /// Listens on a loopback address (port 0: a free one) and leads to `target`, `round_trip` away.
    ///
    /// # Errors
    /// An address that is not loopback or not free.
    pub fn start(
        address: SocketAddr,
        target: SocketAddr,
        round_trip: Duration,
    ) -> io::Result<Self> {
        require_loopback(address)?;
        require_loopback(target)?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let connections = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&connections);
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                tokio::spawn(accept(listener, target, round_trip / 2, counted));
                // A dropped sender stops the proxy as well.
                let _ = stopped.await;
            });
        };
        let thread = std::thread::Builder::new()
            .name("delay".into())
            .spawn(run)?;
        Ok(Self {
            address,
            connections,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections led so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }
}

impl Drop for DelayProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    one_way: Duration,
    connections: Arc<AtomicU64>,
) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        connections.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            // The handshake of TCP takes a round trip before either side can speak.
            tokio::time::sleep(2 * one_way).await;
            if let Ok(far) = TcpStream::connect(target).await {
                lead(near, far, one_way).await;
            }
        });
    }
}

async fn lead(near: TcpStream, far: TcpStream, one_way: Duration) {
    // Nothing is held back but by us.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(
        carry(near_in, far_out, one_way),
        carry(far_in, near_out, one_way)
    );
}

type OnTheWay = Arc<tokio::sync::Mutex<VecDeque<(Instant, Vec<u8>)>>>;

/// One direction: a reader that stamps, and a writer that waits.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration) {
    let queue = OnTheWay::default();
    let (room, filled) = (Semaphore::new(MOST_ON_THE_WAY), Semaphore::new(0));
    let reading = async {
        loop {
            let mut block = vec![0; READ];
            let octets = from.read(&mut block).await.unwrap_or(0);
            block.truncate(octets);
            if let Ok(permit) = room.acquire_many(octets as u32).await {
                permit.forget();
            }
            queue
                .lock()
                .await
                .push_back((Instant::now() + one_way, block));
            filled.add_permits(1);
            if octets == 0 {
                break;
            }
        }
    };
    let writing = async {
        while let Ok(permit) = filled.acquire().await {
            permit.forget();
            let Some((at, block)) = queue.lock().await.pop_front() else {
                break;
            };
            tokio::time::sleep_until(at).await;
            if block.is_empty() || to.write_all(&block).await.is_err() {
                break;
            }
            room.add_permits(block.len());
        }
        // The other side may have gone already.
        let _ = to.shutdown().await;
    };
    tokio::select! {
        // When the writer ends, nobody needs what the reader reads.
        () = async { tokio::join!(reading, std::future::pending::<()>()); } => {}
        () = writing => {}
    }
}
