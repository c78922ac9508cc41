"""Which deliveries an operator's `replay --resend` means."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from postalynk.engine import encode_deferral, encode_event, open_engine
from postalynk.ingest.border import encode_messages
from postalynk.policy import DEFAULT, Pools, load
from postalynk.queue.native import EmbeddedQueue
from postalynk.queue.topics import DEFERRED, EVENTS
from postalynk.service.projecting import Stretch
from postalynk.service.resending import HELD, Chosen, resend
from postalynk.settings import Settings
from postalynk.worker.parts import Parts
from tests.support.workers import PARTITIONS, mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALWAYS = Stretch(0, 2**60)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """An empty queue and an engine that sends nothing."""
    queue = EmbeddedQueue(str(tmp_path / "queue"), partitions=PARTITIONS)
    engine = open_engine(Settings(), tmp_path / "engine")
    yield Parts(queue=queue, engine=engine, policies=load(DEFAULT), pools=Pools(()))
    engine.stop()
    queue.close()


def count(parts: Parts, state: str | None = None) -> int:
    """How many deliveries a dry run names."""
    return resend(parts, ALWAYS, Chosen(state=state), is_dry_run=True).deliveries


def test_one_that_a_crash_cut_short_is_meant_until_its_deferral_stands(parts: Parts) -> None:
    message = mail(1, "org_a")
    record, accepted = encode_messages([message], PARTITIONS)
    partition, value = record[1], record[3]
    assert value is not None
    parts.queue.append([record, accepted])
    assert count(parts) == 0, "it is under way"
    for kind in ("cancelled", "resent"):
        event = encode_event(value, kind, 1, 0, 1, 1, "")
        parts.queue.append([(EVENTS, partition, None, event)])
        assert count(parts) == 1
    assert count(parts, "delivered") == 1, "whatever it was before"
    deferral = encode_deferral(value, 0, 1, 2**50)
    parts.queue.append([(DEFERRED, partition, message.id + bytes(4), deferral)])
    assert count(parts) == 0, "it will go by itself"


def in_doubt(record: bytes, attempt: int, due_at_us: int) -> bytes:
    """An event of the engine's own making: that of a cancelled one with another kind."""
    told = encode_event(record, "cancelled", 1, 0, attempt, due_at_us, "")
    changed = told.replace(b"org_a\x18\x07", b"org_a\x18\x09")
    assert changed != told
    return changed


def test_what_is_held_is_meant_by_its_name_alone(parts: Parts) -> None:
    message = mail(1, "org_a")
    record, accepted = encode_messages([message], PARTITIONS)
    partition, value = record[1], record[3]
    assert value is not None
    parts.queue.append([record, accepted])

    def tell(event: bytes) -> tuple[int, int]:
        """(held, over) once this was told, too."""
        parts.queue.append([(EVENTS, partition, None, event)])
        return count(parts, HELD), count(parts)

    assert tell(in_doubt(value, 1, 2**50)) == (0, 0), "it is tried again"
    assert tell(in_doubt(value, 2, 0)) == (1, 0)
    assert tell(in_doubt(value, 2, 2**50)) == (1, 0), "another worker left a copy"
    other = Chosen(message_ids=(str(uuid.UUID(int=5)),), state=HELD)
    assert resend(parts, ALWAYS, other, is_dry_run=True).deliveries == 0
    elsewhere = Stretch(0, 2**60, "org_b")
    assert resend(parts, elsewhere, Chosen(state=HELD), is_dry_run=True).deliveries == 0
    done = resend(parts, ALWAYS, Chosen(state=HELD), is_dry_run=False)
    assert (done.messages, done.gone) == ([str(uuid.UUID(bytes=message.id))], 0)
    assert (count(parts, HELD), count(parts)) == (0, 0), "it waits"
    assert tell(encode_event(value, "cancelled", 1, 0, 3, 0, "")) == (0, 1)
    assert tell(in_doubt(value, 3, 2**50)) == (0, 1), "another worker left a copy"


def test_a_held_one_without_its_record_is_counted(parts: Parts) -> None:
    record, accepted = encode_messages([mail(1, "org_a")], PARTITIONS)
    value = record[3]
    assert value is not None
    parts.queue.append([accepted, (EVENTS, record[1], None, in_doubt(value, 1, 0))])
    told = resend(parts, ALWAYS, Chosen(state=HELD), is_dry_run=True)
    assert (told.deliveries, told.gone) == (0, 1)
