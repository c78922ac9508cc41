//! One pass over a message: which fields are signed, and their SHA-256.

use aws_lc_rs::digest;

use crate::body::BodyHash;
use crate::error::Error;
use crate::field::HeaderField;

/// How much relaying may change a message without breaking the signature (RFC 6376 §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canonicalization {
    /// White space may change: `relaxed/relaxed`.
    #[default]
    Relaxed,
    /// Nothing may change: `simple/simple`.
    Simple,
}

impl Canonicalization {
    /// The value of `c=`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed/relaxed",
            Self::Simple => "simple/simple",
        }
    }
}

/// Fields that are signed once more than they occur, so that a relay can neither remove nor add one.
const OVERSIGNED: [&str; 16] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Reply-To",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Content-ID",
    "Content-Description",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
];
/// Fields that are signed as often as they occur: later ones are harmless, or someone else's to add.
const SIGNED: [&str; 4] = ["Sender", "In-Reply-To", "References", "List-Id"];
const NAMES: usize = OVERSIGNED.len() + SIGNED.len();
/// More of one field than this is not a message anyone sends; the others stay unsigned.
const MOST: usize = 255;

/// What is left of a message to be signed: its body hash, and the hash of its fields so far.
#[derive(Clone)]
pub struct Hashed {
    pub(crate) body: BodyHash,
    pub(crate) fields: digest::Context,
    /// How often each of the names stands in `h=`.
    counts: [u8; NAMES],
}

impl Hashed {
    /// Reads a message's header fields, in order, in the canonical form its body was hashed in.
    ///
    /// # Errors
    /// [`Error::NoFrom`].
    pub fn new(fields: &[HeaderField<'_>], body: BodyHash) -> Result<Self, Error> {
        let mut hasher = Hasher::default();
        let mut counts = [0; NAMES];
        for (name, count) in names().zip(&mut counts) {
            let same = |f: &&HeaderField<'_>| f.name().eq_ignore_ascii_case(name.as_bytes());
            // Bottom-up, as a verifier chooses them (§5.4.2).
            let mut found = 0;
            for field in fields.iter().rev().filter(same).take(MOST - 1) {
                field.canonicalize(body.form, &mut hasher);
                hasher.put(b"\r\n");
                found += 1;
            }
            *count = found;
        }
        if counts[0] == 0 {
            return Err(Error::NoFrom);
        }
        for count in &mut counts[..OVERSIGNED.len()] {
            *count += 1;
        }
        Ok(Self {
            body,
            fields: hasher.into_context(),
            counts,
        })
    }

    /// The names of `h=`, in the order they were hashed.
    pub fn signed_names(&self) -> impl Iterator<Item = &'static str> {
        names()
            .zip(self.counts)
            .flat_map(|(name, n)| std::iter::repeat_n(name, n.into()))
    }
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.signed_names().collect();
        f.debug_struct("Hashed")
            .field("body", &self.body)
            .field("h", &names)
            .finish()
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    OVERSIGNED.into_iter().chain(SIGNED)
}

/// Where canonical octets go.
pub(crate) trait Sink {
    fn put(&mut self, octets: &[u8]);
}

#[cfg(test)]
impl Sink for Vec<u8> {
    fn put(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }
}

/// SHA-256 behind a small buffer: calls into the library cost more than copying a few octets, while
/// long runs go straight to it.
pub(crate) struct Hasher {
    context: digest::Context,
    buffer: [u8; 512],
    filled: usize,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::from(digest::Context::new(&digest::SHA256))
    }
}

impl From<digest::Context> for Hasher {
    fn from(context: digest::Context) -> Self {
        Self {
            context,
            buffer: [0; 512],
            filled: 0,
        }
    }
}

impl Hasher {
    fn flush(&mut self) {
        self.context.update(&self.buffer[..self.filled]);
        self.filled = 0;
    }

    pub(crate) fn into_context(mut self) -> digest::Context {
        self.flush();
        self.context
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.into_context().finish().as_ref());
        hash
    }
}

impl Sink for Hasher {
    fn put(&mut self, octets: &[u8]) {
        if self.filled + octets.len() > self.buffer.len() {
            self.flush();
            if octets.len() >= self.buffer.len() / 2 {
                return self.context.update(octets);
            }
        }
        self.buffer[self.filled..self.filled + octets.len()].copy_from_slice(octets);
        self.filled += octets.len();
    }
}
