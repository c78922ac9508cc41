"""Each step by itself, and the laws of what survives a crash between any two calls."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postalynk.engine import decode_dead_letter
from postalynk.errors import QueueError
from postalynk.policy import Policies, load
from postalynk.queue.topics import SEND_TOPICS, WORKER_GROUP
from postalynk.routing.budget import Budget
from postalynk.settings import Settings
from postalynk.worker import Parts, WorkerOptions
from postalynk.worker.commit import Commit, Fence
from postalynk.worker.consume import Consume
from postalynk.worker.defer import Defer
from postalynk.worker.record import Record
from postalynk.worker.restore import LaneState, replay_from, restore
from postalynk.worker.route import RouteStep
from tests.fakes.queue import Crash, MemoryConsumer, MemoryQueue
from tests.unit.worker.fakes import (
    Clock,
    FakeEngine,
    Journal,
    accept,
    fake_parts,
    memory_queue,
)


class Steps:
    """The steps without threads, over a queue that outlives them."""

    def __init__(
        self,
        queue: MemoryQueue,
        journal: Journal,
        clock: Clock,
        policies: Policies | None = None,
    ) -> None:
        self.queue = queue
        self.journal = journal
        self.engine = FakeEngine(journal, clock)
        self.engine.is_threaded = False
        self.parts: Parts = fake_parts(queue, self.engine, policies=policies)
        self.consumer: MemoryConsumer = queue.consumer(WORKER_GROUP, SEND_TOPICS)
        self.fence = Fence(45)
        self.consume = Consume(self.parts, self.consumer)
        self.defer = Defer(self.parts)
        self.route = RouteStep(self.parts, Budget(1), self.fence)
        self.record = Record(self.parts, Budget(1), self.fence)
        self.commit = Commit(self.parts, self.consumer, self.fence)

    def restore(self) -> None:
        restore(self.parts, range(self.queue.partitions))

    def round(self) -> None:
        self.defer.once(50)
        self.consume.once(50)
        self.route.once()
        self.record.once()
        self.commit.once()


def _steps(policies: Policies | None = None) -> Steps:
    journal = Journal()
    return Steps(memory_queue(journal, waits=False), journal, Clock(), policies)


def _policy(directory: Path, body: str) -> Policies:
    (directory / "policy.py").write_text("from postalynk.policy import *\n" + body)
    return load(directory)


# --- the law of crashes ------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_law_no_loss_and_no_repeat_of_what_was_recorded(data: st.DataObject) -> None:
    """Law: whatever call the process dies at, all messages end and no recorded attempt repeats."""
    scripts = data.draw(
        st.lists(
            st.sampled_from([["delivered"], ["bounced"], ["deferred", "delivered"],
                             ["in_doubt", "deferred", "bounced"]]),
            min_size=1, max_size=6,
        )
    )  # fmt: skip
    journal, clock = Journal(), Clock()
    queue = memory_queue(journal, waits=False)
    for number, script in enumerate(scripts):
        accept(queue, f"m{number}", ("high", "normal", "bulk")[number % 3], script=script)
    recorded: set[tuple[str, int]] = set()
    for deaths in data.draw(st.lists(st.integers(0, 60), max_size=3)):
        at = len(journal.calls) + deaths
        journal.raise_at = _crash_at(at)
        steps = Steps(queue, journal, clock)
        try:
            steps.restore()
            for _ in range(12):
                steps.round()
                clock.now_us += 20 * 60 * 1_000_000
        except Crash:
            pass
        assert recorded.isdisjoint(steps.engine.sent)
        recorded |= _recorded(queue)
    journal.raise_at = lambda _call, _number: None
    steps = Steps(queue, journal, clock)
    steps.restore()
    for _ in range(12):
        steps.round()
        clock.now_us += 20 * 60 * 1_000_000
    assert recorded.isdisjoint(steps.engine.sent), "a recorded attempt was made again"
    ended = {message for message, _, kind in _events(queue) if kind in ("delivered", "bounced")}
    assert ended == {f"m{number}" for number in range(len(scripts))}
    assert not any(queue.tables.values()), "a deferral outlived its delivery"
    for topic in SEND_TOPICS:
        for partition in range(queue.partitions):
            if end := len(queue.values(topic, partition)):
                assert queue.groups[WORKER_GROUP][topic, partition][0] == end


def _crash_at(call_number: int) -> Callable[[str, int], BaseException | None]:
    return lambda _call, number: Crash() if number == call_number else None


def _events(queue: MemoryQueue) -> list[tuple[str, int, str]]:
    return [
        tuple(json.loads(value)[:3])
        for partition in range(queue.partitions)
        for value in queue.values("email.events", partition)
    ]


def _recorded(queue: MemoryQueue) -> set[tuple[str, int]]:
    return {(message, attempt) for message, attempt, _ in _events(queue)}


@given(
    lanes=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 50), st.none() | st.integers(0, 100)),
        max_size=3,
    ),
    oldest=st.integers(0, 100),
)
def test_law_replay_from(lanes: list[tuple[int, int, int | None]], oldest: int) -> None:
    """Law `replay_from`: at or before every unfinished lane's note, and the newest."""
    states = [
        LaneState(
            0, end, None if note is None else (min(offset, end), b"\x01" + note.to_bytes(8, "big"))
        )
        for offset, end, note in lanes
    ]
    start = replay_from(states, oldest)
    assert start >= oldest
    for state, (_, end, note) in zip(states, lanes, strict=True):
        if state.committed is None:
            assert end == 0 or start == oldest
        elif state.committed[0] < end:
            assert note is not None
            assert start <= max(note, oldest)
    notes = [note for *_, note in lanes if note is not None]
    assert start <= max([*notes, oldest])


