"""Reading in the words of the tests."""

from __future__ import annotations

from collections.abc import Sequence

from postalynk.queue.protocol import Append, Consumer, Position, Queue
from tests.contract.backends import LOG

Row = tuple[str, int, int, int, bytes]


def records(*values: bytes, topic: str = LOG, partition: int = 0) -> list[Append]:
    return [(topic, partition, None, value) for value in values]


def drain(consumer: Consumer, max_records: int = 1_000) -> list[Row]:
    """Every record there is now."""
    rows: list[Row] = []
    while batch := consumer.poll(max_records, 1 << 20, 0).rows():
        rows += batch
    return rows


def stored(queue: Queue, *topics: str) -> dict[Position, list[bytes]]:
    """The values of each partition that has some, oldest first."""
    consumer = queue.consumer("", topics or (LOG,))
    values: dict[Position, list[bytes]] = {}
    for topic, partition, _, _, value in drain(consumer):
        values.setdefault((topic, partition), []).append(value)
    consumer.close()
    return values


def values(rows: Sequence[Row]) -> list[bytes]:
    return [row[4] for row in rows]
