"""A move from the embedded queue to Kafka that dies at every one of its appends.

What runs: `service.moving` on an embedded queue and a real broker. What breaks: each run dies at
its first, or second, append, before it was stored or after. What holds (law `moved_once`): after
the run that ends, every topic holds each record once and in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from postalynk._engine import EmbeddedQueue, encode_dead_letter, encode_messages
from postalynk.errors import QueueError
from postalynk.queue.embedded import MOVED
from postalynk.queue.kafka import KafkaQueue
from postalynk.queue.protocol import Append, Queue
from postalynk.queue.reading import stretch
from postalynk.queue.topics import DEAD_LETTERS, DEFERRED, EVENTS, SEND_TOPICS, WORKER_GROUP
from postalynk.service import moving
from postalynk.service.accounting import low_water_marks
from postalynk.service.dead_letter import Filter, drop, letters
from postalynk.settings import Queue as QueueSettings
from postalynk.settings import Settings
from postalynk.worker.restore import events_position, note_of
from tests.support.kafka import topics
from tests.support.workers import mail

PARTITIONS = 2


class Died(Exception):
    """As `kill -9` would end it."""


@pytest.fixture
def way(tmp_path: Path) -> Iterator[tuple[Settings, Settings]]:
    """Settings of an old queue, and of topics nobody has written to."""
    with topics(PARTITIONS) as cluster:
        old = QueueSettings(url=f"embedded:{tmp_path / 'old'}", partitions=PARTITIONS)
        new = QueueSettings(
            url=f"kafka://{cluster.servers}",
            topic_prefix=cluster.prefix,
            partitions=PARTITIONS,
            directory=str(tmp_path / "new"),
        )
        yield Settings(queue=old), Settings(queue=new)


def fill(directory: Path) -> EmbeddedQueue:
    """A queue whose logs do not begin at 0, with something in every kind of topic."""
    queue = EmbeddedQueue(str(directory), partitions=PARTITIONS, max_records=10)
    for first in range(0, 60, 20):
        queue.append(
            encode_messages([mail(n, f"org_{n % 3}") for n in range(first, first + 20)], PARTITIONS)
        )
    letter = encode_dead_letter("undecodable", "odd", "email.send.normal", 0, 1, 1, b"x")
    queue.append([(DEAD_LETTERS, 0, None, letter)] * 4)
    consumer = queue.consumer(WORKER_GROUP, SEND_TOPICS)
    done = {("email.send.normal", p): (7, note_of(9)) for p in range(PARTITIONS)}
    consumer.commit(done)
    consumer.close()
    queue.apply_retention()
    drop(queue, letters(queue, Filter())[:1], is_dry_run=False)
    queue.append([(DEFERRED, n % 2, b"key %02d" % n, b"value %d" % n) for n in range(9)])
    queue.append([("email.config", 0, b"org/x", b"{}")])
    return queue


def held(queue: Queue) -> dict[str, list[object]]:
    """All that a move takes: of logs the values, of tables the pairs."""
    starts = low_water_marks(queue)
    found: dict[str, list[object]] = {}
    for topic in moving.LOGS:
        found[topic] = [
            row[4]
            for partition in range(PARTITIONS)
            for batch in stretch(queue, topic, partition, offset=starts.get((topic, partition), 0))
            for row in batch.rows()
        ]
    del found[DEAD_LETTERS]  # its markers name other places
    for topic in moving.TABLES:
        found[topic] = [pair for p in range(PARTITIONS) for pair in queue.compacted(topic, p)]
    return found


def dying(appends: Iterator[int]) -> object:
    """`KafkaQueue.append` that ends every run, sometimes before and sometimes after it stored."""
    whole = KafkaQueue.append

    def append(self: KafkaQueue, records: Sequence[Append]) -> list[int]:
        number = next(appends)
        if number % 5 == 1:
            raise Died
        offsets = whole(self, records)
        if number % 5 in {2, 4}:
            raise Died
        return offsets

    return append


def test_law_moved_once(
    way: tuple[Settings, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = way
    queue = fill(tmp_path / "old")
    before, listed = held(queue), [letter.reason for letter in letters(queue, Filter())]
    first = queue.offsets(EVENTS)[0][0]
    assert first > 0, "the log has lost its head"
    queue.close()
    would = moving.move(old, new, is_dry_run=True)
    assert not (tmp_path / "old" / MOVED).exists()
    monkeypatch.setattr(moving, "PAGE", 7)
    with monkeypatch.context() as patched:
        patched.setattr(KafkaQueue, "append", dying(itertools.count()))
        deaths = 0
        done = would
        while not done.is_over and deaths < 200:
            try:
                done = moving.move(old, new, is_dry_run=False)
            except Died:
                deaths += 1
    assert deaths > 7
    assert done.is_over
    assert done.records == would.records
    target = KafkaQueue.open(new)
    try:
        assert held(target) == before
        assert [letter.reason for letter in letters(target, Filter())] == listed
        reader = target.consumer(WORKER_GROUP, SEND_TOPICS)
        offset, note = reader.committed()["email.send.normal", 0]
        reader.close()
        assert (offset, events_position(note)) == (0, max(0, 9 - first))
    finally:
        target.close()


def test_a_move_never_mixes_with_what_others_write(
    way: tuple[Settings, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = way
    fill(tmp_path / "old").close()
    with monkeypatch.context() as patched:
        patched.setattr(KafkaQueue, "append", dying(iter([0, 1])))
        with pytest.raises(Died):
            moving.move(old, new, is_dry_run=False)
    other = KafkaQueue.open(new)
    other.append([(EVENTS, 1, None, b"somebody else's")])
    other.close()
    with pytest.raises(QueueError, match="somebody else"):
        moving.move(old, new, is_dry_run=False)


def test_topics_that_were_written_to_are_refused(
    way: tuple[Settings, Settings], tmp_path: Path
) -> None:
    old, new = way
    fill(tmp_path / "old").close()
    other = KafkaQueue.open(new)
    other.append([("email.config", 0, b"org/y", b"{}")])
    other.close()
    with pytest.raises(QueueError, match="written to already"):
        moving.move(old, new, is_dry_run=True)
