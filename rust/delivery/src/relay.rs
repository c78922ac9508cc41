//! Egress relays: another machine's address to send from.
//!
//! **Problem.** A source's address need not be on the machine that runs the engine.
//! **Model.** A source may name a relay. A SOCKS5 proxy (RFC 1928, RFC 1929 for its password) is
//! asked to connect to the receiver and sends from its own address. A relay that takes the PROXY
//! protocol, version 2 (as HAProxy with `accept-proxy` and a transparent server), is told by a
//! header in front of the conversation to whom it goes and which address it should come from: the
//! source's. Everything after that is the receiver's conversation, TLS included.
//! **Invariants.** A relay's password is in no log and no attempt. The engine itself never connects
//! to a receiver past a relay that is named.
//! **Source.** "The PROXY protocol", versions 1 & 2, section 2.2.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Relay {
    kind: Kind,
    /// A name or an address.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Socks5 { login: Option<(Box<str>, Box<str>)> },
    ProxyV2,
}

/// The port of SOCKS (IANA).
const SOCKS_PORT: u16 = 1080;

impl Relay {
    /// Reads `socks5://[user:password@]host[:port]` or `proxy2://host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form = "write socks5://[user:password@]host[:port] or proxy2://host:port";
        let (scheme, rest) = text.split_once("://").ok_or(form)?;
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let (host, port) = split(place).ok_or(form)?;
        let kind = match (scheme, login) {
            ("socks5", None) => Kind::Socks5 { login: None },
            ("socks5", Some(login)) => Kind::Socks5 {
                login: Some(read_login(login)?),
            },
            ("proxy2", None) => Kind::ProxyV2,
            _ => return Err(form.to_owned()),
        };
        let port = match (port, &kind) {
            (Some(port), _) => port,
            (None, Kind::Socks5 { .. }) => SOCKS_PORT,
            (None, Kind::ProxyV2) => return Err(form.to_owned()),
        };
        Ok(Self {
            kind,
            host: host.into(),
            port,
        })
    }

    /// Whether the source's address must be known: the relay is told it.
    pub(crate) fn needs_source_address(&self) -> bool {
        matches!(self.kind, Kind::ProxyV2)
    }

    /// Has the relay's connection lead to the receiver.
    ///
    /// # Errors
    /// What the relay answered, or the connection's trouble.
    pub(crate) async fn lead<S>(
        &self,
        stream: &mut S,
        from: Option<IpAddr>,
        to: SocketAddr,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match &self.kind {
            Kind::Socks5 { login } => socks5(stream, login.as_ref(), to).await,
            Kind::ProxyV2 => stream.write_all(&proxy_header(from, to)).await,
        }
    }
}

/// As it is shown and recorded: without the login.
impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Socks5 { .. } => "socks5",
            Kind::ProxyV2 => "proxy2",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Host and, if there is one, port.
fn split(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        (host, port.strip_prefix(':'))
    } else {
        match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_');
    let port = port.map(str::parse).transpose().ok()?;
    (!host.is_empty() && host.bytes().all(is_host) && port != Some(0)).then_some((host, port))
}

/// Both parts have 1 to 255 octets (RFC 1929).
fn read_login(text: &str) -> Result<(Box<str>, Box<str>), String> {
    let (user, password) = text.split_once(':').ok_or("the login is user:password")?;
    let part = |text: &str| -> Result<Box<str>, String> {
        let decoded = unescape(text).ok_or("the login has a wrong %-escape")?;
        if (1..=255).contains(&decoded.len()) {
            Ok(decoded.into())
        } else {
            Err("user and password have 1 to 255 octets each".to_owned())
        }
    };
    Ok((part(user)?, part(password)?))
}

/// Undoes the %-escapes of a URL (RFC 3986, 2.1).
fn unescape(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let code = tail
                .get(..2)
                .and_then(|hex| std::str::from_utf8(hex).ok())?;
            octets.push(u8::from_str_radix(code, 16).ok()?);
            rest = &tail[2..];
        } else {
            octets.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(octets).ok()
}

async fn socks5<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    login: Option<&(Box<str>, Box<str>)>,
    to: SocketAddr,
) -> io::Result<()> {
    const NO_LOGIN: u8 = 0;
    const PASSWORD: u8 = 2;
    let method = if login.is_some() { PASSWORD } else { NO_LOGIN };
    stream.write_all(&[5, 1, method]).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    if answer != [5, method] {
        return Err(refused("offers no way to log in that we have"));
    }
    if let Some((user, password)) = login {
        let mut request = vec![1];
        for part in [user, password] {
            // Checked when it was read: at most 255 octets.
            request.push(part.len() as u8);
            request.extend_from_slice(part.as_bytes());
        }
        stream.write_all(&request).await?;
        stream.read_exact(&mut answer).await?;
        if answer[1] != 0 {
            return Err(refused("refuses our login"));
        }
    }
    let mut request = vec![5, 1, 0];
    match to.ip() {
        IpAddr::V4(ip) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
    }
    request.extend_from_slice(&to.port().to_be_bytes());
    stream.write_all(&request).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    if head[0] != 5 || head[1] != 0 {
        return Err(refused(socks5_reason(head[1])));
    }
    let rest = match head[3] {
        1 => 4 + 2,
        4 => 16 + 2,
        3 => usize::from(stream.read_u8().await?) + 2,
        _ => return Err(refused("answers in no SOCKS5 we know")),
    };
    // The address it bound is its own affair.
    let mut bound = vec![0; rest];
    stream.read_exact(&mut bound).await.map(drop)
}

