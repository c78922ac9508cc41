"""The queue room: the interface (`protocol`) and the backend a URL names (`open_queue`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from postalynk.queue.alone import join
from postalynk.queue.embedded import open_embedded

if TYPE_CHECKING:
    from postalynk.queue.kafka import KafkaQueue
    from postalynk.queue.native import EmbeddedQueue
    from postalynk.settings import Settings

__all__ = ["AnyQueue", "join", "open_queue"]

AnyQueue: TypeAlias = "EmbeddedQueue | KafkaQueue"
"""One of the backends, with what only it has."""


def open_queue(settings: Settings) -> AnyQueue:
    """The queue that ``queue.url`` names.

    Raises QueueLocked when another process owns the embedded one, QueueError when it cannot be
    read or no broker answers.
    """
    if settings.queue.is_kafka:
        # Imported only where it is used: one machine has no need of the client.
        from postalynk.queue.kafka import KafkaQueue  # noqa: PLC0415

        return KafkaQueue.open(settings)
    return open_embedded(settings)
