"""The composing façade: defaults, refusals by field, and what the bytes say."""

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from postalynk.errors import PostalynkError
from postalynk.mime import Attachment, Calendar, MessageError, compose

AT = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


def read(message: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_the_least_message() -> None:
    composed = compose(from_="a@example.com", date=AT, message_id="1@example.com")
    assert bytes(composed) == (
        b"From: a@example.com\r\nSubject: \r\nDate: Tue, 24 Nov 2026 08:30:00 +0000\r\n"
        b"Message-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
    )
    assert composed.bytes[: composed.header_size].endswith(b"7bit\r\n")
    assert not composed.needs_smtputf8


def test_equal_arguments_give_equal_bytes() -> None:
    def once(seed: int | None = None) -> bytes:
        return compose(
            from_="a@example.com",
            text="é",
            html="<p>é",
            date=AT,
            message_id="1@x.example",
            seed=seed,
        ).bytes

    assert once() == once()
    assert once(1) != once(2)


def test_a_message_id_and_a_date_are_made() -> None:
    one, two = (compose(from_="a@bücher.example").bytes for _ in range(2))
    assert read(one)["Message-ID"] != read(two)["Message-ID"]
    assert read(one)["Message-ID"].endswith("@xn--bcher-kva.example>")
    assert abs(read(one)["Date"].datetime.timestamp() - datetime.now(UTC).timestamp()) < 60


def test_one_mailbox_may_be_a_string_and_smtputf8_is_noticed() -> None:
    composed = compose(from_="a@example.com", to="Zoë <zoë@example.org>", cc=["b@example.org"])
    assert composed.needs_smtputf8
    assert read(composed.bytes)["Cc"] == "b@example.org"


def test_parts_stand_in_their_places() -> None:
    composed = compose(
        from_="a@example.com",
        text="text",
        html='<img src="cid:logo">',
        calendar=Calendar("BEGIN:VCALENDAR\nEND:VCALENDAR\n", method="request"),
        attachments=[
            Attachment(b"png", "l.png", "image/png", "logo"),
            Attachment(b"\0\1", "Rechnung ü.pdf", "application/pdf"),
        ],
    )
    message = read(composed.bytes)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "text/calendar",
        "application/pdf",
    ]
    calendar = next(p for p in message.walk() if p.get_content_type() == "text/calendar")
    assert calendar.get_param("method") == "REQUEST"
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "Rechnung ü.pdf"
    assert attached.get_content() == b"\0\1"


def test_one_click_unsubscribe_and_feedback_id() -> None:
    composed = compose(
        from_="a@example.com",
        headers={"X-Campaign": "7"},
        list_unsubscribe="https://example.com/u/1",
        feedback_id="7:1:bulk:example",
    )
    message = read(composed.bytes)
    assert message["List-Unsubscribe"] == "<https://example.com/u/1>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Feedback-ID"] == "7:1:bulk:example"
    assert message["X-Campaign"] == "7"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"from_": "nobody"}, "from: has no @"),
        ({"to": ["b@example.org", "b"]}, "to[1]: has no @"),
        ({"cc": "a@b.example\r\nBcc: c@d.example"}, "cc[0]: "),
        ({"subject": "a\r\nBcc: c@d.example"}, "subject: contains the control character U+000D"),
        ({"headers": {"X-A": "=?utf-8?q?=0A?="}}, 'headers["X-A"]: the encoded word'),
        ({"headers": [("Bcc", "a@b.example")]}, 'headers["Bcc"]: this header is not the sender'),
        ({"message_id": "no-domain"}, "message_id: "),
        ({"date": datetime(2026, 1, 1)}, "date: "),  # noqa: DTZ001  what is refused
        ({"attachments": [Attachment(b"", "a\nb")]}, "attachments[0].filename: "),
        ({"attachments": [Attachment(b"", content_type="multipart/mixed")]}, "attachments[0]."),
        ({"calendar": Calendar("", "SURPRISE")}, "calendar: is not of the form PUBLISH"),
        ({"list_unsubscribe": "http://example.com"}, "list_unsubscribe: "),
        ({"list_unsubscribe": "https://a.example/>,<mailto:b@c.example"}, "list_unsubscribe: "),
        ({"feedback_id": "é"}, 'headers["Feedback-ID"]: '),
    ],
)
def test_what_is_refused_is_named(wrong: dict[str, object], text: str) -> None:
    arguments = {"from_": "a@example.com"} | wrong
    with pytest.raises(MessageError) as error:
        compose(**arguments)  # type: ignore[arg-type]
    assert str(error.value).startswith(text)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, PostalynkError)
