//! Mail leaves by relays that others wrote.
//!
//! Runs: microsocks (SOCKS5) or HAProxy (PROXY protocol, version 2) between the engine and a sink
//! on another address of loopback. Breaks: the relay refuses the login, or is not there. Holds: the
//! receiver sees the relay's connection, the attempt names the relay and never its password, and
//! mail waits while the relay fails: it never goes around it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Worker, loopback, message, smart_host};
use postalynk_record::v1::{Attempt, Kind};
use postalynk_testkit::{Sink, SinkOptions};

/// A program that listens, ended with the test.
struct Relay {
    child: Child,
    port: u16,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it on a port that was free a moment ago, and again if somebody took it meanwhile.
fn start(command: impl Fn(u16) -> Command) -> Relay {
    let until = Instant::now() + PATIENCE;
    loop {
        let probe = TcpListener::bind(loopback()).unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let mut child = command(port)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/apt-packages.txt names the package");
        while child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Relay { child, port };
            }
            assert!(Instant::now() < until, "the relay does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(Instant::now() < until, "the relay does not start");
    }
}

fn microsocks(login: Option<(&str, &str)>) -> Relay {
    start(|port| {
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        // What it sends from, so that a receiver can tell.
        command.args(["-b", "127.0.0.9"]);
        if let Some((user, password)) = login {
            command.args(["-u", user, "-P", password]);
        }
        command
    })
}

fn haproxy(directory: &Path) -> Relay {
    let haproxy = ["/usr/sbin/haproxy", "haproxy"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("haproxy");
    start(|port| {
        let file = directory.join("haproxy.cfg");
        // 0.0.0.0 as server: to where the PROXY header says.
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen egress\n bind 127.0.0.1:{port} accept-proxy\n server receiver 0.0.0.0 \
             send-proxy-v2\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(haproxy);
        command.arg("-db").arg("-f").arg(file);
        command
    })
}

/// Sends ten messages through the relay; the first attempt of those delivered.
fn send(receiver: SocketAddr, source: &str) -> (Worker, Attempt) {
    let mut worker = Worker::new(smart_host(receiver));
    let json = format!(
        r#"{{"sources": [{source}], "pools": [{{"name": "default", "sources": {{"s": 1}}}}]}}"#
    );
    worker.engine.configure(&json).unwrap();
    worker.send((0..10).map(|n| message(n, &["ann@example.com"])).collect());
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 10);
    let tried = worker.first(Kind::Delivered).tried.unwrap();
    (worker, tried)
}

#[test]
fn socks5_with_and_without_a_login() {
    for receiver in ["127.0.0.1:0", "127.0.0.3:0"] {
        let sink = Sink::start(receiver.parse().unwrap(), SinkOptions::default()).unwrap();
        for login in [None, Some(("me", "p@ss/word"))] {
            let relay = microsocks(login);
            let login = login.map_or("", |_| "me:p%40ss%2Fword@");
            let url = format!("socks5://{login}127.0.0.1:{}", relay.port);
            let source = format!(r#"{{"name": "s", "ehlo": "relay.test", "relay": "{url}"}}"#);
            let (_worker, tried) = send(sink.address(), &source);
            assert_eq!(tried.relay, format!("socks5://127.0.0.1:{}", relay.port));
            assert_eq!(tried.peer, sink.address().to_string());
        }
        assert_eq!(sink.counts().messages, 20);
        let seen = sink.received().pop().unwrap();
        assert_eq!(
            (&*seen.peer_ip.unwrap().to_string(), &*seen.ehlo),
            ("127.0.0.9", "relay.test")
        );
    }
}

#[test]
fn proxy_protocol_through_haproxy() {
    let directory = tempfile::tempdir().unwrap();
    let relay = haproxy(directory.path());
    let options = SinkOptions {
        proxy_protocol: true,
        ..SinkOptions::default()
    };
    let sink = Sink::start("127.0.0.4:0".parse().unwrap(), options).unwrap();
    let source = format!(
        r#"{{"name": "s", "ip": "198.51.100.7", "relay": "proxy2://127.0.0.1:{}"}}"#,
        relay.port
    );
    let (_worker, tried) = send(sink.address(), &source);
    assert_eq!(tried.relay, format!("proxy2://127.0.0.1:{}", relay.port));
    // HAProxy says what it understood: the source's address, and the receiver's.
    let seen = sink.received().pop().unwrap();
    assert_eq!(seen.peer_ip.unwrap().to_string(), "198.51.100.7");
}

#[test]
fn mail_waits_while_the_relay_fails() {
    let sink = Sink::start(loopback(), SinkOptions::default()).unwrap();
    let relay = microsocks(Some(("me", "right")));
    let source = |login: &str| {
        format!(
            r#"{{"sources": [{{"name": "s", "relay": "socks5://{login}@127.0.0.1:{}"}}],
                 "pools": [{{"name": "default", "sources": {{"s": 1}}}}]}}"#,
            relay.port
        )
    };
    let mut worker = Worker::new(smart_host(sink.address()));
    worker.engine.configure(&source("me:wrong")).unwrap();
    worker.send(vec![message(1, &["ann@example.com"])]);
    worker.run_until("an attempt fails", |worker| {
        worker.count(Kind::Deferred) > 0
    });
    let event = worker.first(Kind::Deferred);
    let tried = event.tried.unwrap();
    assert_eq!((&*tried.phase, &*tried.class), ("connect", "transport"));
    assert!(
        event.reason.contains("refuses our login"),
        "{}",
        event.reason
    );
    assert!(!format!("{tried:?}{}", event.reason).contains("wrong"));
    assert_eq!(sink.counts().connections, 0);

    // A source that is set anew is used from the next connection on.
    worker.engine.configure(&source("me:right")).unwrap();
    worker.run_to_end();
    assert_eq!(sink.counts().messages, 1);
}

#[test]
fn the_sources_address_and_name_are_what_the_receiver_sees() {
    for (receiver, ip) in [("127.0.0.1:0", "127.0.0.7"), ("[::1]:0", "::1")] {
        let sink = Sink::start(receiver.parse().unwrap(), SinkOptions::default()).unwrap();
        let source = format!(r#"{{"name": "s", "ip": "{ip}", "ehlo": "seven.test"}}"#);
        let (_worker, tried) = send(sink.address(), &source);
        assert_eq!((&*tried.source, &*tried.relay), ("s", ""));
        let seen = sink.received().pop().unwrap();
        assert_eq!(
            (&*seen.peer_ip.unwrap().to_string(), &*seen.ehlo),
            (ip, "seven.test")
        );
    }
}
