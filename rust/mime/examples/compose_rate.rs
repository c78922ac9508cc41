//! How long composing one message takes: `cargo run --release -p postalynk-mime --example compose_rate`.
//!
//! Three messages: 10 kB of ASCII text and HTML, the same with characters that need quoted-printable,
//! and that with an attachment of 50 kB. The median of nine rounds, in microseconds a message.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::Instant;

use postalynk_mime::{Draft, Error, Origin};

fn compose(text: &str, html: &str, attachment: &[u8], seed: u64) -> Result<Vec<u8>, Error> {
    let mut draft = Draft::new(Origin {
        from_name: "Example Shop",
        from_address: "orders@shop.example.com",
        message_id: "0198.a1b2c3@shop.example.com",
        date_s: 1_790_000_000,
        seed,
    })?;
    draft
        .to("Zoë Müller", "zoe@example.org")?
        .subject("Your order has been shipped")?;
    draft.header(
        "List-Unsubscribe",
        "<https://shop.example.com/u/0198a1b2c3>",
    )?;
    draft.header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")?;
    draft.text(text.as_bytes())?.html(html.as_bytes())?;
    if !attachment.is_empty() {
        draft.attach("invoice.pdf", "application/pdf", "", attachment)?;
    }
    Ok(draft.compose().bytes)
}

fn main() -> Result<(), Error> {
    let text =
        "Thank you for your order. It has left our warehouse and is on its way.\n".repeat(42);
    let row = "    <tr><td class=\"item\" align=\"left\">One thing</td><td>12.50</td></tr>\n";
    let html = format!(
        "<html><body><table>\n{}</table></body></html>\n",
        row.repeat(95)
    );
    let (text_utf8, html_utf8) = (
        text.replace("way.", "way…"),
        html.replace("12.50", "12,50 €"),
    );
    let file: Vec<u8> = (0..50_000u32).map(|i| (i * 2_654_435_761) as u8).collect();
    let none: &[u8] = &[];
    for (name, text, html, file) in [
        ("ascii", &text, &html, none),
        ("utf-8", &text_utf8, &html_utf8, none),
        ("utf-8, 50 kB attached", &text_utf8, &html_utf8, &file),
    ] {
        let mut rounds: Vec<f64> = Vec::new();
        for round in 0..9 {
            let start = Instant::now();
            for i in 0..2_000 {
                black_box(compose(
                    black_box(text),
                    black_box(html),
                    file,
                    round * 2_000 + i,
                )?);
            }
            rounds.push(start.elapsed().as_secs_f64() * 1e6 / 2_000.0);
        }
        rounds.sort_by(f64::total_cmp);
        let octets = compose(text, html, file, 0)?.len();
        println!("{name}: {:.2} us a message of {octets} octets", rounds[4]);
    }
    Ok(())
}
