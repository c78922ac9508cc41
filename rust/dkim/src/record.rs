//! A public key as DNS publishes it (RFC 6376 §3.6.1), read as a verifier reads it.
//!
//! **Law `record_reads_back`** (tests): the record of a key publishes that key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;
use crate::key::Algorithm;

/// What a TXT record at `selector._domainkey.domain` says. Two are equal when a signature that one
/// verifies is verified by the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    algorithm: Algorithm,
    public: Vec<u8>,
}

impl PublishedKey {
    /// Reads the strings of a record, joined.
    ///
    /// # Errors
    /// [`Error::Record`] when a verifier could not use it to check mail: it is no tag list (§3.2), of
    /// another version, revoked (`p=` empty), or for another algorithm, hash or service.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let tags = tags(text)?;
        let find = |name: &str| tags.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        if find("v").is_some_and(|v| v != "DKIM1" || tags[0].0 != "v") {
            return refuse("v= is not DKIM1, or not the first tag");
        }
        let algorithm = match find("k").unwrap_or("rsa") {
            "rsa" => Algorithm::RsaSha256,
            "ed25519" => Algorithm::Ed25519Sha256,
            _ => return refuse("k= is neither rsa nor ed25519"),
        };
        if find("h").is_some_and(|h| !has(h, &["sha256"])) {
            return refuse("h= has no sha256");
        }
        if find("s").is_some_and(|s| !has(s, &["*", "email"])) {
            return refuse("s= is not for email");
        }
        let Some(p) = find("p") else {
            return refuse("it has no p=");
        };
        let digits: String = p.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if digits.is_empty() {
            return refuse("the key is revoked (p= is empty)");
        }
        match STANDARD.decode(digits) {
            Ok(public) => Ok(Self { algorithm, public }),
            Err(_) => refuse("p= is not base64"),
        }
    }

    /// For which signatures.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The octets of `p=`.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }
}

/// The tags of a list (§3.2), in order; white space around names and values removed.
fn tags(text: &str) -> Result<Vec<(&str, &str)>, Error> {
    let mut tags: Vec<(&str, &str)> = Vec::new();
    let mut parts = text.split(';').peekable();
    while let Some(part) = parts.next() {
        if part.trim_ascii().is_empty() && parts.peek().is_none() {
            break;
        }
        let Some((name, value)) = part.split_once('=') else {
            return refuse("a tag without =");
        };
        let name = name.trim_ascii();
        let is_legal = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_legal {
            return refuse("a tag without a name");
        }
        if tags.iter().any(|(other, _)| *other == name) {
            return refuse("a tag given twice");
        }
        tags.push((name, value.trim_ascii()));
    }
    if tags.is_empty() {
        return refuse("it is empty");
    }
    Ok(tags)
}

/// Whether a colon-separated list has one of the words.
fn has(list: &str, words: &[&str]) -> bool {
    list.split(':')
        .any(|item| words.contains(&item.trim_ascii()))
}

fn refuse<T>(reason: &'static str) -> Result<T, Error> {
    Err(Error::Record(reason))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]
mod tests {
    use super::*;
    use crate::{Key, generate_ed25519};

    #[test]
    fn law_record_reads_back() {
        let key = Key::from_pkcs8_der(&generate_ed25519().unwrap()).unwrap();
        let read = PublishedKey::parse(&key.dns_record()).unwrap();
        assert_eq!(read.algorithm(), key.algorithm());
        assert_eq!(read.public_key(), key.public_key());
    }

    #[test]
    fn what_verifiers_read_alike_is_equal() {
        let short = PublishedKey::parse("p=AQID").unwrap();
        for text in [
            "v=DKIM1; k=rsa; p=AQID",
            "v=DKIM1;k=rsa;p=AQID;",
            " v = DKIM1 ; h = sha1 : sha256 ; s=email:x; t=y; n=a note; p = AQ\r\n ID ; ",
            "k=rsa; s=*; p=AQID; unknown=yes",
        ] {
            assert_eq!(PublishedKey::parse(text).as_ref(), Ok(&short), "{text}");
        }
        assert_ne!(
            PublishedKey::parse("k=ed25519; p=AQID").as_ref(),
            Ok(&short)
        );
    }

    #[test]
    fn what_verifies_nothing_is_refused() {
        for text in [
            "",
            ";",
            "p=",
            "v=DKIM1; p=",
            "v=DKIM2; p=AQID",
            "p=AQID; v=DKIM1",
            "p=AQID; p=AQID",
            "k=dsa; p=AQID",
            "h=sha1; p=AQID",
            "s=calendar; p=AQID",
            "p=A QI",
            "p=AQID; ; t=y",
            "v=spf1 -all",
        ] {
            assert!(PublishedKey::parse(text).is_err(), "{text:?}");
        }
    }
}
