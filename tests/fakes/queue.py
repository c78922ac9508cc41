"""A queue in memory that obeys `postalynk.queue.protocol` and breaks when told to.

It keeps the order of `append`: records of append topics first and all together, then upserts.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from postalynk.errors import QueueError

Append = tuple[str, int, bytes | None, bytes | None]
Position = tuple[str, int]
Row = tuple[str, int, int, int, bytes]


class Crash(BaseException):
    """The process dies here. Not an Exception: nothing below may handle it."""


class MemoryBatch(list[Row]):
    """Rows of one poll; a list, since the engine takes rows where it takes its own batches."""

    def rows(self) -> list[Row]:
        return list(self)

    def next_offsets(self) -> dict[Position, int]:
        return {(topic, partition): offset + 1 for topic, partition, offset, _, _ in self}


class MemoryConsumer:
    """Reads one after the other partition."""

    def __init__(self, queue: MemoryQueue, group: str, topics: Sequence[str]) -> None:
        self._queue = queue
        self._group = group
        self._at = {(t, p): 0 for t in topics for p in range(queue.partitions)}
        self._at |= {p: offset for p, (offset, _) in self.committed().items()}
        self._paused: set[Position] = set()

    def poll(self, max_records: int, max_bytes: int, timeout_ms: int) -> Any:
        rows: list[Row] = []
        size = 0
        for position, at in self._at.items():
            if position in self._paused:
                continue
            for row in self._queue.records[position][at:]:
                if len(rows) >= max_records or size >= max_bytes:
                    break
                rows.append(row)
                size += len(row[4])
                self._at[position] += 1
        return MemoryBatch(rows)

    def commit(self, positions: Mapping[Position, tuple[int, bytes]]) -> None:
        self._queue.groups[self._group].update(positions)

    def committed(self) -> dict[Position, tuple[int, bytes]]:
        kept = self._queue.groups[self._group]
        return {position: kept[position] for position in self._at if position in kept}

    def pause(self, positions: Sequence[Position]) -> None:
        self._paused.update(positions)

    def resume(self, positions: Sequence[Position]) -> None:
        self._paused.difference_update(positions)

    def seek(
        self, topic: str, partition: int, *, offset: int | None = None, time_us: int | None = None
    ) -> None:
        records = self._queue.records[topic, partition]
        if offset is None:
            at_us = time_us or 0
            offset = next((i for i, row in enumerate(records) if row[3] >= at_us), len(records))
        self._at[topic, partition] = offset

    def lag(self) -> dict[Position, int]:
        return {p: len(self._queue.records[p]) - at for p, at in self._at.items()}

    def close(self) -> None:
        """Nothing is held."""


class MemoryQueue:
    """Topics as lists and dicts. `before` and `after` run around each append, and may raise."""

    def __init__(
        self, partitions: int = 4, clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self.partitions = partitions
        self.records: dict[Position, list[Row]] = defaultdict(list)
        self.tables: dict[Position, dict[bytes, bytes]] = defaultdict(dict)
        self.groups: dict[str, dict[Position, tuple[int, bytes]]] = defaultdict(dict)
        self.appends: list[list[Append]] = []
        self.before: Callable[[Sequence[Append]], None] = lambda _: None
        self.after: Callable[[Sequence[Append]], None] = lambda _: None
        self._clock = clock
        self._lock = threading.Lock()

    def append(self, appends: Sequence[Append]) -> list[int]:
        self.before(appends)
        with self._lock:
            self.appends.append(list(appends))
            offsets = [0 if a[2] is not None else self._record(a) for a in appends]
            for topic, partition, key, value in appends:
                if key is not None and value is None:
                    self.tables[topic, partition].pop(key, None)
                elif key is not None:
                    self.tables[topic, partition][key] = cast(bytes, value)
        self.after(appends)
        return offsets

    def _record(self, append: Append) -> int:
        topic, partition, _, value = append
        if value is None:
            raise QueueError(f"a record of {topic} has no value")
        rows = self.records[topic, partition]
        rows.append((topic, partition, len(rows), self._clock(), value))
        return len(rows) - 1

    def get(self, topic: str, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._lock:
            table = self.tables[topic, partition]
            return [table.get(key) for key in keys]

    def compacted(
        self, topic: str, partition: int, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        with self._lock:
            pairs = sorted(self.tables[topic, partition].items())
        return [(k, v) for k, v in pairs if after is None or k > after][:limit]

    def consumer(self, group: str, topics: Sequence[str]) -> MemoryConsumer:
        return MemoryConsumer(self, group, topics)

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        return [(0, len(self.records[topic, p])) for p in range(self.partitions)]

    def oldest_at_us(self, topic: str, partition: int, offset: int) -> int | None:
        rows = self.records[topic, partition][offset:]
        return rows[0][3] if rows else None

    def close(self) -> None:
        """Nothing is held."""

    def messages(self) -> list[bytes]:
        """All records of ``email.send.*``."""
        return [
            row[4]
            for (topic, _), rows in sorted(self.records.items())
            if topic.startswith("email.send.")
            for row in rows
        ]
