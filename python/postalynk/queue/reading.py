"""Reading a stretch of one partition, beside whoever else reads the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postalynk.queue.native import RecordBatch
    from postalynk.queue.protocol import Queue

MAX_RECORDS = 5_000
MAX_BYTES = 16_000_000
WAIT_MS = 200


def stretch(
    queue: Queue, topic: str, partition: int, *, offset: int = 0, time_us: int | None = None
) -> Iterator[RecordBatch]:
    """All records of a partition from an offset, or from a time if that is given, to its end of
    now; nothing is committed.
    """
    oldest, end = queue.offsets(topic)[partition]
    offset = max(offset, oldest)
    if offset >= end:
        return
    consumer = queue.consumer("", [topic])
    try:
        others = [(topic, other) for other in range(queue.partitions) if other != partition]
        consumer.pause(others)
        if time_us is None:
            consumer.seek(topic, partition, offset=offset)
        else:
            consumer.seek(topic, partition, time_us=time_us)
        while offset < end:
            batch = consumer.poll(MAX_RECORDS, MAX_BYTES, WAIT_MS)
            if not len(batch):
                return  # nothing since that time, or retention took it meanwhile
            yield batch
            offset = batch.next_offsets()[topic, partition]
    finally:
        consumer.close()
