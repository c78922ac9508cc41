"""The whole worker, with its threads, over a fake queue and a fake engine."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postalynk.policy import DEV, load
from postalynk.queue.topics import WORKER_GROUP
from postalynk.worker import Worker, WorkerOptions
from tests.unit.worker.fakes import (
    Clock,
    FakeDelivery,
    FakeEngine,
    Journal,
    accept,
    fake_parts,
    memory_queue,
)


class Rig:
    def __init__(self) -> None:
        self.journal = Journal()
        self.clock = Clock()
        self.queue = memory_queue(self.journal)
        self.engine = FakeEngine(self.journal, self.clock)
        self.failures: list[BaseException] = []
        self.parts = fake_parts(
            self.queue,
            self.engine,
            WorkerOptions(max_in_flight=100, commit_every_s=0.02),
            on_failure=self.failures.append,
        )
        self.worker: Worker | None = None

    def start(self) -> Worker:
        self.worker = Worker(self.parts)
        self.worker.start()
        return self.worker

    def events(self) -> list[list[object]]:
        return [
            json.loads(value)[:3]
            for partition in range(self.queue.partitions)
            for value in self.queue.values("email.events", partition)
        ]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    if rig.worker is not None:
        rig.worker.stop()


def wait(until: Callable[[], object], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_the_whole_sentence(rig: Rig) -> None:
    for number in range(50):
        accept(rig.queue, f"m{number}", "high" if number % 3 else "bulk", to="a@gmail.com")
    worker = rig.start()
    wait(lambda: len(rig.events()) == 50)
    assert worker.alive()
    assert worker.drain(5)
    assert sorted(str(event[0]) for event in rig.events()) == sorted(f"m{n}" for n in range(50))
    assert {route[0] for route in rig.engine.routes.values()} == {"majors"}
    assert all(
        rig.queue.groups[WORKER_GROUP][topic, partition][0]
        == len(rig.queue.values(topic, partition))
        for topic in ("email.send.high", "email.send.bulk")
        for partition in range(2)
        if rig.queue.values(topic, partition)
    )


def test_a_deferral_is_tried_again_when_it_is_due(rig: Rig) -> None:
    rig.parts.policies = load(DEV)
    accept(rig.queue, "m1", script=["deferred", "delivered"])
    rig.start()
    wait(lambda: len(rig.events()) == 1)
    time.sleep(0.2)
    assert rig.engine.sent == [("m1", 1)], "not before its time"
    rig.clock.now_us += 3_000_000
    wait(lambda: len(rig.events()) == 2)
    assert rig.events() == [["m1", 1, "deferred"], ["m1", 2, "delivered"]]
    wait(lambda: not any(rig.queue.tables.values()))


def test_order_of_writes_in_every_batch(rig: Rig) -> None:
    for number in range(30):
        accept(rig.queue, f"m{number}", script=["deferred"] if number % 2 else ["delivered"])
    worker = rig.start()
    wait(lambda: len(rig.events()) == 30)
    assert worker.drain(5)
    writes = [
        call
        for call in rig.journal.calls
        if call in ("append email.events", "append email.deferred", "recorded")
    ]
    state = "recorded"
    for call in writes:
        allowed = {
            "recorded": ("append email.events",),
            "append email.events": ("append email.deferred", "recorded"),
            "append email.deferred": ("recorded",),
        }[state]
        assert call in allowed, f"{call} after {state}"
        state = call
    assert state == "recorded"


def test_restoring_comes_before_the_first_poll(rig: Rig) -> None:
    accept(rig.queue, "m1")
    rig.start()
    wait(rig.events)
    calls = rig.journal.calls
    first_poll = next(i for i, call in enumerate(calls) if call.startswith("poll"))
    assert calls.index("restored") < calls.index("room") < first_poll
    assert calls[:first_poll][-1] == "offsets email.events", "ends are read before the poll"


@pytest.mark.parametrize(
    "call",
    ["room", "admit", "routable", "dispatch", "outcomes", "append email.events", "recorded",
     "append email.deferred", "commits", "commit"],
)  # fmt: skip
def test_a_step_that_raises_ends_the_worker_loudly(rig: Rig, call: str) -> None:
    rig.journal.raise_at = lambda name, _: OSError("disk gone") if name == call else None
    accept(rig.queue, "m1", script=["deferred"])
    worker = rig.start()
    wait(lambda: rig.failures)
    assert [str(error) for error in rig.failures] == ["disk gone"]
    assert worker.failure is rig.failures[0]
    assert not worker.alive()
    assert rig.engine.is_draining, "nothing more may be started"
    assert not worker.drain(1)


def test_drain_starts_nothing_and_records_what_was_started(rig: Rig) -> None:
    drain = rig.engine.drain

    def late(timeout_ms: int) -> bool:
        accept(rig.queue, "too late")
        started = FakeDelivery({"id": "started"})
        rig.engine.ended.append((started, "delivered"))
        return drain(timeout_ms)

    rig.engine.drain = late  # type: ignore[method-assign]
    worker = rig.start()
    assert worker.drain(5)
    assert [event[0] for event in rig.events()] == ["started"]
    assert rig.engine.sent == []
    assert not any(thread.is_alive() for thread in worker._threads.values())


def test_a_looping_policy_costs_no_message(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(
        "from postalynk.policy import policy, Message, Pools, Now, Route\n"
        "@policy.route\n"
        "def route(msg: Message, pools: Pools, now: Now) -> Route:\n"
        "    while msg.id == 'm1':\n"
        "        pass\n"
        "    return Route('high')\n"
    )
    rig.parts.policies = load(tmp_path)
    rig.worker = Worker(rig.parts)
    for budget in rig.worker._budgets:
        budget._floor_s = 0.5
    accept(rig.queue, "m1")
    rig.worker.start()
    wait(rig.events)
    accept(rig.queue, "m2")
    wait(lambda: len(rig.events()) == 2)
    pool, _, _, _, reason, is_fallback, version, *_ = rig.engine.routes["m1"]
    assert (pool, is_fallback) == ("default", True)
    assert reason.startswith("policy over its time budget at policy.py:")
    assert version == rig.parts.policies.version
    assert rig.engine.routes["m2"][0] == "high"
    assert rig.worker.alive()
