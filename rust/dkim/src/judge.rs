//! Tests of whole signatures: the vectors of RFC 6376 and RFC 8463, and laws. The verifier here is as
//! small as one can be: it believes the tags it is given and checks both hashes.
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use crate::hash::{Hasher, Sink};
use crate::*;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// The value of a tag, white space removed.
fn tag(field: &[u8], name: &str) -> String {
    let value = String::from_utf8(
        field
            .split(|b| *b == b':')
            .skip(1)
            .collect::<Vec<_>>()
            .join(&b':'),
    )
    .unwrap();
    let squeezed: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let found = squeezed
        .split(';')
        .find_map(|t| t.strip_prefix(&format!("{name}=")));
    found.unwrap_or_default().to_owned()
}

/// The field with the value of `b=`, which stands last, taken out (RFC 6376 §3.7).
fn without_signature(field: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(field.to_vec()).unwrap();
    let at = text.rfind(" b=").unwrap() + 3;
    let end = text[at..].find(';').map_or("", |i| &text[at + i..]);
    format!("{}{end}", &text[..at]).into_bytes()
}

/// Verifies the nth signature of a message against a public key (`p=`).
fn verify(message: &[u8], nth: usize, public_key: &[u8]) -> bool {
    let (fields, body) = split(message).unwrap();
    let is_signature = |f: &&HeaderField<'_>| f.name().eq_ignore_ascii_case(b"DKIM-Signature");
    let signature = *fields.iter().filter(is_signature).nth(nth).unwrap();
    let raw = [signature.name(), b":", signature.value()].concat();
    let form = match tag(&raw, "c").as_str() {
        "simple/simple" => Canonicalization::Simple,
        _ => Canonicalization::Relaxed,
    };
    if tag(&raw, "bh") != STANDARD.encode(BodyHash::of(form, [body]).as_bytes()) {
        return false;
    }
    let mut left: Vec<_> = fields.iter().collect();
    let mut hasher = Hasher::default();
    for name in tag(&raw, "h").split(':') {
        let same = |f: &&HeaderField<'_>| f.name().eq_ignore_ascii_case(name.as_bytes());
        let Some(at) = left.iter().rposition(same) else {
            continue;
        };
        left.remove(at).canonicalize(form, &mut hasher);
        hasher.put(b"\r\n");
    }
    let unsigned = without_signature(&raw);
    HeaderField::new(&unsigned, signature.name().len())
        .unwrap()
        .canonicalize(form, &mut hasher);
    let hash: digest::Digest = hasher.into_context().finish();
    let Ok(value) = STANDARD.decode(tag(&raw, "b")) else {
        return false;
    };
    if tag(&raw, "a") == "ed25519-sha256" {
        return UnparsedPublicKey::new(&ED25519, public_key)
            .verify(hash.as_ref(), &value)
            .is_ok();
    }
    UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, public_key)
        .verify_digest(&hash, &value)
        .is_ok()
}

const MESSAGE: &str = "From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
";

/// RFC 6376 appendix A.2, with errata 3192 (one space) and 4926 (six columns of indentation).
#[test]
fn the_vector_of_rfc_6376_verifies() {
    let signed = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
{MESSAGE}"
    );
    let key = STANDARD
        .decode(
            "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
             IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0\
             fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
        )
        .unwrap();
    assert!(verify(&crlf(&signed), 0, &key));
    assert!(!verify(&crlf(&signed.replace("lost", "won")), 0, &key));
    assert!(!verify(
        &crlf(&signed.replace("Subject: Is", "Subject:  Is")),
        0,
        &key
    ));
}

/// RFC 8463 appendix A: one message, signed with both algorithms.
#[test]
fn the_vectors_of_rfc_8463_verify() {
    let signed = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
{MESSAGE}"
    );
    let key = |text: &str| STANDARD.decode(text).unwrap();
    let ed25519 = key("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    let rsa = key(
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\
         Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZy\
         VYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
    );
    for text in [&signed, &signed.replace("Subject: Is", "SUBJECT:  Is  ")] {
        assert!(verify(&crlf(text), 0, &ed25519));
        assert!(verify(&crlf(text), 1, &rsa));
    }
    assert!(!verify(&crlf(&signed.replace("Joe.", "Jo.")), 0, &ed25519));
}

/// The public half of the RFC 8463 key follows from its private half.
#[test]
fn the_key_of_rfc_8463_is_published_as_there() {
    let mut der = STANDARD.decode("MC4CAQAwBQYDK2VwBCIEIA==").unwrap();
    der.extend(
        STANDARD
            .decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
            .unwrap(),
    );
    let key = Key::from_pkcs8_der(&der).unwrap();
    assert_eq!(
        key.dns_record(),
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    );
    assert_eq!(
        format!("{key:?}"),
        "Key(ed25519-sha256, private part withheld)"
    );
}

fn keys() -> &'static [Key; 2] {
    static KEYS: std::sync::OnceLock<[Key; 2]> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| {
        let rsa = Key::from_pkcs8_der(&generate_rsa_2048().unwrap()).unwrap();
        let ed25519 = Key::from_pkcs8_der(&generate_ed25519().unwrap()).unwrap();
        [rsa, ed25519]
    })
}

/// Signs with both keys, RSA on top; the message with its two signatures.
fn sign_twice(form: Canonicalization, message: &[u8]) -> Vec<u8> {
    let (fields, body) = split(message).unwrap();
    let hashed = Hashed::new(&fields, BodyHash::of(form, [body])).unwrap();
    let mut signed = Vec::new();
    for key in keys() {
        let (domain, selector) = (Domain::new("Example.com"), Selector::new("s1"));
        let signer = Signer::new(domain.unwrap(), selector.unwrap(), key.clone());
        signed.extend(
            signer
                .expires_after_s(600)
                .sign(&hashed, 1_790_000_000)
                .unwrap(),
        );
    }
    signed.extend_from_slice(message);
    signed
}

