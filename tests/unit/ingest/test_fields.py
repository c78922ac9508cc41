"""Every field, every kind of wrong value: 4xx with field, value and fix, and nothing is queued."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from postalynk.control.values import DkimKey, Domain
from tests.unit.ingest.service import Service, message, read

WRONG_TYPES = [0, 1.5, True, {"a": 1}]
NOT_IN_A_HEADER = [
    "a\r\nBcc: x@evil.example",
    "a\nb",
    "a\rb",
    "a\0b",
    "a\x1bb",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "=?utf-8?q?a=0AB?=",
    "=?utf-8?Q?a=0d=0aB?=",
    "=?utf-8?b?YQpi?=",
    "=?UTF-8?B?YQ1i?=",
    "=?utf-8?b?YQBi",
    "=?utf-7?q?+AAo-?=",
    "a\ud800b",
]
ENCODED = ["a%0Ab", "a%0d%0aBcc: x@evil.example", "a%00b"]
FILE = {"filename": "a.txt", "content": "aGk="}
B64 = base64.b64encode(b"hi").decode()


def cases() -> list[tuple[str, dict[str, Any], str]]:
    """(name, request, field that must be named)."""
    table: list[tuple[str, dict[str, Any], str]] = []

    def add(name: str, field: str, /, **changes: Any) -> None:
        table.append((f"{field}: {name}", message(**changes), field))

    for name in ("from_", "to", "subject"):
        add("missing", name.rstrip("_"), **{name: ...})
        add("null", name.rstrip("_"), **{name: None})
    for name in ("from_", "subject", "html", "text", "expires_at"):
        for wrong in [*WRONG_TYPES, ["x"]]:
            add(f"{wrong!r}", name.rstrip("_"), **{name: wrong})
    add_breaks(add)
    add_mailboxes(add)
    add("long", "subject", subject="x" * 999)
    add("empty", "to", to=[])
    for name in ("html", "text"):
        add("NUL", name, **{name: "a\0b"})
        add("surrogate", name, **{name: "a\udfffb"})
    add("no content", "html", text=...)
    add("empty content", "html", text="", html="", attachments=[])
    add_headers(add)
    add_attachments(add)
    add_tags(add)
    for wrong in [*WRONG_TYPES, "urgent", "HIGH", ""]:
        add(f"{wrong!r}", "priority", priority=wrong)
    for text in ("", "tomorrow", "2030-01-31", "2030-01-31T12:00:00", "2001-01-01T00:00:00Z"):
        add(f"{text!r}", "expires_at", expires_at=text)
    for name in ("sbject", "From", "reply-to", "unknown", "x" * 300):
        shown = name if len(name) < 100 else "x" * 100 + "…"
        table.append((f"unknown {name[:20]}", message() | {name: "x"}, shown))
    for text in ("", "in 1 min", "2031-01-01", "2031-01-01T00:00:00", "2001-01-01T00:00:00Z"):
        add(f"{text!r}", "scheduled_at", scheduled_at=text)
    late = {"scheduled_at": "2031-01-02T00:00:00Z", "expires_at": "2031-01-01T00:00:00Z"}
    add("after its end", "scheduled_at", **late)
    add("unavailable", "topic_id", topic_id="2031-01-01T00:00:00Z")
    add_extras(add)
    return table


INVITATION = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"


def add_extras(add: Any) -> None:
    """Cases of templates, calendars, List-Unsubscribe, Feedback-ID and the signature's end."""
    for wrong in [*WRONG_TYPES, "x", ["x"]]:
        if not isinstance(wrong, dict):
            add(f"{wrong!r}", "template", template=wrong, text=...)
            add(f"{wrong!r}", "calendar", calendar=wrong)
        if not isinstance(wrong, bool):
            add(f"{wrong!r}", "auto_text", auto_text=wrong)
            add(f"{wrong!r}", "require_tls", require_tls=wrong)
        if not isinstance(wrong, str):
            add(f"{wrong!r}", "list_unsubscribe", list_unsubscribe=wrong)
            add(f"{wrong!r}", "feedback_id", feedback_id=wrong)
            add(f"object {wrong!r}", "calendar.object", calendar={"object": wrong})
            method = {"object": INVITATION, "method": wrong}
            add(f"method {wrong!r}", "calendar.method", calendar=method)
            add(f"id {wrong!r}", "template.id", template={"id": wrong}, text=...)
    add("no id", "template.id", template={}, text=...)
    add("unknown id", "template.id", template={"id": "x"}, text=...)
    add("unknown field", "template.name", template={"name": "x"}, text=...)
    add("no object", "calendar.object", calendar={})
    add("unknown field", "calendar.methd", calendar={"object": INVITATION, "methd": "REQUEST"})
    for wrong in [*NOT_IN_A_HEADER, *ENCODED, "", "x"]:
        add(f"{wrong!r}", "feedback_id", feedback_id=wrong)
    for wrong in [*NOT_IN_A_HEADER, "", "x", "https://", "http://x.example/"]:
        add(f"{wrong!r}", "list_unsubscribe", list_unsubscribe=wrong)
        add(f"in it {wrong!r}", "list_unsubscribe", list_unsubscribe=f"https://x.example/{wrong}>")
    for wrong in ("a b", "a:b:c:d:sender", "a:b:c:d", "a:b:c:" + "s" * 16, "ä:b:c:sender"):
        add(f"{wrong!r}", "feedback_id", feedback_id=wrong)
    for wrong in (
        "https://x.example/a b",
        "https://x.example/<",
        "https://x.example/,",
        "mailto:a@x.example",
    ):
        add(f"{wrong!r}", "list_unsubscribe", list_unsubscribe=wrong)
    add("long", "list_unsubscribe", list_unsubscribe="https://x.example/" + "x" * 900)
    for name in ("List-Unsubscribe", "list-unsubscribe-POST"):
        add(
            "twice",
            f'headers["{name}"]',
            headers={name: "<https://x.example/>"},
            list_unsubscribe="https://x.example/",
        )
    add("twice", 'headers["Feedback-ID"]', headers={"Feedback-ID": "a"}, feedback_id="sender")
    for wrong in (
        "",
        "x",
        "BEGIN:VCALENDAR",
        INVITATION + "x",
        INVITATION.replace("METHOD", "X"),
        INVITATION.replace("REQUEST", "ORDER"),
        INVITATION.replace("VERSION:2.0", "METHOD:CANCEL"),
        INVITATION.replace("2.0", "\0"),
        INVITATION.replace("2.0", "\ud800"),
        INVITATION + "x" * 1_000_000,
    ):
        add(f"{wrong[:40]!r}", "calendar.object", calendar={"object": wrong})
    add("other method", "calendar.object", calendar={"object": INVITATION, "method": "CANCEL"})
    for wrong in ("", "ORDER", "REQUEST\r\nX: y"):
        add(f"{wrong!r}", "calendar.method", calendar={"object": INVITATION, "method": wrong})
    for number in (0, -1, 3_599, 31_536_001, 10**30, True, 1.5, "3600", [3600], {"a": 1}):
        add(f"{number!r}", "dkim_expires_s", dkim_expires_s=number)


