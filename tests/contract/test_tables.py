"""Compacted topics: the newest value of every key, paged in key order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postalynk.queue.protocol import Queue
from tests.contract.backends import BACKENDS, LOG, PARTITIONS, TABLE
from tests.contract.reading import stored

KEYS = st.binary(min_size=1, max_size=3)
CHANGES = st.lists(st.tuples(st.integers(0, PARTITIONS - 1), KEYS, st.none() | st.binary()))


def test_the_newest_value_counts_and_a_tombstone_removes(queue: Queue) -> None:
    queue.append([(TABLE, 0, b"a", b"1"), (TABLE, 0, b"b", b"1"), (TABLE, 1, b"a", b"other")])
    queue.append([(TABLE, 0, b"a", b"2"), (TABLE, 0, b"b", None), (TABLE, 0, b"gone", None)])
    assert queue.get(TABLE, 0, [b"b", b"a", b"gone", b"a"]) == [None, b"2", None, b"2"]
    assert queue.get(TABLE, 1, [b"a"]) == [b"other"]
    assert queue.compacted(TABLE, 0) == [(b"a", b"2")]
    assert queue.get(TABLE, 0, []) == []


def test_the_last_change_of_a_call_counts(queue: Queue) -> None:
    queue.append([(TABLE, 0, b"k", b"1"), (TABLE, 0, b"k", None), (TABLE, 0, b"k", b"")])
    assert queue.get(TABLE, 0, [b"k"]) == [b""]
    queue.append([(TABLE, 0, b"k", b"3"), (TABLE, 0, b"k", None)])
    assert queue.compacted(TABLE, 0) == []


def test_pages_follow_each_other(queue: Queue) -> None:
    keys = [b"%03d" % n for n in range(25)]
    queue.append([(TABLE, 3, key, b"v" + key) for key in reversed(keys)])
    first = queue.compacted(TABLE, 3, None, 10)
    assert [key for key, _ in first] == keys[:10]
    second = queue.compacted(TABLE, 3, first[-1][0], 10)
    assert [key for key, _ in second] == keys[10:20]
    assert queue.compacted(TABLE, 3, b"0195", 10) == [(key, b"v" + key) for key in keys[20:]]
    assert queue.compacted(TABLE, 3, keys[-1]) == []


@pytest.mark.parametrize("name", BACKENDS)
def test_law_newest_of_every_key(name: str) -> None:
    """Law `newest_of_every_key`: pages, values and restarts say what a dict would say."""

    @settings(max_examples=BACKENDS[name].examples)
    @given(calls=st.lists(CHANGES, max_size=4), limit=st.integers(1, 5))
    def holds(calls: list[list[tuple[int, bytes, bytes | None]]], limit: int) -> None:
        model: list[dict[bytes, bytes]] = [{} for _ in range(PARTITIONS)]
        with BACKENDS[name].place() as opened:
            queue = opened()
            for call in calls:
                assert queue.append([(TABLE, *change) for change in call]) == [0] * len(call)
                for partition, key, value in call:
                    if value is None:
                        model[partition].pop(key, None)
                    else:
                        model[partition][key] = value
            queue.close()
            queue = opened()
            for partition, table in enumerate(model):
                pairs: list[tuple[bytes, bytes]] = []
                while page := queue.compacted(
                    TABLE, partition, pairs[-1][0] if pairs else None, limit
                ):
                    assert len(page) <= limit
                    pairs += page
                assert pairs == sorted(table.items())
                assert queue.get(TABLE, partition, list(table)) == list(table.values())
            queue.close()

    holds()


def test_tables_and_logs_do_not_mix(queue: Queue) -> None:
    queue.append([(TABLE, 0, b"k", b"v"), (LOG, 0, None, b"r")])
    assert stored(queue) == {(LOG, 0): [b"r"]}
    assert queue.offsets(LOG)[0] == (0, 1)
