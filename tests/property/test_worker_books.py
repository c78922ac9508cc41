"""Offset tracker, done-set and timer wheel of the real engine, against what the log alone says.

**Model.** The machine is the worker without its threads: it accepts, consumes, routes, records,
lets deferrals fall due and commits, in any order; it crashes between any two writes, and partitions
leave and come back. Nothing is on the wire: routes name a pool without sources, so every attempt
ends at once, deferred, and the machine decides if it is tried again now, in an hour, or never.
**Oracle.** The events of each delivery, read from the log, and the table of deferrals.
**Laws.** `attempts_follow_one_another` (none twice, none left out, none after the end),
`committed_is_accounted_for` (below a committed offset everything is over or in the table),
`a_timer_each` (one for each deferral in the table), `nothing_early`, and at the end `all_end_once`.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from postalynk._engine import Engine, EventColumns, OutcomeBatch, routing_records
from postalynk.ingest.border import encode_messages
from postalynk.queue.topics import DEFERRED, EVENTS, SEND_TOPICS, WORKER_GROUP
from postalynk.worker.restore import restore
from tests.fakes.queue import MemoryQueue
from tests.support.workers import mail

PARTITIONS = 2
ALL = range(PARTITIONS)
HOUR_US = 3_600_000_000
ORGS = [f"org_{n}" for n in range(4)]
SOURCES = [{"name": "a", "ip": "127.0.0.1"}]
POOLS = [{"name": "somewhere", "sources": {"a": 1}}]
NOWHERE = [("nowhere", (), 0, (), "", False, "1", "", "")]
FINAL = {"delivered", "bounced", "expired", "cancelled"}

Key = bytes
"""Message id, then the recipient's index as 4 bytes, big-endian."""


def now_us() -> int:
    return time.time_ns() // 1_000