BAD_ADDRESSES = [
    *("", " ", "a", "@y.example", "a@", "a@@y.example", "a@y", "a b@y.example", ".a@y.example"),
    *(
        "a..b@y.example",
        "a@-y.example",
        "a@y..example",
        "a@y.example, b@y.example",
        "a@y_z.example",
    ),
    *("<a@y.example", "a@y.example>", "a@127.0.0.1", "a@[127.0.0.1]"),
    *("x" * 65 + "@y.example", "a@" + "x" * 64 + ".example", "a@" + "y." * 130 + "example"),
]


def add_breaks(add: Any) -> None:
    """Line breaks, NUL and other controls, plain and encoded, wherever a header is made."""
    for wrong in [*NOT_IN_A_HEADER, *ENCODED]:
        add(f"{wrong!r}", "subject", subject=wrong)
        add(f"name {wrong!r}", "from", from_=f"{wrong} <shop@example.com>")
        add(f"address {wrong!r}", "from", from_=f"{wrong}@example.com")
        for name in ("to", "cc", "bcc", "reply_to"):
            add(
                f"name {wrong!r}", f"{name}[1]", **{name: ["b@y.example", f"{wrong} <a@y.example>"]}
            )
            add(f"address {wrong!r}", name, **{name: f"{wrong}@y.example"})
        file = FILE | {"filename": wrong}
        add(f"{wrong!r}", "attachments[0].filename", attachments=[file])
        add(f"{wrong!r}", "attachments[0].content_id", attachments=[FILE | {"content_id": wrong}])
        add(
            f"{wrong!r}",
            "attachments[0].content_type",
            attachments=[FILE | {"content_type": wrong}],
        )
        add(f"{wrong!r}", "tags[0].name", tags=[{"name": wrong, "value": "v"}])
        add(f"{wrong!r}", "tags[0].value", tags=[{"name": "n", "value": wrong}])
    for wrong in NOT_IN_A_HEADER:
        add(f"value {wrong!r}", 'headers["X-A"]', headers={"X-A": wrong})


