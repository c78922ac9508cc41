//! What preparing a message costs beside the one thing that cannot be saved: hashing its octets.
//!
//! **Question.** Compose a message of 10 kB, bring it to DKIM's canonical form, hash it and read its
//! header once more, as the delivery engine does for every message: how many times SHA-256 of the same octets is that, and how
//! often does it allocate?
//! **Answer.** One JSON object on stdout; `benches/micro/prepare.py` runs this and writes the figures.
//! The body hash is compared with one made from the composed octets in another way first.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hint::black_box;

use aws_lc_rs::digest;
use postalynk_dkim::{BodyHash, Canonicalization, Hashed, HeaderField};
use postalynk_mime::{Composed, Draft, Origin, check_fields};

const ROUNDS: usize = 15;
const TIMES: u32 = 2_000;

/// The message of `benches/micro/_messages.py`.
struct Parts {
    text: String,
    html: String,
}

impl Parts {
    fn new() -> Self {
        let line = "Thank you for your order. It has left our warehouse and is on its way…\n";
        let row = "    <tr><td class=\"item\" align=\"left\">One thing</td><td>12,50 €</td></tr>\n";
        let rows = row.repeat(92);
        Self {
            text: line.repeat(42),
            html: format!("<html><body><table>\n{rows}</table></body></html>\n"),
        }
    }

    fn draft(&self, seed: u64) -> Result<Draft<'_>, postalynk_mime::Error> {
        let mut draft = Draft::new(Origin {
            from_name: "Example Shop",
            from_address: "orders@shop.example.com",
            message_id: "0198.a1b2c3@shop.example.com",
            date_s: 1_790_000_000,
            seed,
        })?;
        draft.to("Zoë Müller", "zoe@example.org")?;
        draft.subject("Your order has been shipped")?;
        draft.header(
            "List-Unsubscribe",
            "<https://shop.example.com/u/0198a1b2c3>",
        )?;
        draft.header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")?;
        draft
            .text(self.text.as_bytes())?
            .html(self.html.as_bytes())?;
        Ok(draft)
    }

    fn compose(&self, seed: u64) -> Result<Composed, postalynk_mime::Error> {
        Ok(self.draft(seed)?.compose())
    }

    /// What the engine does with a message, its signatures aside.
    fn prepare(&self, seed: u64) -> Result<Hashed, Box<dyn Error>> {
        let draft = self.draft(seed)?;
        let composed = draft.compose();
        let hashed = hash(&composed)?;
        check_fields(&[&composed.bytes], draft.field_names())?;
        Ok(hashed)
    }
}

fn hash(composed: &Composed) -> Result<Hashed, postalynk_dkim::Error> {
    let mut fields = Vec::with_capacity(composed.fields.len());
    for (name, field) in composed.fields() {
        fields.push(HeaderField::new(field, name)?);
    }
    Hashed::new(
        &fields,
        BodyHash::of(Canonicalization::Relaxed, [composed.body()]),
    )
}

/// Processor time of this thread in nanoseconds: other programs lengthen a round, not its figure.
fn cpu_ns() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}

fn us_each(mut work: impl FnMut(u64) -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let began = cpu_ns()?;
    for i in 0..TIMES {
        work(u64::from(i))?;
    }
    Ok((cpu_ns()? - began) as f64 / 1e3 / f64::from(TIMES))
}

/// The relaxed body as RFC 6376 §3.4.4 says it, line by line.
fn canonical_by_the_letter(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let lines = text.strip_suffix("\r\n").unwrap_or(&text).split("\r\n");
    let relaxed = lines.map(|line| {
        let words: Vec<_> = line.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
        let lead = if line.starts_with([' ', '\t']) && !words.is_empty() {
            " "
        } else {
            ""
        };
        format!("{lead}{}\r\n", words.join(" "))
    });
    relaxed.collect::<String>().into_bytes()
}

fn main() -> Result<(), Box<dyn Error>> {
    let parts = Parts::new();
    let composed = parts.compose(0)?;
    let letter = digest::digest(&digest::SHA256, &canonical_by_the_letter(composed.body()));
    let ours = BodyHash::of(Canonicalization::Relaxed, [composed.body()]);
    if letter.as_ref() != ours.as_bytes() {
        return Err("the body hash is not that of the RFC's text".into());
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let sha256 = us_each(|_| {
            black_box(digest::digest(&digest::SHA256, black_box(&composed.bytes)));
            Ok(())
        })?;
        let prepare = us_each(|seed| {
            black_box(black_box(&parts).prepare(seed)?);
            Ok(())
        })?;
        let compose = us_each(|seed| {
            black_box(black_box(&parts).compose(seed)?);
            Ok(())
        })?;
        rounds.push(serde_json::json!({
            "sha256_us": sha256, "prepare_us": prepare, "compose_us": compose,
        }));
    }
    let mut last = Ok(());
    let counted = allocation_counter::measure(|| {
        last = parts
            .prepare(1)
            .map_err(|e| e.to_string())
            .map(|hashed| drop(black_box(hashed)));
    });
    last?;
    let figures = serde_json::json!({
        "octets": composed.bytes.len(),
        "allocations_per_message": counted.count_total,
        "allocated_octets_per_message": counted.bytes_total,
        "rounds": rounds,
    });
    println!("{figures}");
    Ok(())
}