class Books(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue = MemoryQueue(PARTITIONS, waits=False)
        self.accepted: set[Key] = set()
        self.hastened: set[Key] = set()
        self.number = 0
        self.open()

    def open(self) -> None:
        """As a worker starts."""
        self.engine = Engine(json.dumps({"smart_host": "127.0.0.1:9"}))
        # Without any pool there is a source of default settings.
        self.engine.configure(json.dumps({"sources": SOURCES, "pools": POOLS}))
        self.restore(ALL)
        self.consumer = self.queue.consumer(WORKER_GROUP, SEND_TOPICS)

    def restore(self, partitions: Any) -> None:
        parts = SimpleNamespace(queue=self.queue, engine=self.engine)
        restore(cast("Any", parts), partitions)

    @rule(
        org=st.sampled_from(ORGS),
        lane=st.sampled_from(["high", "normal", "bulk"]),
        recipients=st.integers(1, 3),
        is_expired=st.booleans(),
    )
    def accept(self, org: str, lane: str, recipients: int, is_expired: bool) -> None:
        self.number += 1
        message = msgspec.structs.replace(
            mail(self.number, org),
            lane=lane,
            recipients=[f"r{self.number}-{n}@example.org" for n in range(recipients)],
            expires_at_us=1 if is_expired else 0,
        )
        self.queue.append(encode_messages([message], PARTITIONS))
        self.accepted |= {message.id + n.to_bytes(4, "big") for n in range(recipients)}

    @rule(most=st.integers(1, 5))
    def consume(self, most: int) -> None:
        ends = {p: end for p, (_, end) in enumerate(self.queue.offsets(EVENTS))}
        assert not self.engine.admit(self.consumer.poll(most, 1 << 20, 0), ends)

    @rule()
    def route(self) -> None:
        batch = self.engine.routable(1_000, 0)
        if len(batch):
            self.engine.dispatch(batch, cast("Any", NOWHERE), [0] * len(batch))

    @rule(
        most=st.integers(1, 5),
        decisions=st.lists(st.sampled_from(["now", "later", "never"]), min_size=5, max_size=5),
        crash_after=st.sampled_from(["", "", "", "events", "deferrals"]),
    )
    def record(self, most: int, decisions: list[str], crash_after: str) -> None:
        batch = self.engine.outcomes(most, 0)
        self.decide(batch, decisions)
        events, deferrals = batch.events(), batch.deferrals()
        offsets = self.queue.append(events) if events else []
        if crash_after == "events":
            return self.crash()
        if deferrals:
            self.queue.append(deferrals)
        if crash_after == "deferrals":
            return self.crash()
        return self.engine.recorded(batch, offsets)

    def decide(self, batch: OutcomeBatch, decisions: list[str]) -> None:
        for failure, decision in zip(batch.failures(), decisions, strict=False):
            if decision == "never":
                batch.expire(failure.index, "no longer wanted")
            else:
                at_us = now_us() + (HOUR_US if decision == "later" else 0)
                batch.schedule(failure.index, at_us)

    @rule()
    def fall_due(self) -> None:
        times = self.times()
        for partition, keys in self.engine.due(100):
            values = self.queue.get(DEFERRED, partition, keys)
            for key in keys:
                assert times.get(key, 0) <= now_us() or key in self.hastened, "law nothing_early"
            assert not self.engine.admit_deferred(partition, keys, values)

    @rule()
    def hasten(self) -> None:
        keys = [key for p in ALL for key in self.queue.tables[DEFERRED, p]]
        self.hastened |= set(keys)
        self.engine.flush_deferred(keys)

    @rule()
    def commit(self) -> None:
        if positions := self.engine.commits():
            self.consumer.commit(positions)

    @rule()
    def crash(self) -> None:
        self.engine.stop()
        self.consumer.close()
        self.hastened = set()
        self.open()

    @rule(partition=st.sampled_from(ALL))
    def leave_and_come_back(self, partition: int) -> None:
        assert self.engine.release([partition], 1_000)
        self.commit()
        self.engine.forget([partition])
        self.restore([partition])
        committed = self.consumer.committed()
        for topic in SEND_TOPICS:
            offset, _ = committed.get((topic, partition), (0, b""))
            self.consumer.seek(topic, partition, offset=offset)

    def times(self) -> dict[Key, int]:
        """When each deferral is due, as its last event says."""
        return {key: events[-1][2] for key, events in self.events().items()}

    def events(self) -> dict[Key, list[tuple[str, int, int]]]:
        """(kind, attempt, due) of each delivery in the log's order."""
        told: dict[Key, list[tuple[str, int, int]]] = defaultdict(list)
        for partition in ALL:
            columns = cast("Any", EventColumns(self.queue.records[EVENTS, partition]).events())
            names = ("message_id", "recipient", "kind", "attempt", "due_at_us")
            for known, recipient, kind, attempt, due in zip(
                *(columns[name] for name in names), strict=True
            ):
                told[known + recipient.to_bytes(4, "big")].append((kind, attempt, due or 0))
        return told

    @invariant()
    def law_attempts_follow_one_another(self) -> None:
        for events in self.events().values():
            attempts = 0
            for place, (kind, attempt, _) in enumerate(events):
                is_last = place == len(events) - 1
                assert is_last or kind == "deferred", events
                # What expired before an attempt has the number of the one before.
                assert attempt == attempts + 1 or (kind == "expired" and attempt == attempts)
                attempts = attempt

    @invariant()
    def law_committed_is_accounted_for(self) -> None:
        told = self.events()
        for (topic, partition), (offset, _) in self.queue.groups[WORKER_GROUP].items():
            rows = self.queue.records[topic, partition][:offset]
            waiting = self.queue.tables[DEFERRED, partition]
            for known, *_, recipients, _size, _at in routing_records(rows):
                for n in range(len(recipients)):
                    key = bytes.fromhex(known.replace("-", "")) + n.to_bytes(4, "big")
                    is_over = bool(told[key]) and told[key][-1][0] in FINAL
                    assert is_over or key in waiting, (topic, partition, offset)

    @invariant()
    def law_a_timer_each(self) -> None:
        waiting = sum(len(self.queue.tables[DEFERRED, partition]) for partition in ALL)
        assert self.engine.deferred() == waiting

    def teardown(self) -> None:
        """Law `all_end_once`: with nobody wanting more, every delivery ends, and once."""
        for _ in range(100):
            self.hasten()
            self.fall_due()
            self.consume(100)
            self.route()
            self.record(1_000, ["never"] * 1_000, "")
            self.commit()
            told = self.events()
            if all(told[key] and told[key][-1][0] in FINAL for key in self.accepted):
                break
        else:
            raise AssertionError("some never end")
        assert told.keys() == self.accepted
        self.law_attempts_follow_one_another()
        self.law_committed_is_accounted_for()
        self.law_a_timer_each()
        assert not any(self.queue.tables[DEFERRED, partition] for partition in ALL)
        committed = self.queue.groups[WORKER_GROUP]
        for topic in SEND_TOPICS:
            for partition, (_, end) in enumerate(self.queue.offsets(topic)):
                assert committed.get((topic, partition), (0, b""))[0] == end
        assert self.engine.in_flight() == 0
        self.engine.stop()


def test_what_is_known_of_records_not_read_yet_outlives_a_second_crash() -> None:
    """A commit of the second life noted a position behind the end of a record it had not read."""
    books = Books()
    try:
        for is_expired in (False, True):
            books.accept(org="org_0", lane="normal", recipients=1, is_expired=is_expired)
        books.consume(2)
        # Of the second record only: it expired before its attempt.
        books.record(1, [], "")
        books.crash()
        books.consume(1)
        books.route()
        books.record(1, ["never"], "")
        books.commit()
        books.crash()
    finally:
        books.teardown()


_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}

TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=100, stateful_step_count=30, **cast("Any", _COMMON))


class LongBooks(Books):
    """The same, for `make soak`."""


TestBooksForLong = pytest.mark.soak(LongBooks.TestCase)
TestBooksForLong.settings = settings(
    max_examples=1_000, stateful_step_count=80, **cast("Any", _COMMON)
)
