"""Compacted topics: a local copy of each partition that is asked for, on disk.

**Problem.** Kafka keeps the newest value of every key but cannot be asked for one.
**Model.** A thread follows the partitions somebody asked about, from their first record on, and
writes what it reads into the store of the embedded queue, so a million deferrals cost disk and not
memory. The copy is made anew by every process: a position kept from before could miss tombstones
that compaction has removed meanwhile, and their keys would live for ever.
**Invariant.** A read sees every write that was acknowledged before it began, whoever wrote it: it
learns the end of the partition first and waits until the copy is there.
**Not here.** Writing: upserts go to the brokers, and come back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from postalynk.errors import QueueError
from postalynk.observability import get_logger
from postalynk.queue.kafka.cluster import ANSWER_S, NEWEST, TABLES
from postalynk.queue.kafka.reader import END
from postalynk.queue.native import EmbeddedQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from confluent_kafka import Message

    from postalynk.queue.kafka.reader import Owner
    from postalynk.queue.protocol import Append, Position

log = get_logger(__name__)

MAX_RECORDS = 5_000
SLICE_S = 0.1
PAGE = 5_000


class Tables:
    """The copies of one process."""

    def __init__(self, queue: Owner, directory: Path) -> None:
        """``directory``: of this process alone."""
        self._queue = queue
        directory.mkdir(parents=True, exist_ok=True)
        _sweep(directory)
        self._place = directory / f"tables-{os.getpid()}-{id(self):x}"
        self._store = EmbeddedQueue(str(self._place), partitions=queue.partitions)
        self._client = queue.cluster.consumer("")
        self._names = {queue.cluster.wire(topic): topic for topic in TABLES}
        self._changed = threading.Condition()
        # Offset after the last record in the copy, of each partition that is followed.
        self._copied: dict[Position, int] = {}
        # Left with keys in the store: emptied when they are followed again.
        self._stale: set[Position] = set()
        # What the thread is to follow (True) or to leave.
        self._orders: deque[tuple[Position, bool]] = deque()
        self._is_closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kafka-tables", daemon=True)
        self._thread.start()

    def get(
        self, topic: str, partition: int, keys: Sequence[bytes], patience_s: float = ANSWER_S
    ) -> list[bytes | None]:
        """See `Queue.get`."""
        self._catch_up((topic, partition), patience_s)
        return self._store.get(topic, partition, keys)

    def page(
        self,
        topic: str,
        partition: int,
        after: bytes | None,
        limit: int,
        *,
        patience_s: float = ANSWER_S,
    ) -> list[tuple[bytes, bytes]]:
        """See `Queue.compacted`. Only the first page waits: the others would see no less."""
        if after is None or (topic, partition) not in self._copied:
            self._catch_up((topic, partition), patience_s)
        return self._store.compacted(topic, partition, after, limit)

    def forget(self, positions: Sequence[Position]) -> None:
        """Follow these no longer: another worker owns them now."""
        with self._changed:
            gone = [position for position in positions if position in self._copied]
            for position in gone:
                del self._copied[position]
                self._orders.append((position, False))
            self._stale.update(gone)

    def watch(self, topic: str, partition: int, listener: Callable[[], None]) -> None:
        """Call ``listener`` from a thread of its own after changes, whoever made them."""
        position = (topic, partition)
        self._catch_up(position)
        with self._changed:
            seen = self._copied[position]

        def has_changed() -> bool:
            return self._is_closed or self._copied.get(position, 0) > seen

        def run() -> None:
            nonlocal seen
            while True:
                with self._changed:
                    self._changed.wait_for(has_changed)
                    seen = self._copied.get(position, seen)
                if self._is_closed:
                    return
                try:
                    listener()
                except Exception:
                    log.exception("what follows a compacted topic failed", topic=topic)

        threading.Thread(target=run, name=f"kafka-watch-{topic}", daemon=True).start()

    def close(self) -> None:
        """Drop the copies."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()
        self._client.close()
        self._store.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def _catch_up(self, position: Position, patience_s: float = ANSWER_S) -> None:
        """Wait until the copy holds all that is stored now."""
        end = self._queue.ends([position], NEWEST, patience_s)[0]
        deadline = time.monotonic() + patience_s
        with self._changed:
            if position not in self._copied:
                self._follow(position)
            reached = 0
            while self._copied.get(position, 0) < end:
                if self._is_closed or self._queue.is_closed:
                    raise QueueError("the queue is closed")
                if self._failure is not None:
                    raise QueueError(f"Kafka: compacted topics: {self._failure}")
                self._changed.wait(SLICE_S)
                now = time.monotonic()
                if self._copied.get(position, 0) > reached:
                    reached, deadline = self._copied[position], now + patience_s
                elif now > deadline:
                    raise QueueError(
                        f"Kafka: records of {position[0]}, partition {position[1]} do not come",
                        fix="look at the brokers; nothing stored is lost",
                    )

    def _follow(self, position: Position) -> None:
        topic, partition = position
        if position in self._stale:
            self._stale.discard(position)
            while page := self._store.compacted(topic, partition, None, PAGE):
                self._store.append([(topic, partition, key, None) for key, _ in page])
        self._copied[position] = 0
        self._orders.append((position, True))

    def _obey(self) -> None:
        """Begin and cease to follow; in the thread that reads, for the client wants it so."""
        while self._orders:
            position, is_wanted = self._orders.popleft()
            place = self._queue.cluster.place(position, 0)
            if is_wanted:
                self._client.incremental_assign([place])
            else:
                self._client.incremental_unassign([place])

    def _run(self) -> None:
        try:
            while not self._is_closed:
                self._obey()
                messages = self._client.consume(MAX_RECORDS, 0) or self._client.consume(1, SLICE_S)
                if messages:
                    self._copy(messages)
        except Exception as error:
            log.exception("compacted topics are not followed any more")
            self._failure = error

    def _copy(self, messages: list[Message]) -> None:
        changes: list[Append] = []
        reached: dict[Position, int] = {}
        for message in messages:
            position = (self._names[message.topic()], message.partition() or 0)  # type: ignore[index]
            error, offset = message.error(), message.offset() or 0
            if error is None:
                reached[position] = offset + 1
                changes.append((*position, message.key(), message.value()))
            elif error.code() == END:
                reached[position] = offset
            elif error.fatal() or not error.retriable():
                raise KafkaException(error)
        if changes:
            self._store.append(changes)
        with self._changed:
            for position, offset in reached.items():
                if position in self._copied:
                    self._copied[position] = max(self._copied[position], offset)
            self._changed.notify_all()


def _sweep(directory: Path) -> None:
    """Remove the copies of processes that did not end by themselves."""
    for left in directory.glob("tables-*"):
        pid = left.name.split("-")[1]
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid), 0)
            continue
        shutil.rmtree(left, ignore_errors=True)
