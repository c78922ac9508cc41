"""An engine that acts out a script, for tests of the steps between it and the queue.

A record is JSON: ``{"id", "org", "to", "script": ["deferred", "delivered"], …}``; the script says
how its attempts end, the last one repeating. Every call that matters is noted in `Journal`, and any
can be told to raise.
"""

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from postalynk.engine import Engine
from postalynk.policy import DEFAULT, Pools, load
from postalynk.queue.protocol import Append, Position, Queue
from postalynk.worker import Parts, WorkerOptions
from tests.fakes.queue import MemoryBatch, MemoryQueue

FINAL = ("delivered", "bounced", "expired", "held")
POLICIES = load(DEFAULT)
POOLS = Pools(["majors", "high", "default"])


class Journal:
    """The calls in the order they were made."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.raise_at: Callable[[str, int], BaseException | None] = lambda _call, _number: None
        self.lock = threading.Lock()

    def note(self, call: str) -> None:
        with self.lock:
            number = len(self.calls)
            self.calls.append(call)
        if (error := self.raise_at(call, number)) is not None:
            raise error


def memory_queue(journal: Journal, *, waits: bool = True) -> MemoryQueue:
    """The queue, its calls noted."""
    return MemoryQueue(partitions=2, waits=waits, on_call=journal.note)


class FakeOrganization:
    plan = "standard"

    def __init__(self, org: str) -> None:
        self.id = org


class FakeRecipient:
    def __init__(self, address: str) -> None:
        self.address = address
        self.domain = address.rpartition("@")[2]
        self.site = self.domain
        self.provider = "google" if self.domain == "gmail.com" else ""
        self.suppression_age_s = math.inf


class FakeDelivery:
    """Satisfies `postalynk.policy.Message`."""

    def __init__(self, record: Mapping[str, Any], attempt: int = 1) -> None:
        self.record = record
        self.id = str(record["id"])
        self.org = FakeOrganization(str(record.get("org", "org_1")))
        self.priority = str(record.get("priority", "normal"))
        self.lane = self.priority
        self.tags: dict[str, str] = dict(record.get("tags", {}))
        self.template = str(record.get("template", ""))
        self.sender = "bounce@example.com"
        self.sender_domain = "example.com"
        self.rcpt = FakeRecipient(str(record.get("to", "a@example.org")))
        self.size_bytes = 1000
        self.attempt = attempt
        self.age_s = 0.0
        self.last_reply = ""
        # The engine's own knowledge, not the policy's.
        self.where: tuple[str, int, int] | None = None
        self.partition = 0
        self.first_at_us = 0
        self.due_us = 0
        self.explanation = ""

    def deferral(self) -> bytes:
        return json.dumps(
            {
                "record": self.record,
                "attempt": self.attempt,
                "due": self.due_us,
                "first": self.first_at_us,
            }
        ).encode()

    @property
    def key(self) -> bytes:
        return self.id.encode()


class FakeFailure:
    def __init__(self, index: int, delivery: FakeDelivery, kind: str, at_us: int) -> None:
        self.index = index
        self.delivery = delivery
        self.kind = kind
        self.source = "mta-1"
        self.receiver = delivery.rcpt.site
        self.attempt = delivery.attempt
        self.code = 451
        self.enhanced = "4.0.0"
        self.reply = "later"
        self.class_ = "other"
        self.first_attempt_at_us = delivery.first_at_us
        self.at_us = at_us
        self.expires_at_us = int(delivery.record.get("expires_at_us", 0))
        self.in_doubt = str(delivery.record.get("in_doubt", "retry"))


class FakeRouteBatch:
    def __init__(self, deliveries: list[FakeDelivery]) -> None:
        self.items = deliveries

    def __len__(self) -> int:
        return len(self.items)

    def deliveries(self) -> list[FakeDelivery]:
        return self.items

    def explain(self, index: int, text: str) -> None:
        self.items[index].explanation = text


class FakeOutcomeBatch:
    """An entry of the kind "parked" has no event, only a deferral."""

    def __init__(self, entries: list[tuple[FakeDelivery, str]], now_us: int) -> None:
        self.entries = entries
        self.now_us = now_us
        self.decided: dict[int, int | str] = {
            index: delivery.due_us
            for index, (delivery, kind) in enumerate(entries)
            if kind == "parked"
        }

    def __len__(self) -> int:
        return len(self.entries)

    def failures(self) -> list[FakeFailure]:
        return [
            FakeFailure(index, delivery, kind, self.now_us)
            for index, (delivery, kind) in enumerate(self.entries)
            if kind in ("deferred", "in_doubt")
        ]

    def schedule(self, index: int, due_at_us: int) -> None:
        assert index not in self.decided
        self.decided[index] = due_at_us

    def expire(self, index: int, reason: str) -> None:
        assert index not in self.decided
        self.decided[index] = reason

    def kind(self, index: int) -> str:
        delivery, kind = self.entries[index]
        if isinstance(self.decided.get(index), str):
            return "held" if delivery.record.get("in_doubt") == "hold" else "expired"
        return kind

    def events(self) -> list[Append]:
        events: list[Append] = []
        for index, (delivery, kind) in enumerate(self.entries):
            if kind in ("deferred", "in_doubt"):
                assert index in self.decided, "every failure needs a decision"
            if kind != "parked":
                event = [delivery.id, delivery.attempt, self.kind(index), self.decided.get(index)]
                events.append(
                    ("email.events", delivery.partition, None, json.dumps(event).encode())
                )
        return events

    def deferrals(self) -> list[Append]:
        changes: list[Append] = []
        for index, (delivery, _) in enumerate(self.entries):
            due = self.decided.get(index)
            if isinstance(due, int):
                delivery.due_us = due
                changes.append(
                    ("email.deferred", delivery.partition, delivery.key, delivery.deferral())
                )
            elif delivery.attempt > 1:
                changes.append(("email.deferred", delivery.partition, delivery.key, None))
        return changes


class FakeEngine:
    """Decodes, remembers, and lets every attempt end as its record's script says."""

    def __init__(self, journal: Journal, clock: Callable[[], int], capacity: int = 100) -> None:
        self.journal = journal
        self.clock = clock
        self.capacity = capacity
        self.lock = threading.RLock()
        self.waiting: list[FakeDelivery] = []
        self.ended: list[tuple[FakeDelivery, str]] = []
        self.timers: dict[bytes, tuple[int, int]] = {}
        self.open: dict[Position, dict[int, int]] = {}
        self.next: dict[Position, int] = {}
        self.notes: dict[Position, int] = {}
        self.told: dict[Position, tuple[int, bytes]] = {}
        self.done: dict[str, tuple[int, str, int | None]] = {}
        self.sent: list[tuple[str, int]] = []
        self.routes: dict[str, tuple[Any, ...]] = {}
        self.dead: list[tuple[str, int, int]] = []
        self.refuse: Callable[[Sequence[tuple[Any, ...]]], str] = lambda _routes: ""
        self.shaping: tuple[bool, tuple[str, ...]] | None = None
        self.asked: list[tuple[str, str, str, str]] = []
        self.shaped: dict[Any, Any] = {}
        self.backed_off: list[tuple[str, str, int]] = []
        self.held_back: list[tuple[str, str, str, int]] = []
        self.warm: list[tuple[Any, ...]] | None = None
        self.is_draining = False
        self.is_threaded = True
        self.is_stopped = False

    def _pause(self, timeout_ms: int) -> None:
        if self.is_threaded:
            threading.Event().wait(min(timeout_ms, 5) / 1000)

    def crowded(self) -> list[int]:
        return []

    def room(self, timeout_ms: int) -> int:
        self.journal.note("room")
        room = max(0, self.capacity - sum(map(len, self.open.values())))
        if not room:
            self._pause(timeout_ms)
        return room

    def admit(
        self, batch: MemoryBatch, ends: Mapping[int, int]
    ) -> list[tuple[str, int, int, str, bytes]]:
        self.journal.note("admit")
        bad = []
        with self.lock:
            for topic, partition, offset, _, value in batch.rows():
                where = (topic, partition)
                self.open.setdefault(where, {})[offset] = ends.get(partition, 0)
                self.next[where] = offset + 1
                self.notes[where] = ends.get(partition, 0)
                try:
                    delivery = FakeDelivery(json.loads(value))
                except ValueError:
                    bad.append((topic, partition, offset, "not JSON", value))
                    continue
                delivery.where, delivery.partition = (topic, partition, offset), partition
                attempt, kind, due = self.done.get(delivery.id, (0, "", None))
                if not kind:
                    self.waiting.append(delivery)
                elif kind in FINAL or delivery.key in self.timers:
                    self._close(delivery)
                else:
                    # Recorded as deferred, and the crash came before the deferral was written.
                    assert due is not None
                    delivery.attempt, delivery.due_us = attempt, due
                    delivery.first_at_us = self.clock()
                    self.ended.append((delivery, "parked"))
        return bad

    def _close(self, delivery: FakeDelivery) -> None:
        if delivery.where is not None:
            topic, partition, offset = delivery.where
            self.open[topic, partition].pop(offset, None)

    def shape_by_policy(self, is_asked: bool, orgs: Sequence[str]) -> None:
        self.shaping = (is_asked, tuple(orgs))

    def paths_asked(self, _max: int, timeout_ms: int) -> list[tuple[str, str, str, str]]:
        with self.lock:
            asked, self.asked = self.asked, []
        if not asked:
            self._pause(timeout_ms)
        return asked

    def shape(self, answers: Sequence[tuple[Any, Any]]) -> None:
        with self.lock:
            self.shaped.update(answers)

    def back_off(self, paths: Sequence[tuple[str, str, int]]) -> None:
        self.backed_off.extend(paths)

    def warm_up(self, plans: Sequence[tuple[Any, ...]]) -> None:
        self.warm = list(plans)

    def held(self) -> list[tuple[str, str, str, int]]:
        return self.held_back

    def standings(self) -> list[tuple[Any, ...]]:
        return []

    def paths(self) -> list[tuple[Any, ...]]:
        self.journal.note("paths")
        return []

    def discarded(self, positions: Sequence[tuple[str, int, int]]) -> None:
        self.journal.note("discarded")
        for topic, partition, offset in positions:
            self.open[topic, partition].pop(offset)
        self.dead += positions

    def due(self, max_deliveries: int) -> list[tuple[int, list[bytes]]]:
        now = self.clock()
        with self.lock:
            keys = [k for k, (_, at) in self.timers.items() if at <= now][:max_deliveries]
            return [(self.timers.pop(key)[0], [key]) for key in keys]

    def admit_deferred(
        self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]
    ) -> list[tuple[bytes, str]]:
        self.journal.note("admit_deferred")
        bad = []
        with self.lock:
            for key, value in zip(keys, values, strict=True):
                if value is None:
                    continue
                try:
                    deferral = json.loads(value)
                except ValueError:
                    bad.append((key, "not JSON"))
                    continue
                delivery = FakeDelivery(deferral["record"], deferral["attempt"] + 1)
                delivery.partition, delivery.first_at_us = partition, deferral["first"]
                self.waiting.append(delivery)
        return bad

    def routable(self, max_deliveries: int, timeout_ms: int) -> FakeRouteBatch:
        self.journal.note("routable")
        with self.lock:
            batch = self.waiting[:max_deliveries]
            del self.waiting[:max_deliveries]
        if not batch:
            self._pause(timeout_ms)
        return FakeRouteBatch(batch)

    def dispatch(
        self, batch: FakeRouteBatch, routes: Sequence[tuple[Any, ...]], choice: Sequence[int]
    ) -> None:
        self.journal.note("dispatch")
        assert len(choice) == len(batch)
        if why := self.refuse(routes):
            raise ValueError(why)
        with self.lock:
            for delivery, number in zip(batch.items, choice, strict=True):
                self.routes[delivery.id] = routes[number]
                self.sent.append((delivery.id, delivery.attempt))
                delivery.first_at_us = delivery.first_at_us or self.clock()
                script = delivery.record.get("script", ["delivered"])
                end = script[min(delivery.attempt, len(script)) - 1]
                self.ended.append((delivery, end))

    def outcomes(self, max_outcomes: int, timeout_ms: int) -> FakeOutcomeBatch:
        self.journal.note("outcomes")
        with self.lock:
            batch = self.ended[:max_outcomes]
            del self.ended[:max_outcomes]
        if not batch:
            self._pause(timeout_ms)
        return FakeOutcomeBatch(batch, self.clock())

    def recorded(self, batch: FakeOutcomeBatch, event_offsets: Sequence[int]) -> None:
        self.journal.note("recorded")
        assert len(event_offsets) == len(batch.events())
        with self.lock:
            for index, (delivery, _) in enumerate(batch.entries):
                self._close(delivery)
                due = batch.decided.get(index)
                self.done[delivery.id] = (delivery.attempt, batch.kind(index), None)
                if isinstance(due, int):
                    self.timers[delivery.key] = (delivery.partition, due)

    def commits(self) -> dict[Position, tuple[int, bytes]]:
        self.journal.note("commits")
        with self.lock:
            moved = {}
            for where, after in self.next.items():
                opened = self.open.get(where, {})
                low = min(opened, default=after)
                note = opened[low] if opened else self.notes[where]
                position = (low, b"\x01" + note.to_bytes(8, "big"))
                if self.told.get(where) != position:
                    moved[where] = self.told[where] = position
            return moved

    def restore_events(self, batch: MemoryBatch) -> None:
        self.journal.note("restore_events")
        for *_, value in batch.rows():
            message, attempt, kind, due = json.loads(value)
            self.done[message] = (attempt, kind, due)

    def restore_deferred(
        self, partition: int, pairs: Sequence[tuple[bytes, bytes]]
    ) -> list[Append]:
        self.journal.note("restore_deferred")
        mended: list[Append] = []
        for key, value in pairs:
            deferral = json.loads(value)
            attempt, kind, due = self.done.get(key.decode(), (0, "", None))
            if attempt <= deferral["attempt"]:
                self.timers[key] = (partition, deferral["due"])
            elif kind in FINAL:
                mended.append(("email.deferred", partition, key, None))
            else:
                # The crash came between the event of this attempt and its upsert.
                deferral.update(attempt=attempt, due=due)
                mended.append(("email.deferred", partition, key, json.dumps(deferral).encode()))
                self.timers[key] = (partition, deferral["due"])
        return mended

    def assigned(self, partition: int, ends: Mapping[str, int]) -> None:
        pass

    def release(self, partitions: Sequence[int], timeout_ms: int) -> bool:
        self.released = tuple(partitions)
        return True

    def forget(self, partitions: Sequence[int]) -> None:
        for place in [place for place in self.open if place[1] in partitions]:
            del self.open[place]

    def lease(self, seconds: float) -> None:
        self.leased_s = seconds

    def restored(self, *, is_shared: bool = False) -> int:
        self.journal.note("restored")
        return 0

    def drain(self, timeout_ms: int) -> bool:
        self.journal.note("drain")
        self.is_draining = True
        return True

    def stop(self) -> None:
        self.is_stopped = True


class Clock:
    """Set by hand, in microseconds."""

    def __init__(self) -> None:
        self.now_us = 1_000_000_000

    def __call__(self) -> int:
        return self.now_us


def fake_parts(
    queue: MemoryQueue, engine: FakeEngine, options: WorkerOptions | None = None, **others: Any
) -> Parts:
    return Parts(
        queue=cast(Queue, queue),
        engine=cast(Engine, engine),
        policies=others.pop("policies", None) or POLICIES,
        pools=POOLS,
        options=options or WorkerOptions(max_in_flight=engine.capacity),
        clock=engine.clock,
        **others,
    )


def accept(queue: MemoryQueue, identity: str, lane: str = "normal", **fields: object) -> None:
    """Put a record into a lane, as accept would."""
    record = json.dumps({"id": identity, "priority": lane, **fields}).encode()
    partition = sum(identity.encode()) % queue.partitions
    queue.put(f"email.send.{lane}", partition, record)