def add_mailboxes(add: Any) -> None:
    """Cases of senders and recipients."""
    for name in ("to", "cc", "bcc", "reply_to"):
        for wrong in WRONG_TYPES:
            add(f"{wrong!r}", name, **{name: wrong})
            add(f"entry {wrong!r}", f"{name}[0]", **{name: [wrong]})
        add("entry null", f"{name}[0]", **{name: [None]})
        add("entry list", f"{name}[0]", **{name: [["b@y.example"]]})
        add("51", name, **{name: [f"b{n}@y.example" for n in range(51)]})
        for wrong in BAD_ADDRESSES:
            add(f"{wrong[:40]!r}", name, **{name: wrong})
        add("long name", name, **{name: "n" * 257 + " <b@y.example>"})
    for wrong in BAD_ADDRESSES:
        add(f"{wrong[:40]!r}", "from", from_=wrong)


def add_tags(add: Any) -> None:
    """Cases of tags."""
    for wrong in [*WRONG_TYPES, "x"]:
        add(f"{wrong!r}", "tags", tags=wrong)
    for wrong in [0, True, "x", ["x"], None]:
        add(f"entry {wrong!r}", "tags[0]", tags=[wrong])
    add("no value", "tags[0].value", tags=[{"name": "n"}])
    add("no name", "tags[0].name", tags=[{"value": "v"}])
    add("empty name", "tags[0].name", tags=[{"name": "", "value": "v"}])
    add("long", "tags[0].value", tags=[{"name": "n", "value": "v" * 257}])
    add("twice", "tags[1].name", tags=[{"name": "n", "value": v} for v in "ab"])
    add("51", "tags", tags=[{"name": f"n{i}", "value": "v"} for i in range(51)])
    add("unknown", "tags[0].valeu", tags=[{"name": "n", "value": "v", "valeu": 1}])


def add_headers(add: Any) -> None:
    """Cases of custom headers."""
    for wrong in [0, 1.5, True, "x", ["x"]]:
        add(f"{wrong!r}", "headers", headers=wrong)
    for wrong in [*WRONG_TYPES, None, ["x"]]:
        add(f"{wrong!r}", 'headers["X-A"]', headers={"X-A": wrong})
    for name in ("", "X A", "X:A", "X-Ä", "X\r\nBcc", "x" * 77):
        add(f"name {name!r}", f'headers["{name}"]', headers={name: "v"})
    for name in (
        "From",
        "to",
        "BCC",
        "Subject",
        "Date",
        "Message-ID",
        "DKIM-Signature",
        "Received",
    ):
        add("reserved", f'headers["{name}"]', headers={name: "v"})
    add("twice", 'headers["x-a"]', headers={"X-A": "1", "x-a": "2"})
    add("101", "headers", headers={f"X-{n}": "v" for n in range(101)})


