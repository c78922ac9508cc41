//! Hostile octets: whatever an application or a client hands over, it is refused or it is one message
//! with the intended fields. `make test` tries some thousands each; `make soak` a million
//! (`BOLERO_RANDOM_ITERATIONS`).
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use postalynk_mime::{
    Draft, FieldNames, Header, Origin, check_fields, parse_address, parse_mailbox, plain_text,
    to_seven_bit,
};

fn iterations() -> usize {
    let wanted = std::env::var("BOLERO_RANDOM_ITERATIONS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(3_000)
}

fn assert_lines(message: &[u8], header_len: usize) {
    let text = std::str::from_utf8(message).unwrap();
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "a bare line end");
        assert!(line.len() <= 998, "{} octets", line.len());
    }
    assert!(text.ends_with("\r\n") && text.is_char_boundary(header_len));
    assert!(text[header_len..].starts_with("\r\n"));
}

type Parts = (String, String, String, (String, String), (Vec<u8>, Vec<u8>));

#[test]
fn fuzz_compose() {
    bolero::check!()
        .with_iterations(iterations())
        .with_type::<(Parts, (String, String, Vec<u8>), u64)>()
        .for_each(|((name, address, subject, custom, texts), file, seed)| {
            let origin = Origin {
                from_name: name,
                from_address: "author@example.com",
                message_id: "1@example.com",
                date_s: *seed >> 28,
                seed: *seed,
            };
            let Ok(mut draft) = Draft::new(origin) else {
                return;
            };
            // What is refused leaves the draft as it was.
            let _ = draft.to(name, address).is_ok();
            let _ = draft.cc(subject, "someone@example.org").is_ok();
            let _ = draft.subject(subject).is_ok();
            let _ = draft.header(&custom.0, &custom.1).is_ok();
            let _ = draft.header("X-Any", &custom.0).is_ok();
            let _ = draft.text(&texts.0).is_ok();
            let _ = draft.html(&texts.1).is_ok();
            let (filename, kind, content) = file;
            let _ = draft
                .attach(filename, kind, custom.0.as_str(), content)
                .is_ok();
            let _ = draft
                .attach(filename, "message/rfc822", "", content)
                .is_ok();
            let message = draft.compose();
            assert_lines(&message.bytes, message.header_len);
            assert_eq!(check_fields(&[&message.bytes], draft.field_names()), Ok(()));
            assert!(message.bytes.is_ascii() || message.needs_smtputf8);
        });
}

#[test]
fn fuzz_address() {
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            let text = String::from_utf8_lossy(octets);
            let near = [format!("{text}@example.com"), format!("a@{text}.example")];
            for text in near.iter().map(String::as_str).chain([&*text]) {
                if let Ok(address) = parse_address(text) {
                    let again = parse_address(address.as_str()).unwrap();
                    assert_eq!(again.as_str(), address.as_str());
                    assert!(address.domain().is_ascii() && address.as_str().len() <= 254);
                    assert!(!address.as_str().chars().any(char::is_control));
                }
                for text in [text.to_owned(), format!("{text} <a@b.example>")] {
                    if let Ok(mailbox) = parse_mailbox(&text) {
                        assert!(!mailbox.name().chars().any(|c| c.is_control() && c != '\t'));
                    }
                }
            }
        });
}

/// A value that is taken is one field, folded where white space was, and unfolds to itself.
#[test]
fn fuzz_header_folding() {
    bolero::check!()
        .with_iterations(iterations())
        .with_type::<(Vec<u8>, u8)>()
        .for_each(|(octets, spaces)| {
            // Mostly words, so that there is something to fold.
            let every = usize::from(*spaces % 40) + 1;
            let lossy = String::from_utf8_lossy(octets);
            let spaced: String = lossy
                .chars()
                .enumerate()
                .map(|(n, c)| if n % every == 0 { ' ' } else { c })
                .collect();
            for value in [&*lossy, &spaced, &spaced.repeat(40)] {
                for name in ["X-Any", "References", "List-Id"] {
                    if Header::new(name, value).is_err() {
                        continue;
                    }
                    let mut draft = Draft::new(Origin {
                        from_name: "",
                        from_address: "author@example.com",
                        message_id: "1@example.com",
                        date_s: 0,
                        seed: 0,
                    })
                    .unwrap();
                    draft.header(name, value).unwrap();
                    let message = draft.compose();
                    assert_lines(&message.bytes, message.header_len);
                    assert_eq!(check_fields(&[&message.bytes], draft.field_names()), Ok(()));
                    let field = message
                        .fields()
                        .find(|(len, field)| field[..*len] == *name.as_bytes())
                        .unwrap()
                        .1;
                    let text = std::str::from_utf8(field).unwrap();
                    assert!(text.lines().all(|line| line.len() <= 998));
                    let lines = text.trim_end_matches("\r\n").split("\r\n");
                    assert!(
                        lines
                            .skip(1)
                            .all(|l| l.starts_with([' ', '\t']) && !l.trim().is_empty())
                    );
                    let is_plain = value.bytes().all(|b| (b' '..0x7f).contains(&b));
                    if is_plain && !value.contains("=?") && !text.contains("=?") {
                        let unfolded = text.replace("\r\n", "");
                        assert_eq!(unfolded[name.len() + 1..].trim(), value.trim());
                    }
                }
            }
        });
}

#[test]
fn fuzz_plain_text() {
    bolero::check!()
        .with_iterations(iterations() / 4)
        .for_each(|octets: &[u8]| {
            let html = String::from_utf8_lossy(octets);
            let _ = plain_text(&html);
            let _ = plain_text(&format!("<table><tr><td>{html}</td></tr></table>"));
        });
}

/// A message of somebody else, noise or near the form.
#[test]
fn fuzz_seven_bit() {
    bolero::check!()
        .with_iterations(iterations())
        .with_type::<(Vec<u8>, Vec<u8>, u8)>()
        .for_each(|(one, two, form)| {
            let kinds: [&[u8]; 6] = [
                b"Content-Type: text/plain\r\n",
                b"Content-Transfer-Encoding: 8bit\r\n",
                b"Content-Type: message/rfc822\r\n",
                b"Content-Type: message/global\r\n",
                b"Content-Type: multipart/digest; boundary=\"-\"\r\n",
                b"",
            ];
            let kind = kinds[usize::from(*form) % kinds.len()];
            let head = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
            let near = [
                &head[..],
                b"--b\r\n",
                kind,
                b"\r\n",
                one,
                b"\r\n--b\r\n",
                kind,
                two,
                b"\r\n---\r\n",
                one,
                b"\r\n-----\r\n--b--\r\n",
            ];
            for message in [one.clone(), [kind, b"\r\n", two].concat(), near.concat()] {
                let Ok(done) = to_seven_bit(&message) else {
                    assert!(!message.is_ascii());
                    continue;
                };
                assert!(done.bytes.is_ascii());
                let added = done.added_fields.iter().map(|name| name.as_bytes());
                assert!(FieldNames::of(&done.bytes).eq(FieldNames::of(&message).chain(added)));
                assert_eq!(to_seven_bit(&done.bytes).unwrap().bytes, done.bytes);
            }
        });
}