# --- consume -----------------------------------------------------------------------------------


def test_a_record_that_cannot_be_decoded_is_a_dead_letter_and_stops_nobody() -> None:
    steps = _steps()
    steps.queue.put("email.send.normal", 1, b"\x00garbage")
    accept(steps.queue, "m1")
    steps.round()
    (letter,) = steps.queue.values("email.dlq", 1)
    dead = decode_dead_letter(letter)
    assert (dead["reason"], dead["detail"]) == ("undecodable", "not JSON")
    assert (dead["topic"], dead["source_offset"]) == ("email.send.normal", 0)
    assert dead["record"] == b"\x00garbage"
    assert steps.engine.dead == [("email.send.normal", 1, 0)]
    calls = steps.journal.calls
    assert calls.index("append email.dlq") < calls.index("discarded")
    assert _events(steps.queue) == [("m1", 1, "delivered")]
    assert 'postalynk_dead_letters_total{reason="undecodable"} 1.0' in (
        steps.parts.metrics.exposition().decode()
    )


def test_a_backlog_of_bulk_mail_leaves_room_for_urgent_mail() -> None:
    steps = _steps()
    for number in range(100):
        accept(steps.queue, f"b{number}", "bulk")
    accept(steps.queue, "h", "high")
    steps.consume.once(25)
    assert steps.consumer.paused == {("email.send.bulk", 0), ("email.send.bulk", 1)}
    assert [delivery.id for delivery in steps.engine.waiting] == ["h"]
    steps.consume.once(26)
    assert steps.consumer.paused == set()
    assert len(steps.engine.waiting) == 27


def test_the_ends_of_the_events_are_read_before_the_poll() -> None:
    steps = _steps()
    steps.consume.once(50)
    assert steps.journal.calls == ["offsets email.events", "poll 0"]


# --- defer -------------------------------------------------------------------------------------


def test_a_deferral_that_cannot_be_decoded_is_buried_and_its_tombstone_written() -> None:
    steps = _steps()
    steps.queue.tables["email.deferred", 1] = {b"k": b"junk", b"gone": b"junk"}
    steps.engine.timers = {b"k": (1, 0)}
    assert steps.defer.once(10) == 1
    assert decode_dead_letter(steps.queue.values("email.dlq", 1)[0])["record"] == b"junk"
    assert list(steps.queue.tables["email.deferred", 1]) == [b"gone"]
    calls = steps.journal.calls
    assert calls.index("append email.dlq") < calls.index("append email.deferred")


def test_retries_take_at_most_half_of_the_room() -> None:
    steps = _steps()
    steps.engine.timers = {f"k{n}".encode(): (0, 0) for n in range(20)}
    assert steps.defer.once(10) == 5
    assert steps.defer.once(1) == 1


# --- route -------------------------------------------------------------------------------------