def add_attachments(add: Any) -> None:
    """Cases of attachments."""
    at = "attachments[0]"
    for wrong in [*WRONG_TYPES, "x"]:
        add(f"{wrong!r}", "attachments", attachments=wrong)
    for wrong in [0, True, "x", ["x"], None]:
        add(f"entry {wrong!r}", at, attachments=[wrong])
    for name in ("filename", "content_type", "content_id"):
        for wrong in [*WRONG_TYPES, ["x"]]:
            add(f"{wrong!r}", f"{at}.{name}", attachments=[FILE | {name: wrong}])
    for wrong in [
        *WRONG_TYPES,
        None,
        "?",
        "aGk=aGk=",
        "a",
        "aGk\0",
        ["a"],
        [256],
        [-1],
        [True],
        [1.5],
    ]:
        add(f"{wrong!r}", f"{at}.content", attachments=[FILE | {"content": wrong}])
    add("missing", f"{at}.content", attachments=[{"filename": "a"}])
    add("missing", f"{at}.filename", attachments=[{"content": B64}])
    for wrong in ("", ".", "..", "a/b", "/etc/passwd", "a\\b", "x" * 256, "ü" * 128):
        add(f"{wrong!r}", f"{at}.filename", attachments=[FILE | {"filename": wrong}])
    for wrong in (
        "",
        "text",
        "text/",
        "/plain",
        "multipart/mixed",
        "Multipart/x",
        "text/plain; name=x",
    ):
        add(f"{wrong!r}", f"{at}.content_type", attachments=[FILE | {"content_type": wrong}])
    for wrong in ("", "a b", "<>", "a<b>", "x" * 129, "ü"):
        add(f"{wrong!r}", f"{at}.content_id", attachments=[FILE | {"content_id": wrong}])
    twice = [FILE | {"content_id": "logo"}, FILE | {"content_id": "logo"}]
    add("twice", "attachments[1].content_id", attachments=twice)
    add("101", "attachments", attachments=[FILE] * 101)
    add("path", f"{at}.path", attachments=[FILE | {"path": "https://x.example/a"}])
    add("unknown", f"{at}.contnet", attachments=[FILE | {"contnet": "x"}])


TABLE = cases()


@pytest.fixture(scope="module")
def shared() -> Service:
    """One service for the whole table: making one takes a moment."""
    return Service()


@pytest.mark.parametrize(("request_", "field"), [c[1:] for c in TABLE], ids=[c[0] for c in TABLE])
async def test_a_wrong_value_is_named(
    shared: Service, request_: dict[str, Any], field: str
) -> None:
    before = shared.accepted()
    for path, tree, at in (
        ("/emails", request_, field),
        ("/emails/batch", [request_], f"[0].{field}"),
    ):
        response = await shared.post(tree, path)
        answer = response.json()
        assert response.status_code == 422, answer
        assert answer["statusCode"] == 422
        assert answer["name"] == "validation_error"
        assert answer["message"]
        named = {problem["field"]: problem for problem in answer["errors"]}
        # An address given alone is named by its field, one in a list with its index.
        assert at in named, named
        assert named[at]["message"]
        assert named[at]["fix"]
        assert "value" in named[at]
        value = named[at]["value"]
        assert not isinstance(value, str) or len(value) <= 101
    assert shared.accepted() == before


