//! The canonical body (RFC 6376 §3.4.3, §3.4.4), hashed as it streams by.
//!
//! **Idea.** Nearly all of a body is canonical already, so it goes to the hash in the longest runs
//! possible. What may have to change is found by scanning for the three beginnings it can have: a tab,
//! two spaces, a space before CR. Only the blank octets at the end of a chunk are held back, as counts:
//! whether they matter is known when more arrives, or never.
//! **Law `chunking_is_irrelevant`.** Any split into chunks gives the same hash.
//! **Law `relaxed_is_idempotent`.** The canonical form of a canonical form is itself.
//! **Law `relaxed_matches_model`.** The scanner agrees with the RFC's text read literally.

use memchr::{memchr, memmem};

use crate::hash::{Canonicalization, Hasher, Sink};

/// Hashes a body that arrives in chunks.
pub struct BodyHasher {
    canonical: Canonical,
    hasher: Hasher,
}

impl BodyHasher {
    /// A body of which nothing has been seen.
    #[must_use]
    pub fn new(form: Canonicalization) -> Self {
        Self {
            canonical: Canonical::new(form),
            hasher: Hasher::default(),
        }
    }

    /// Takes the next octets.
    pub fn update(&mut self, chunk: &[u8]) {
        self.canonical.feed(chunk, &mut self.hasher);
    }

    /// The hash of all of it.
    #[must_use]
    pub fn finish(mut self) -> BodyHash {
        let form = self.canonical.form;
        self.canonical.finish(&mut self.hasher);
        BodyHash {
            form,
            sha256: self.hasher.finish(),
        }
    }
}

/// SHA-256 of a canonical body (`bh=`), and the form it was brought to. One serves every signature of
/// the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash {
    pub(crate) form: Canonicalization,
    pub(crate) sha256: [u8; 32],
}

impl BodyHash {
    /// Hashes a body that is at hand, in one piece or several.
    #[must_use]
    pub fn of<'a>(form: Canonicalization, chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = BodyHasher::new(form);
        chunks.into_iter().for_each(|chunk| hasher.update(chunk));
        hasher.finish()
    }

    /// The 32 octets of the hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.sha256
    }
}

/// The canonicalizer: what has been held back, and whether anything was written.
pub(crate) struct Canonical {
    form: Canonicalization,
    /// Complete line ends held back, for at the end of the body only one of them remains.
    line_ends: usize,
    /// White space seen after the last of them (relaxed form only).
    white: bool,
    /// A CR after that, of which only the next octet tells what it is.
    cr: bool,
    wrote: bool,
}

impl Canonical {
    pub(crate) fn new(form: Canonicalization) -> Self {
        Self {
            form,
            line_ends: 0,
            white: false,
            cr: false,
            wrote: false,
        }
    }

    pub(crate) fn feed(&mut self, chunk: &[u8], sink: &mut impl Sink) {
        let relaxed = self.form == Canonicalization::Relaxed;
        let is_blank =
            |b: &u8| matches!(b, b'\r' | b'\n') || (relaxed && matches!(b, b' ' | b'\t'));
        let Some(last) = chunk.iter().rposition(|b| !is_blank(b)) else {
            return self.hold(chunk, sink);
        };
        let first = chunk.iter().take_while(|b| is_blank(b)).count();
        self.hold(&chunk[..first], sink);
        self.release(sink);
        let solid = &chunk[first..=last];
        if relaxed {
            relax(solid, sink)
        } else {
            sink.put(solid)
        }
        self.hold(&chunk[last + 1..], sink);
    }

    pub(crate) fn finish(mut self: Canonical, sink: &mut impl Sink) {
        if self.cr {
            self.release(sink);
        }
        let simple = self.form == Canonicalization::Simple;
        // Simple: an empty body is one CRLF. Relaxed: it stays empty.
        if self.wrote || simple {
            sink.put(b"\r\n");
        }
    }

    fn hold(&mut self, blanks: &[u8], sink: &mut impl Sink) {
        for &b in blanks {
            match b {
                b'\n' if self.cr => {
                    (self.cr, self.white) = (false, false);
                    self.line_ends += 1;
                }
                b' ' | b'\t' => {
                    if self.cr {
                        self.release(sink);
                    }
                    self.white = true;
                }
                b'\r' => {
                    if self.cr {
                        self.release(sink);
                    }
                    self.cr = true;
                }
                // A bare LF is no line end; it stands for itself.
                _ => {
                    self.release(sink);
                    self.wrote = true;
                    sink.put(&[b]);
                }
            }
        }
    }

