//! The signature field: what it says, and the private-key operation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::body::BodyHash;
use crate::error::Error;
use crate::field::HeaderField;
use crate::hash::{Canonicalization, Hashed, Hasher};
use crate::key::Key;
use crate::name::{Domain, Selector};

/// Where lines fold (RFC 5322 §2.1.1).
const LINE: usize = 78;
const NAME: &str = "DKIM-Signature";

/// A way of signing a hashed message. DKIM is one; another scheme can stand beside it.
pub trait MessageSigner: Send + Sync {
    /// The complete header field to put in front of the message, with its final CRLF. `now_s` is in
    /// seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the private-key operation fails.
    fn sign(&self, hashed: &Hashed, now_s: u64) -> Result<Vec<u8>, Error>;
}

/// One domain's signature with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    domain: Domain,
    selector: Selector,
    key: Key,
    timestamp: bool,
    expires_after_s: Option<u64>,
}

impl Signer {
    /// A signer that writes `t=` and no `x=`.
    #[must_use]
    pub fn new(domain: Domain, selector: Selector, key: Key) -> Self {
        Self {
            domain,
            selector,
            key,
            timestamp: true,
            expires_after_s: None,
        }
    }

    /// Leaves out `t=`.
    #[must_use]
    pub fn without_timestamp(mut self) -> Self {
        self.timestamp = false;
        self
    }

    /// Writes `x=`, so many seconds after signing.
    #[must_use]
    pub fn expires_after_s(mut self, seconds: u64) -> Self {
        self.expires_after_s = Some(seconds);
        self
    }

    /// The signing domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Hashes and signs in one call, relaxed/relaxed.
    ///
    /// # Errors
    /// [`Error::NoFrom`], [`Error::Crypto`].
    pub fn sign_message(
        &self,
        fields: &[HeaderField<'_>],
        body: &[u8],
        now_s: u64,
    ) -> Result<Vec<u8>, Error> {
        let hashed = Hashed::new(fields, BodyHash::of(Canonicalization::Relaxed, [body]))?;
        self.sign(&hashed, now_s)
    }

    /// The field up to and including `b=`.
    fn unsigned(&self, hashed: &Hashed, now_s: u64) -> Tags {
        let mut tags = Tags::new();
        tags.push("v=1;");
        tags.push(&format!("a={};", self.key.algorithm().tag()));
        tags.push(&format!("c={};", hashed.body.form.tag()));
        tags.push(&format!("d={};", self.domain.as_str()));
        tags.push(&format!("s={};", self.selector.as_str()));
        if self.timestamp {
            tags.push(&format!("t={now_s};"));
        }
        if let Some(seconds) = self.expires_after_s {
            tags.push(&format!("x={};", now_s.saturating_add(seconds)));
        }
        tags.push_names(hashed.signed_names());
        tags.push(&format!("bh={};", STANDARD.encode(hashed.body.sha256)));
        tags.push("b=");
        tags
    }
}

impl MessageSigner for Signer {
    fn sign(&self, hashed: &Hashed, now_s: u64) -> Result<Vec<u8>, Error> {
        let mut tags = self.unsigned(hashed, now_s);
        // §3.7: the field itself comes last, with an empty b= and without its CRLF.
        let mut hasher = Hasher::from(hashed.fields.clone());
        HeaderField::new(&tags.out, NAME.len())?.canonicalize(hashed.body.form, &mut hasher);
        let digest = hasher.into_context().finish();
        tags.push_signature(&STANDARD.encode(self.key.sign(digest)?));
        tags.out.extend_from_slice(b"\r\n");
        Ok(tags.out)
    }
}

/// The field being written, folded between tags.
struct Tags {
    out: Vec<u8>,
    col: usize,
}

impl Tags {
    fn new() -> Self {
        let mut out = Vec::with_capacity(1_400);
        out.extend_from_slice(NAME.as_bytes());
        out.push(b':');
        Self {
            col: out.len(),
            out,
        }
    }

    fn glue(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.col += text.len();
    }

    fn fold(&mut self) {
        self.out.extend_from_slice(b"\r\n ");
        self.col = 1;
    }

    fn push(&mut self, tag: &str) {
        if self.col + 1 + tag.len() > LINE {
            self.fold();
        } else {
            self.glue(" ");
        }
        self.glue(tag);
    }

    /// `h=`, folded after colons, where white space is allowed (§3.5).
    fn push_names(&mut self, names: impl Iterator<Item = &'static str>) {
        self.push("h=");
        let mut is_first = true;
        for name in names {
            if !is_first {
                self.glue(":");
                if self.col + name.len() + 1 > LINE {
                    self.fold();
                }
            }
            is_first = false;
            self.glue(name);
        }
        self.glue(";");
    }

    /// The value of `b=`, folded anywhere.
    fn push_signature(&mut self, mut base64: &str) {
        while self.col + base64.len() > LINE {
            let (head, tail) = base64.split_at(LINE - self.col);
            self.glue(head);
            self.fold();
            base64 = tail;
        }
        self.glue(base64);
    }
}
