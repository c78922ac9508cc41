"""A reader whose room is used up, against a client that acts out what brokers send."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from confluent_kafka import Consumer, TopicPartition

from postalynk.queue.kafka.reader import MAX_HELD, Reader

TOPIC = "email.events"


class FakeMessage:
    """Satisfies what a reader asks of `confluent_kafka.Message`."""

    def __init__(self, partition: int, offset: int, value: bytes) -> None:
        self._partition, self._offset, self._value = partition, offset, value

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_000)

    def error(self) -> None:
        return None


class FakeClient:
    """Gives the backlog of partition 0 and never a word of the others."""

    def __init__(self, backlog: int, value: bytes = b"x") -> None:
        self.coming = [FakeMessage(0, offset, value) for offset in range(backlog)]

    def consume(self, count: int, _wait_s: float) -> list[FakeMessage]:
        given, self.coming = self.coming[:count], self.coming[count:]
        return given

    def assign(self, _places: list[TopicPartition]) -> None:
        pass

    def pause(self, _places: list[TopicPartition]) -> None:
        pass


class FakeOwner:
    """Satisfies `postalynk.queue.kafka.reader.Owner` with two partitions."""

    partitions = 2

    def __init__(self) -> None:
        self.cluster: Any = self
        self.turns = 0

    @property
    def is_closed(self) -> bool:
        """Asked at every turn of a poll."""
        self.turns += 1
        return False

    def wire(self, topic: str) -> str:
        return topic

    def place(self, position: tuple[str, int], offset: int = 0) -> TopicPartition:
        return TopicPartition(*position, offset)

    def ends(self, positions: list[tuple[str, int]], *_how: object) -> list[int]:
        return [0] * len(positions)

    def known_end(self, _position: tuple[str, int]) -> int:
        return 0


def reading(client: FakeClient) -> tuple[Reader, FakeOwner]:
    owner = FakeOwner()
    reader = Reader(cast("Any", owner), cast("Consumer", client), [TOPIC], "")
    reader.begin()
    return reader, owner


def test_without_room_nobody_waits_for_partitions_not_heard_of() -> None:
    reader, owner = reading(FakeClient(backlog=4 * MAX_HELD))
    assert len(reader.poll(500, 1 << 20, 20_000)) == 500
    # As many as it takes to fill the room, not until the others are given up.
    assert owner.turns < 100


def test_a_share_of_octets_ends_with_the_record_that_exceeds_it() -> None:
    reader, _ = reading(FakeClient(backlog=4 * MAX_HELD, value=b"x" * 100))
    offsets = [row[2] for _ in range(3) for row in reader.poll(10, 250, 0).rows()]
    assert offsets == list(range(9))
    assert Counter(row[1] for row in reader.poll(4, 1 << 20, 0).rows()) == {0: 4}
