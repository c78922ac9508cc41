"""The whole path, judged from outside: HTTP in, Debian's Postfix at the end, the story in between.

What runs: `postalynk up`, Postfix with STARTTLS as its smart host. What breaks: Postfix refuses a
recipient, and puts another off. What holds: G1, every delivery is in one state and all that tell of
it agree; what arrives is what was sent, read back by Python's own `email`.
"""

import base64
import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest

from tests.support.postfix import Receiver
from tests.support.processes import Postalynk

UNICODE = "Zażółć gęślą jaźń, 日本語, 🎉 — and plain words.\n"
DOTS = ".\n..\n...\n.leading\n \n. \n\n.\n"
LONG = "A long line " + "x" * 3_000 + " ends.\n"
PDF = bytes(range(256)) * 40


def received(receiver: Receiver, message_id: str) -> EmailMessage:
    raw = receiver.message(message_id)
    return email.message_from_bytes(raw, policy=email.policy.default)


def content(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None, f"no {kind} part"
    return str(body.get_content()).replace("\r\n", "\n")


def arrive(target: Postalynk, receiver: Receiver, **message: Any) -> tuple[str, EmailMessage]:
    """Send one, wait until it is recorded as delivered, read it back."""
    sent = target.send(**{"to": "ada@rcpt.example", **message})
    target.wait_state(sent, "delivered")
    return sent, received(receiver, sent)


def test_everything_a_message_can_hold_arrives_as_it_was_sent(
    to_postfix: Postalynk, receiver: Receiver
) -> None:
    html = f"<p>{UNICODE}</p>\n<img src='cid:logo'>\n"
    sent, arrived = arrive(
        to_postfix,
        receiver,
        **{"from": "Żółw & Sons <shop@example.com>"},
        to=["Ada Lovelace <ada@rcpt.example>", "ben@rcpt.example"],
        cc='"Cid, the third" <cid@rcpt.example>',
        bcc=["dora@rcpt.example"],
        reply_to="help@example.com",
        subject="Zażółć: " + "a long subject with umlauts äöü " * 8,
        text=UNICODE + DOTS + LONG,
        html=html,
        headers={"X-Campaign": "spring – ł", "List-Unsubscribe": "<https://example.com/u>"},
        attachments=[
            {"filename": "Übersicht 1.pdf", "content": base64.b64encode(PDF).decode()},
            {
                "filename": "logo.png",
                "content": base64.b64encode(b"\x89PNG logo").decode(),
                "content_id": "logo",
            },
        ],
    )
    assert content(arrived, "plain") == UNICODE + DOTS + LONG
    assert content(arrived, "html") == html
    assert arrived["subject"] == "Zażółć: " + "a long subject with umlauts äöü " * 8
    assert [str(a) for a in arrived["from"].addresses] == ["Żółw & Sons <shop@example.com>"]
    assert [a.addr_spec for a in arrived["to"].addresses] == [
        "ada@rcpt.example",
        "ben@rcpt.example",
    ]
    assert arrived["cc"].addresses[0].display_name == "Cid, the third"
    assert arrived["bcc"] is None
    assert arrived["reply-to"] == "help@example.com"
    assert arrived["x-campaign"] == "spring – ł"
    assert arrived["list-unsubscribe"] == "<https://example.com/u>"
    assert arrived["date"].datetime is not None
    files = {part.get_filename(): part for part in arrived.walk() if part.get_filename()}
    assert files["Übersicht 1.pdf"].get_content() == PDF
    assert files["Übersicht 1.pdf"].get_content_type() == "application/pdf"
    assert files["logo.png"]["content-id"] == "<logo>"
    assert files["logo.png"].get_content() == b"\x89PNG logo"
    # Four recipients are four deliveries, whatever header names them.
    to_postfix.wait_states(sent, *["delivered"] * 4)


@pytest.fixture(scope="module")
def dotted(to_postfix: Postalynk) -> list[str]:
    """The ids of messages whose dots stand at every place of a line and at shifting borders."""
    batch = [
        {
            "from": "shop@example.com",
            "to": f"dots{shift}@rcpt.example",
            "subject": f"dots {shift}",
            "text": dotted_text(shift),
        }
        for shift in range(24)
    ]
    status, answer = to_postfix.request("POST", "/emails/batch", batch)
    assert status == 202, answer
    return [entry["id"] for entry in answer["data"]]


def dotted_text(shift: int) -> str:
    """Some 70 kB: each border of a buffer of any usual size falls beside a dot in one of them."""
    return "y" * (shift + 1) + "\n" + (".\n..\n.x\n" * 7_800) + "end.\n"


def test_dots_survive_every_buffer_border(
    to_postfix: Postalynk, receiver: Receiver, dotted: list[str]
) -> None:
    for message_id in dotted:
        to_postfix.wait_state(message_id, "delivered")
    for shift, message_id in enumerate(dotted):
        assert content(received(receiver, message_id), "plain") == dotted_text(shift)


def test_tls_is_used_and_recorded(to_postfix: Postalynk, receiver: Receiver) -> None:
    sent, arrived = arrive(to_postfix, receiver, subject="TLS")
    assert "using TLSv1.3" in " ".join(str(field) for field in arrived.get_all("received", []))
    (delivery,) = to_postfix.ask("why", sent)["deliveries"]
    tls = delivery["events"][-1]["tls"]
    assert tls["used"].startswith("TLSv1.3")
    assert not tls["refused"]


def test_a_refused_recipient_bounces_with_the_words_of_the_receiver(
    to_postfix: Postalynk,
) -> None:
    sent = to_postfix.send(to="nobody@elsewhere.example")
    to_postfix.wait_state(sent, "bounced")
    (delivery,) = told_alike(to_postfix, sent)
    assert delivery["state"] == "bounced"
    assert delivery["reply"]["code"] == 554
    assert delivery["reply"]["enhanced"] == "5.7.1"
    assert "Relay access denied" in delivery["reply"]["text"]
    assert [event["kind"] for event in delivery["events"]] == ["bounced"]


def test_a_recipient_put_off_is_deferred_until_its_time(to_postfix: Postalynk) -> None:
    sent = to_postfix.send(to="later@rcpt.example")
    to_postfix.wait_state(sent, "delivery_delayed")
    (delivery,) = told_alike(to_postfix, sent)
    assert delivery["state"] == "deferred"
    assert delivery["reply"] == {
        "code": 450,
        "enhanced": "4.2.0",
        "text": delivery["reply"]["text"],
    }
    assert "Greylisted" in delivery["reply"]["text"]
    # The shipped policy: a minute after the first failure, a fifth up or down.
    assert delivery["due_at"] > delivery["at"]
    assert to_postfix.ask("queue")["deferred"] >= 1


def test_one_message_to_three_fates_has_three_states(to_postfix: Postalynk) -> None:
    sent = to_postfix.send(
        to=["eve@rcpt.example", "later@rcpt.example", "nobody@elsewhere.example"]
    )
    to_postfix.wait_states(sent, "delivered", "deferred", "bounced")
    told_alike(to_postfix, sent)


def test_nothing_is_unaccounted_for(to_postfix: Postalynk) -> None:
    assert to_postfix.ask("drain", "--timeout", "60s")["drained"]
    report = to_postfix.ask("audit")
    assert (report["unaccounted"], report["twice"]) == ([], [])
    assert sum(report["states"].values()) == report["accepted"]


def told_alike(target: Postalynk, message_id: str) -> list[dict[str, Any]]:
    """`why`, the message and its events say the same; the deliveries of `why`."""
    target.wait_projected()
    story = target.ask("why", message_id)
    status, message = target.request("GET", f"/emails/{message_id}")
    assert status == 200
    assert message["id"] == story["message"]["id"] == message_id
    assert message["to"] == story["message"]["to"]
    fields = ("address", "state", "attempts", "reply", "due_at")
    for told, shown in zip(story["deliveries"], message["deliveries"], strict=True):
        assert [told[name] for name in fields] == [shown[name] for name in fields]
    first, *events = target.events(message_id)
    assert first["type"] == "accepted"
    assert first["created_at"] == message["created_at"]
    by_why = [
        (delivery["address"], event["attempt"], event["kind"])
        for delivery in story["deliveries"]
        for event in delivery["events"]
    ]
    by_events = [(event["recipient"], event["attempt"], event["type"]) for event in events]
    assert sorted(by_why) == sorted(by_events)
    deliveries: list[dict[str, Any]] = story["deliveries"]
    return deliveries
