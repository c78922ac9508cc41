"""Across the language border and the log and back: what went in comes out.

Two readers look at each message: the projection, at its ACCEPTED event; and the engine, at its
record, of which it shows what a policy may read. A record and its event are one append.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postalynk.engine import Engine, EngineSettings, decode_dead_letter, encode_dead_letter
from postalynk.ingest.border import encode_messages, partition_of
from postalynk.model import AcceptedMessage, Attachment, Mailbox
from postalynk.queue.native import EmbeddedQueue
from postalynk.queue.protocol import Consumer
from postalynk.recorder.codec import RecordCodec
from postalynk.settings import Delivery, Settings
from tests.fixtures.events import NOW_US, message_id

PARTITIONS = 4
LANES = ("email.send.high", "email.send.normal", "email.send.bulk")

text = st.text(st.characters(codec="utf-8"), max_size=40)
line = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=40)
word = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
address = st.builds("{}@{}.example".format, word, word)
mailbox = st.builds(Mailbox, name=line, address=address)
mailboxes = st.lists(mailbox, max_size=3)
instant = st.integers(1, 2**53)

_numbers = count(1)


@st.composite
def messages(draw: st.DrawFn) -> AcceptedMessage:
    """Any message that accept could have made."""
    return AcceptedMessage(
        id=b"",  # made in the test: two accepted messages never have the same
        org=draw(st.builds("org_{}".format, st.text("abcdef234567", min_size=20, max_size=20))),
        accepted_at_us=draw(instant),
        expires_at_us=draw(st.just(0) | st.integers(2**52, 2**53)),
        lane=draw(st.sampled_from(["high", "normal", "bulk"])),
        reverse_path=draw(address),
        recipients=draw(st.lists(address, min_size=1, max_size=5, unique=True)),
        from_=draw(mailbox),
        to=draw(mailboxes),
        cc=draw(mailboxes),
        bcc=draw(mailboxes),
        reply_to=draw(mailboxes),
        subject=draw(line),
        text=draw(text),
        html=draw(text),
        headers=draw(st.lists(st.tuples(st.builds("X-{}".format, word), line), max_size=3)),
        attachments=draw(
            st.lists(
                st.builds(
                    Attachment,
                    filename=line,
                    content_type=st.sampled_from(["text/plain", "application/pdf"]),
                    content=st.binary(max_size=200),
                    content_id=st.just("") | word,
                ),
                max_size=2,
            )
        ),
        tags=list(draw(st.dictionaries(word, line, max_size=3)).items()),
        message_id=draw(address),
        dkim_domain=draw(st.just("") | st.builds("{}.example".format, word)),
        plan=draw(word),
        in_doubt=draw(st.sampled_from(["retry", "hold", "assume_delivered"])),
    )


class Border:
    """A log, a reader of its events, and an engine that reads its records and sends none."""

    def __init__(self, directory: Path) -> None:
        nowhere = Settings(delivery=Delivery(smart_host="127.0.0.1:9", max_in_flight=1_000_000))
        engine_settings = EngineSettings.of(nowhere, journal=str(directory / "journal"))
        self.queue = EmbeddedQueue(str(directory / "queue"), partitions=PARTITIONS)
        self.engine = Engine(msgspec.json.encode(engine_settings).decode())
        self.engine.restored()
        self.events: Consumer = self.queue.consumer("", ["email.events"])
        self.records: Consumer = self.queue.consumer("", LANES)

    def close(self) -> None:
        self.engine.stop()
        self.events.close()
        self.records.close()
        self.queue.close()


@pytest.fixture(scope="module")
def border() -> Iterator[Border]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="postalynk-"))
        opened = Border(Path(directory))
        stack.callback(opened.close)
        yield opened


def _shown(box: Mailbox) -> str:
    return f"{box.name} <{box.address}>" if box.name else box.address


@settings(max_examples=60)
@given(drawn=st.lists(messages(), min_size=1, max_size=4))
def test_law_round_trip(border: Border, drawn: list[AcceptedMessage]) -> None:
    """Law `round_trip`: for any accepted messages, event and record say what accept said."""
    made = [msgspec.structs.replace(one, id=message_id(next(_numbers))) for one in drawn]
    appends = encode_messages(made, PARTITIONS)
    assert [topic for topic, *_ in appends[::2]] == [f"email.send.{one.lane}" for one in made]
    assert {topic for topic, *_ in appends[1::2]} == {"email.events"}
    for (_, partition, key, _), one in zip(appends[::2], made, strict=True):
        assert (partition, key) == (partition_of(one.org, PARTITIONS), None)
    border.queue.append(appends)
    _check_events(border, made)
    _check_records(border, made)


def _check_events(border: Border, made: list[AcceptedMessage]) -> None:
    batch = border.events.poll(1_000, 1 << 24, 0)
    columns = RecordCodec().decode(batch)
    assert columns.undecodable == []
    assert not columns.events()["message_id"]
    rows = columns.messages()
    found = {
        id_: {name: column[index] for name, column in rows.items()}
        for index, id_ in enumerate(rows["id"])
    }
    assert len(found) == len(batch) == len(made)
    for one in made:
        row = found[one.id]
        for name in ("to", "cc", "bcc", "reply_to", "recipients", "tags"):
            row[name] = json.loads(row[name])
        assert row == {
            "id": one.id,
            "org": one.org,
            "accepted_at_us": one.accepted_at_us,
            "expires_at_us": one.expires_at_us or None,
            "scheduled_at_us": one.scheduled_at_us or None,
            "lane": one.lane,
            "sender": _shown(one.from_),
            "to": [_shown(box) for box in one.to],
            "cc": [_shown(box) for box in one.cc],
            "bcc": [_shown(box) for box in one.bcc],
            "reply_to": [_shown(box) for box in one.reply_to],
            "subject": one.subject,
            "tags": dict(one.tags),
            "recipients": one.recipients,
            "message_id_header": one.message_id,
            "size_bytes": len(one.text.encode())
            + len(one.html.encode())
            + sum(len(attachment.content) for attachment in one.attachments),
        }


def _check_records(border: Border, made: list[AcceptedMessage]) -> None:
    ends = {n: end for n, (_, end) in enumerate(border.queue.offsets("email.events"))}
    batch = border.records.poll(1_000, 1 << 24, 0)
    assert len(batch) == len(made)
    assert border.engine.admit(batch, ends) == []
    wanted = {(one.id.hex(), address): one for one in made for address in one.recipients}
    while wanted:
        deliveries = border.engine.routable(1_000, 5_000).deliveries()
        assert deliveries, f"the engine keeps {wanted} to itself"
        for delivery in deliveries:
            one = wanted.pop((delivery.id.replace("-", ""), delivery.rcpt.address))
            assert (delivery.org.id, delivery.org.plan) == (one.org, one.plan)
            assert delivery.lane == delivery.priority == one.lane
            assert delivery.tags == dict(one.tags)
            assert delivery.sender == one.from_.address
            assert delivery.sender_domain == one.from_.address.rpartition("@")[2]
            assert delivery.rcpt.domain == delivery.rcpt.address.rpartition("@")[2]
            assert (delivery.attempt, delivery.last_reply) == (1, "")


@given(
    one=messages(),
    reason=line,
    detail=text,
    partition=st.integers(0, 2**32 - 1),
    offset=st.integers(0, 2**64 - 1),
)
def test_law_dead_letters_keep_all(
    one: AcceptedMessage, reason: str, detail: str, partition: int, offset: int
) -> None:
    """Law `dead_letters_keep_all`: the record whole, where it stood, why, and whose it was."""
    one = msgspec.structs.replace(one, id=message_id(next(_numbers)))
    topic, _, _, record = encode_messages([one], PARTITIONS)[0]
    assert record is not None
    letter = decode_dead_letter(
        encode_dead_letter(
            *(reason, detail, topic, partition, offset, NOW_US, record),
            key=b"key",
            version="1.2.3",
            policy_version="v7",
        )
    )
    assert letter == {
        "key": b"key",
        "version": "1.2.3",
        "policy_version": "v7",
        "reason": reason,
        "detail": detail,
        "topic": topic,
        "source_partition": partition,
        "source_offset": offset,
        "message_id": str(letter["message_id"]),
        "org": one.org,
        "record": record,
    }
    assert str(letter["message_id"]).replace("-", "") == one.id.hex()


@given(value=st.binary(max_size=60))
def test_law_garbage_is_listed(value: bytes) -> None:
    """Law `garbage_is_listed`: bytes that are no event are named with a reason, never raised."""
    columns = RecordCodec().decode([("email.events", 1, 7, 0, value)])
    rows = len(columns.messages()["id"]) + len(columns.events()["message_id"])
    assert rows + len(columns.undecodable) >= 1
    for topic, partition, offset, reason in columns.undecodable:
        assert (topic, partition, offset) == ("email.events", 1, 7)
        assert reason
    letter = encode_dead_letter("undecodable", "", "email.events", 1, 7, NOW_US, value)
    assert decode_dead_letter(letter)["record"] == value
