"""Writing: every call waits until its own records are on enough brokers.

**Model.** One idempotent producer with acks=all, so a record is stored once and in order however
often the client repeats a request. One thread takes the brokers' answers; a call leaves its records
with the client, then sleeps until the last of them is answered.
**A failed write is unknown, not absent.** A record may be stored after its time was over and
nobody waited any more. Who writes must be able to write again (accept: under its idempotency key),
or must not give up: with ``timeout_s`` 0 a call waits for as long as the process lives.
**Law `own_answer`.** Each call is told the offsets of its own records, in order.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from postalynk.errors import QueueError
from postalynk.queue.kafka.cluster import failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import KafkaError, Message

    from postalynk.queue.kafka.cluster import Cluster
    from postalynk.queue.protocol import Append

# While the client's own queue is full: its thread empties it at some 50,000 records a second.
FULL_PAUSE_S = 0.005
CLOSE_S = 5.0


class _Writing:
    """One call: how many of its records are unanswered."""

    __slots__ = ("done", "error", "left")

    def __init__(self, count: int) -> None:
        self.left = count
        self.error: KafkaError | None = None
        self.done = threading.Event()

    def answered(self, count: int = 1) -> None:
        self.left -= count
        if self.left <= 0:
            self.done.set()


class _Place:
    """The client's callback for the records of one call to one partition; they come in order."""

    __slots__ = ("offsets", "writing")

    def __init__(self, writing: _Writing) -> None:
        self.writing = writing
        self.offsets: list[int] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.offsets.append(message.offset())  # type: ignore[arg-type]  # stored, so it has one
        else:
            self.writing.error = error
        self.writing.answered()


class Appender:
    """The writing side of a queue; any thread may call it."""

    def __init__(self, cluster: Cluster, timeout_s: float) -> None:
        """``timeout_s``: after it a record's fate is unknown; 0: never given up."""
        self._cluster = cluster
        self._timeout_ms = round(timeout_s * 1_000)
        self._renewing = threading.Lock()
        self._producer = self._connect()
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="kafka-produced", daemon=True)
        self._thread.start()

    def _connect(self) -> Producer:
        config = self._cluster.config(
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            # So that a batch forms behind a call's first record; short beside a round trip.
            linger_ms=2,
            message_timeout_ms=self._timeout_ms,
        )
        return Producer(config, logger=logging.getLogger("postalynk.kafka.producer"))

    def write(self, records: Sequence[Append]) -> list[int]:
        """Store records; their offsets in order. Raises QueueError: their fate is unknown."""
        if not records:
            return []
        writing = _Writing(len(records))
        places: dict[tuple[str, int], _Place] = {}
        order: list[_Place] = []
        wire, produce = self._cluster.wire, self._producer.produce
        try:
            for topic, partition, key, value in records:
                place = places.get((topic, partition))
                if place is None:
                    place = places[topic, partition] = _Place(writing)
                order.append(place)
                while True:
                    try:
                        produce(wire(topic), value, key, partition, place)
                        break
                    except BufferError:
                        self._check()
                        time.sleep(FULL_PAUSE_S)
        except KafkaException as error:
            # Refused before it was sent, such as one that is too large. Those before it are on
            # their way.
            writing.answered(len(records) - len(order) + 1)
            self._wait(writing)
            raise failed("a record was refused", error) from error
        self._wait(writing)
        if writing.error is not None:
            if writing.error.fatal():
                self._renew()
            raise failed("whether the records were stored is unknown", writing.error)
        taken = {id(place): iter(place.offsets) for place in places.values()}
        return [next(taken[id(place)]) for place in order]

    def _wait(self, writing: _Writing) -> None:
        while not writing.done.wait(0.5):
            self._check()

    def _check(self) -> None:
        if self._is_closed:
            raise QueueError("the queue is closed")

    def _serve(self) -> None:
        while not self._is_closed:
            self._producer.poll(0.2)

    def _renew(self) -> None:
        """A producer that lost its place in the order of a partition never writes again."""
        with self._renewing:
            old = self._producer
            old.purge()
            old.flush(CLOSE_S)
            self._producer = self._connect()

    def close(self) -> None:
        """Write what is under way, for some seconds, then wake whoever still waits."""
        if not self._is_closed:
            self._producer.flush(CLOSE_S)
            self._is_closed = True
            self._thread.join()
            self._producer.purge()
            self._producer.flush(1)
