"""What the queue alone can tell of itself: its depth, and reading stretches of it."""

import time
from collections.abc import Iterator

import msgspec

from postalynk.queue.native import RecordBatch
from postalynk.queue.protocol import Position, Queue
from postalynk.queue.topics import SEND_TOPICS, WORKER_GROUP

LANES = ("high", "normal", "bulk")
_PAGE = 2_000
_PAGE_BYTES = 16 << 20


class LaneDepth(msgspec.Struct, frozen=True):
    """How much of one lane is not finished."""

    lane: str
    waiting: int
    oldest_age_s: float


def low_water_marks(queue: Queue) -> dict[Position, int]:
    """The worker's committed offset of every lane and partition; the oldest where there is none."""
    consumer = queue.consumer(WORKER_GROUP, SEND_TOPICS)
    try:
        committed = consumer.committed()
    finally:
        consumer.close()
    marks: dict[Position, int] = {}
    for topic in SEND_TOPICS:
        for partition, (oldest, _) in enumerate(queue.offsets(topic)):
            offset, _ = committed.get((topic, partition), (oldest, b""))
            marks[topic, partition] = max(offset, oldest)
    return marks


def waiting(queue: Queue) -> int:
    """Records at or above the low-water marks of all lanes. How old they are is asked of `depth`:
    on a cluster that costs a reader for each partition.
    """
    marks = low_water_marks(queue)
    return sum(
        max(0, end - marks[topic, partition])
        for topic in SEND_TOPICS
        for partition, (_, end) in enumerate(queue.offsets(topic))
    )


def depth(queue: Queue) -> list[LaneDepth]:
    """Records per lane at or above the low-water mark, and the age of the oldest of them."""
    marks = low_water_marks(queue)
    now_us = time.time_ns() // 1_000
    lanes = []
    for lane, topic in zip(LANES, SEND_TOPICS, strict=True):
        waiting, oldest = 0, now_us
        for partition, (_, end) in enumerate(queue.offsets(topic)):
            mark = marks[topic, partition]
            if end > mark:
                waiting += end - mark
                appended = queue.oldest_at_us(topic, partition, mark)
                oldest = min(oldest, appended if appended is not None else now_us)
        lanes.append(LaneDepth(lane, waiting, round((now_us - oldest) / 1e6, 3)))
    return lanes


def live_keys(queue: Queue, topic: str) -> int:
    """How many keys a compacted topic has."""
    count = 0
    for partition in range(queue.partitions):
        after: bytes | None = None
        while page := queue.compacted(topic, partition, after):
            count += len(page)
            after = page[-1][0]
    return count


def read_since(queue: Queue, topics: tuple[str, ...], since_us: int) -> Iterator[RecordBatch]:
    """All records appended at or after that time (microseconds), to the ends of now."""
    yield from read(queue, topics, positions_since(queue, topics, since_us))


def positions_since(queue: Queue, topics: tuple[str, ...], since_us: int) -> dict[Position, int]:
    """Per partition, the offset of the first record appended at or after that time."""
    start = {}
    consumer = queue.consumer("", topics)
    try:
        for topic in topics:
            for partition, (_, end) in enumerate(queue.offsets(topic)):
                consumer.seek(topic, partition, time_us=since_us)
                start[topic, partition] = end
        # Behind `end` by as much; an append in between reads a record twice as far, never less.
        for position, behind in consumer.lag().items():
            start[position] = max(0, start[position] - behind)
    finally:
        consumer.close()
    return start


def read(
    queue: Queue, topics: tuple[str, ...], start: dict[Position, int]
) -> Iterator[RecordBatch]:
    """All records from ``start`` to the ends at the time of the call, and perhaps a few more."""
    left = {
        (topic, partition): end
        for topic in topics
        for partition, (oldest, end) in enumerate(queue.offsets(topic))
        if end > max(oldest, start.get((topic, partition), 0))
    }
    consumer = queue.consumer("", topics)
    try:
        for (topic, partition), offset in start.items():
            consumer.seek(topic, partition, offset=offset)
        while left:
            batch = consumer.poll(_PAGE, _PAGE_BYTES, 200)
            if not len(batch):
                return  # what was left has been dropped by retention meanwhile
            for position, following in batch.next_offsets().items():
                if following >= left.get(position, following + 1):
                    del left[position]
            yield batch
    finally:
        consumer.close()
