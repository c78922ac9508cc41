//! The header a relay puts in front of a connection (PROXY protocol, version 2, section 2.2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header; the address it names as the connection's source.
pub(super) async fn read_source<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<IpAddr> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol, version 2");
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    if head[..12] != SIGNATURE || head[12] != 0x21 {
        return Err(wrong());
    }
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
    stream.read_exact(&mut rest).await?;
    match head[13] {
        0x11 => {
            let octets: [u8; 4] = rest
                .get(..4)
                .and_then(|o| o.try_into().ok())
                .ok_or_else(wrong)?;
            Ok(Ipv4Addr::from(octets).into())
        }
        0x21 => {
            let octets: [u8; 16] = rest
                .get(..16)
                .and_then(|o| o.try_into().ok())
                .ok_or_else(wrong)?;
            Ok(Ipv6Addr::from(octets).into())
        }
        _ => Err(wrong()),
    }
}