fn field() -> impl Strategy<Value = String> {
    let name = "(From|Subject|to|CC|Date|Message-ID|X-Other|Received|List-Unsubscribe|References)";
    (
        name,
        "[ \t]?",
        "[!-~]{0,20}( {1,3}[!-~]{1,20}){0,3}(\r\n[ \t]{1,3}[!-~]{1,30}){0,2}",
    )
        .prop_map(|(name, space, value)| format!("{name}:{space}{value}\r\n"))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let fields = proptest::collection::vec(field(), 0..10);
    let body = proptest::collection::vec("[ -~é\t]{0,90}\r\n|\r\n| \r\n", 0..12);
    (fields, body).prop_map(|(fields, body)| {
        format!(
            "{}From: a@b.example\r\n\r\n{}",
            fields.concat(),
            body.concat()
        )
        .into_bytes()
    })
}

fn form() -> impl Strategy<Value = Canonicalization> {
    prop_oneof![
        Just(Canonicalization::Relaxed),
        Just(Canonicalization::Simple)
    ]
}

fn verifies(signed: &[u8]) -> [bool; 2] {
    let [rsa, ed25519] = keys();
    [
        verify(signed, 0, rsa.public_key()),
        verify(signed, 1, ed25519.public_key()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn law_signature_verifies(form in form(), message in message()) {
        let signed = sign_twice(form, &message);
        prop_assert_eq!(verifies(&signed), [true, true]);
        let added = signed.len() - message.len();
        for line in String::from_utf8(signed[..added].to_vec()).unwrap().split("\r\n") {
            prop_assert!(line.len() <= 78, "{}", line);
        }
    }

    #[test]
    fn law_changed_byte_is_refused(form in form(), message in message(), at in any::<prop::sample::Index>(), b in b'0'..b'z') {
        let signed = sign_twice(form, &message);
        let (_, body) = split(&signed).unwrap();
        prop_assume!(!body.is_empty());
        let body_at = signed.len() - body.len();
        let mut changed = signed.clone();
        let i = body_at + at.index(body.len());
        prop_assume!(changed[i] != b && !changed[i].is_ascii_whitespace());
        changed[i] = b;
        prop_assert_eq!(verifies(&changed), [false, false]);
    }

    /// Oversigning: one more of any field that receivers act on breaks the signature.
    #[test]
    fn law_added_field_is_refused(form in form(), message in message(), n in 0..16usize) {
        let names = [
            "From", "To", "Cc", "Subject", "Date", "Reply-To", "Message-ID", "MIME-Version",
            "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post",
            "Feedback-ID", "Content-Disposition", "Content-ID", "Content-Description",
        ];
        let mut signed = sign_twice(form, &message);
        signed.splice(0..0, format!("{}: x\r\n", names[n]).into_bytes());
        prop_assert_eq!(verifies(&signed), [false, false]);
    }
}

#[test]
fn what_is_never_signed_is_not_in_h() {
    let message =
        b"Received: x\r\nReturn-Path: <a@b.example>\r\nBcc: y\r\nFrom: a\r\nX-Z: 1\r\n\r\n";
    let (fields, body) = split(message).unwrap();
    let hashed = Hashed::new(&fields, BodyHash::of(Canonicalization::Relaxed, [body])).unwrap();
    let names: Vec<_> = hashed.signed_names().collect();
    assert_eq!(names[..3], ["From", "From", "To"]);
    assert_eq!(names.len(), 17);
}

#[test]
fn what_cannot_be_signed_is_said() {
    let (fields, _) = split(b"To: a\r\n\r\n").unwrap();
    let body = BodyHash::of(Canonicalization::Relaxed, [&b""[..]]);
    assert_eq!(Hashed::new(&fields, body).unwrap_err(), Error::NoFrom);
    assert_eq!(
        split(b"From: a\r\nno colon\r\n\r\n").unwrap_err(),
        Error::Header { at: 9 }
    );
    assert!(Domain::new("localhost").is_err() && Domain::new("a b.example").is_err());
    assert!(Selector::new("a_b.c-d").is_ok() && Selector::new("a..b").is_err());
    assert!(Selector::new("a; d=evil.example").is_err());
    assert_eq!(Key::from_pem("nothing").unwrap_err(), Error::Pem);
    assert!(matches!(
        Key::from_pkcs8_der(b"\x30\x00").unwrap_err(),
        Error::Key(_)
    ));
}

#[test]
fn keys_are_read_from_pem() {
    let wrap = |der: &[u8]| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    let der = generate_rsa_2048().unwrap();
    let key = Key::from_pem(&wrap(&der)).unwrap();
    assert_eq!(key.algorithm(), Algorithm::RsaSha256);
    assert!(
        key.dns_record()
            .starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A")
    );
    let der = generate_ed25519().unwrap();
    assert_eq!(
        Key::from_pem(&wrap(&der)).unwrap().algorithm(),
        Algorithm::Ed25519Sha256
    );
}

/// The hashes RFC 6376 §3.4.3 and §3.4.4 state for an empty body.
#[test]
fn an_empty_body_has_the_known_hash() {
    let hash = |form| STANDARD.encode(BodyHash::of(form, []).as_bytes());
    assert_eq!(
        hash(Canonicalization::Simple),
        "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="
    );
    assert_eq!(
        hash(Canonicalization::Relaxed),
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    );
}
