"""Stored templates, end to end: accepted, changed, deleted, and still sent as they were accepted.

What runs: `postalynk up` and a receiver of Python's own that lacks 8BITMIME. What breaks: nothing;
the templates are changed and deleted between acceptance and the next use. What holds: a message is
what its template was at acceptance, HTML has a text beside it, the headers are those intended, and
both DKIM signatures verify (dkimpy).
"""

import email
import email.policy
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import dkim
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.processes import Postalynk, free_port, wait_for

CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"


class Inbox:
    """What arrived, by Message-ID without brackets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: dict[str, bytes] = {}

    async def handle_DATA(  # noqa: N802 - the name aiosmtpd looks for
        self, _: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep the message."""
        content = envelope.original_content
        assert content is not None
        found = email.message_from_bytes(content, policy=email.policy.default)
        with self._lock:
            self._messages[str(found["message-id"]).strip("<>")] = content
        return "250 2.0.0 OK"

    def get(self, id_: str) -> bytes | None:
        """The message of an id of the API, if it is here."""
        with self._lock:
            return next((m for name, m in self._messages.items() if name.startswith(id_)), None)


@pytest.fixture(scope="module")
def inbox() -> Iterator[tuple[Inbox, str]]:
    """A receiver without 8BITMIME (aiosmtpd that decodes), and its address."""
    handler = Inbox()
    port = free_port()
    controller = Controller(
        handler, hostname="127.0.0.1", port=port, decode_data=True, ready_timeout=120
    )
    controller.start()
    yield handler, f"127.0.0.1:{port}"
    controller.stop()


@pytest.fixture(scope="module")
def target(
    inbox: tuple[Inbox, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Postalynk]:
    """A Postalynk that sends there."""
    made = Postalynk(tmp_path_factory.mktemp("templates"), inbox[1])
    try:
        yield made.start().prepare()
    finally:
        made.remove()


def arrive(inbox: Inbox, id_: str) -> tuple[bytes, EmailMessage]:
    wait_for(lambda: inbox.get(id_) is not None, f"{id_} arrives")
    raw = inbox.get(id_)
    assert raw is not None
    return raw, email.message_from_bytes(raw, policy=email.policy.default)


def verified(raw: bytes, target: Postalynk) -> bool:
    """Every signature, by dkimpy with the records `domain add` printed."""
    records = {r["name"].rstrip("."): r["value"] for r in target.records if r["type"] == "TXT"}

    def lookup(name: bytes, **_: Any) -> bytes | None:
        return records.get(name.decode().rstrip("."), "").encode() or None

    count = raw.lower().split(b"\r\n\r\n")[0].count(b"dkim-signature:")
    return count == 2 and all(
        dkim.DKIM(raw).verify(index, dnsfunc=lookup) for index in range(count)
    )


def test_a_message_is_what_its_template_was_at_acceptance(
    target: Postalynk, inbox: tuple[Inbox, str]
) -> None:
    template = {
        "name": "order",
        "subject": "Order {{ id }} für {{ name }}",
        "html": "<p>Hi <b>{{ name }}</b></p><ul>{% for i in items %}<li>{{ i }}{% endfor %}</ul>",
        "from": "Shop <shop@example.com>",
        "reply_to": "help@example.com",
    }
    status, answer = target.request("POST", "/templates", template)
    assert status == 201
    id_ = answer["id"]
    batch = [
        {
            "to": f"{name}@rcpt.example",
            "template": {"id": id_, "variables": {"id": n, "name": name, "items": ["<tea>", "ł"]}},
            "list_unsubscribe": f"https://example.com/u/{n}",
            "feedback_id": f"{n}::order:shop1",
            "dkim_expires_s": 604_800,
            "calendar": {"object": CALENDAR},
        }
        for n, name in enumerate(["ann", "bob"])
    ]
    status, first = target.request("POST", "/emails/batch", batch)
    assert status == 202, first
    assert target.request("PATCH", f"/templates/{id_}", {"html": "<p>new</p>"})[0] == 200
    status, second = target.request("POST", "/emails", batch[0])
    assert status == 202, second
    assert target.request("DELETE", f"/templates/{id_}")[0] == 200
    assert target.request("POST", "/emails", batch[0])[0] == 422
    for n, (name, entry) in enumerate(zip(["ann", "bob"], first["data"], strict=True)):
        raw, message = arrive(inbox[0], entry["id"])
        assert message["subject"] == f"Order {n} für {name}"
        assert message["reply-to"] == "help@example.com"
        assert message["list-unsubscribe"] == f"<https://example.com/u/{n}>"
        assert message["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
        assert message["feedback-id"] == f"{n}::order:shop1"
        html, text = message.get_body(("html",)), message.get_body(("plain",))
        assert html is not None
        assert text is not None
        assert f"<b>{name}</b></p><ul><li>&lt;tea&gt;<li>ł</ul>" in html.get_content()
        assert text.get_content().replace("\r\n", "\n") == f"Hi {name}\n\n- <tea>\n- ł\n"
        kinds = [part.get_content_type() for part in message.walk()]
        assert kinds == ["multipart/alternative", "text/plain", "text/html", "text/calendar"]
        assert b" x=" in raw.split(b"\r\n\r\n")[0]
        assert verified(raw, target)
        names = [header.lower() for header in message]
        intended = "from reply-to to subject date message-id mime-version content-type"
        intended += " list-unsubscribe list-unsubscribe-post feedback-id"
        assert sorted(names) == sorted([*intended.split(), "dkim-signature", "dkim-signature"])
    _, message = arrive(inbox[0], second["id"])
    html = message.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<p>new</p>"


def test_html_alone_stays_alone_where_that_is_asked_for(
    target: Postalynk, inbox: tuple[Inbox, str]
) -> None:
    for extra in ({"auto_text": False, "text": None}, {"text": ""}):
        sent = target.send(to="ann@rcpt.example", html="<p>Hi</p>", **extra)
        _, message = arrive(inbox[0], sent)
        assert message.get_content_type() == "text/html"
