"""Acceptance over the real log: what was answered is there after it was closed and opened again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from postalynk._engine import EmbeddedQueue
from postalynk.control.directory import Directory
from postalynk.control.secrets import Secrets
from postalynk.errors import QueueError
from postalynk.ingest import claims
from postalynk.ingest.app import now_us
from postalynk.ingest.idempotency import LIFETIME_US
from tests.fakes.queue import MemoryQueue
from tests.unit.ingest.service import Service, message

KEY = {"idempotency_key": "order-42"}


class FaultyQueue:
    """The embedded log, whose append of messages may fail after it was made."""

    def __init__(self, path: Path) -> None:
        self.inner = EmbeddedQueue(str(path), partitions=4)
        self.is_failing = False

    def append(self, appends: Sequence[Any]) -> list[int]:
        offsets = self.inner.append(appends)
        if self.is_failing and any(append[0].startswith("email.send") for append in appends):
            raise QueueError("the answer got lost")
        return offsets

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def messages(self) -> int:
        lanes = ("high", "normal", "bulk")
        return sum(end for lane in lanes for _, end in self.inner.offsets(f"email.send.{lane}"))


def service_over(queue: FaultyQueue) -> Service:
    service = Service(cast(MemoryQueue, queue))
    # Claims are looked up in the log by time, and the log stamps its records by the system's clock.
    service.clock.now_us = now_us()
    return service


async def test_answers_and_control_state_survive(tmp_path: Path) -> None:
    queue = FaultyQueue(tmp_path / "queue")
    service = service_over(queue)
    first = await service.post(message(), **KEY)
    batch = [message(to="x"), *(message(priority=lane) for lane in ("high", "bulk"))]
    several = await service.post(batch, "/emails/batch", idempotency_key="batch")
    assert first.status_code == several.status_code == 202
    assert queue.messages() == 3
    queue.close()

    queue.inner = EmbeddedQueue(str(tmp_path / "queue"), partitions=4)
    service.app = service.build()
    assert (await service.post(message(), **KEY)).content == first.content
    again = await service.post(batch, "/emails/batch", idempotency_key="batch")
    assert again.content == several.content
    assert (await service.post(message(subject="Other"), **KEY)).status_code == 409
    assert queue.messages() == 3
    directory = Directory(Secrets(bytes(32)))
    directory.load(cast(MemoryQueue, queue))
    grant = directory.grant(service.own.api_key)
    assert grant is not None
    assert grant.organization.id == service.own.org
    assert [domain.name for domain in directory.domains(service.own.org)] == ["example.com"]
    queue.close()


async def test_an_answer_that_got_lost_is_found_in_the_log(tmp_path: Path) -> None:
    queue = FaultyQueue(tmp_path / "queue")
    service = service_over(queue)
    for n in range(20):
        await service.post(message(), idempotency_key=f"before-{n}")
    queue.is_failing = True
    batch = [message() for _ in range(5)]
    assert (await service.post(batch, "/emails/batch", **KEY)).status_code == 503
    queue.is_failing = False
    service.app = service.build()
    found = await service.post(batch, "/emails/batch", **KEY)
    assert found.status_code == 202
    assert len({entry["id"] for entry in found.json()["data"]}) == 5
    assert queue.messages() == 25
    queue.close()


async def test_expired_claims_are_swept_from_the_log(tmp_path: Path) -> None:
    queue = FaultyQueue(tmp_path / "queue")
    service = service_over(queue)
    await service.post(message(), **KEY)
    service.clock.now_us += LIFETIME_US
    assert (await service.post(message(subject="Other"), **KEY)).status_code == 202
    live = [pair for p in range(4) for pair in queue.compacted(claims.TOPIC, p)]
    assert len(live) == 1
    queue.close()
