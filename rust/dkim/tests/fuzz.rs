//! Hostile octets: whatever a message, a key file or a DNS record holds, reading it ends with a value
//! or an error. `make soak` runs a million of each; see `scripts/soak.sh`.
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use bolero::check;
use postalynk_dkim::{
    BodyHash, BodyHasher, Canonicalization, Hashed, Key, PublishedKey, check_line_ends, split,
};

const FORMS: [Canonicalization; 2] = [Canonicalization::Relaxed, Canonicalization::Simple];

/// However a message is cut, it is read whole, and its hash is that of its pieces.
#[test]
fn fuzz_canonicalization() {
    check!()
        .with_type::<(Vec<u8>, u16)>()
        .for_each(|(message, at)| {
            let _ = check_line_ends(message);
            let at = usize::from(*at) % (message.len() + 1);
            for form in FORMS {
                let mut hasher = BodyHasher::new(form);
                hasher.update(&message[..at]);
                hasher.update(&message[at..]);
                assert_eq!(hasher.finish(), BodyHash::of(form, [&message[..]]));
            }
            let Ok((fields, body)) = split(message) else {
                return;
            };
            let octets: usize = fields
                .iter()
                .map(|f| f.name().len() + f.value().len() + 1)
                .sum();
            assert!(octets + body.len() <= message.len());
            for form in FORMS {
                if let Ok(hashed) = Hashed::new(&fields, BodyHash::of(form, [body])) {
                    let never = ["return-path", "received", "bcc"];
                    let is_never = |n: &str| never.contains(&n.to_ascii_lowercase().as_str());
                    assert!(!hashed.signed_names().any(is_never));
                }
            }
        });
}

/// A key file is a key or an error that quotes nothing of it.
#[test]
fn fuzz_key_parser() {
    let real = include_str!("vectors/rsa1024.pem");
    check!()
        .with_type::<(Vec<u8>, u16, u8)>()
        .for_each(|(octets, at, octet)| {
            let _ = Key::from_pkcs8_der(octets);
            let _ = Key::from_pem(&String::from_utf8_lossy(octets));
            // One octet of a real one changed reaches deeper than noise.
            let mut damaged = real.as_bytes().to_vec();
            let at = usize::from(*at) % damaged.len();
            damaged[at] = *octet;
            if let Err(error) = Key::from_pem(&String::from_utf8_lossy(&damaged)) {
                assert!(error.to_string().len() < 200);
            }
        });
}

/// A TXT record is a key or an error.
#[test]
fn fuzz_dns_record() {
    check!().with_type::<Vec<u8>>().for_each(|octets| {
        let text = String::from_utf8_lossy(octets);
        let _ = PublishedKey::parse(&text);
        if let Ok(key) = PublishedKey::parse(&format!("v=DKIM1; {text}; p=AQID")) {
            assert_eq!(key.public_key(), [1, 2, 3]);
        }
    });
}
