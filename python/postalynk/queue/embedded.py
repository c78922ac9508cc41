"""The embedded log, opened as the settings say; `EmbeddedQueue` is the `Queue` itself."""

from postalynk.errors import SettingsError
from postalynk.queue.native import EmbeddedQueue
from postalynk.settings import Settings


def open_queue(settings: Settings) -> EmbeddedQueue:
    """The queue ``queue.url`` names.

    Raises QueueLocked when another process owns it, QueueError when it cannot be read,
    SettingsError for a backend this release does not have.
    """
    scheme, _, place = settings.queue.url.partition(":")
    if scheme != "embedded":
        raise SettingsError(
            f"queue.url = {settings.queue.url!r}: this release has the embedded queue only",
            fix="write embedded:DIRECTORY",
        )
    queue = settings.queue
    return EmbeddedQueue(
        str(settings.path(place)),
        partitions=queue.partitions,
        max_age_s=queue.retention_s,
        max_bytes=queue.retention_bytes,
        max_records=queue.retention_records,
    )
