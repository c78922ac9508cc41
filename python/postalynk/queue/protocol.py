"""The queue as the rest of Postalynk sees it: one interface, several backends, one contract suite.

Topics are partitioned, replayable logs; every record names its topic and partition, since the
organization decides the partition and all topics are co-partitioned. A record with a key belongs to
a compacted topic: an upsert, or with a value of None a tombstone. Backends: `embedded` (one
process, Rust, group-committed fdatasync) and `kafka` (as many processes as there are), behind one
suite (`tests/contract`).

All calls block and may be made from any thread; a coroutine goes through `asyncio.to_thread`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from postalynk.queue.native import RecordBatch

Append = tuple[str, int, bytes | None, bytes | None]
"""(topic, partition, key, value)."""

Position = tuple[str, int]
"""(topic, partition)."""


class Consumer(Protocol):
    """A reader of some topics for one group, with its own position per partition."""

    def poll(self, max_records: int, max_bytes: int, timeout_ms: int) -> RecordBatch:
        """Wait for records until the time is over; fair over partitions."""
        ...

    def commit(self, positions: Mapping[Position, tuple[int, bytes]]) -> None:
        """Store (next offset, note) per partition, durably."""
        ...

    def committed(self) -> dict[Position, tuple[int, bytes]]:
        """What this group has committed for these topics."""
        ...

    def pause(self, positions: Sequence[Position]) -> None:
        """Give no more records of these partitions until resumed."""
        ...

    def resume(self, positions: Sequence[Position]) -> None:
        """Undo `pause`."""
        ...

    def seek(
        self, topic: str, partition: int, *, offset: int | None = None, time_us: int | None = None
    ) -> None:
        """Go to an offset, or to the first record appended at or after a time."""
        ...

    def lag(self) -> dict[Position, int]:
        """Records between this reader's position and the end."""
        ...

    def close(self) -> None:
        """Give the partitions back."""
        ...


class Queue(Protocol):
    """Append, read back, and the state of compacted topics."""

    @property
    def partitions(self) -> int:
        """Partitions of every topic: a power of two."""
        ...

    def append(self, appends: Sequence[Append]) -> list[int]:
        """Durable when it returns; offsets in order, 0 for upserts.

        Raises QueueError when nothing was stored; on Kafka also when that is unknown.
        """
        ...

    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """A reader; an empty group starts at the oldest record and cannot commit."""
        ...

    def get(self, topic: str, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Newest values of a compacted topic, one per key."""
        ...

    def compacted(
        self, topic: str, partition: int, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        """The next page of live pairs in key order."""
        ...

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        """(oldest, end) per partition."""
        ...

    def oldest_at_us(self, topic: str, partition: int, offset: int) -> int | None:
        """When the record at or after ``offset`` was appended; None when there is none."""
        ...

    def close(self) -> None:
        """Answer nobody from now on, and let go as soon as all consumers are closed too."""
        ...


class Owner(Protocol):
    """Who hears that partitions come and go; called inside `Consumer.poll` and `Consumer.close`."""

    def assigned(self, partitions: Sequence[int]) -> None:
        """These are ours; no record of them is given before this returns."""
        ...

    def revoked(self, partitions: Sequence[int]) -> None:
        """These go to another member when this returns; until then commits count."""
        ...

    def lost(self, partitions: Sequence[int]) -> None:
        """These may be another member's already."""
        ...


@runtime_checkable
class Shared(Protocol):
    """A queue whose partitions several processes share."""

    def member(self, group: str, topics: Sequence[str], owner: Owner) -> Consumer:
        """A reader of the partitions that fall to it, the same of every topic."""
        ...

    def hurried(self, timeout_s: float) -> Queue:
        """The same queue, whose appends raise after this time instead of waiting for brokers, and
        store nothing later than that.
        """
        ...
