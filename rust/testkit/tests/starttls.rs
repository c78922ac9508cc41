//! STARTTLS, with the client core on both sides of it.

use postalynk_smtp::{Client, Config, EhloName, Event, StartTls};
use postalynk_testkit::{Sink, SinkOptions};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// Moves bytes until the client has something to tell.
fn next_event(client: &mut Client, stream: &mut (impl Read + Write)) -> Event {
    loop {
        if let Some(event) = client.next_event() {
            return event;
        }
        if client.has_output() {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = client.fill(&mut slices);
            let octets: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            stream.write_all(&octets).expect("the sink reads");
            stream.flush().expect("the sink reads");
            client.wrote(octets.len());
        }
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).expect("the sink answers");
        client.receive(&buffer[..read]);
    }
}

#[test]
fn the_session_goes_on_encrypted() {
    let options = SinkOptions {
        starttls: true,
        ..SinkOptions::default()
    };
    let sink = Sink::start("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(sink.certificate().unwrap().to_vec()))
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let ehlo_name = EhloName::new("client.test").unwrap();
    let mut client = Client::new(Config {
        ehlo_name,
        starttls: StartTls::Required,
        login: None,
        chunk_window: 1,
    });
    let mut plain = TcpStream::connect(sink.address()).unwrap();
    assert_eq!(next_event(&mut client, &mut plain), Event::StartTls);

    let name = ServerName::try_from("sink.test").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(tls), name).unwrap(), plain);
    client.tls_established();
    let event = next_event(&mut client, &mut stream);
    assert!(matches!(event, Event::Ready(found) if found.pipelining && !found.starttls));
}
