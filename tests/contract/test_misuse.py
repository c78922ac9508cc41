"""What is refused is a QueueError, leaves all as it was, and says what was wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from postalynk.errors import QueueError, QueueLocked
from postalynk.queue.protocol import Consumer, Queue
from tests.contract.backends import LOG, OTHER_LOG, PARTITIONS, TABLE, Backend, Open
from tests.contract.reading import records, stored

REFUSED: dict[str, Callable[[Queue], object]] = {
    "reading a table": lambda queue: queue.consumer("", [TABLE]),
    "reading an unknown topic": lambda queue: queue.consumer("", ["email.nowhere"]),
    "offsets of a table": lambda queue: queue.offsets(TABLE),
    "age in a table": lambda queue: queue.oldest_at_us(TABLE, 0, 0),
    "age in an unknown partition": lambda queue: queue.oldest_at_us(LOG, PARTITIONS, 0),
    "a key of a log": lambda queue: queue.get(LOG, 0, [b"k"]),
    "a key of an unknown partition": lambda queue: queue.get(TABLE, PARTITIONS, [b"k"]),
    "pages of a log": lambda queue: queue.compacted(LOG, 0),
    "pages of an unknown partition": lambda queue: queue.compacted(TABLE, PARTITIONS),
}
FOREIGN: dict[str, Callable[[Consumer], object]] = {
    "commit": lambda consumer: consumer.commit({(OTHER_LOG, 0): (0, b"")}),
    "pause": lambda consumer: consumer.pause([(OTHER_LOG, 0)]),
    "resume": lambda consumer: consumer.resume([(OTHER_LOG, 0)]),
    "seek": lambda consumer: consumer.seek(OTHER_LOG, 0, offset=0),
    "seek, unknown partition": lambda consumer: consumer.seek(LOG, PARTITIONS, offset=0),
}
CLOSED: dict[str, Callable[[Queue], object]] = {
    "append": lambda queue: queue.append(records(b"late")),
    "get": lambda queue: queue.get(TABLE, 0, [b"k"]),
    "compacted": lambda queue: queue.compacted(TABLE, 0),
    "consumer": lambda queue: queue.consumer("", [LOG]),
    "offsets": lambda queue: queue.offsets(LOG),
}


@pytest.mark.parametrize("what", REFUSED)
def test_topics_and_partitions_must_exist_and_fit(queue: Queue, what: str) -> None:
    with pytest.raises(QueueError):
        REFUSED[what](queue)


@pytest.mark.parametrize("what", FOREIGN)
def test_a_reader_moves_only_what_it_reads(queue: Queue, what: str) -> None:
    with pytest.raises(QueueError):
        FOREIGN[what](queue.consumer("g", [LOG]))


@pytest.mark.parametrize("what", CLOSED)
def test_a_closed_queue_answers_nobody(queue: Queue, what: str) -> None:
    queue.close()
    with pytest.raises(QueueError, match="closed"):
        CLOSED[what](queue)
    queue.close()


def test_a_closed_reader_answers_nobody(queue: Queue) -> None:
    consumer = queue.consumer("g", [LOG])
    consumer.close()
    for call in (
        lambda: consumer.poll(1, 1, 0),
        lambda: consumer.commit({}),
        consumer.committed,
        consumer.lag,
    ):
        with pytest.raises(QueueError, match="closed"):
            call()
    consumer.close()
    assert queue.append(records(b"a")) == [0]


def test_closing_ends_a_waiting_poll(queue: Queue) -> None:
    consumer = queue.consumer("", [LOG])
    later = threading.Timer(0.1, queue.close)
    later.start()
    with pytest.raises(QueueError, match="closed"):
        consumer.poll(10, 1 << 20, 20_000)
    later.join()


def test_one_owner_at_a_time_or_one_log_for_all(backend: Backend, place: Open) -> None:
    queue = place()
    queue.append(records(b"a"))
    if backend.is_exclusive:
        with pytest.raises(QueueLocked, match="in use"):
            place()
    else:
        assert stored(place()) == {(LOG, 0): [b"a"]}
    assert queue.append(records(b"b")) == [1]
    queue.close()
