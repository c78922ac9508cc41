"""Which deliveries an operator's `replay --resend` means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postalynk.engine import encode_deferral, encode_event, open_engine
from postalynk.ingest.border import encode_messages
from postalynk.policy import DEFAULT, Pools, load
from postalynk.queue.native import EmbeddedQueue
from postalynk.queue.topics import DEFERRED, EVENTS
from postalynk.service.projecting import Stretch
from postalynk.service.resending import Chosen, resend
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
