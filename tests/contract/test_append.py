"""Append: durable, in order, all or nothing; every caller gets the offsets of its own records."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postalynk.errors import QueueError
from postalynk.queue.protocol import Append, Position, Queue
from tests.contract.backends import BACKENDS, LOG, OTHER_LOG, PARTITIONS, TABLE, Open
from tests.contract.reading import drain, records, stored

BAD: dict[str, Append] = {
    "an unknown topic": ("email.nowhere", 0, None, b"x"),
    "an unknown partition": (LOG, PARTITIONS, None, b"x"),
    "a key in a log": (LOG, 0, b"k", b"x"),
    "a log without a value": (LOG, 0, None, None),
    "a table without a key": (TABLE, 0, None, b"x"),
    "a table's unknown partition": (TABLE, PARTITIONS, b"k", b"x"),
}
APPENDS = st.tuples(
    st.sampled_from([LOG, OTHER_LOG]), st.integers(0, PARTITIONS - 1), st.none(), st.binary()
)


def test_offsets_are_those_of_the_records_in_order(queue: Queue) -> None:
    appends = [
        (LOG, 0, None, b"a"), (LOG, 1, None, b"b"), (TABLE, 0, b"k", b"v"), (LOG, 0, None, b"c"),
        (OTHER_LOG, 0, None, b"d"), (LOG, 0, None, b""),
    ]  # fmt: skip
    assert queue.append(appends) == [0, 0, 0, 1, 0, 2]
    assert queue.append(records(b"e")) == [3]
    assert queue.append([]) == []
    assert stored(queue, LOG, OTHER_LOG) == {
        (LOG, 0): [b"a", b"c", b"", b"e"],
        (LOG, 1): [b"b"],
        (OTHER_LOG, 0): [b"d"],
    }
    assert queue.offsets(LOG) == [(0, 4), (0, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("what", BAD)
def test_one_bad_record_and_nothing_of_the_call_is_stored(
    queue: Queue, what: str, position: str
) -> None:
    good = [*records(b"good"), (TABLE, 0, b"key", b"good")]
    with pytest.raises(QueueError):
        queue.append([BAD[what], *good] if position == "first" else [*good, BAD[what]])
    assert stored(queue) == {}
    assert queue.get(TABLE, 0, [b"key", b"k"]) == [None, None]
    assert queue.append(records(b"next")) == [0]


@pytest.mark.parametrize("name", BACKENDS)
def test_law_contiguous(name: str) -> None:
    """Law `contiguous`: no gaps, no order but that of the appends, over restarts as well."""

    @settings(max_examples=BACKENDS[name].examples)
    @given(calls=st.lists(st.lists(APPENDS, max_size=6), max_size=6), restart=st.integers(0, 6))
    def holds(calls: list[list[Append]], restart: int) -> None:
        model: dict[Position, list[bytes]] = {}
        with BACKENDS[name].place() as opened:
            queue = opened()
            for number, call in enumerate(calls):
                if number == restart:
                    queue.close()
                    queue = opened()
                expected = []
                for topic, partition, _, value in call:
                    log = model.setdefault((topic, partition), [])
                    expected.append(len(log))
                    log.append(value or b"")
                assert queue.append(call) == expected
            assert stored(queue, LOG, OTHER_LOG) == model
            rows = drain(queue.consumer("", [LOG, OTHER_LOG]))
            for place, log in model.items():
                assert [row[2] for row in rows if row[:2] == place] == list(range(len(log)))
            queue.close()

    holds()


def test_law_own_answer(queue: Queue) -> None:
    """Law `own_answer`: whoever appends at the same time, each is told where its records are."""
    told: dict[bytes, int] = {}

    def append(writer: int) -> None:
        for first in range(0, 30, 3):
            call = [b"%d-%d" % (writer, n) for n in range(first, first + 3)]
            told.update(zip(call, queue.append(records(*call)), strict=True))

    threads = [threading.Thread(target=append, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = drain(queue.consumer("", [LOG]))
    assert {row[4]: row[2] for row in rows} == told
    assert [row[2] for row in rows] == list(range(240))
    for writer in range(8):
        offsets = [told[b"%d-%d" % (writer, n)] for n in range(30)]
        assert all(after > before for before, after in pairwise(offsets))


def test_times_never_run_backwards_and_name_the_oldest(queue: Queue) -> None:
    for number in range(20):
        queue.append(records(b"%d" % number))
    rows = drain(queue.consumer("", [LOG]))
    times = [row[3] for row in rows]
    assert times == sorted(times)
    assert queue.oldest_at_us(LOG, 0, 0) == times[0]
    assert queue.oldest_at_us(LOG, 0, 7) == times[7]
    assert queue.oldest_at_us(LOG, 0, 20) is None
    assert queue.oldest_at_us(LOG, 1, 0) is None


def test_what_was_answered_is_there_after_a_restart(place: Open) -> None:
    queue = place()
    queue.append([*records(b"a", b"b"), (TABLE, 2, b"k", b"v")])
    queue.close()
    queue = place()
    assert queue.partitions == PARTITIONS
    assert stored(queue) == {(LOG, 0): [b"a", b"b"]}
    assert queue.get(TABLE, 2, [b"k"]) == [b"v"]
    assert queue.append(records(b"c")) == [2]
    queue.close()


def test_a_large_record_comes_back_whole(queue: Queue) -> None:
    large = bytes(range(256)) * 8_192
    assert queue.append(records(b"small", large)) == [0, 1]
    assert stored(queue) == {(LOG, 0): [b"small", large]}
