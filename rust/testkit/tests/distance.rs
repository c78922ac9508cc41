//! The delay proxy delays, keeps order, and closes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use postalynk_testkit::DelayProxy;

#[test]
fn octets_come_in_order_a_round_trip_later_and_the_end_comes_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut back = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut back).unwrap();
    });
    let round_trip = Duration::from_millis(60);
    let proxy = DelayProxy::start("127.0.0.1:0".parse().unwrap(), target, round_trip).unwrap();
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let began = Instant::now();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let (mut writer, copy) = (stream.try_clone().unwrap(), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    // One for the connection, one for the octets.
    assert!(began.elapsed() >= 2 * round_trip);
    assert!(got == sent);
    writing.join().unwrap();
    echo.join().unwrap();
    assert_eq!(proxy.connections(), 1);
}