    /// Writes what was held back, for something follows it.
    fn release(&mut self, sink: &mut impl Sink) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            sink.put(b"\r\n");
        }
        if std::mem::take(&mut self.white) {
            sink.put(b" ");
        }
        if std::mem::take(&mut self.cr) {
            sink.put(b"\r");
        }
        self.wrote = true;
    }
}

/// Feeds the relaxed form of octets that begin and end with neither white space nor a line end.
fn relax(solid: &[u8], sink: &mut impl Sink) {
    let two = memmem::Finder::new(b"  ");
    let before_cr = memmem::Finder::new(b" \r");
    let find = |finder: &memmem::Finder<'_>, from: usize| {
        finder
            .find(&solid[from..])
            .map_or(solid.len(), |i| from + i)
    };
    let find_tab = |from: usize| memchr(b'\t', &solid[from..]).map_or(solid.len(), |i| from + i);
    let (mut done, mut tab, mut pair, mut end) =
        (0, find_tab(0), find(&two, 0), find(&before_cr, 0));
    loop {
        let event = tab.min(pair).min(end);
        if event == solid.len() {
            return sink.put(&solid[done..]);
        }
        // A tab may have one space before it, which belongs to the same run.
        let start = if event > done && solid[event - 1] == b' ' {
            event - 1
        } else {
            event
        };
        let run = solid[start..]
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        let next = start + run;
        sink.put(&solid[done..start]);
        if !solid[next..].starts_with(b"\r\n") {
            sink.put(b" ");
        }
        done = next;
        if tab < next {
            tab = find_tab(next);
        }
        if pair < next {
            pair = find(&two, next);
        }
        if end < next {
            end = find(&before_cr, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(form: Canonicalization, chunks: &[&[u8]]) -> Vec<u8> {
        let (mut state, mut out) = (Canonical::new(form), Vec::new());
        chunks.iter().for_each(|chunk| state.feed(chunk, &mut out));
        state.finish(&mut out);
        out
    }

    /// RFC 6376 §3.4.3 and §3.4.4, line by line.
    fn model(form: Canonicalization, body: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(body).into_owned();
        let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
        if form == Canonicalization::Relaxed {
            for line in &mut lines {
                let kept = line.trim_end_matches([' ', '\t']);
                let mut reduced = String::new();
                for c in kept.chars() {
                    let space = c == ' ' || c == '\t';
                    if !(space && reduced.ends_with(' ')) {
                        reduced.push(if space { ' ' } else { c });
                    }
                }
                *line = reduced;
            }
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        match (lines.is_empty(), form) {
            (true, Canonicalization::Relaxed) => Vec::new(),
            (true, Canonicalization::Simple) => b"\r\n".to_vec(),
            (false, _) => (lines.join("\r\n") + "\r\n").into_bytes(),
        }
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("\r\n"),
            Just("\r\n\r\n"),
            Just(" "),
            Just("  "),
            Just("\t"),
            Just(" \t "),
            Just("\r"),
            Just("\n"),
            Just(" \r\n"),
            Just("a"),
            Just("word"),
            Just("a b  c"),
            Just("é"),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|p| p.concat().into_bytes())
    }

    fn form() -> impl Strategy<Value = Canonicalization> {
        prop_oneof![
            Just(Canonicalization::Relaxed),
            Just(Canonicalization::Simple)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn law_relaxed_matches_model(form in form(), body in body()) {
            prop_assert_eq!(canonical(form, &[&body]), model(form, &body));
        }

        #[test]
        fn law_chunking_is_irrelevant(form in form(), body in body(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(body.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut chunks, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([body.len()]) {
                chunks.push(&body[from..cut]);
                from = cut;
            }
            prop_assert_eq!(canonical(form, &chunks), canonical(form, &[&body]));
            prop_assert_eq!(BodyHash::of(form, chunks), BodyHash::of(form, [&body[..]]));
        }

        #[test]
        fn law_relaxed_is_idempotent(form in form(), body in body()) {
            let once = canonical(form, &[&body]);
            prop_assert_eq!(canonical(form, &[&once]), once);
        }
    }
}
