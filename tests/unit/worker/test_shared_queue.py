"""Steps on a queue that others share: brokers are waited for, and late writes are not made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from postalynk.errors import QueueError
from postalynk.queue.protocol import Append, Consumer, Owner, Queue
from postalynk.queue.topics import DEFERRED, EVENTS, SEND_TOPICS
from postalynk.routing.budget import Budget
from postalynk.worker import parts as worker_parts
from postalynk.worker.commit import LEASE, Commit, Fence
from postalynk.worker.consume import Consume
from postalynk.worker.doubts import DoubtStep
from postalynk.worker.ownership import Ownership
from postalynk.worker.record import Record
from postalynk.worker.schedule import ScheduleStep
from tests.fakes.queue import MemoryQueue
from tests.unit.worker.fakes import Clock, FakeEngine, Journal, accept, fake_parts


class SharedQueue(MemoryQueue):
    """One that says it is shared, and answers no more than it is told to."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(partitions=2, waits=False, on_call=journal.note)

    def member(self, group: str, topics: Sequence[str], owner: Owner) -> Consumer:
        raise NotImplementedError

    def hurried(self, timeout_s: float) -> Queue:
        return cast("Queue", self)


class Rig:
    def __init__(self) -> None:
        self.journal = Journal()
        self.queue = SharedQueue(self.journal)
        self.engine = FakeEngine(self.journal, Clock())
        self.engine.is_threaded = False
        self.parts = fake_parts(self.queue, self.engine)

    def fails(self, call: str, times: int) -> None:
        """The next calls of this name find no broker."""
        left = [times]

        def fail(called: str, _number: int) -> BaseException | None:
            if called == call and left[0]:
                left[0] -= 1
                return QueueError("no broker answers")
            return None

        self.journal.raise_at = fail


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(worker_parts, "AGAIN_S", 0.0)
    return Rig()


def test_partitions_that_come_while_brokers_are_away_are_restored_later(rig: Rig) -> None:
    rig.fails(f"offsets {EVENTS}", 3)
    ownership = Ownership(rig.parts, ScheduleStep(rig.parts), None)
    ownership.assigned([0, 1])
    assert rig.journal.calls.count(f"offsets {EVENTS}") == 4
    assert rig.journal.calls.count("restored") == 1


def test_the_first_look_at_the_events_may_fail(rig: Rig) -> None:
    accept(rig.queue, "m1")
    rig.fails(f"offsets {EVENTS}", 1)
    consumer = cast("Consumer", rig.queue.consumer("g", SEND_TOPICS))
    assert Consume(rig.parts, consumer).once(10_000) == 1


class Batch:
    """Outcomes of which one partition goes while their events are appended."""

    def __init__(self, goes: Callable[[], bool]) -> None:
        self._goes = goes
        self.withdrawn = False

    def __len__(self) -> int:
        return 1

    def failures(self) -> list[Any]:
        return []

    def events(self) -> list[Append]:
        return [(EVENTS, 0, None, b"delivered")]

    def withdraw(self) -> list[Append]:
        self.withdrawn = self._goes()
        return [(EVENTS, 0, None, b"in doubt")] if self.withdrawn else []

    def deferrals(self) -> list[Append]:
        return [] if self.withdrawn else [(DEFERRED, 0, b"key", b"value")]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_stop_while_events_are_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    """The session ends while the append is under way; then it is known whose partitions are."""
    now_s = [100.0]
    monkeypatch.setattr("postalynk.worker.commit.time.monotonic", lambda: now_s[0])
    fence = Fence(6)
    fence.renew(now_s[0])

    def stops(appends: Sequence[Append]) -> None:
        if appends[0][3] == b"delivered":
            now_s[0] += 60

    def comes_back(_timeout_s: float) -> bool:
        fence.renew(now_s[0])
        return False

    rig.queue.after = stops
    monkeypatch.setattr(rig.parts.ending, "wait", comes_back)
    batch = Batch(lambda: is_lost)
    monkeypatch.setattr(rig.engine, "outcomes", lambda *_: batch)
    monkeypatch.setattr(rig.engine, "recorded", lambda *_: None)
    assert Record(rig.parts, Budget(1), fence).once() == 1
    said = [b"delivered", b"in doubt"] if is_lost else [b"delivered"]
    assert rig.queue.values(EVENTS, 0) == said
    assert rig.queue.tables[DEFERRED, 0] == ({} if is_lost else {b"key": b"value"})


def test_a_deferral_whose_fate_is_unknown_is_written_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(lambda: False)
    monkeypatch.setattr(rig.engine, "outcomes", lambda *_: batch)
    monkeypatch.setattr(rig.engine, "recorded", lambda *_: None)
    rig.fails(f"append {DEFERRED}", 2)
    Record(rig.parts, Budget(1), Fence(6)).once()
    assert rig.queue.tables[DEFERRED, 0] == {b"key": b"value"}
    assert rig.queue.values(EVENTS, 0) == [b"delivered"], "once"


def test_what_was_found_committed_is_a_sign_of_life(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with nothing to send must learn, too, that its partitions are its own."""
    leases: list[float] = []
    monkeypatch.setattr(rig.engine, "lease", leases.append, raising=False)
    consumer = cast("Consumer", rig.queue.consumer("g", ["email.send.high"]))
    commit = Commit(rig.parts, consumer, Fence(6))
    ownership = Ownership(rig.parts, ScheduleStep(rig.parts), None)
    ownership.commit = commit
    ownership.assigned([1])
    assert commit.once()
    assert consumer.committed() == {("email.send.high", 1): (0, b"\x01" + bytes(8))}
    assert 0 < leases[-1] <= LEASE * 6


def test_doubts_are_told_although_an_append_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.queue.put(EVENTS, 1, b"another's outcome")
    open_, told = {1: 5}, []
    said: list[Append] = [(EVENTS, 1, None, b"in doubt")]

    def answer(batch: Sequence[object]) -> list[Append]:
        open_.clear() if len(batch) else None
        return said if len(batch) else []

    monkeypatch.setattr(rig.engine, "doubts", lambda: dict(open_), raising=False)
    monkeypatch.setattr(rig.engine, "answer_doubts", answer, raising=False)
    monkeypatch.setattr(rig.engine, "doubts_told", lambda: told.append(1), raising=False)
    step = DoubtStep(rig.parts)
    rig.fails(f"append {EVENTS}", 1)
    with pytest.raises(QueueError):
        step.once()
    assert not told, "the journal still shows it"
    assert not step.once(), "nothing is in doubt any more"
    assert rig.queue.values(EVENTS, 1) == [b"another's outcome", b"in doubt"]
    assert told == [1]
