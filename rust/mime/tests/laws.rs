//! What holds of every message, whatever it was made of. The judge is the crate `mail-parser`.
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use mail_parser::{MessageParser, MimeHeaders, PartType};
use postalynk_mime::{Composed, Draft, Origin, check_fields, parse_address, parse_mailbox};
use proptest::collection::vec;
use proptest::prelude::*;

/// Text for a header: any characters but controls, spiced with what breaks naive composers.
fn header_text() -> impl Strategy<Value = String> {
    let spice = prop_oneof![
        Just("=?utf-8?q?=0ABcc:_x?=".to_owned()),
        Just("=?".to_owned()),
        Just("?=".to_owned()),
        Just("\"Bcc: x\" <y@z.example>, ".to_owned()),
        Just("a".repeat(1200)),
        Just(" \t ".to_owned()),
        Just("日本語の件名".repeat(12)),
        Just("👩‍👩‍👧‍👦".repeat(9)),
        "[a-z]{1,12}( [a-zé]{1,12}){0,30}",
        "\\PC{0,40}",
        "[ -~]{0,90}",
    ];
    vec(spice, 0..3).prop_map(|parts| parts.concat())
}

/// A body: any characters, every kind of line end, long lines, boundary look-alikes.
fn body_text() -> impl Strategy<Value = String> {
    let spice = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just(" \n".to_owned()),
        Just("\t\r\n".to_owned()),
        Just(".\r\n..\r\n".to_owned()),
        Just("\n--=_\n".to_owned()),
        Just("<p class=\"x\">é</p>\n".repeat(4)),
        Just("x".repeat(1000)),
        "\\PC{0,80}",
        any::<String>(),
        "[ -~]{0,200}",
    ];
    vec(spice, 0..12).prop_map(|parts| parts.concat())
}

#[derive(Clone, Debug)]
struct Input {
    name: String,
    subject: String,
    to: Vec<String>,
    text: Option<String>,
    html: Option<String>,
    headers: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>, bool)>,
    seed: u64,
}

fn input() -> impl Strategy<Value = Input> {
    let headers = vec(("X-[A-Za-z0-9]{1,40}", header_text()), 0..3);
    let files = vec(
        (header_text(), vec(any::<u8>(), 0..300), any::<bool>()),
        0..3,
    );
    (
        header_text(),
        header_text(),
        vec(header_text(), 0..6),
        proptest::option::of(body_text()),
        proptest::option::of(body_text()),
        headers,
        files,
        any::<u64>(),
    )
        .prop_map(
            |(name, subject, to, text, html, headers, mut files, seed)| {
                for (name, _, _) in &mut files {
                    while name.len() > 255 {
                        name.pop();
                    }
                }
                Input {
                    name,
                    subject,
                    to,
                    text,
                    html,
                    headers,
                    files,
                    seed,
                }
            },
        )
}

fn compose(input: &Input) -> Composed {
    draft(input).compose()
}

fn draft(input: &Input) -> Draft<'_> {
    let mut draft = Draft::new(Origin {
        from_name: &input.name,
        from_address: "author@example.com",
        message_id: "1.2@example.com",
        date_s: 1_790_000_000,
        seed: input.seed,
    })
    .unwrap();
    for name in &input.to {
        draft.to(name, "someone@example.org").unwrap();
    }
    draft.subject(&input.subject).unwrap();
    for (name, value) in &input.headers {
        // A value that hides a line break is refused, which is a law of its own.
        let _ = draft.header(name, value);
    }
    if let Some(text) = &input.text {
        draft.text(text.as_bytes()).unwrap();
    }
    if let Some(html) = &input.html {
        draft.html(html.as_bytes()).unwrap();
    }
    for (name, content, inline) in &input.files {
        let id = if *inline { "part" } else { "" };
        draft.attach(name, "image/png", id, content).unwrap();
    }
    draft
}

/// Line ends as a message has them.
fn canonical(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\n', "\r\n")
}

fn without_last_line_end(text: &str) -> &str {
    text.strip_suffix("\r\n").unwrap_or(text)
}

/// The field names of a header block, by the plainest reading of RFC 5322 §2.2.
fn names_of(header: &str) -> Vec<String> {
    let begins = |l: &&str| !l.is_empty() && !l.starts_with([' ', '\t']);
    let name = |l: &str| l.split(':').next().unwrap_or_default().to_owned();
    header.split("\r\n").filter(begins).map(name).collect()
}

