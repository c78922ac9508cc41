//! Single values and trees: what is accepted, what is refused and in which words.
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use postalynk_mime::{
    AddressError, Composed, Draft, Error, Field, Header, Origin, Reason, parse_address,
    parse_mailbox,
};

fn draft() -> Draft<'static> {
    Draft::new(Origin {
        from_name: "",
        from_address: "a@example.com",
        message_id: "1@example.com",
        date_s: 0,
        seed: 7,
    })
    .unwrap()
}

fn text_of(message: &Composed) -> String {
    String::from_utf8(message.bytes.clone()).unwrap()
}

/// The value of a field, unfolded.
fn value_of(message: &Composed, name: &str) -> String {
    let found = message
        .fields()
        .find(|(len, field)| field[..*len] == *name.as_bytes());
    let (len, field) = found.unwrap();
    let value = std::str::from_utf8(&field[len + 1..]).unwrap();
    value.replace("\r\n", "").trim().to_owned()
}

#[test]
fn a_small_message_is_exactly_this() {
    let mut draft = draft();
    draft.to("Ann Lee", "ann@example.org").unwrap();
    draft.subject("Hi").unwrap().text(b"one\ntwo").unwrap();
    draft.header("X-Tag", "blue").unwrap();
    assert_eq!(
        text_of(&draft.compose()),
        "From: a@example.com\r\nTo: Ann Lee <ann@example.org>\r\nSubject: Hi\r\n\
         Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nX-Tag: blue\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo\r\n"
    );
}

