"""The embedded log, opened as the settings say; `EmbeddedQueue` is the `Queue` itself."""

from postalynk.queue.native import EmbeddedQueue
from postalynk.settings import Settings


def open_embedded(settings: Settings) -> EmbeddedQueue:
    """The log in the directory that ``queue.url`` names.

    Raises QueueLocked when another process owns it, QueueError when it cannot be read.
    """
    queue, place = settings.queue, settings.queue.url.partition(":")[2]
    return EmbeddedQueue(
        str(settings.path(place)),
        partitions=queue.partitions,
        max_age_s=queue.retention_s,
        max_bytes=queue.retention_bytes,
        max_records=queue.retention_records,
    )