fn assert_wire_form(bytes: &[u8], header_len: usize) {
    assert!(bytes.ends_with(b"\r\n"));
    assert!(bytes.is_ascii());
    assert!(!bytes.contains(&0));
    let text = std::str::from_utf8(bytes).unwrap();
    let mut at = 0;
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "bare CR or LF in {line:?}");
        assert!(line.len() <= 998, "{} octets", line.len());
        if at < header_len {
            assert!(
                at == 0 || !line.trim().is_empty(),
                "a header line of white space"
            );
            let has_word = line.contains("=?utf-8?");
            assert!(!has_word || line.len() <= 76, "{line}");
        }
        at += line.len() + 2;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn law_wire_form(input in input()) {
        let message = compose(&input);
        assert_wire_form(&message.bytes, message.header_len);
        prop_assert!(!message.needs_smtputf8);
        prop_assert_eq!(compose(&input), message, "equal input, equal octets");
    }

    #[test]
    fn law_intended_headers_only(input in input()) {
        let message = compose(&input);
        let header = std::str::from_utf8(&message.bytes[..message.header_len]).unwrap();
        let mut intended = vec!["From"];
        if !input.to.is_empty() {
            intended.push("To");
        }
        intended.extend(["Subject", "Date", "Message-ID"]);
        let found = names_of(header);
        let customs = found.iter().filter(|n| n.starts_with("X-")).count();
        prop_assert!(customs <= input.headers.len());
        intended.extend(found.iter().filter(|n| n.starts_with("X-")).map(String::as_str));
        intended.extend(["MIME-Version", "Content-Type"]);
        if !header.contains("multipart/") {
            intended.push("Content-Transfer-Encoding");
        }
        if found.iter().any(|n| n == "Content-Disposition") {
            intended.push("Content-Disposition");
        }
        prop_assert_eq!(&found[..intended.len()], &intended[..]);
        prop_assert!(found.len() <= intended.len() + 1, "at most a Content-ID more");
        // The noted places are those fields, without gaps.
        let spans: Vec<u8> = message.fields().flat_map(|(_, f)| f.to_vec()).collect();
        prop_assert_eq!(spans, header.as_bytes());
        for (name, (len, field)) in found.iter().zip(message.fields()) {
            prop_assert_eq!(&field[..len], name.as_bytes());
            prop_assert_eq!(field[len], b':');
        }
    }

    /// Law `intended_fields_only`: what a bug would have to do to put a field in is seen.
    #[test]
    fn law_intended_fields_only(
        input in input(),
        at in any::<prop::sample::Index>(),
        injected in prop_oneof![
            Just("\r\nBcc: x@y.example"),
            Just("\r\nBcc: x@y.example\r\n "),
            Just("\nBcc: x@y.example"),
            Just("\r\n\r\n<html>"),
            Just("\r\nno field at all\r\n"),
        ],
    ) {
        let draft = draft(&input);
        let message = draft.compose();
        prop_assert_eq!(check_fields(&[&message.bytes], draft.field_names()), Ok(()));
        // Signatures come in segments of their own.
        let signed: [&[u8]; 2] = [b"DKIM-Signature: v=1;\r\n b=x\r\n", &message.bytes];
        let names = || std::iter::once(&b"DKIM-Signature"[..]).chain(draft.field_names());
        prop_assert_eq!(check_fields(&signed, names()), Ok(()));
        let split: [&[u8]; 2] = [b"DKIM-Signature: v=1;\r\n\r\n", &message.bytes];
        prop_assert!(check_fields(&split, names()).is_err());
        // The last field is ours alone; cut short there, a header would still have all its fields.
        let at = at.index(message.fields[message.fields.len() - 1].range().start);
        let (before, after) = message.bytes.split_at(at);
        let changed = [before, injected.as_bytes(), after].concat();
        let found = check_fields(&[&changed], draft.field_names());
        prop_assert!(found.is_err(), "{injected:?} at {at}");
        prop_assert!(found.unwrap_err().to_string().contains("nothing was sent"));
    }

    #[test]
    fn law_reads_back(input in input()) {
        let message = compose(&input);
        let parsed = MessageParser::default().parse(&message.bytes).unwrap();
        if !input.subject.trim().is_empty() {
            prop_assert_eq!(parsed.subject().unwrap(), &input.subject);
        }
        prop_assert_eq!(parsed.message_id(), Some("1.2@example.com"));
        prop_assert_eq!(parsed.date().unwrap().to_timestamp(), 1_790_000_000);
        let from = parsed.from().unwrap().first().unwrap();
        prop_assert_eq!(from.address(), Some("author@example.com"));
        if !input.name.trim().is_empty() {
            prop_assert_eq!(from.name().unwrap(), &input.name);
        }
        let to = parsed.to().map_or(0, |list| list.iter().count());
        prop_assert_eq!(to, input.to.len());
        if let Some(text) = &input.text {
            let part = parsed.parts.iter().find(|p| matches!(p.body, PartType::Text(_))).unwrap();
            let (want, got) = (canonical(text), part.text_contents().unwrap());
            prop_assert_eq!(without_last_line_end(got), without_last_line_end(&want));
        }
        if let Some(html) = &input.html {
            let part = parsed.parts.iter().find(|p| matches!(p.body, PartType::Html(_))).unwrap();
            let (want, got) = (canonical(html), part.text_contents().unwrap());
            prop_assert_eq!(without_last_line_end(got), without_last_line_end(&want));
        }
        let is_file = |p: &&mail_parser::MessagePart<'_>| p.content_disposition().is_some();
        let mut files: Vec<_> = parsed.parts.iter().filter(is_file).collect();
        prop_assert_eq!(files.len(), input.files.len());
        // Inline parts stand before the others.
        let has_html = input.html.is_some();
        let mut intended: Vec<_> = input.files.iter().collect();
        intended.sort_by_key(|(_, _, inline)| !(has_html && *inline));
        for (part, (name, content, _)) in files.drain(..).zip(intended) {
            prop_assert_eq!(part.contents(), &content[..]);
            if !name.trim().is_empty() {
                prop_assert_eq!(part.attachment_name().unwrap_or_default(), name);
            }
        }
    }

    #[test]
    fn law_address_parse_is_stable(text in "\\PC{0,20}@\\PC{0,20}|[ -~]{0,60}|[a-zé.]{1,9}@[A-Za-zéß.-]{1,20}\\.[a-z]{2,5}") {
        if let Ok(address) = parse_address(&text) {
            let again = parse_address(address.as_str()).unwrap();
            prop_assert_eq!(again.as_str(), address.as_str());
            prop_assert!(address.domain().is_ascii());
            prop_assert!(address.as_str().len() <= 254);
            let bracketed = format!("<{address}>");
            let mailbox = parse_mailbox(&bracketed).unwrap();
            prop_assert_eq!(mailbox.address(), &again);
        }
        let _ = parse_mailbox(&text);
    }
}