fn refused(reason: &str) -> io::Error {
    io::Error::other(format!("the relay {reason}"))
}

/// RFC 1928, section 6.
fn socks5_reason(code: u8) -> &'static str {
    match code {
        1 => "failed",
        2 => "does not allow the connection",
        3 => "cannot reach the network",
        4 => "cannot reach the host",
        5 => "was refused by the receiver",
        6 => "gave up: TTL expired",
        7 => "knows no CONNECT",
        8 => "knows no such address",
        _ => "failed in its own way",
    }
}

const PROXY_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY_COMMAND: u8 = 0x21;

/// The header of a TCP connection. Without a source address, the unspecified one: the relay chooses.
fn proxy_header(from: Option<IpAddr>, to: SocketAddr) -> Vec<u8> {
    let mut header = PROXY_SIGNATURE.to_vec();
    header.push(PROXY_COMMAND);
    match (from, to.ip()) {
        (from, IpAddr::V4(to_ip)) => {
            let from_ip = match from {
                Some(IpAddr::V4(ip)) => ip,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            header.extend_from_slice(&[0x11, 0, 12]);
            header.extend_from_slice(&from_ip.octets());
            header.extend_from_slice(&to_ip.octets());
        }
        (from, IpAddr::V6(to_ip)) => {
            let from_ip = match from {
                Some(IpAddr::V6(ip)) => ip,
                _ => Ipv6Addr::UNSPECIFIED,
            };
            header.extend_from_slice(&[0x21, 0, 36]);
            header.extend_from_slice(&from_ip.octets());
            header.extend_from_slice(&to_ip.octets());
        }
    }
    // Port 0 of the source: the relay takes any.
    header.extend_from_slice(&[0, 0]);
    header.extend_from_slice(&to.port().to_be_bytes());
    header
}

/// Connects to the relay and has it lead to the receiver.
///
/// # Errors
/// Of several addresses of the relay, the last one's trouble.
pub(crate) async fn connect(
    relay: &Relay,
    addresses: &[IpAddr],
    from: Option<IpAddr>,
    to: SocketAddr,
) -> io::Result<TcpStream> {
    let mut last = refused("has no address");
    for ip in addresses {
        match TcpStream::connect(SocketAddr::new(*ip, relay.port)).await {
            Ok(mut stream) => {
                stream.set_nodelay(true)?;
                relay.lead(&mut stream, from, to).await?;
                return Ok(stream);
            }
            Err(error) => last = io::Error::new(error.kind(), format!("the relay: {error}")),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_shown_has_no_login() {
        let relay = Relay::parse("socks5://me:p%40ss@[2001:db8::1]:9").expect("valid");
        assert_eq!(relay.to_string(), "socks5://[2001:db8::1]:9");
        assert!(!format!("{relay:?}").contains("p@ss"));
        let Kind::Socks5 { login: Some(login) } = &relay.kind else {
            panic!("{relay}");
        };
        assert_eq!((&*login.0, &*login.1), ("me", "p@ss"));
        let relay = Relay::parse("socks5://relay.example").expect("valid");
        assert_eq!((relay.port, relay.needs_source_address()), (1080, false));
        assert!(Relay::parse("proxy2://192.0.2.1:5000").is_ok_and(|r| r.needs_source_address()));
    }

    #[test]
    fn what_is_no_relay_is_refused() {
        for text in [
            "",
            "socks5",
            "socks5://",
            "socks5://:1080",
            "socks4://h:1",
            "proxy2://h",
            "proxy2://u:p@h:1",
            "socks5://u@h:1",
            "socks5://u:%zz@h:1",
            "socks5://h:0",
            "socks5://h:65536",
            "socks5://a b:1",
            "socks5://[1.2.3.4]:1",
            "socks5://h/x:1",
        ] {
            assert!(Relay::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_is_laid_out_as_the_specification_says() {
        let from = Some("192.0.2.1".parse().expect("an address"));
        let to = "198.51.100.2:25".parse().expect("an address");
        let header = proxy_header(from, to);
        assert_eq!(header[..12], PROXY_SIGNATURE);
        let rest = [
            0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0, 0, 0, 25,
        ];
        assert_eq!(header[12..], rest);
        let header = proxy_header(None, "[2001:db8::2]:25".parse().expect("an address"));
        assert_eq!((header.len(), header[13], header[15]), (52, 0x21, 36));
    }

    proptest! {
        /// Law `relay_never_panics`: any text is a relay or an error, and a relay reads back.
        #[test]
        fn law_relay_never_panics(text in "(socks5://|proxy2://)?.{0,40}") {
            if let Ok(relay) = Relay::parse(&text) {
                let again = Relay::parse(&relay.to_string()).expect("what is shown can be read");
                prop_assert_eq!((again.host, again.port), (relay.host, relay.port));
            }
        }
    }
}
