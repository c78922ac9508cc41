"""`KafkaQueue`: the queue on a cluster, for as many processes as there are.

**Model.** Topics are the cluster's, made by ``postalynk topics apply``. Appends go through one
idempotent producer (`producer`), readers have clients of their own (`reader`, `member`), and
compacted topics are answered from local copies (`tables`), opened when somebody first asks.
**Order of one append.** Records of logs first; when those are stored, upserts. Kafka has no
all-or-nothing over partitions without transactions, and none is needed: every record of ours may be
written again. A call that raises may have stored some of its records.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from postalynk.errors import QueueError
from postalynk.queue.kafka.cluster import (
    ANSWER_S,
    LOGS,
    NEWEST,
    OLDEST,
    TABLES,
    Cluster,
    ends,
    failed,
)
from postalynk.queue.kafka.member import Member
from postalynk.queue.kafka.producer import Appender
from postalynk.queue.kafka.reader import Reader
from postalynk.queue.kafka.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    from postalynk.queue.protocol import Append, Owner, Position
    from postalynk.settings import Settings


class KafkaQueue:
    """See the module and `postalynk.queue.protocol.Queue`."""

    recovery: tuple[str, ...] = ()
    """Nothing is recovered here: the brokers do that."""

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        *,
        topics: Collection[str] = LOGS | TABLES,
        timeout_s: float = 0.0,
        member: str = "",
    ) -> None:
        """Raises QueueError when no broker answers or ``topics`` are not as they should be.

        ``directory``: of this process alone; ``timeout_s``: of an append, 0: it never gives up;
        ``member``: the name of this process's worker.
        """
        self.cluster = cluster
        self._closed = threading.Event()
        self._admin = cluster.admin()
        self.partitions = self._count(topics)
        self._topics = frozenset(topics)
        self._directory = directory
        self._member = member
        self._appender = Appender(cluster, timeout_s)
        self._hurried: list[Appender] = []
        self._patience_s = ANSWER_S
        self._ends: dict[Position, int] = {}
        self._tables: list[Tables] = []
        self._opening = threading.Lock()

    @classmethod
    def open(cls, settings: Settings) -> KafkaQueue:
        """The queue of settings; its appends never give up (but see `hurried`)."""
        queue = settings.queue
        directory = settings.path(queue.directory)
        return cls(Cluster.of(queue), directory, member=queue.member)

    def hurried(self, timeout_s: float) -> KafkaQueue:
        """The same queue for callers who cannot wait: an append raises after this time, and so does
        a question that no broker answers.
        """
        other = copy.copy(self)
        appender = other._appender = Appender(self.cluster, timeout_s)  # noqa: SLF001  our own kind
        other._patience_s = min(timeout_s, ANSWER_S)  # noqa: SLF001
        self._hurried.append(appender)
        return other

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def append(self, appends: Sequence[Append]) -> list[int]:
        """See `Queue.append`; QueueError means that what is stored is unknown."""
        self._check()
        is_mixed = False
        for append in appends:
            is_mixed |= self._check_append(*append)
        if not is_mixed:
            return self._write(appends)
        logs = self._write([append for append in appends if append[0] in LOGS])
        self._write([append for append in appends if append[0] in TABLES])
        taken = iter(logs)
        return [next(taken) if append[0] in LOGS else 0 for append in appends]

    def _write(self, appends: Sequence[Append]) -> list[int]:
        offsets = self._appender.write(appends)
        for (topic, partition, *_), offset in zip(appends, offsets, strict=True):
            position = (topic, partition)
            if self._ends.get(position, 0) <= offset:
                self._ends[position] = offset + 1
        return offsets

    def _check_append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None
    ) -> bool:
        """Whether it is an upsert."""
        self._check_place(topic, partition, self._topics)
        is_table = topic in TABLES
        if is_table is (key is None):
            raise QueueError(f"{topic}: a key is for compacted topics, and needed there")
        if key is None and value is None:
            raise QueueError(f"a record of {topic} has no value")
        return is_table

    def consumer(self, group: str, topics: Sequence[str]) -> Reader:
        """See `Queue.consumer`; it reads all partitions, whatever members there are."""
        self._check()
        for topic in topics:
            self._check_place(topic, 0, LOGS)
        # Only a member speaks the group's protocol; this one is no member of it.
        client = self.cluster.consumer(group, group_protocol="classic")
        reader = Reader(self, client, topics, group)
        reader.begin()
        return reader

    def member(self, group: str, topics: Sequence[str], owner: Owner) -> Member:
        """See `postalynk.queue.protocol.Shared`."""
        self._check()
        for topic in topics:
            self._check_place(topic, 0, LOGS)
        return Member(self, topics, group, (self._member, owner))

    def get(self, topic: str, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `Queue.get`."""
        self._check_place(topic, partition, TABLES)
        return self._copies().get(topic, partition, list(keys), self._patience_s)

    def compacted(
        self, topic: str, partition: int, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        """See `Queue.compacted`."""
        self._check_place(topic, partition, TABLES)
        return self._copies().page(topic, partition, after, limit, patience_s=self._patience_s)

    def watch(self, topic: str, partition: int, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change of a compacted topic's partition."""
        self._copies().watch(topic, partition, listener)

    def forget(self, topic: str, partitions: Sequence[int]) -> None:
        """Keep no copy of these any longer."""
        self._copies().forget([(topic, partition) for partition in partitions])

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        """See `Queue.offsets`."""
        self._check_place(topic, 0, LOGS)
        positions = [(topic, partition) for partition in range(self.partitions)]
        oldest = self.ends(positions, OLDEST)
        return list(zip(oldest, self.ends(positions, NEWEST), strict=True))

    def ends(
        self, positions: Sequence[Position], spec: OffsetSpec, patience_s: float | None = None
    ) -> list[int]:
        """Offsets of now, one a position; those of ends are remembered for readers."""
        self._check()
        patience_s = self._patience_s if patience_s is None else patience_s
        found = ends(self._admin, map(self.cluster.place, positions), spec, patience_s)
        if spec is NEWEST:
            self._ends.update(zip(positions, found, strict=True))
        return found

    def known_end(self, position: Position) -> int:
        """The highest end this process has heard of."""
        return self._ends.get(position, 0)

    def oldest_at_us(self, topic: str, partition: int, offset: int) -> int | None:
        """See `Queue.oldest_at_us`."""
        self._check_place(topic, partition, LOGS)
        if self.ends([(topic, partition)], NEWEST)[0] <= offset:
            return None
        reader = Reader(self, self.cluster.consumer("", group_protocol="classic"), (topic,), "")
        try:
            reader.seek(topic, partition, offset=offset)
            rows = reader.poll(1, 1, 0).rows()
        finally:
            reader.close()
        return rows[0][3] if rows else None

    def close(self) -> None:
        """See `Queue.close`."""
        self._closed.set()
        for appender in (self._appender, *self._hurried):
            appender.close()
        with self._opening:
            while self._tables:
                self._tables.pop().close()

    def _copies(self) -> Tables:
        with self._opening:
            self._check()
            if not self._tables:
                # A list shared with what `hurried` gave: one copy a process.
                self._tables.append(Tables(self, self._directory))
            return self._tables[0]

    def _count(self, topics: Collection[str]) -> int:
        """Partitions of each of the topics: all have as many."""
        try:
            known = self._admin.list_topics(timeout=ANSWER_S).topics
        except KafkaException as error:
            raise failed(f"no broker answers at {self.cluster.servers}", error) from error
        counts = {name: len(known[wire].partitions) for name in topics
                  if (wire := self.cluster.wire(name)) in known}  # fmt: skip
        missing = sorted(set(topics) - set(counts))
        if missing:
            raise QueueError(
                f"Kafka: there is no topic {self.cluster.wire(missing[0])}",
                fix="postalynk topics apply",
            )
        if len(set(counts.values())) != 1:
            raise QueueError(
                "Kafka: the topics have different numbers of partitions",
                fix="postalynk topics apply --dry-run says which; finish postalynk topics grow",
            )
        return next(iter(counts.values()))

    def _check_place(self, topic: str, partition: int, topics: Collection[str]) -> None:
        self._check()
        if topic not in topics:
            raise QueueError(f"topic {topic!r} is unknown, or not of this kind")
        if not 0 <= partition < self.partitions:
            raise QueueError(f"topic {topic} has no partition {partition}")

    def _check(self) -> None:
        if self.is_closed:
            raise QueueError("the queue is closed")