#[test]
fn addresses_are_read() {
    for (text, want) in [
        ("a@b.example", "a@b.example"),
        ("First.Last+tag@EXAMPLE.Com", "First.Last+tag@example.com"),
        ("\"a b\\\"c\"@b.example", "\"a b\\\"c\"@b.example"),
        ("x@münchen.example", "x@xn--mnchen-3ya.example"),
        ("x@xn--mnchen-3ya.example", "x@xn--mnchen-3ya.example"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ("o'neil@a-b.co", "o'neil@a-b.co"),
    ] {
        assert_eq!(parse_address(text).unwrap().as_str(), want);
    }
    assert!(parse_address("用户@b.example").unwrap().needs_smtputf8());
    assert!(!parse_address("x@münchen.example").unwrap().needs_smtputf8());
}

#[test]
fn addresses_are_refused_with_the_reason() {
    use AddressError as E;
    let long = format!("{}@b.example", "l".repeat(65));
    let far = format!("a@{}.example", vec!["d".repeat(60); 5].join("."));
    for (text, want) in [
        ("", E::Empty),
        ("plain", E::NoAt),
        ("two words", E::NoAt),
        ("@b.example", E::NoLocalPart),
        ("a@", E::NoDomain),
        (&long, E::LocalTooLong(65)),
        (&far, E::TooLong(312)),
        ("a b@c.example", E::LocalChar { ch: ' ', at: 1 }),
        ("a\r\n@c.example", E::LocalChar { ch: '\r', at: 1 }),
        ("\"a\nb\"@c.example", E::LocalChar { ch: '\n', at: 2 }),
        (
            "a\u{202e}@c.example",
            E::LocalChar {
                ch: '\u{202e}',
                at: 1,
            },
        ),
        (".a@c.example", E::LocalDot(0)),
        ("a..b@c.example", E::LocalDot(2)),
        ("a.@c.example", E::LocalDot(1)),
        ("\"a@c.example", E::LocalQuote),
        ("a@[192.0.2.1]", E::Literal),
        ("a@192.0.2.1", E::Literal),
        ("a@b@c.example", E::DomainChar { ch: '@', at: 3 }),
        ("a@c.example\n", E::DomainChar { ch: '\n', at: 11 }),
        ("a@c_d.example", E::DomainChar { ch: '_', at: 3 }),
        (
            "a@c.example, b@c.example",
            E::DomainChar { ch: ',', at: 11 },
        ),
        ("a@-c.example", E::DomainLabel("-c".into())),
        ("a@c..example", E::DomainLabel(String::new())),
        ("a@c.example.", E::DomainLabel(String::new())),
        ("a@localhost", E::DomainNotQualified("localhost".into())),
        (
            "a@xn--\u{e9}.example",
            E::DomainIdna("xn--\u{e9}.example".into()),
        ),
    ] {
        assert_eq!(parse_address(text), Err(want), "{text:?}");
    }
}

#[test]
fn mailboxes_are_read() {
    for (text, name, address) in [
        ("a@b.example", "", "a@b.example"),
        (" <a@b.example> ", "", "a@b.example"),
        ("Ann Lee <a@b.example>", "Ann Lee", "a@b.example"),
        ("Zoë <a@b.example>", "Zoë", "a@b.example"),
        (
            "\"Lee, \\\"Ann\\\"\" <a@b.example>",
            "Lee, \"Ann\"",
            "a@b.example",
        ),
        ("\"a<b\"@b.example", "", "\"a<b\"@b.example"),
        ("a@b.example <a@b.example>", "a@b.example", "a@b.example"),
    ] {
        let mailbox = parse_mailbox(text).unwrap();
        assert_eq!(
            (mailbox.name(), mailbox.address().as_str()),
            (name, address)
        );
    }
}

#[test]
fn mailboxes_are_refused_with_the_reason() {
    use AddressError as E;
    for (text, want) in [
        ("Lee, Ann <a@b.example>", E::NameChar { ch: ',', at: 3 }),
        ("x <a@b.example>, y <c@d.example>", E::Angle),
        ("x <a@b.example", E::Angle),
        ("x <a@b.example> y", E::Angle),
        ("\"x <a@b.example>", E::NameQuote),
        (
            "x\r\nBcc: y <a@b.example>",
            E::NameControl { code: 13, at: 1 },
        ),
        ("x <>", E::Empty),
    ] {
        assert_eq!(parse_mailbox(text), Err(want), "{text:?}");
    }
}

#[test]
fn headers_are_refused_with_their_name() {
    let words = |name: &str, value: &str| Header::new(name, value).unwrap_err().to_string();
    for name in [
        "From",
        "bcc",
        "Content-Type",
        "DKIM-Signature",
        "Received",
        "Return-Path",
        "Sender",
    ] {
        let error = Header::new(name, "x").unwrap_err();
        assert_eq!(error.field, Field::Header(name.into()));
        assert!(matches!(error.reason, Reason::Reserved(_)), "{error}");
    }
    assert_eq!(
        words("X-A", "x\r\nBcc: y"),
        "headers[\"X-A\"]: contains the control character U+000D at offset 1"
    );
    assert_eq!(
        words("X A", "x"),
        "headers[\"X A\"]: contains the illegal character ' ' at offset 1"
    );
    for hidden in [
        "=?utf-8?q?a=0ABcc:_y?=",
        "x =?UTF-8?Q?=0d=0a?=",
        "=?utf-8?b?YQpCY2M6IHk=?=",
        "=?utf-8?b?YQpCY2M6IHk",
        "=?utf-8*en?q?=00?=",
        "=?utf-7?q?+AAo-?=",
    ] {
        let error = Header::new("X-A", hidden).unwrap_err();
        assert!(
            matches!(error.reason, Reason::EncodedControl { .. }),
            "{hidden}: {error}"
        );
    }
    assert!(Header::new("X-A", "=?utf-8?q?caf=C3=A9?=").is_ok());
    let long = format!("<https://x.example/{}>", "u".repeat(1000));
    assert!(matches!(
        Header::new("List-Unsubscribe", &long).unwrap_err().reason,
        Reason::TooLong { limit: 997, .. }
    ));
    let mut draft = draft();
    draft
        .header("List-Unsubscribe", "<https://x.example/1>")
        .unwrap();
    assert_eq!(
        draft
            .header("list-unsubscribe", "<https://x.example/2>")
            .unwrap_err(),
        Error {
            field: Field::Header("list-unsubscribe".into()),
            reason: Reason::Repeated
        }
    );
}

#[test]
fn errors_name_the_field() {
    let mut draft = draft();
    draft.to("", "b@example.org").unwrap();
    assert_eq!(
        draft.to("", "b@").unwrap_err().to_string(),
        "to[1]: has nothing after the @"
    );
    assert_eq!(
        draft.subject("a\nb").unwrap_err().to_string(),
        "subject: contains the control character U+000A at offset 1"
    );
    assert_eq!(
        draft.html(b"ok\xff").unwrap_err().to_string(),
        "html: is not UTF-8 at offset 2"
    );
    let wrong = |name, kind, id| {
        draft
            .clone()
            .attach(name, kind, id, b"")
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        wrong("a", "png", ""),
        "attachments[0].content_type: is not of the form type/subtype; name=value"
    );
    assert_eq!(
        wrong("a\0", "", ""),
        "attachments[0].filename: contains the control character U+0000 at offset 1"
    );
    assert_eq!(
        wrong("a", "", "x y"),
        "attachments[0].content_id: contains the illegal character ' ' at offset 1"
    );
    assert!(wrong("a", "multipart/mixed", "").contains("single part"));
    assert!(wrong("a", "text/plain; boundary=x", "").contains("name and boundary"));
    assert!(wrong("a", "text/plain; x=\"y\r\n\"", "").contains("control"));
}

#[test]
fn lists_of_headers_pass_unencoded() {
    let mut draft = draft();
    let url = format!(
        "<https://x.example/{}>, <mailto:u@x.example?subject=out>",
        "u".repeat(300)
    );
    draft.header("List-Unsubscribe", &url).unwrap();
    draft
        .header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
        .unwrap();
    let message = draft.compose();
    assert_eq!(value_of(&message, "List-Unsubscribe"), url);
    assert_eq!(
        value_of(&message, "List-Unsubscribe-Post"),
        "List-Unsubscribe=One-Click"
    );
}

/// The types of all parts in order, from a draft with the pieces named.
fn kinds(text: bool, html: bool, inline: bool, file: bool) -> Vec<String> {
    let mut draft = draft();
    if text {
        draft.text(b"t").unwrap();
    }
    if html {
        draft.html(b"<p>h</p>").unwrap();
    }
    if file {
        draft
            .attach("f.ics", "text/calendar; method=REQUEST", "", b"f")
            .unwrap();
    }
    if inline {
        draft.attach("i.png", "image/png", "i", b"i").unwrap();
    }
    let text = text_of(&draft.compose());
    let kind = |l: &str| {
        l.strip_prefix("Content-Type: ")
            .map(|v| v.split(';').next().unwrap().to_owned())
    };
    text.split("\r\n").filter_map(kind).collect()
}

#[test]
fn the_tree_is_the_smallest_that_holds_the_parts() {
    assert_eq!(kinds(false, false, false, false), ["text/plain"]);
    assert_eq!(kinds(true, false, false, false), ["text/plain"]);
    assert_eq!(kinds(false, true, false, false), ["text/html"]);
    assert_eq!(
        kinds(true, true, false, false),
        ["multipart/alternative", "text/plain", "text/html"]
    );
    assert_eq!(
        kinds(false, true, true, false),
        ["multipart/related", "text/html", "image/png"]
    );
    assert_eq!(
        kinds(true, false, true, false),
        ["multipart/mixed", "text/plain", "image/png"]
    );
    assert_eq!(
        kinds(false, false, false, true),
        ["multipart/mixed", "text/calendar"]
    );
    assert_eq!(
        kinds(true, true, true, true),
        [
            "multipart/mixed",
            "multipart/alternative",
            "text/plain",
            "multipart/related",
            "text/html",
            "image/png",
            "text/calendar"
        ]
    );
}

#[test]
fn a_boundary_in_the_text_is_avoided() {
    let mut first = draft();
    first.text(b"x").unwrap().html(b"y").unwrap();
    let value = value_of(&first.compose(), "Content-Type");
    let boundary = value.split('"').nth(1).unwrap().to_owned();
    let text = format!("--{boundary}\r\n--{boundary}--\r\n");
    let mut second = draft();
    second.text(text.as_bytes()).unwrap().html(b"y").unwrap();
    let message = second.compose();
    assert!(!value_of(&message, "Content-Type").contains(&boundary));
    assert_eq!(text_of(&message).matches(&boundary).count(), 2);
}

#[test]
fn the_cheapest_encoding_is_taken() {
    let transfer = |text: &str| {
        let mut draft = draft();
        draft.text(text.as_bytes()).unwrap();
        value_of(&draft.compose(), "Content-Transfer-Encoding")
    };
    assert_eq!(transfer("plain\r\ntext\t."), "7bit");
    assert_eq!(transfer(&"x".repeat(998)), "7bit");
    assert_eq!(transfer(&"x".repeat(999)), "quoted-printable");
    assert_eq!(
        transfer("an octet\0of a kind text has not"),
        "quoted-printable"
    );
    assert_eq!(
        transfer("Viele Grüße aus dem sonnigen Köln, bis bald"),
        "quoted-printable"
    );
    assert_eq!(transfer("こんにちは世界"), "base64");
}

#[test]
fn a_message_attached_is_never_encoded() {
    let mut draft = draft();
    draft
        .attach("m.eml", "message/rfc822", "", b"Subject: x\n\nhello\n")
        .unwrap();
    draft
        .attach(
            "n.eml",
            "message/rfc822",
            "",
            "Subject: é\n\nhello\n".as_bytes(),
        )
        .unwrap();
    let text = text_of(&draft.compose());
    assert!(text.contains("message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n"));
    assert!(text.contains("Subject: x\r\n\r\nhello\r\n"));
    assert!(text.contains("application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"));
}

#[test]
fn file_names_have_an_ascii_fallback() {
    let mut draft = draft();
    draft
        .attach("Übersicht \"2026\".pdf", "application/pdf", "", b"x")
        .unwrap();
    let text = text_of(&draft.compose()).replace("\r\n ", " ");
    assert!(
        text.contains("attachment; filename*=utf-8''%C3%9Cbersicht%20%222026%22.pdf;"),
        "{text}"
    );
    assert!(
        text.contains("filename=\"_bersicht \\\"2026\\\".pdf\""),
        "{text}"
    );
}

#[test]
fn internationalized_addresses_are_reported() {
    let mut draft = draft();
    draft.to("", "用户@例え.jp").unwrap();
    let message = draft.compose();
    assert!(message.needs_smtputf8);
    assert!(text_of(&message).contains("To: 用户@xn--r8jz45g.jp\r\n"));
}

#[test]
fn a_calendar_object_is_a_third_way_to_read_the_message() {
    let mut draft = draft();
    draft.text(b"Come!").unwrap().html(b"<p>Come!").unwrap();
    let object = "BEGIN:VCALENDAR\r\nSUMMARY:Caf\u{e9}\r\nEND:VCALENDAR\r\n";
    draft.calendar("request", object.as_bytes()).unwrap();
    let text = text_of(&draft.compose());
    let types: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Content-Type: "))
        .collect();
    assert_eq!(
        types[1..],
        [
            "text/plain; charset=us-ascii",
            "text/html; charset=us-ascii",
            "text/calendar; charset=utf-8; method=REQUEST",
        ]
    );
    assert!(types[0].starts_with("multipart/alternative;"));
    let error = draft.calendar("SURPRISE", b"").unwrap_err();
    assert_eq!(error.field, Field::Calendar);
}

#[test]
fn a_calendar_object_alone_is_the_whole_body() {
    let mut draft = draft();
    draft.calendar("CANCEL", b"BEGIN:VCALENDAR\n").unwrap();
    let composed = draft.compose();
    assert_eq!(
        value_of(&composed, "Content-Type"),
        "text/calendar; charset=utf-8; method=CANCEL"
    );
    assert_eq!(composed.body(), b"BEGIN:VCALENDAR\r\n");
}