def test_a_policy_that_raises_takes_the_fallback_counted_and_shown(tmp_path: Path) -> None:
    policies = _policy(
        tmp_path,
        "@policy.route\n"
        "def pick(msg, pools, now):\n"
        "    if msg.id == 'm1':\n"
        "        raise ValueError('seven')\n"
        "    return Route('high')\n",
    )
    steps = _steps(policies)
    for number in range(3):
        accept(steps.queue, f"m{number}")
    steps.round()
    reason = "policy raised ValueError at policy.py:5"
    assert steps.engine.routes["m1"] == (
        "default",
        (),
        0,
        (),
        reason,
        True,
        policies.version,
        "",
        "",
    )
    assert {steps.engine.routes[m][0] for m in ("m0", "m2")} == {"high"}
    assert len(_events(steps.queue)) == 3
    assert (
        'postalynk_policy_errors_total{function="pick",hook="route",line="policy.py:5"} 1.0'
        in steps.parts.metrics.exposition().decode()
    )


def test_a_route_the_engine_refuses_becomes_the_fallback() -> None:
    steps = _steps()
    steps.engine.refuse = lambda routes: "" if routes[0][5] else "X-Bad: too long"
    accept(steps.queue, "m1")
    steps.round()
    route = steps.engine.routes["m1"]
    assert (route[0], route[5]) == ("default", True)
    assert route[4] == "the engine refused the policy's route: X-Bad: too long"


# --- record ------------------------------------------------------------------------------------


def test_a_retry_hook_that_raises_takes_the_shipped_schedule(tmp_path: Path) -> None:
    steps = _steps(_policy(tmp_path, "@policy.retry\ndef again(a):\n    return 1 / 0\n"))
    accept(steps.queue, "m1", script=["deferred"])
    steps.round()
    (_, due_us), = steps.engine.timers.values()  # fmt: skip
    assert 48_000_000 <= due_us - steps.parts.clock() <= 72_000_000
    assert (
        'postalynk_policy_errors_total{function="again",hook="retry",line="policy.py:4"} 1.0'
        in steps.parts.metrics.exposition().decode()
    )


@pytest.mark.parametrize(
    ("wish", "kind", "is_retried"), [("retry", "in_doubt", True), ("hold", "held", False)]
)
def test_in_doubt_follows_the_organizations_wish(wish: str, kind: str, is_retried: bool) -> None:
    steps = _steps()
    accept(steps.queue, "m1", script=["in_doubt"], in_doubt=wish)
    steps.round()
    assert _events(steps.queue) == [("m1", 1, kind)]
    assert bool(steps.engine.timers) is is_retried


def test_a_message_that_expires_before_its_next_attempt_ends_there() -> None:
    steps = _steps()
    clock = steps.engine.clock
    assert isinstance(clock, Clock)
    accept(steps.queue, "m1", script=["deferred"], expires_at_us=clock.now_us + 30_000_000)
    steps.round()
    ((_, due_us),) = steps.engine.timers.values()
    assert due_us == clock.now_us + 30_000_000, "the last attempt is made at the deadline"
    clock.now_us = due_us
    steps.round()
    assert [kind for *_, kind in _events(steps.queue)] == ["deferred", "expired"]


# --- commit ------------------------------------------------------------------------------------


def test_a_failed_commit_is_tried_again_and_fences_after_the_session_timeout() -> None:
    steps = _steps()
    steps.fence = Fence(0.05)
    steps.commit = Commit(steps.parts, steps.consumer, steps.fence)
    accept(steps.queue, "m1")
    steps.journal.raise_at = lambda call, _: QueueError("gone") if call == "commit" else None
    steps.round()
    assert not steps.commit.once()
    assert steps.fence.wait_open(0)
    threading.Event().wait(0.06)
    assert not steps.commit.once()
    assert not steps.fence.wait_open(0)
    text = steps.parts.metrics.exposition().decode()
    assert "postalynk_fenced_total 1.0" in text
    assert "postalynk_commit_failures_total 3.0" in text
    steps.journal.raise_at = lambda _call, _number: None
    assert steps.commit.once(), "the engine told it once, the step must remember"
    assert steps.queue.groups[WORKER_GROUP]["email.send.normal", sum(b"m1") % 2][0] == 1
    assert steps.fence.wait_open(0)


def test_a_fenced_worker_starts_nothing() -> None:
    steps = _steps()
    accept(steps.queue, "m1")
    steps.consume.once(50)
    steps.fence.judge(46)
    assert steps.route.once() == 0
    assert steps.engine.sent == []
    steps.fence.judge(0)
    assert steps.route.once() == 1


def test_options_come_from_the_settings() -> None:
    options = WorkerOptions.of(Settings())
    assert (options.max_in_flight, options.budget_s) == (10_000, 0.005)
