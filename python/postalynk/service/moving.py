"""Moving up: everything of an embedded queue into topics on Kafka, once, whatever interrupts it.

**Problem.** A machine has become too small. What waits must be sent by the fleet exactly once, and
`audit` must say the same before and after.
**Model.** Partition by partition, under the same number: what belongs together stays together, and
in order. Of the lanes goes what is above the worker's low-water mark; of the other logs all that is
kept, for events are what audit, done-set and projections are made of; of compacted topics what is
live. Afterwards committed positions, the audit's accounts and the journal of open attempts
follow, with offsets as they are there.
**Run again.** The first run notes in the old queue's directory from where each log is copied. The
record ``n`` behind that place has the offset ``n`` there, so what a topic holds says how far the
copying came; compacted topics are copied anew until they are noted as done. From the note on nobody
else opens the old queue: nothing of it can be sent twice.
**Nobody else writes there** meanwhile: an offset that is not the next one, or a last record that is
not ours, ends the move with an error, and it has lost nothing.
**Law `moved_once`.** Wherever the move is interrupted, after the run that ends the topics hold each
record once and in order.
**Left out.** Another number of partitions: ``topics grow`` is for that, afterwards. The times at
which records were appended: there they are the brokers'.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from postalynk.engine import decode_dead_letter, encode_dead_letter
from postalynk.errors import QueueError
from postalynk.queue.embedded import MOVED, open_embedded
from postalynk.queue.native import topics
from postalynk.queue.reading import stretch
from postalynk.queue.topics import DEAD_LETTERS, EVENTS, SEND_TOPICS, WORKER_GROUP
from postalynk.recorder.projection import GROUP as RECORDER_GROUP
from postalynk.service import auditing
from postalynk.service.accounting import live_keys, low_water_marks
from postalynk.service.client import control_directory
from postalynk.service.dead_letter import DROPPED, REDRIVEN
from postalynk.worker.restore import events_position, note_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postalynk.queue.kafka import KafkaQueue
    from postalynk.queue.native import EmbeddedQueue
    from postalynk.queue.protocol import Append, Position, Queue
    from postalynk.recorder.projection import Row
    from postalynk.settings import Settings

LOGS = tuple(name for name, is_compacted in topics() if not is_compacted)
TABLES = tuple(name for name, is_compacted in topics() if is_compacted)

PAGE = 1_000
MAX_BYTES = 16_000_000
"""Of one append; see `postalynk.ingest.acceptor.MAX_ROUND_BYTES`."""
JOURNAL = "attempts.journal"
"""As `postalynk.engine.open_engine` calls it."""
GONE = (1 << 62) - 1
"""The place of a letter that had left the queue before its marker was moved: no letter has it."""


class Note(msgspec.Struct):
    """What the old queue's directory holds of a move; see the module."""

    to: str
    """URL of the new queue."""
    prefix: str
    starts: dict[str, list[int]]
    """Of each log and partition: the offset of the first record that is moved."""
    done: dict[str, list[int]] = {}
    """Partitions of compacted topics that are copied."""
    is_over: bool = False


class Moved(msgspec.Struct, frozen=True):
    """What was moved, or would be."""

    is_dry_run: bool
    is_over: bool
    """Everything is there: the old queue is of no more use."""
    records: dict[str, int]
    """Per topic, all of the move's runs together."""
    copied: int
    """By this run."""


class _Logs(NamedTuple):
    """Where the logs of the old queue begin and end, as far as they are moved."""

    starts: dict[str, list[int]]
    ends: dict[str, list[int]]

    def count(self, topic: str) -> int:
        return sum(e - s for s, e in zip(self.starts[topic], self.ends[topic], strict=True))


def move(
    old: Settings,
    new: Settings,
    *,
    is_dry_run: bool,
    progress: Callable[[str, int, int], None] = lambda _topic, _done, _all: None,
) -> Moved:
    """Move ``old.queue`` (embedded) to ``new.queue`` (Kafka); may be called again at any time.

    Raises QueueLocked while a process owns the old queue, QueueError when the new one is not fit
    for it or does not answer.
    """
    # Imported only where it is used: one machine has no need of the client.
    from postalynk.queue.kafka import KafkaQueue  # noqa: PLC0415

    place = old.path(old.queue.url.partition(":")[2]) / MOVED
    if not place.parent.is_dir():
        raise QueueError(f"there is no queue in {place.parent}", fix="name its directory")
    source = open_embedded(old, is_moving=True)
    try:
        target = KafkaQueue.open(new)
        try:
            work = _Move(source, target, (old, new), place, progress)
            return work.planned() if is_dry_run else work.run()
        finally:
            target.close()
    finally:
        source.close()


