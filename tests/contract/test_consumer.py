"""Reading: in order, fair over partitions, from where one wants, and no more than was asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from postalynk.queue.protocol import Queue
from tests.contract.backends import LOG, OTHER_LOG, PARTITIONS
from tests.contract.reading import drain, records, values


def test_a_batch_says_where_to_go_on(queue: Queue) -> None:
    queue.append([*records(b"a", b"b"), *records(b"c", partition=2)])
    batch = queue.consumer("", [LOG]).poll(100, 1 << 20, 0)
    assert len(batch) == 3
    assert batch.next_offsets() == {(LOG, 0): 2, (LOG, 2): 1}
    assert {row[:3]: row[4] for row in batch.rows()} == {
        (LOG, 0, 0): b"a",
        (LOG, 0, 1): b"b",
        (LOG, 2, 0): b"c",
    }


def test_readers_do_not_disturb_each_other(queue: Queue) -> None:
    queue.append(records(b"a", b"b"))
    one, other = queue.consumer("", [LOG]), queue.consumer("g", [LOG])
    assert values(one.poll(1, 1 << 20, 0).rows()) == [b"a"]
    assert values(drain(other)) == [b"a", b"b"]
    assert values(drain(one)) == [b"b"]


def test_bounds_hold_but_one_record_always_comes(queue: Queue) -> None:
    queue.append(records(*[b"x" * 100] * 50))
    consumer = queue.consumer("", [LOG])
    assert len(consumer.poll(7, 1 << 20, 0)) == 7
    assert len(consumer.poll(1_000, 1, 0)) == 1
    sizes = [len(value) for value in values(consumer.poll(1_000, 1_000, 0).rows())]
    assert sizes
    assert sum(sizes[:-1]) < 1_000
    assert 8 + len(sizes) + len(drain(consumer)) == 50


def test_an_empty_poll_takes_its_time(queue: Queue) -> None:
    began = time.monotonic()
    assert len(queue.consumer("", [LOG]).poll(10, 1 << 20, 150)) == 0
    assert time.monotonic() - began >= 0.14


def test_a_waiting_poll_hears_of_the_next_record(queue: Queue) -> None:
    consumer = queue.consumer("", [LOG])
    later = threading.Timer(0.1, queue.append, [records(b"a", partition=3)])
    later.start()
    began = time.monotonic()
    assert values(consumer.poll(10, 1 << 20, 20_000).rows()) == [b"a"]
    assert time.monotonic() - began < 10
    later.join()


def test_law_fair_share(queue: Queue) -> None:
    """Law `fair_share`: a backlog of one partition keeps none of the others waiting."""
    queue.append(records(*[b"backlog"] * 500))
    for partition in range(1, PARTITIONS):
        queue.append(records(b"first", b"second", partition=partition))
    consumer = queue.consumer("", [LOG])
    for _ in range(2):
        batch = consumer.poll(PARTITIONS, 1 << 20, 0)
        assert Counter(row[1] for row in batch.rows()) == dict.fromkeys(range(PARTITIONS), 1)
    assert {row[1] for row in consumer.poll(PARTITIONS, 1 << 20, 0).rows()} == {0}


def test_the_next_poll_begins_where_the_last_ended(queue: Queue) -> None:
    for partition in range(PARTITIONS):
        queue.append(records(*[b"x"] * 9, partition=partition))
    consumer = queue.consumer("", [LOG])
    seen = Counter(row[1] for _ in range(12) for row in consumer.poll(1, 1 << 20, 0).rows())
    assert seen == dict.fromkeys(range(PARTITIONS), 3)


def test_topics_are_read_together(queue: Queue) -> None:
    queue.append(
        [*records(b"a"), *records(b"b", topic=OTHER_LOG), *records(b"c", topic="email.dlq")]
    )
    rows = drain(queue.consumer("", [LOG, OTHER_LOG]))
    assert {row[0]: row[4] for row in rows} == {LOG: b"a", OTHER_LOG: b"b"}


def test_seek_to_an_offset(queue: Queue) -> None:
    queue.append(records(*(b"%d" % n for n in range(10))))
    consumer = queue.consumer("", [LOG])
    consumer.seek(LOG, 0, offset=7)
    assert values(drain(consumer)) == [b"7", b"8", b"9"]
    consumer.seek(LOG, 0, offset=0)
    assert len(drain(consumer)) == 10
    consumer.seek(LOG, 0, offset=10)
    assert drain(consumer) == []
    queue.append(records(b"10"))
    assert values(drain(consumer)) == [b"10"]


def test_seek_to_a_time(queue: Queue) -> None:
    for number in range(5):
        queue.append(records(b"%d" % number))
        time.sleep(0.003)
    consumer = queue.consumer("", [LOG])
    rows = drain(consumer)
    for number, (*_, at_us, _) in enumerate(rows):
        consumer.seek(LOG, 0, time_us=at_us)
        assert drain(consumer) == rows[number:]
        consumer.seek(LOG, 0, time_us=at_us + 1)
        assert drain(consumer) == rows[number + 1 :]
    consumer.seek(LOG, 0, time_us=0)
    assert drain(consumer) == rows
    consumer.seek(LOG, 0, time_us=rows[-1][3] + 3_600_000_000)
    assert drain(consumer) == []
    assert consumer.lag()[LOG, 0] == 0


@pytest.mark.parametrize("to", [{}, {"offset": 1, "time_us": 1}])
def test_seek_wants_one_of_both(queue: Queue, to: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="either offset or time_us"):
        queue.consumer("", [LOG]).seek(LOG, 0, **to)


def test_paused_partitions_wait_and_lose_nothing(queue: Queue) -> None:
    queue.append([*records(b"a0"), *records(b"a1", partition=1)])
    consumer = queue.consumer("", [LOG])
    consumer.pause([(LOG, 0), (LOG, 2)])
    consumer.pause([(LOG, 0)])
    queue.append([*records(b"b0"), *records(b"b1", partition=1)])
    assert values(drain(consumer)) == [b"a1", b"b1"]
    assert consumer.lag()[LOG, 0] == 2
    consumer.resume([(LOG, 0)])
    assert values(drain(consumer)) == [b"a0", b"b0"]
    consumer.resume([(LOG, 1)])
    assert drain(consumer) == []


def test_resuming_wakes_a_waiting_poll(queue: Queue) -> None:
    queue.append(records(b"a"))
    consumer = queue.consumer("", [LOG])
    consumer.pause([(LOG, 0)])
    later = threading.Timer(0.1, consumer.resume, [[(LOG, 0)]])
    later.start()
    assert values(consumer.poll(10, 1 << 20, 20_000).rows()) == [b"a"]
    later.join()


def test_lag_counts_what_was_not_given_yet(queue: Queue) -> None:
    consumer = queue.consumer("", [LOG])
    assert consumer.lag() == {(LOG, partition): 0 for partition in range(PARTITIONS)}
    queue.append([*records(b"a", b"b", b"c"), *records(b"d", partition=1)])
    assert consumer.lag() == {(LOG, 0): 3, (LOG, 1): 1, (LOG, 2): 0, (LOG, 3): 0}
    consumer.seek(LOG, 0, offset=2)
    assert consumer.lag()[LOG, 0] == 1
    drain(consumer)
    assert set(consumer.lag().values()) == {0}
