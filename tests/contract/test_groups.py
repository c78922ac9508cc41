"""Groups: how far they are and what they noted, kept over restarts."""

from __future__ import annotations

import pytest

from postalynk.errors import QueueError
from postalynk.queue.protocol import Queue
from tests.contract.backends import LOG, OTHER_LOG, Open
from tests.contract.reading import drain, records, values


def test_a_new_group_starts_at_the_oldest_record(queue: Queue) -> None:
    queue.append(records(b"a"))
    consumer = queue.consumer("g", [LOG])
    assert consumer.committed() == {}
    assert values(drain(consumer)) == [b"a"]


def test_reading_commits_nothing(queue: Queue) -> None:
    queue.append(records(b"a"))
    drain(queue.consumer("g", [LOG]))
    assert queue.consumer("g", [LOG]).committed() == {}
    assert values(drain(queue.consumer("g", [LOG]))) == [b"a"]


def test_positions_and_notes_survive_reopening(place: Open) -> None:
    queue = place()
    queue.append([*records(b"a", b"b", b"c"), *records(b"d", partition=1)])
    queue.append(records(b"e", topic=OTHER_LOG))
    consumer = queue.consumer("g", [LOG, OTHER_LOG])
    consumer.commit({(LOG, 0): (1, b"first"), (LOG, 1): (1, b"")})
    consumer.commit({(LOG, 0): (2, b"\x00note\xff"), (OTHER_LOG, 0): (1, b"other")})
    consumer.close()
    queue.close()

    queue = place()
    consumer = queue.consumer("g", [LOG])
    assert consumer.committed() == {(LOG, 0): (2, b"\x00note\xff"), (LOG, 1): (1, b"")}
    assert values(drain(consumer)) == [b"c"]
    assert queue.consumer("other", [LOG]).committed() == {}
    both = queue.consumer("g", [LOG, OTHER_LOG]).committed()
    assert both[OTHER_LOG, 0] == (1, b"other")
    queue.close()


def test_a_commit_may_go_back(queue: Queue) -> None:
    """Nobody guards a group against itself: the newest commit counts."""
    queue.append(records(b"a", b"b"))
    consumer = queue.consumer("g", [LOG])
    consumer.commit({(LOG, 0): (2, b"far")})
    consumer.commit({(LOG, 0): (1, b"back")})
    assert queue.consumer("g", [LOG]).committed() == {(LOG, 0): (1, b"back")}
    assert values(drain(queue.consumer("g", [LOG]))) == [b"b"]


def test_committing_moves_no_reader(queue: Queue) -> None:
    queue.append(records(b"a", b"b"))
    consumer = queue.consumer("g", [LOG])
    consumer.commit({(LOG, 0): (2, b"")})
    assert values(drain(consumer)) == [b"a", b"b"]


def test_committing_nothing_is_fine(queue: Queue) -> None:
    consumer = queue.consumer("g", [LOG])
    consumer.commit({})
    assert consumer.committed() == {}


def test_no_group_no_commit(queue: Queue) -> None:
    queue.append(records(b"a"))
    consumer = queue.consumer("", [LOG])
    with pytest.raises(QueueError, match="without a group"):
        consumer.commit({(LOG, 0): (1, b"")})
    assert consumer.committed() == {}


def test_a_commit_beyond_the_end_is_refused_whole(queue: Queue) -> None:
    queue.append([*records(b"a"), *records(b"b", partition=1)])
    consumer = queue.consumer("g", [LOG])
    with pytest.raises(QueueError, match="beyond the end"):
        consumer.commit({(LOG, 0): (1, b""), (LOG, 1): (2, b"")})
    assert consumer.committed() == {}