class _Move:
    """One run."""

    def __init__(
        self,
        source: EmbeddedQueue,
        target: KafkaQueue,
        settings: tuple[Settings, Settings],
        place: Path,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._source, self._target = source, target
        self._old, self._new = settings
        self._place = place
        self._progress = progress
        self._copied = 0
        self._note = _read(place)
        if self._note is None:
            self._note = Note(self._new.queue.url, self._new.queue.topic_prefix, _starts(source))
            if target.partitions == source.partitions:
                self._refuse_used()
        self._refuse_other(self._note)
        ends = {topic: [end for _, end in source.offsets(topic)] for topic in LOGS}
        self._logs = _Logs(self._note.starts, ends)

    def planned(self) -> Moved:
        """What `run` would do; nothing is written."""
        return self._told(is_dry_run=True)

    def run(self) -> Moved:
        """All of it, or what an earlier run has left."""
        note = self._noted()
        if not note.is_over:
            # From here on the old queue is opened by nobody but us.
            _write(self._place, note)
            # What a worker reads first comes last: it finds the rest in place.
            for topic in TABLES:
                self._copy_table(topic)
            for topic in (*(t for t in LOGS if t not in SEND_TOPICS), *SEND_TOPICS):
                self._copy_log(topic)
            self._commit()
            self._take_along()
            note.is_over = True
            _write(self._place, note)
        return self._told(is_dry_run=False)

    def _noted(self) -> Note:
        assert self._note is not None
        return self._note

    def _told(self, *, is_dry_run: bool) -> Moved:
        records = {topic: self._logs.count(topic) for topic in LOGS}
        records |= {topic: live_keys(self._source, topic) for topic in TABLES}
        return Moved(is_dry_run, self._noted().is_over, records, self._copied)

    def _refuse_other(self, note: Note) -> None:
        queue = self._new.queue
        if (note.to, note.prefix) != (queue.url, queue.topic_prefix):
            raise QueueError(
                f"this queue is on its way to {note.to}, topics {note.prefix}email.*",
                fix="move it there to the end",
            )
        if self._source.partitions != self._target.partitions:
            raise QueueError(
                f"the queue has {self._source.partitions} partitions, the topics "
                f"{self._target.partitions}",
                fix=f"make the topics with queue.partitions = {self._source.partitions}; "
                "postalynk topics grow gives them more afterwards",
            )

    def _refuse_used(self) -> None:
        for topic in (*LOGS, *TABLES):
            if any(self._ends(topic)):
                raise QueueError(
                    f"Kafka: the topic {self._target.cluster.wire(topic)} was written to already",
                    fix="move into topics of their own: another queue.topic_prefix, then "
                    "postalynk topics apply",
                )

    def _ends(self, topic: str) -> list[int]:
        from postalynk.queue.kafka.cluster import NEWEST  # noqa: PLC0415  as in `move`

        places = [(topic, partition) for partition in range(self._target.partitions)]
        return self._target.ends(places, NEWEST)

    # --- records ------------------------------------------------------------------------------

    def _copy_log(self, topic: str) -> None:
        reached, total, done = self._ends(topic), self._logs.count(topic), 0
        for partition, found in enumerate(reached):
            there = found
            start, end = self._logs.starts[topic][partition], self._logs.ends[topic][partition]
            if there > end - start:
                raise _foreign(topic, partition)
            self._check_last(topic, partition, start, there)
            done += there
            place = start + there
            for batch in stretch(self._source, topic, partition, offset=place):
                rows = batch.rows()
                if [row[2] for row in rows] != list(range(place, place + len(rows))):
                    raise QueueError(f"{topic}, partition {partition}: records are missing")
                place += len(rows)
                for some in _rounds([_value(topic, row, start) for row in rows]):
                    there = self._append_log(topic, partition, there, some)
                    done += len(some)
                    self._progress(topic, done, total)
        self._progress(topic, done, total)

    def _append_log(self, topic: str, partition: int, there: int, values: list[bytes]) -> int:
        """Append behind the offset ``there``; where the topic ends then."""
        offsets = self._target.append([(topic, partition, None, value) for value in values])
        if offsets != list(range(there, there + len(values))):
            raise _foreign(topic, partition)
        self._copied += len(values)
        return there + len(values)

    def _check_last(self, topic: str, partition: int, start: int, there: int) -> None:
        """That the last record there is the one that should be there."""
        if not there:
            return
        ours = _value(topic, _at(self._source, topic, partition, start + there - 1), start)
        if _at(self._target, topic, partition, there - 1)[4] != ours:
            raise _foreign(topic, partition)

    def _copy_table(self, topic: str) -> None:
        note = self._noted()
        finished, done = note.done.setdefault(topic, []), 0
        for partition in range(self._source.partitions):
            if partition in finished:
                continue
            for pairs in _pages(self._source, topic, partition):
                upserts: list[Append] = [(topic, partition, key, value) for key, value in pairs]
                self._target.append(upserts)
                self._copied += len(pairs)
                done += len(pairs)
                self._progress(topic, done, 0)
            finished.append(partition)
            _write(self._place, note)

    # --- what stands beside them --------------------------------------------------------------

    def _commit(self) -> None:
        """The groups' positions, with the offsets the records have there."""
        self._commit_group(WORKER_GROUP, SEND_TOPICS)
        self._commit_group(RECORDER_GROUP, (EVENTS,))

    def _commit_group(self, group: str, names: tuple[str, ...]) -> None:
        reader = self._source.consumer(group, names)
        try:
            known = reader.committed()
        finally:
            reader.close()
        moved: dict[Position, tuple[int, bytes]] = {}
        for (topic, partition), (offset, noted) in known.items():
            start = self._logs.starts[topic][partition]
            first = self._logs.starts[EVENTS][partition]
            note = note_of(max(0, events_position(noted) - first)) if noted else noted
            moved[topic, partition] = (max(0, offset - start), note)
        if not moved:
            return
        writer = self._target.consumer(group, names)
        try:
            writer.commit(moved)
        finally:
            writer.close()

    def _take_along(self) -> None:
        """The journal of open attempts, and the audit's accounts."""
        here, there = control_directory(self._old), control_directory(self._new)
        there.mkdir(parents=True, exist_ok=True)
        if (here / JOURNAL).exists() and not (there / JOURNAL).exists():
            shutil.copy2(here / JOURNAL, there / JOURNAL)
        kept = here / "audit.moved"
        if not kept.exists() and (here / "audit").exists():
            (here / "audit").rename(kept)
        if kept.exists():
            auditing.shift(kept, there / "audit", self._logs.starts[EVENTS])


def _starts(source: EmbeddedQueue) -> dict[str, list[int]]:
    marks = low_water_marks(source)
    return {
        topic: [
            marks.get((topic, partition), oldest)
            for partition, (oldest, _) in enumerate(source.offsets(topic))
        ]
        for topic in LOGS
    }


def _rounds(values: list[bytes]) -> list[list[bytes]]:
    """Pages of one append each."""
    rounds: list[list[bytes]] = [[]]
    size = 0
    for value in values:
        if rounds[-1] and (len(rounds[-1]) == PAGE or size + len(value) > MAX_BYTES):
            rounds.append([])
            size = 0
        rounds[-1].append(value)
        size += len(value)
    return rounds


def _pages(queue: Queue, topic: str, partition: int) -> Iterator[list[tuple[bytes, bytes]]]:
    after: bytes | None = None
    while page := queue.compacted(topic, partition, after, PAGE):
        yield page
        after = page[-1][0]


def _at(queue: Queue, topic: str, partition: int, offset: int) -> Row:
    """The record at an offset."""
    for batch in stretch(queue, topic, partition, offset=offset):
        if (row := batch.rows()[0])[2] == offset:
            return row
    raise QueueError(f"{topic}, partition {partition}: there is nothing at {offset}")


def _value(topic: str, row: Row, start: int) -> bytes:
    """What is appended there for a record."""
    return _renamed(row[4], start, row[3]) if topic == DEAD_LETTERS else row[4]


def _renamed(value: bytes, start: int, at_us: int) -> bytes:
    """A dead letter whose mark names the place that its letter has in the new queue."""
    try:
        told = decode_dead_letter(value)
    except ValueError:
        return value
    if not start or told["topic"] != DEAD_LETTERS or told["reason"] not in {REDRIVEN, DROPPED}:
        return value
    partition, offset = told["source_partition"], told["source_offset"]
    assert isinstance(partition, int)
    assert isinstance(offset, int)
    place = offset - start if offset >= start else GONE
    return encode_dead_letter(
        str(told["reason"]), str(told["detail"]), DEAD_LETTERS, partition, place, at_us, b""
    )


def _foreign(topic: str, partition: int) -> QueueError:
    return QueueError(
        f"Kafka: somebody else has written into {topic}, partition {partition}",
        fix="stop what writes there; make the topics anew, remove the note of the move, "
        f"{MOVED}, and move again: the old queue has lost nothing",
    )


def _read(place: Path) -> Note | None:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Note)
    except FileNotFoundError:
        return None


def _write(place: Path, note: Note) -> None:
    draft = place.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(note))
    draft.replace(place)
