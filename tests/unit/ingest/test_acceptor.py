"""Group commit: durable before answered, one append at a time, one culprit alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from postalynk.errors import QueueError
from postalynk.ingest import acceptor as acceptor_module
from postalynk.ingest.acceptor import Acceptor
from postalynk.ingest.border import encode_messages
from postalynk.observability import Metrics
from tests.fakes.queue import MemoryQueue
from tests.unit.ingest.service import Service, message, settle


class Gate:
    """Holds appends until opened, and sees how many run at a time."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.is_open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.running = 0
        self.most = 0
        queue.before = self.before
        queue.after = self.after

    def before(self, _: Sequence[Any]) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.release()
        assert self.is_open.wait(10)

    def after(self, _: Sequence[Any]) -> None:
        self.running -= 1


async def test_law_answered_after_durable(service: Service) -> None:
    gate = Gate(service.queue)
    tasks = [asyncio.create_task(service.post(message())) for _ in range(5)]
    await asyncio.to_thread(gate.entered.acquire)
    await settle()
    assert not any(task.done() for task in tasks)
    assert service.accepted() == 0
    gate.is_open.set()
    answers = await asyncio.gather(*tasks)
    assert [answer.status_code for answer in answers] == [202] * 5
    assert service.accepted() == 5
    assert service.count("postalynk_accepted_total", lane="normal") == 5


async def test_what_waits_shares_the_next_append(service: Service) -> None:
    gate = Gate(service.queue)
    already = len(service.queue.appends)
    tasks = [asyncio.create_task(service.post(message())) for _ in range(50)]
    await asyncio.to_thread(gate.entered.acquire)
    await settle()
    gate.is_open.set()
    await asyncio.gather(*tasks)
    assert service.accepted() == 50
    assert gate.most == 1
    assert len(service.queue.appends) - already <= 4


async def test_a_failed_append_is_503_for_all_it_carried(service: Service) -> None:
    def fail(_: Sequence[Any]) -> None:
        raise QueueError("the disk is full")

    service.queue.before = fail
    answers = await asyncio.gather(*(service.post(message()) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [503] * 3
    assert answers[0].headers["retry-after"] == "1"
    service.queue.before = lambda _: None
    assert (await service.post(message())).status_code == 202
    assert service.accepted() == 1
    assert service.count("postalynk_rejected_total", reason="service_unavailable") == 3


async def test_one_message_that_cannot_be_encoded_fails_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(messages: Sequence[Any], partitions: int) -> list[Any]:
        if any(m.subject == "bad" for m in messages):
            raise ValueError("bad")
        return list(encode_messages(messages, partitions))

    monkeypatch.setattr(acceptor_module, "encode_messages", picky)
    subjects = ["a", "bad", "b", "c"]
    answers = await asyncio.gather(*(service.post(message(subject=s)) for s in subjects))
    assert [answer.status_code for answer in answers] == [202, 503, 202, 202]
    assert service.accepted() == 3


async def test_a_caller_who_gives_up_does_not_take_the_message_back(service: Service) -> None:
    gate = Gate(service.queue)
    task = asyncio.create_task(service.post(message()))
    await asyncio.to_thread(gate.entered.acquire)
    task.cancel()
    await settle()
    gate.is_open.set()
    await service.post(message())  # the next round: the one before it is over
    assert service.accepted() == 2


async def test_marks_go_along_and_are_older_than_what_they_go_with() -> None:
    queue = MemoryQueue()
    acceptor = Acceptor(queue, Metrics())
    acceptor.along(("email.idempotency", 0, b"k", None))
    assert queue.appends == []
    assert await acceptor.submit((), appends=[("email.idempotency", 0, b"k", b"new")])
    assert len(queue.appends) == 1
    assert queue.get("email.idempotency", 0, [b"k"]) == [b"new"]
    await acceptor.close()


async def test_marks_are_written_a_moment_later_at_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor_module, "ALONG_DELAY_S", 0.01)
    queue = MemoryQueue()
    acceptor = Acceptor(queue, Metrics())
    acceptor.along(("email.idempotency", 0, b"k", b"v"))
    async with asyncio.timeout(60):
        while not queue.appends:  # noqa: ASYNC110  the double has no event to wait for
            await asyncio.sleep(0.005)
    await acceptor.close()


async def test_closing_writes_what_waits() -> None:
    queue = MemoryQueue()
    acceptor = Acceptor(queue, Metrics())
    durable = acceptor.submit((), appends=[("email.idempotency", 0, b"a", b"1")])
    acceptor.along(("email.idempotency", 0, b"b", b"2"))
    await acceptor.close()
    assert durable.done()
    assert queue.get("email.idempotency", 0, [b"a", b"b"]) == [b"1", b"2"]


async def test_a_large_request_is_alone_in_its_round() -> None:
    queue = MemoryQueue()
    gate = Gate(queue)
    acceptor = Acceptor(queue, Metrics())
    sizes = [1, 20_000_000, 1, 10_000_000, 10_000_000, 1]
    waiting = [
        acceptor.submit((), size, [("email.idempotency", 0, b"%d" % n, b"v")])
        for n, size in enumerate(sizes)
    ]
    gate.is_open.set()
    assert all(await asyncio.gather(*waiting))
    assert [[a[2] for a in appends] for appends in queue.appends] == [
        [b"0"],
        [b"1"],
        [b"2", b"3"],
        [b"4", b"5"],
    ]
    await acceptor.close()
