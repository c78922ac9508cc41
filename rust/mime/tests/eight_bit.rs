//! Messages of others, rewritten for receivers without 8BITMIME. The judge is the crate `mail-parser`.
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use postalynk_mime::{FieldNames, NotSevenBit, to_seven_bit};
use proptest::collection::vec;
use proptest::prelude::*;

fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

fn rewritten(text: &str) -> Result<String, NotSevenBit> {
    let done = to_seven_bit(crlf(text).as_bytes())?;
    assert!(done.bytes.is_ascii());
    Ok(String::from_utf8(done.bytes).unwrap().replace("\r\n", "\n"))
}

#[test]
fn a_text_is_encoded_the_shorter_way_and_its_header_stays() {
    let head = "Received: x\n\ty\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n";
    assert_eq!(
        rewritten(&format!("{head}\nGrüße aus einem Satz =\n")).unwrap(),
        format!(
            "{head}Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe aus einem Satz =3D\n"
        )
    );
    assert_eq!(
        rewritten(&format!("content-transfer-encoding: 8bit\n{head}\n日本\n")).unwrap(),
        format!("content-transfer-encoding: base64\n{head}\n5pel5pysDQo=\n")
    );
    // An encoding that was declared needlessly is corrected; what is ASCII stays.
    assert_eq!(
        rewritten(&format!(
            "Content-Transfer-Encoding: binary (x)\n{head}\nHi\n"
        ))
        .unwrap(),
        format!("Content-Transfer-Encoding: 7bit\n{head}\nHi\n")
    );
    assert_eq!(rewritten("A: b\n\nHi\n").unwrap(), "A: b\n\nHi\n");
}

#[test]
fn what_was_no_mime_becomes_it() {
    let done = to_seven_bit(b"From: a@b.example\r\n\r\nGr\xfc\xdfe\r\n").unwrap();
    let added = ["MIME-Version", "Content-Type", "Content-Transfer-Encoding"];
    assert_eq!(done.added_fields, added);
    assert_eq!(
        String::from_utf8(done.bytes).unwrap(),
        "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n"
    );
}

#[test]
fn only_the_parts_with_eight_bit_octets_change() {
    let before = "MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"a b\"
Content-Transfer-Encoding: 8bit

preämble
--a b
Content-Type: text/plain; charset=utf-8

Grüße aus einem Satz
--a b 
Content-Type: image/x
Content-Transfer-Encoding: 8bit

ü
--a b
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Subject: within
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8

<b>é</b>

--a b
Content-Type: image/png
Content-Transfer-Encoding: base64

AAAA
--a b--
epilögue
";
    let after = "MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"a b\"
Content-Transfer-Encoding: 7bit

pre??mble
--a b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe aus einem Satz
--a b 
Content-Type: image/x
Content-Transfer-Encoding: base64

w7w=

--a b
Content-Type: message/rfc822
Content-Transfer-Encoding: 7bit

Subject: within
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<b>=C3=A9</b>

--a b
Content-Type: image/png
Content-Transfer-Encoding: base64

AAAA
--a b--
epil??gue
";
    assert_eq!(rewritten(before).unwrap(), after);
}

#[test]
fn no_line_becomes_a_delimiter() {
    // 75 columns, then what a soft line break would put at the start of a line.
    let line = format!("é{}--b and more", "x".repeat(69));
    let text = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n{line}\n--b--\n");
    let done = rewritten(&text).unwrap();
    assert_eq!(done.matches("\n--b").count(), 2, "{done}");
    assert!(done.contains("base64"), "{done}");
}

#[test]
fn what_may_not_be_changed_or_can_be_read_in_two_ways_is_refused() {
    let signed = "Content-Type: multipart/signed; boundary=b\n\n--b\n\né\n--b--\n";
    let status = "Content-Type: message/delivery-status\n\né\n";
    let two = "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\né\n";
    let nested = "Content-Type: message/rfc822\n\n".repeat(40) + "\né\n";
    for (message, why) in [
        ("Subject: é\n\nHi\n", NotSevenBit::HeaderField),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: é\n\nHi\n--b--\n",
            NotSevenBit::HeaderField,
        ),
        (signed, NotSevenBit::Signed),
        (status, NotSevenBit::Unencodable),
        (
            "Content-Transfer-Encoding: base64\n\né\n",
            NotSevenBit::Declared,
        ),
        (
            "Content-Transfer-Encoding: x-uu\n\né\n",
            NotSevenBit::Declared,
        ),
        (
            "Content-Type: multipart/mixed\n\né\n",
            NotSevenBit::Boundary,
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\né\n",
            NotSevenBit::Boundary,
        ),
        (two, NotSevenBit::Ambiguous),
        ("no field\n\né\n", NotSevenBit::Ambiguous),
        (&nested, NotSevenBit::TooDeep),
    ] {
        assert_eq!(rewritten(message), Err(why), "{message}");
    }
    // None of that matters where there is nothing to encode.
    let beside = format!(
        "Content-Type: multipart/mixed; boundary=m\n\n--m\n{}--m\n\né\n--m--\n",
        signed.replace('é', "e")
    );
    assert!(
        rewritten(&beside)
            .unwrap()
            .contains(&signed.replace('é', "e"))
    );
}

