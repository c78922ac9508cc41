//! What the crate `mail-parser` reads in messages: `cargo run --example read_back DIRECTORY`.
//!
//! A line of JSON for each `NNN.eml` of the directory, for `tests/acceptance/test_judges.py`, which
//! knows what was meant: subject, mailboxes, texts, and the SHA-256 of every file.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use mail_parser::{Address, Message, MessageParser, MimeHeaders};
use serde_json::{Value, json};

fn mailboxes(address: Option<&Address<'_>>) -> Value {
    let pair = |one: &mail_parser::Addr<'_>| json!([one.name().unwrap_or(""), one.address()]);
    let list = address.map(|found| found.iter().map(pair).collect::<Vec<_>>());
    json!(list.unwrap_or_default())
}

fn read(name: &str, message: &Message<'_>) -> Value {
    let text = |of: Option<&u32>| {
        let part = of.and_then(|id| message.parts.get(*id as usize));
        part.filter(|part| part.attachment_name().is_none())
            .and_then(|part| part.text_contents())
    };
    let plain = |id: &&u32| !message.parts[**id as usize].is_text_html();
    let html = |id: &&u32| message.parts[**id as usize].is_text_html();
    let is_attached = |part: &&mail_parser::MessagePart<'_>| {
        let disposition = part.content_disposition();
        disposition.is_some_and(|d| d.ctype().eq_ignore_ascii_case("attachment"))
    };
    let file = |part: &mail_parser::MessagePart<'_>| {
        let sha256 = digest::digest(&digest::SHA256, part.contents());
        let hex: String = sha256.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        json!([part.attachment_name().unwrap_or(""), hex])
    };
    json!({
        "name": name,
        "subject": message.subject(),
        "from": mailboxes(message.from()),
        "to": mailboxes(message.to()),
        "text": text(message.text_body.iter().find(plain)),
        "html": text(message.html_body.iter().find(html)),
        "attachments": message.parts.iter().filter(is_attached).map(file).collect::<Vec<_>>(),
    })
}

fn is_whole(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.ends_with(".eml") && !name.contains(".changed."))
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let mut paths = Vec::<PathBuf>::new();
    for entry in std::fs::read_dir(directory)? {
        paths.push(entry?.path());
    }
    let mut out = std::io::stdout().lock();
    for path in paths.iter().filter(|path| is_whole(path)) {
        let octets = std::fs::read(path)?;
        let message = MessageParser::default().parse(&octets);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let found = read(&name, &message.ok_or("no message")?);
        writeln!(out, "{found}")?;
    }
    Ok(())
}
