"""What becomes of a submitted message: what is checked, what is added, what is only shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from postalynk.ingest import raw
from postalynk.ingest.answers import invalid
from postalynk.ingest.compose import Composer
from postalynk.ingest.submission import reply
from postalynk.model import AcceptedMessage, Mailbox
from tests.unit.ingest.service import Service

ID = bytes.fromhex("019b1c2e7a517c0e9d0f3f1f7f5a2b10")
BODY = b"From: Shop <shop@example.com>\r\n\r\nHi\r\n"


def item(**changes: Any) -> Any:
    """A submitted message as the engine hands it up."""
    made: dict[str, Any] = {
        "id": 1,
        "org": "",
        "key": "",
        "reverse_path": "shop@example.com",
        "recipients": ["ann@rcpt.example"],
        "raw": BODY,
        "from_": "Shop <shop@example.com>",
        "to": "",
        "cc": "",
        "reply_to": "",
        "subject": "",
        "message_id": "",
        "has_date": False,
        "tags": [],
        "priority": "",
        "idempotency_key": "",
        "client_name": "client.example",
        "client_ip": "192.0.2.1",
        "protocol": "ESMTPSA",
        "ret": "",
        "envelope_id": "",
        "require_tls": False,
        "tls_optional": False,
    }
    made |= changes
    nothing = [""] * len(made["recipients"])
    made = {"notify": nothing, "orcpt": nothing} | made
    return SimpleNamespace(**(made | changes))


def composed(service: Service, **changes: Any) -> AcceptedMessage:
    organization = service.control.directory.organization(service.own.org)
    assert organization is not None
    composer = Composer(service.control.directory, organization, service.clock())
    return raw.compose(item(**changes), composer, ID, "mx.example.com")


def refusal(service: Service, **changes: Any) -> str:
    with pytest.raises(raw.Refused) as refused:
        composed(service, **changes)
    return reply(invalid([refused.value.problem]))


RECEIVED = (
    b"Received: from client.example ([192.0.2.1])\r\n"
    b"\tby mx.example.com with ESMTPSA id 019b1c2e-7a51-7c0e-9d0f-3f1f7f5a2b10;\r\n"
    b"\tSun, 17 Mar 2030 17:46:40 +0000\r\n"
)


def test_where_it_came_from_is_told_without_a_name_too(service: Service) -> None:
    made = composed(service, client_name="", client_ip="2001:db8::1")
    assert made.raw.startswith(b"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n\tby")


def test_what_a_report_is_wanted_for_stays_with_its_recipient(service: Service) -> None:
    made = composed(
        service,
        recipients=["ann@RCPT.example", "ann@rcpt.example", "ben@rcpt.example"],
        notify=["NEVER", "SUCCESS", "FAILURE,DELAY"],
        orcpt=["", "", "rfc822;old@rcpt.example"],
        ret="HDRS",
        envelope_id="QQ1",
    )
    assert list(zip(made.recipients, made.notify, made.orcpt, strict=True)) == [
        ("ann@rcpt.example", "NEVER", ""),
        ("ben@rcpt.example", "FAILURE,DELAY", "rfc822;old@rcpt.example"),
    ]
    assert (made.ret, made.envelope_id) == ("HDRS", "QQ1")


def test_only_what_is_missing_is_added(service: Service) -> None:
    made = composed(service)
    head, _, rest = made.raw.partition(b"From:")
    assert head == RECEIVED + (
        b"Message-ID: <019b1c2e-7a51-7c0e-9d0f-3f1f7f5a2b10@example.com>\r\n"
        b"Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n"
    )
    assert b"From:" + rest == BODY
    whole = composed(service, message_id="1@x.example", has_date=True)
    assert (whole.raw, whole.message_id) == (RECEIVED + BODY, "1@x.example")


def test_the_envelope_counts_and_the_header_is_shown(service: Service) -> None:
    made = composed(
        service,
        recipients=["ann@RCPT.example", "ann@rcpt.example", "ben@rcpt.example", "ü@rcpt.example"],
        to='"Ann, A." <ann@rcpt.example>, nobody@rcpt.example',
        cc="=?utf-8?q?B=C3=A9n?= <ben@rcpt.example>",
        subject="=?utf-8?q?Za=C5=BC?= =?bad?x?y?= \x00",
        tags=["kind=order", "shop = a"],
        priority="HIGH",
    )
    assert made.recipients == ["ann@rcpt.example", "ben@rcpt.example", "ü@rcpt.example"]
    assert made.to == [
        Mailbox("Ann, A.", "ann@rcpt.example"),
        Mailbox("", "nobody@rcpt.example"),
    ]
    assert made.cc == [Mailbox("Bén", "ben@rcpt.example")]
    assert made.bcc == [Mailbox("", "ü@rcpt.example")]
    assert "\0" not in made.subject
    assert made.tags == [("kind", "order"), ("shop", "a")]
    assert (made.lane, made.reverse_path) == ("high", "shop@example.com")


@pytest.mark.parametrize(
    "sender",
    [
        "shop@example.com",
        "<shop@example.com>",
        "shop@example.com (Cron Daemon)",
        '"a, b" <x@EXAMPLE.com>',
    ],
)
def test_every_way_to_write_one_mailbox_is_taken(service: Service, sender: str) -> None:
    assert composed(service, from_=sender).from_.address.endswith("@example.com")


def test_the_null_path_may_send(service: Service) -> None:
    assert composed(service, reverse_path="").reverse_path == ""


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"reverse_path": "a@foreign.example"}, "550 5.7.1", "MAIL FROM a@foreign.example"),
        ({"from_": "a@foreign.example"}, "550 5.7.1", "postalynk domain add foreign.example"),
        ({"from_": '"x@example.com" <a@foreign.example>'}, "550 5.7.1", "foreign.example"),
        ({"from_": "a@example.com, b@example.com"}, "550 5.6.0", "From"),
        ({"from_": ""}, "550 5.6.0", "From"),
        ({"recipients": ["a@b..example"]}, "550 5.1.3", "RCPT TO a@b..example"),
        ({"priority": "urgent"}, "550 5.6.0", "use high, normal or bulk"),
        ({"tags": ["just words"]}, "550 5.6.0", "X-Postalynk-Tag"),
        ({"tags": ["a=1", "a=2"]}, "550 5.6.0", "give each tag one value"),
    ],
)
def test_a_refusal_says_field_value_and_fix(
    service: Service, changes: dict[str, Any], code: str, words: str
) -> None:
    text = refusal(service, **changes)
    assert text.startswith(code)
    assert words in text


@pytest.mark.parametrize(("require_tls", "tls_optional"), [(True, False), (False, True)])
def test_what_it_says_about_tls_goes_along(
    service: Service, *, require_tls: bool, tls_optional: bool
) -> None:
    made = composed(service, require_tls=require_tls, tls_optional=tls_optional)
    assert (made.require_tls, made.tls_optional) == (require_tls, tls_optional)