/// A body without what could be a delimiter; the judge takes one for it in the middle of a line, too.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n".as_bytes().to_vec()),
        Just(" \r\n".as_bytes().to_vec()),
        Just("é".as_bytes().to_vec()),
        Just("日本語".as_bytes().to_vec()),
        Just(vec![0xff, 0xfe]),
        Just(b"x".repeat(73)),
        "[ -~]{0,40}".prop_map(String::into_bytes),
    ];
    vec(piece, 0..12).prop_map(|pieces| {
        let mut joined = pieces.concat();
        while let Some(at) = joined.windows(3).position(|w| w == b"--b") {
            joined[at] = b'+';
        }
        joined
    })
}

#[derive(Clone, Debug)]
enum Tree {
    Leaf(&'static str, Vec<u8>),
    Enclosed(Box<Tree>),
    Many(Vec<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let kind = prop::sample::select(vec![
        "",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        "Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n",
        "Content-Disposition: attachment; filename=x\r\nContent-Type: application/x\r\n",
    ]);
    let leaf = (kind, body()).prop_map(|(kind, body)| Tree::Leaf(kind, body));
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| Tree::Enclosed(Box::new(one))),
            vec(inner, 1..4).prop_map(Tree::Many),
        ]
    })
}

impl Tree {
    fn write(&self, depth: usize, out: &mut Vec<u8>) {
        match self {
            Self::Leaf(kind, body) => {
                out.extend_from_slice(kind.as_bytes());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(body);
            }
            Self::Enclosed(inner) => {
                out.extend_from_slice(
                    b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\nMIME-Version: 1.0\r\n",
                );
                inner.write(depth, out);
            }
            Self::Many(parts) => {
                let head = format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n");
                out.extend_from_slice(head.as_bytes());
                for part in parts {
                    out.extend_from_slice(format!("--b{depth}\r\n").as_bytes());
                    part.write(depth + 1, out);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(format!("--b{depth}--\r\n").as_bytes());
            }
        }
    }
}

/// Every leaf as a reader gives it to its user, in order.
fn leaves(message: &Message<'_>, found: &mut Vec<(Option<String>, Vec<u8>)>) {
    for part in &message.parts {
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Message(inner) => leaves(inner, found),
            PartType::Text(text) | PartType::Html(text) => {
                found.push((
                    part.content_type().map(|t| format!("{t:?}")),
                    text.as_bytes().to_vec(),
                ));
            }
            PartType::Binary(octets) | PartType::InlineBinary(octets) => {
                found.push((
                    part.content_type().map(|t| format!("{t:?}")),
                    octets.to_vec(),
                ));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Law `seven_bit_reads_back`: a reader finds the same parts with the same content.
    #[test]
    fn law_seven_bit_reads_back(tree in tree()) {
        let mut before = b"From: a@b.example\r\nMIME-Version: 1.0\r\n".to_vec();
        tree.write(0, &mut before);
        let done = to_seven_bit(&before).unwrap();
        prop_assert!(done.bytes.is_ascii());
        let (mut was, mut is) = (Vec::new(), Vec::new());
        leaves(&MessageParser::default().parse(&before).unwrap(), &mut was);
        leaves(&MessageParser::default().parse(&done.bytes).unwrap(), &mut is);
        prop_assert_eq!(was, is);
    }

    /// Law `seven_bit_changes_nothing_else`: fields keep their names and order, none is added but those
    /// told; a second time nothing is left to do; a message without 8-bit octets stays as it is.
    #[test]
    fn law_seven_bit_changes_nothing_else(tree in tree(), is_mime in any::<bool>()) {
        let mut before = b"From: a@b.example\r\n".to_vec();
        if is_mime {
            before.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        tree.write(0, &mut before);
        let done = to_seven_bit(&before).unwrap();
        let added = done.added_fields.iter().map(|name| name.as_bytes());
        let names = FieldNames::of(&before).chain(added);
        prop_assert!(FieldNames::of(&done.bytes).eq(names));
        let again = to_seven_bit(&done.bytes).unwrap();
        prop_assert_eq!(&again.bytes, &done.bytes);
        prop_assert!(again.added_fields.is_empty());
        if before.is_ascii() && !before.windows(7).any(|w| w == b": 8bit\r" || w == b": binar") {
            prop_assert_eq!(&done.bytes, &before);
        }
    }
}
