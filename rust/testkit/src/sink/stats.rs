//! The counts over HTTP, for harnesses in other languages: `GET /` and `GET /received`.

use super::SinkShared;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Far more than a request line and the headers of any client.
const MOST_REQUEST: usize = 16 * 1024;

pub(super) async fn serve(listener: TcpListener, shared: Arc<SinkShared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&shared)));
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<SinkShared>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 || request.len() > MOST_REQUEST {
            return Ok(());
        }
    }
    let body = if request.starts_with(b"GET /received ") {
        serde_json::to_string(&shared.lock_ledger().records())
    } else {
        serde_json::to_string(&shared.counts())
    }
    .map_err(io::Error::other)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
