"""The embedded log, opened as the settings say; `EmbeddedQueue` is the `Queue` itself.

A directory with a file `MOVED` is on its way to Kafka, or has gone there (`service.moving`): what
it holds must not be sent from here again, so only the move opens it.
"""

from postalynk.errors import QueueError
from postalynk.queue.native import EmbeddedQueue
from postalynk.settings import Settings

MOVED = "moved.json"


def open_embedded(settings: Settings, *, is_moving: bool = False) -> EmbeddedQueue:
    """The log in the directory that ``queue.url`` names.

    Raises QueueLocked when another process owns it, QueueError when it cannot be read, or was
    moved and ``is_moving`` is not said.
    """
    queue, place = settings.queue, settings.queue.url.partition(":")[2]
    directory = settings.path(place)
    if not is_moving and (directory / MOVED).exists():
        raise QueueError(
            f"the queue in {directory} was moved to Kafka, or began to be",
            fix=f"see {MOVED} there: finish postalynk queue move, then set queue.url",
        )
    return EmbeddedQueue(
        str(directory),
        partitions=queue.partitions,
        max_age_s=queue.retention_s,
        max_bytes=queue.retention_bytes,
        max_records=queue.retention_records,
    )
