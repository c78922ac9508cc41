//! What the DNS server answers, over both transports.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use postalynk_testkit::{Answer, Resolver, Zone};
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

const ZONE: &str = "
; mail
example.com      MX       20 mx2.example.com
example.com      MX       10 mx1.example.com.
mx1.example.com  A        127.0.0.1
mx1.example.com  AAAA     ::1
www.example.com  CNAME    Example.com
example.com      TXT      \"v=spf1 -all\"
null.test        MX       0 .
broken.test      SERVFAIL
quiet.test       SILENT
gone.wild.test   NXDOMAIN
*.wild.test      MX       5 mx1.example.com
";

fn server() -> Resolver {
    let zone = Zone::parse(ZONE).expect("the zone is well-formed");
    Resolver::start("127.0.0.1:0".parse().expect("an address"), zone).expect("the server starts")
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.to_vec().expect("a question encodes")
}

fn ask(server: &Resolver, name: &str, kind: RecordType) -> io::Result<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    socket.send_to(&question(name, kind), server.address())?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer)?;
    Message::from_vec(&buffer[..length]).map_err(io::Error::other)
}

fn answers(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

#[test]
fn records_are_answered_by_type() {
    let server = server();
    let mx = ask(&server, "EXAMPLE.com.", RecordType::MX).unwrap();
    assert_eq!(answers(&mx), ["20 mx2.example.com.", "10 mx1.example.com."]);
    assert_eq!(
        answers(&ask(&server, "mx1.example.com.", RecordType::A).unwrap()),
        ["127.0.0.1"]
    );
    assert_eq!(
        answers(&ask(&server, "mx1.example.com.", RecordType::AAAA).unwrap()),
        ["::1"]
    );
    assert_eq!(
        answers(&ask(&server, "example.com.", RecordType::TXT).unwrap()),
        ["v=spf1 -all"]
    );
    assert_eq!(
        answers(&ask(&server, "null.test.", RecordType::MX).unwrap()),
        ["0 ."]
    );
    assert_eq!(server.questions(), 5);
}

#[test]
fn aliases_and_wildcards_are_followed() {
    let server = server();
    let mx = answers(&ask(&server, "www.example.com.", RecordType::MX).unwrap());
    assert_eq!(
        mx,
        ["example.com.", "20 mx2.example.com.", "10 mx1.example.com."]
    );
    assert_eq!(
        answers(&ask(&server, "any.wild.test.", RecordType::MX).unwrap()),
        ["5 mx1.example.com."]
    );
}

#[test]
fn nothing_is_said_in_four_ways() {
    let server = server();
    let code = |name| ask(&server, name, RecordType::MX).map(|m| m.metadata.response_code);
    assert_eq!(code("nobody.test.").unwrap(), ResponseCode::NXDomain);
    assert_eq!(code("gone.wild.test.").unwrap(), ResponseCode::NXDomain);
    assert_eq!(code("mx1.example.com.").unwrap(), ResponseCode::NoError);
    assert_eq!(code("broken.test.").unwrap(), ResponseCode::ServFail);
    assert!(code("quiet.test.").is_err());
}

#[test]
fn long_answers_go_over_tcp() {
    let zone = Zone::new()
        .with("long.test", Answer::Txt("x".repeat(1000)))
        .unwrap();
    let server = Resolver::start("127.0.0.1:0".parse().unwrap(), zone).unwrap();
    let short = ask(&server, "long.test.", RecordType::TXT).unwrap();
    assert!(short.metadata.truncation && short.answers.is_empty());
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let asked = question("long.test.", RecordType::TXT);
    stream
        .write_all(&(asked.len() as u16).to_be_bytes())
        .unwrap();
    stream.write_all(&asked).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets).unwrap();
    assert_eq!(answers(&Message::from_vec(&octets).unwrap())[0].len(), 1000);
}

#[test]
fn zones_that_cannot_be_read_name_the_line() {
    let error = |text| Zone::parse(text).unwrap_err().to_string();
    assert_eq!(
        error("\na.test A 1.2.3"),
        "line 2: \"1.2.3\" is not an address"
    );
    assert!(error("a.test SRV x").starts_with("line 1: record type"));
    assert!(error("a.test MX mx.test").starts_with("line 1: MX"));
    assert!(Resolver::start("192.0.2.1:0".parse().unwrap(), Zone::new()).is_err());
}
