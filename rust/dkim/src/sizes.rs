//! Tests of RSA keys of every accepted size, against signatures that `openssl dgst -sha256 -sign` made.
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, Key};

/// Key, public key as OpenSSL writes it, and its signature of `postalynk` in hexadecimal.
const VECTORS: [[&str; 3]; 3] = [
    [
        include_str!("../tests/vectors/rsa1024.pem"),
        include_str!("../tests/vectors/rsa1024.public"),
        include_str!("../tests/vectors/rsa1024.signature"),
    ],
    [
        include_str!("../tests/vectors/rsa1536.pem"),
        include_str!("../tests/vectors/rsa1536.public"),
        include_str!("../tests/vectors/rsa1536.signature"),
    ],
    [
        include_str!("../tests/vectors/rsa2048.pem"),
        include_str!("../tests/vectors/rsa2048.public"),
        include_str!("../tests/vectors/rsa2048.signature"),
    ],
];

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn law_small_keys_sign_as_openssl() {
    for [pem, public, signature] in VECTORS {
        let key = Key::from_pem(pem).unwrap();
        // Blinding draws other numbers each time; the signature must not show it.
        for _ in 0..3 {
            let made = key.sign(digest::digest(&digest::SHA256, b"postalynk"));
            assert_eq!(hex(&made.unwrap()), signature.trim());
        }
        assert_eq!(STANDARD.encode(key.public_key()), public.trim());
        assert_eq!(
            key.dns_record(),
            format!("v=DKIM1; k=rsa; p={}", public.trim())
        );
        assert_eq!(format!("{key:?}"), "Key(rsa-sha256, private part withheld)");
    }
}

#[test]
fn both_forms_of_pem_are_the_same_key() {
    let pkcs1 = Key::from_pem(include_str!("../tests/vectors/rsa1024.pkcs1.pem")).unwrap();
    assert_eq!(
        pkcs1.public_key(),
        Key::from_pem(VECTORS[0][0]).unwrap().public_key()
    );
}

#[test]
fn keys_outside_the_accepted_sizes_are_refused_with_their_size() {
    for (pem, bits) in [
        (include_str!("../tests/vectors/rsa512.pem"), 512),
        (include_str!("../tests/vectors/rsa1016.pem"), 1016),
        (include_str!("../tests/vectors/rsa4104.pem"), 4104),
    ] {
        let error = Key::rsa_from_pem(pem).unwrap_err();
        assert_eq!(error, Error::RsaSize { bits });
        assert_eq!(
            error.to_string(),
            format!("an RSA key of {bits} bits: it must have 1024 to 4096, better 2048")
        );
    }
}
