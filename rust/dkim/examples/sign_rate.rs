//! How long hashing and signing take: `cargo run --release -p postalynk-dkim --example sign_rate`.
//!
//! A message of 10 kB whose HTML is indented, as most is. The median of nine rounds, in microseconds a
//! message; SHA-256 of the same octets stands beside it as the floor.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::digest;
use postalynk_dkim::{
    BodyHash, Canonicalization, Domain, Error, Hashed, Key, MessageSigner, Selector, Signer,
    generate_ed25519, generate_rsa_2048, split,
};

fn measure(
    name: &str,
    times: u32,
    mut work: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rounds: Vec<f64> = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        for _ in 0..times {
            work()?;
        }
        rounds.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
    }
    rounds.sort_by(f64::total_cmp);
    println!("{name}: {:.2} us", rounds[4]);
    Ok(())
}

fn main() -> Result<(), Error> {
    let row = "    <tr><td class=3D\"item\" align=3D\"left\">One thing</td></tr>\r\n";
    let message = format!(
        "From: Example Shop <orders@shop.example.com>\r\nTo: zoe@example.org\r\n\
         Subject: Your order has been shipped\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
         Message-ID: <0198.a1b2c3@shop.example.com>\r\n\
         List-Unsubscribe: <https://shop.example.com/u/0198a1b2c3>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n{}",
        row.repeat(156)
    );
    let (fields, body) = split(message.as_bytes())?;
    let hashed = Hashed::new(&fields, BodyHash::of(Canonicalization::Relaxed, [body]))?;
    let signer = |der: &[u8]| -> Result<Signer, Error> {
        let key = Key::from_pkcs8_der(der)?;
        Ok(Signer::new(
            Domain::new("shop.example.com")?,
            Selector::new("s1")?,
            key,
        ))
    };
    let (rsa, ed25519) = (
        signer(&generate_rsa_2048()?)?,
        signer(&generate_ed25519()?)?,
    );
    println!("message of {} octets", message.len());
    measure("sha-256 alone", 2_000, || {
        black_box(digest::digest(
            &digest::SHA256,
            black_box(message.as_bytes()),
        ));
        Ok(())
    })?;
    measure("canonicalize and hash", 2_000, || {
        let body = BodyHash::of(Canonicalization::Relaxed, [black_box(body)]);
        black_box(Hashed::new(black_box(&fields), body)?);
        Ok(())
    })?;
    measure("ed25519 signature", 500, || {
        ed25519
            .sign(black_box(&hashed), 0)
            .map(|f| drop(black_box(f)))
    })?;
    measure("rsa-2048 signature", 100, || {
        rsa.sign(black_box(&hashed), 0).map(|f| drop(black_box(f)))
    })
}