GOOD = [
    {},
    {"to": "ann@rcpt.example"},
    {"to": ["Ann <ann@rcpt.example>"] * 2},
    {"cc": [], "bcc": None, "reply_to": None, "html": None, "headers": None, "tags": None},
    {"subject": ""},
    {"subject": "Grüße 👩‍👩‍👧 100 % =) \u00a0"},
    {"text": ..., "html": "<p>Hi\r\n"},
    {"text": ..., "attachments": [FILE]},
    {"attachments": [FILE | {"content": "aG\r\nk"}]},
    {"attachments": [FILE | {"content": [104, 105]}]},
    {"attachments": [FILE | {"content_type": 'text/calendar; method=REQUEST; x="a b"'}]},
    {"attachments": [{"content": B64, "content_id": "<logo@x>"}]},
    {"attachments": [{"content": B64, "inline_content_id": "logo"}]},
    {"attachments": [FILE | {"filename": "Übersicht 2.pdf"}]},
    {"headers": {"X-Entity-Ref-ID": "1", "List-Unsubscribe": "<mailto:a@y.example?body=a%0Ab>"}},
    {"tags": [{"name": "kind", "value": "welcome"}]},
    {"expires_at": "2031-01-01T00:00:00+02:00"},
    {"scheduled_at": None},
    *({"priority": lane} for lane in ("high", "normal", "bulk")),
    {"to": [f"b{n}@y.example" for n in range(50)]},
]


@pytest.mark.parametrize("changes", GOOD, ids=str)
async def test_a_good_value_is_taken(service: Service, changes: dict[str, Any]) -> None:
    response = await service.post(message(**changes))
    assert response.status_code == 202, response.text
    assert set(response.json()) == {"id"}
    assert service.accepted() == 1


async def test_every_problem_is_listed_at_once(service: Service) -> None:
    response = await service.post(
        message(
            to=["ann@rcpt.example", "nobody"],
            subject="a\nb",
            tags=[{"name": "a b", "value": 1}],
            attachments=[{"content": "?", "filename": "a/b"}],
            colour="red",
        )
    )
    fields = [problem["field"] for problem in response.json()["errors"]]
    assert sorted(fields) == sorted(
        [
            *("colour", "to[1]", "subject", "tags[0].name", "tags[0].value"),
            *("attachments[0].content", "attachments[0].filename"),
        ]
    )


async def test_an_unknown_field_names_the_nearest(service: Service) -> None:
    response = await service.post(message(subejct="x"))
    assert response.json()["errors"][0]["fix"] == "did you mean subject?"


@pytest.mark.parametrize("sender", ["a@foreign.example", "a@sub.example.com", "a@other.example"])
async def test_a_domain_of_someone_else_is_403(service: Service, sender: str) -> None:
    response = await service.post(message(from_=sender))
    assert response.status_code == 403
    problem = response.json()["errors"][0]
    assert problem["field"] == "from"
    assert "postalynk domain add" in problem["fix"]
    # Whether another organization has the domain is nobody's business.
    assert service.foreign.org not in response.text
    assert service.accepted() == 0


def test_duplicate_recipients_are_one(service: Service) -> None:
    prepared = read(
        service,
        message(
            to=["Ann <ann@rcpt.example>", "ann@RCPT.example", "bob@rcpt.example"],
            cc="ann@rcpt.example",
            bcc=["eve@rcpt.example", "bob@rcpt.example"],
        ),
    )
    one = prepared.messages[0]
    assert one.recipients == ["ann@rcpt.example", "bob@rcpt.example", "eve@rcpt.example"]
    assert [box.name for box in one.to] == ["Ann", ""]
    assert one.message_id.endswith("@example.com")
    assert one.reverse_path == "shop@example.com"


def test_a_message_is_signed_where_its_domain_has_keys(service: Service) -> None:
    assert read(service, message()).messages[0].dkim_domain == ""
    key = DkimKey(selector="s1", algorithm="ed25519", sealed="", record="")
    service.control._write(Domain(name="example.com", org=service.own.org, keys=[key]))
    assert read(service, message()).messages[0].dkim_domain == "example.com"
