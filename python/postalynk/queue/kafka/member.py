"""Sharing partitions with other processes: a member of a group.

**Model.** The brokers share out the partitions (KIP-848); the same number of every topic goes to
one member (assignor ``range``), and a partition is ours when it is so for all topics. `Owner` hears
of it inside `poll`: *assigned* before its first record is given, *revoked* while nobody else has it
yet, so whoever is told may still finish and commit, *lost* when another may have it already.
**A name** (static membership) makes a restart within the session timeout cheap: the partitions wait
for it. A second member of the same name is refused by the brokers; after a crash that may be
ourselves, so joining is tried again until the old session must be over.
**Not here.** What owning means: `postalynk.worker`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from postalynk.errors import QueueError
from postalynk.observability import get_logger
from postalynk.queue.kafka.cluster import OLDEST
from postalynk.queue.kafka.reader import SLICE_S, Reader
from postalynk.queue.native import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Consumer, TopicPartition

    from postalynk.queue.kafka import reader
    from postalynk.queue.protocol import Owner, Position

log = get_logger(__name__)

REJOIN_EVERY_S = 1.0
# Twice the longest session timeout that brokers grant unless told otherwise.
GIVE_UP_S = 120.0
IN_USE = ("UNRELEASED_INSTANCE_ID", "still using", "instance ID is still used")


class Member(Reader):
    """A `Consumer` of the partitions that fall to it; see the module."""

    def __init__(
        self, queue: reader.Owner, topics: Sequence[str], group: str, who: tuple[str, Owner]
    ) -> None:
        """``who``: the member's name (empty: the host's) and who hears of its partitions."""
        name, self._owner = who
        self._name = name or socket.gethostname()
        super().__init__(queue, self._connect(queue, group), topics, group)
        self._whole: set[int] = set()
        self._failure: BaseException | None = None
        self._refused_since: float | None = None

    def _connect(self, queue: reader.Owner, group: str) -> Consumer:
        return queue.cluster.consumer(
            group,
            group_protocol="consumer",
            group_remote_assignor="range",
            group_instance_id=self._name,
        )

    def poll(self, max_records: int, max_bytes: int, timeout_ms: int) -> RecordBatch:
        """See `Consumer.poll`. An empty batch may also mean that no broker answers: a worker that
        waits loses nothing.
        """
        until = time.monotonic() + timeout_ms / 1_000
        wait_s = 0.0
        while True:
            self._check()
            self._pull(wait_s)
            if self._failure is not None:
                raise self._failure
            now = time.monotonic()
            with self._lock:
                rows = self._deal(max(1, max_records), max(1, max_bytes))
            if rows or now >= until:
                return RecordBatch(rows)
            wait_s = min(until - now, SLICE_S)

    def owned(self) -> frozenset[int]:
        """The partitions that are ours."""
        return frozenset(self._whole)

    def close(self) -> None:
        """Leave the group; `Owner.revoked` hears of it and may still commit."""
        if self._is_closed:
            return
        with self._reading, contextlib.suppress(RuntimeError):
            if self._is_assigned:
                self._give_back(set(self._whole), self._owner.revoked)
            self._is_closed = True
            self._client.close()

    def _assign(self) -> None:
        """Join, at the first poll; after a refusal again, once a second."""
        if self._refused_since is not None and not self._is_assigned:
            time.sleep(REJOIN_EVERY_S)
            self._client = self._connect(self._queue, self._group)
        if not self._is_assigned:
            self._is_assigned = True
            self._client.subscribe(
                list(self._names),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )

    def _on_assign(self, client: Consumer, places: list[TopicPartition]) -> None:
        try:
            self._refused_since = None
            positions = [(self._names[place.topic], place.partition) for place in places]
            oldest, committed = self._found(positions)
            with self._lock:
                for position, offset in zip(positions, oldest, strict=True):
                    self._at[position] = max(offset, committed.get(position, (0, b""))[0])
            whole = {
                partition
                for _, partition in positions
                if all((topic, partition) in self._at for topic in self._topics)
            }
            if whole:
                self._owner.assigned(sorted(whole))
                self._whole |= whole
            self._fetch(client, positions, whole)
        except BaseException as error:  # noqa: BLE001  raised by poll: the client would swallow it
            self._failure = error

    def _found(
        self, positions: list[Position]
    ) -> tuple[list[int], dict[Position, tuple[int, bytes]]]:
        """Where positions begin and what is committed; partitions often come because brokers went,
        so their successors are waited for.
        """
        until = time.monotonic() + GIVE_UP_S
        while True:
            try:
                return self._queue.ends(positions, OLDEST), self._committed(positions)
            except QueueError as error:
                if self._queue.is_closed or time.monotonic() > until:
                    raise
                log.warning("partitions came, no answer yet", **{"error.message": str(error)})
                time.sleep(REJOIN_EVERY_S)

    def _fetch(self, client: Consumer, new: list[Position], whole: set[int]) -> None:
        """Start the new ones; those of which a sibling is still with another member wait for it."""
        place = self._queue.cluster.place
        client.incremental_assign([place(position, self._at[position]) for position in new])
        with self._lock:
            waiting = [p for p in new if p in self._paused or p[1] not in whole]
            if waiting:
                client.pause([place(position) for position in waiting])
                self._stopped.update(waiting)
            self._start([p for p in self._stopped if p[1] in whole and p not in self._paused])

    def _on_revoke(self, _client: Consumer, places: list[TopicPartition]) -> None:
        self._release(places, self._owner.revoked)

    def _on_lost(self, _client: Consumer, places: list[TopicPartition]) -> None:
        self._release(places, self._owner.lost)

    def _release(self, places: list[TopicPartition], tell: reader.Tell) -> None:
        try:
            positions = [(self._names[place.topic], place.partition) for place in places]
            self._give_back({partition for _, partition in positions} & self._whole, tell)
            with self._lock:
                for position in positions:
                    self._drop(position)
                    self._at.pop(position, None)
                    self._stopped.discard(position)
        except BaseException as error:  # noqa: BLE001  raised by poll: the client would swallow it
            self._failure = error

    def _give_back(self, partitions: set[int], tell: reader.Tell) -> None:
        if partitions:
            with self._lock:
                # Not one more record of theirs is given.
                for position in list(self._held):
                    if position[1] in partitions:
                        self._drop(position)
            tell(sorted(partitions))
            self._whole -= partitions

    def _client_failed(self, error: KafkaError) -> None:
        """Another session has our name: wait for its end, unless it is alive."""
        # Told as a fatal error of the client; the broker's name for it is not always in it.
        told = f"{error.name()} {error.str()}"
        if not any(words in told for words in IN_USE):
            return super()._client_failed(error)
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
            log.warning("a member of this name has a session; waiting for its end", name=self._name)
        if now > self._refused_since + GIVE_UP_S:
            raise QueueError(
                f"another worker is called {self._name!r}",
                fix="give each worker a queue.member of its own",
            )
        with contextlib.suppress(KafkaException, RuntimeError):
            self._client.close()
        self._is_assigned = False
        return None
