"""The one fake of the queue: in memory, true to `tests/contract`, and breakable at every call.

It keeps the order of `append`: records of append topics first and all together, then upserts. What
is stored outlives `close`, as a directory does: `MemoryQueue(storage=old.storage)` is the restart.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from postalynk.errors import QueueError

Append = tuple[str, int, bytes | None, bytes | None]
Position = tuple[str, int]
Row = tuple[str, int, int, int, bytes]

LANES = ("email.send.high", "email.send.normal", "email.send.bulk")
LOGS = frozenset({*LANES, "email.events", "email.dlq"})
TABLES = frozenset({"email.deferred", "email.scheduled", "email.config", "email.idempotency"})


class Crash(BaseException):
    """The process dies here. Not an Exception: nothing below may handle it."""


class MemoryBatch(list[Row]):
    """Rows of one poll; a list, since the engine takes rows where it takes its own batches."""

    def rows(self) -> list[Row]:
        return list(self)

    def next_offsets(self) -> dict[Position, int]:
        return {(topic, partition): offset + 1 for topic, partition, offset, _, _ in self}


@dataclass
class Storage:
    """What is on the disk that is not there."""

    records: dict[Position, list[Row]] = field(default_factory=lambda: defaultdict(list))
    tables: dict[Position, dict[bytes, bytes]] = field(default_factory=lambda: defaultdict(dict))
    groups: dict[str, dict[Position, tuple[int, bytes]]] = field(
        default_factory=lambda: defaultdict(dict)
    )


class MemoryConsumer:
    """Gives one record of each partition in turn."""

    def __init__(self, queue: MemoryQueue, group: str, topics: Sequence[str]) -> None:
        self._queue = queue
        self._group = group
        self._at = {(t, p): 0 for t in topics for p in range(queue.partitions)}
        self._at |= {p: offset for p, (offset, _) in self._kept().items()}
        self._places = list(self._at)
        self._first = 0
        self._is_closed = False
        self.paused: set[Position] = set()

    def poll(self, max_records: int, max_bytes: int, timeout_ms: int) -> Any:
        wait_s = timeout_ms / 1000 if self._queue.waits else 0.0
        deadline = time.monotonic() + wait_s
        with self._queue.open() as changed:
            while True:
                self._check()
                rows = self._gather(max(1, max_records), max(1, max_bytes))
                left_s = deadline - time.monotonic()
                if rows or left_s <= 0:
                    break
                changed.wait(left_s)
                self._queue.check_open()
        self._queue.on_call(f"poll {len(rows)}")
        return MemoryBatch(rows)

    def _gather(self, max_records: int, max_bytes: int) -> list[Row]:
        rows: list[Row] = []
        size, count = 0, len(self._places)
        order = ((self._first + n) % count for n in range(count))
        waiting = deque(n for n in order if self._places[n] not in self.paused and self._left(n))
        while waiting and len(rows) < max_records and size < max_bytes:
            index = waiting.popleft()
            place = self._places[index]
            rows.append(self._queue.records[place][self._at[place]])
            size += len(rows[-1][4])
            self._at[place] += 1
            self._first = (index + 1) % count
            if self._left(index):
                waiting.append(index)
        return rows

    def _left(self, index: int) -> int:
        place = self._places[index]
        return max(0, len(self._queue.records[place]) - self._at[place])

    def commit(self, positions: Mapping[Position, tuple[int, bytes]]) -> None:
        self._queue.on_call("commit")
        with self._queue.open():
            self._check(*positions)
            if not self._group:
                raise QueueError("a consumer without a group has nothing to commit to")
            for place, (offset, _) in positions.items():
                if offset > len(self._queue.records[place]):
                    raise QueueError(f"{place}: offset {offset} is beyond the end")
            self._queue.groups[self._group].update(positions)

    def committed(self) -> dict[Position, tuple[int, bytes]]:
        self._check()
        return self._kept()

    def _kept(self) -> dict[Position, tuple[int, bytes]]:
        kept = self._queue.groups[self._group]
        return {position: kept[position] for position in self._at if position in kept}

    def pause(self, positions: Sequence[Position]) -> None:
        self._check(*positions)
        self.paused.update(positions)

    def resume(self, positions: Sequence[Position]) -> None:
        with self._queue.open() as changed:
            self._check(*positions)
            self.paused.difference_update(positions)
            changed.notify_all()

    def seek(
        self, topic: str, partition: int, *, offset: int | None = None, time_us: int | None = None
    ) -> None:
        with self._queue.open() as changed:
            self._check((topic, partition))
            records = self._queue.records[topic, partition]
            if (offset is None) is (time_us is None):
                raise ValueError("give either offset or time_us")
            if time_us is not None:
                offset = next((row[2] for row in records if row[3] >= time_us), len(records))
            assert offset is not None
            self._at[topic, partition] = offset
            changed.notify_all()

    def lag(self) -> dict[Position, int]:
        self._check()
        return {place: self._left(index) for index, place in enumerate(self._places)}

    def close(self) -> None:
        self._is_closed = True

    def _check(self, *positions: Position) -> None:
        if self._is_closed:
            raise QueueError("the consumer is closed")
        for position in positions:
            if position not in self._at:
                raise QueueError(f"this consumer does not read {position}")


class MemoryQueue:
    """Topics as lists and dicts.

    `before` and `after` run around each append, `on_call` at every call that can fail for reasons
    of its own; all may raise. With ``waits=False`` a poll that finds nothing returns at once, for
    tests without threads.
    """

    def __init__(
        self,
        partitions: int = 4,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        *,
        storage: Storage | None = None,
        waits: bool = True,
        on_call: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.partitions = partitions
        self.storage = storage or Storage()
        self.waits = waits
        self.on_call = on_call
        self.appends: list[list[Append]] = []
        self.before: Callable[[Sequence[Append]], None] = lambda _: None
        self.after: Callable[[Sequence[Append]], None] = lambda _: None
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._is_closed = False

    @property
    def records(self) -> dict[Position, list[Row]]:
        return self.storage.records

    @property
    def tables(self) -> dict[Position, dict[bytes, bytes]]:
        return self.storage.tables

    @property
    def groups(self) -> dict[str, dict[Position, tuple[int, bytes]]]:
        return self.storage.groups

    def append(self, appends: Sequence[Append]) -> list[int]:
        if appends:
            self.on_call(f"append {appends[0][0]}")
        self.before(appends)
        with self.open() as changed:
            for append in appends:
                self._check_append(*append)
            self.appends.append(list(appends))
            offsets = [self._record(t, p, v) if k is None else 0 for t, p, k, v in appends]
            for topic, partition, key, value in appends:
                if key is not None:
                    self._upsert(topic, partition, key, value)
            changed.notify_all()
        self.after(appends)
        return offsets

    def put(self, topic: str, partition: int, *values: bytes) -> None:
        """Records that someone else appended: no hook hears of them."""
        with self.open() as changed:
            for value in values:
                self._record(topic, partition, value)
            changed.notify_all()

    def _check_append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None
    ) -> None:
        self._check_place(topic, partition, LOGS | TABLES)
        if (key is None) is (topic in TABLES):
            raise QueueError(f"{topic}: a key is for compacted topics, and needed there")
        if key is None and value is None:
            raise QueueError(f"a record of {topic} has no value")

    def _check_place(self, topic: str, partition: int, topics: frozenset[str]) -> None:
        if topic not in topics:
            raise QueueError(f"topic {topic!r} is unknown, or not of this kind")
        if not 0 <= partition < self.partitions:
            raise QueueError(f"topic {topic} has no partition {partition}")

    def _record(self, topic: str, partition: int, value: bytes | None) -> int:
        assert value is not None
        rows = self.records[topic, partition]
        at_us = max(self._clock(), rows[-1][3] if rows else 0)
        rows.append((topic, partition, len(rows), at_us, value))
        return len(rows) - 1

    def _upsert(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        table = self.tables[topic, partition]
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value

    def get(self, topic: str, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        with self.open():
            self._check_place(topic, partition, TABLES)
            table = self.tables[topic, partition]
            return [table.get(key) for key in keys]

    def compacted(
        self, topic: str, partition: int, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        with self.open():
            self._check_place(topic, partition, TABLES)
            pairs = sorted(self.tables[topic, partition].items())
        return [(k, v) for k, v in pairs if after is None or k > after][:limit]

    def consumer(self, group: str, topics: Sequence[str]) -> MemoryConsumer:
        with self.open():
            for topic in topics:
                self._check_place(topic, 0, LOGS)
            return MemoryConsumer(self, group, topics)

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        self.on_call(f"offsets {topic}")
        with self.open():
            self._check_place(topic, 0, LOGS)
            return [(0, len(self.records[topic, p])) for p in range(self.partitions)]

    def oldest_at_us(self, topic: str, partition: int, offset: int) -> int | None:
        with self.open():
            self._check_place(topic, partition, LOGS)
            rows = self.records[topic, partition][offset:]
            return rows[0][3] if rows else None

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @contextmanager
    def open(self) -> Iterator[threading.Condition]:
        """The lock, for a call that needs the queue open."""
        with self._changed:
            self.check_open()
            yield self._changed

    def check_open(self) -> None:
        if self._is_closed:
            raise QueueError("the queue is closed")

    def values(self, topic: str, partition: int) -> list[bytes]:
        """The records of a log, oldest first."""
        return [row[4] for row in self.records[topic, partition]]

    def messages(self) -> list[bytes]:
        """All records of ``email.send.*``."""
        return [
            value
            for lane in LANES
            for partition in range(self.partitions)
            for value in self.values(lane, partition)
        ]
