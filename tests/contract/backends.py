"""The queues the contract holds for. A backend joins with one entry in `BACKENDS`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from postalynk.queue.kafka import KafkaQueue
from postalynk.queue.native import EmbeddedQueue
from postalynk.queue.protocol import Queue
from tests.fakes.queue import MemoryQueue, Storage
from tests.support.kafka import topics

PARTITIONS = 4
LOG = "email.send.normal"
OTHER_LOG = "email.events"
TABLE = "email.deferred"

# Nothing here cuts the power; a file system in memory spares hundreds of fsyncs on a busy disk.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

Open = Callable[[], Queue]
"""Opens the queue of one place; what was stored there is there again."""


@dataclass(frozen=True)
class Backend:
    """How to get a place where nothing is stored yet, and who may open it."""

    place: Callable[[], AbstractContextManager[Open]]
    is_exclusive: bool
    """One owner at a time: a second one is refused with QueueLocked."""
    examples: int = 12
    """Cases of a law: each makes a place, which costs what it costs."""


@contextlib.contextmanager
def memory() -> Iterator[Open]:
    storage = Storage()
    yield lambda: MemoryQueue(PARTITIONS, storage=storage)


@contextlib.contextmanager
def embedded() -> Iterator[Open]:
    with tempfile.TemporaryDirectory(prefix="postalynk-", dir=IN_MEMORY) as directory:
        yield lambda: EmbeddedQueue(str(Path(directory) / "queue"), partitions=PARTITIONS)


@contextlib.contextmanager
def kafka() -> Iterator[Open]:
    names = (LOG, OTHER_LOG, "email.dlq", TABLE)
    with (
        tempfile.TemporaryDirectory(prefix="postalynk-", dir=IN_MEMORY) as directory,
        topics(PARTITIONS, names) as cluster,
        contextlib.ExitStack() as opened,
    ):

        def open_one() -> Queue:
            queue = KafkaQueue(cluster, Path(directory), topics=names, timeout_s=30)
            opened.callback(queue.close)
            return queue

        yield open_one


BACKENDS = {
    "memory": Backend(memory, is_exclusive=False),
    "embedded": Backend(embedded, is_exclusive=True),
    "kafka": Backend(kafka, is_exclusive=False, examples=4),
}
