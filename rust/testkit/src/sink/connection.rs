//! Sockets around the sessions: one read, one write, all on one thread.

use super::session::{Next, Session};
use super::{SinkShared, TlsFault, proxy};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Read at once; several messages of a merged client fit.
const READ_BUFFER: usize = 128 * 1024;

/// How a conversation on a stream ended.
enum Ended {
    Closed,
    Reset,
    StartTls,
}

pub(super) async fn accept_all(listener: TcpListener, shared: Arc<SinkShared>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors: the next accept succeeds when a connection ends.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        shared.count_connection();
        tokio::spawn(serve(stream, peer.ip(), Arc::clone(&shared)));
    }
}

async fn serve(mut stream: TcpStream, peer: IpAddr, shared: Arc<SinkShared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let peer = if shared.options.proxy_protocol {
        proxy::read_source(&mut stream).await?
    } else {
        peer
    };
    let mut session = Session::new(Arc::clone(&shared), peer);
    let mut greeting = Vec::new();
    let first = session.greet(&mut greeting);
    let ended = converse(&mut stream, &mut session, (greeting, first)).await?;
    match (ended, &shared.tls) {
        (Ended::Reset, _) => reset(&stream),
        (Ended::StartTls, _) if shared.options.tls_fault.is_some() => {
            let fault = shared.options.tls_fault;
            // Unread octets would make the close a reset, which is another fault.
            let mut words = vec![0; READ_BUFFER];
            let _some = stream.read(&mut words).await?;
            stream
                .write_all(fault.map_or(&[], TlsFault::answer))
                .await?;
            stream.shutdown().await
        }
        (Ended::StartTls, Some(tls)) => {
            let mut stream = tls.acceptor.accept(stream).await?;
            session.encrypted();
            let ended = converse(&mut stream, &mut session, (Vec::new(), Next::Read)).await?;
            if matches!(ended, Ended::Reset) {
                return reset(stream.get_ref().0);
            }
            stream.shutdown().await
        }
        _ => stream.shutdown().await,
    }
}

/// Makes the close an RST.
fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO))
}

async fn converse<S>(
    stream: &mut S,
    session: &mut Session,
    (mut replies, mut next): (Vec<u8>, Next),
) -> io::Result<Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = vec![0; READ_BUFFER];
    let (mut start, mut end) = (0, 0);
    loop {
        session.flush_ledger()?;
        if !replies.is_empty() {
            session.mark_answered();
            let written = write(stream, &replies).await;
            session.replies_written(written.is_ok());
            written?;
            replies.clear();
        }
        match next {
            Next::Read => {
                // A session leaves at most a command line or four octets of content behind.
                buffer.copy_within(start..end, 0);
                (start, end) = (0, end - start);
                let read = stream.read(&mut buffer[end..]).await?;
                if read == 0 {
                    return Ok(Ended::Closed);
                }
                end += read;
            }
            Next::Wait(delay) => tokio::time::sleep(delay).await,
            Next::Close => return Ok(Ended::Closed),
            Next::Reset => return Ok(Ended::Reset),
            Next::StartTls => return Ok(Ended::StartTls),
        }
        let (taken, then) = session.process(&buffer[start..end], &mut replies);
        start += taken;
        next = then;
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, replies: &[u8]) -> io::Result<()> {
    stream.write_all(replies).await?;
    stream.flush().await
}
