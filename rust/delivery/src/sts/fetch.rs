//! Fetching a domain's MTA-STS policy (RFC 8461 section 3.3).
//!
//! **Model.** One GET to `mta-sts.` below the domain: a certificate the trusted roots vouch for,
//! status 200, `text/plain`, no redirect, at most 64 kilobytes, a minute in all.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use postalynk_dns::{POLICY_MAX, StsPolicy};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::EngineError;
use crate::tls::{ResultType, Roots};

/// All of it (section 3.3).
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_ADDRESSES: usize = 4;

/// Why there is no policy although the domain announces one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchError {
    pub(crate) result: ResultType,
    pub(crate) text: String,
}

/// The client; one TLS configuration for all fetches.
pub(crate) struct Fetcher {
    tls: TlsConnector,
    port: u16,
}

impl Fetcher {
    pub(crate) fn new(roots: Roots, port: u16) -> Result<Self, EngineError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| EngineError::Settings(format!("TLS: {error}")))?
            .with_root_certificates(roots.0)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            port,
        })
    }

    /// The policy of a domain whose policy host has these addresses.
    pub(crate) async fn fetch(&self, host: &str, ips: &[IpAddr]) -> Result<StsPolicy, FetchError> {
        let fetching = tokio::time::timeout(PATIENCE, self.text(host, ips));
        let text = match fetching.await {
            Ok(text) => text?,
            Err(_) => return Err(failed("no policy within a minute")),
        };
        StsPolicy::parse(&text).map_err(|error| FetchError {
            result: ResultType::StsPolicyInvalid,
            text: error.to_string(),
        })
    }

    async fn text(&self, host: &str, ips: &[IpAddr]) -> Result<String, FetchError> {
        let stream = self.connect(ips).await?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| failed("the policy host's name is none"))?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| FetchError {
                result: ResultType::StsWebpkiInvalid,
                text: error.to_string(),
            })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake
            .await
            .map_err(|error| failed(&error.to_string()))?;
        let request = Request::get("/.well-known/mta-sts.txt")
            .header(HOST, host)
            .header(USER_AGENT, concat!("postalynk/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(&error.to_string()))?;
        let asking = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|e| failed(&e.to_string()))?;
            if response.status() != StatusCode::OK {
                return Err(failed(&format!("status {}", response.status().as_u16())));
            }
            let media_type = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|v| v.to_str().ok());
            let media_type = media_type
                .unwrap_or_default()
                .split(';')
                .next()
                .unwrap_or_default();
            if !media_type.trim().eq_ignore_ascii_case("text/plain") {
                return Err(failed("the policy is not text/plain"));
            }
            let body = Limited::new(response.into_body(), POLICY_MAX)
                .collect()
                .await;
            let body = body.map_err(|error| failed(&error.to_string()))?.to_bytes();
            String::from_utf8(body.into()).map_err(|_| failed("the policy is no text"))
        };
        drive(connection, asking).await
    }

    async fn connect(&self, ips: &[IpAddr]) -> Result<TcpStream, FetchError> {
        let mut last = failed("the policy host has no address");
        for ip in ips.iter().take(MOST_ADDRESSES) {
            match TcpStream::connect(SocketAddr::new(*ip, self.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = failed(&error.to_string()),
            }
        }
        Err(last)
    }
}

/// The answer, while the connection is driven beside the asking.
async fn drive<T>(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    asking: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    let (mut connection, mut asking) = (std::pin::pin!(connection), std::pin::pin!(asking));
    tokio::select! {
        answer = &mut asking => return answer,
        ended = &mut connection => if let Err(error) = ended {
            return Err(failed(&error.to_string()));
        },
    }
    // The host closed after its answer: what it sent is still to be read.
    asking.await
}

fn failed(text: &str) -> FetchError {
    FetchError {
        result: ResultType::StsPolicyFetchError,
        text: text.to_owned(),
    }
}
