"""Restoring, before the first record is consumed: what was done, what waits, what is in doubt.

**Model.** A commit notes, beside the low-water offset of a lane's partition, a position in
``email.events``: every event about a record not below the mark lies at or after it. Replaying
events from there fills the engine's done-set, so nothing recorded is sent again. Deferrals are
loaded page by page; what a crash kept from them, a tombstone or a later attempt, the done-set
makes up for.
**Law `replay_from`.** The replay starts at or before the note of every lane that is not read to
its end, and at or before the newest note: what was being recorded at the crash lies behind that.
**Why not simply the lowest note.** A lane unused for days has a note from days ago; all it needs
was done then.
**Source.** design.md section 4, worker bookkeeping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from postalynk.observability import get_logger
from postalynk.queue.protocol import Shared
from postalynk.queue.topics import DEFERRED, EVENTS, SEND_TOPICS, WORKER_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postalynk.queue.protocol import Position
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

MAX_RECORDS = 1_000
MAX_BYTES = 8_388_608
PAGE = 1_000
NOTE_FORMAT = 1
# The records are there already; a poll that waits as long has a queue that does not answer.
WAIT_MS = 1_000


class LaneState(NamedTuple):
    """What is known of one lane's topic in one partition."""

    oldest: int
    end: int
    committed: tuple[int, bytes] | None
    """Offset and note."""

    def unread_to(self) -> int:
        """Where the records end that another owner may have worked on; 0: there are none."""
        read = self.oldest if self.committed is None else self.committed[0]
        return self.end if read < self.end else 0


def events_position(note: bytes) -> int:
    """The position in ``email.events`` that a commit noted; 0, all of it, for a strange note.

    A format byte of 1, then eight bytes, big-endian: what `Engine.commits` writes.
    """
    if len(note) != 9 or note[0] != NOTE_FORMAT:
        return 0
    return int.from_bytes(note[1:], "big")


def note_of(events_position: int) -> bytes:
    """The note that `events_position` reads."""
    return bytes([NOTE_FORMAT]) + events_position.to_bytes(8, "big")


def replay_from(lanes: Iterable[LaneState], oldest: int) -> int:
    """Where the replay of one partition's events must start; ``oldest`` is the first there is."""
    notes, needed = [], []
    for lane in lanes:
        if lane.committed is None:
            # Nothing of it was ever done with; if it never held a record, it needs nothing.
            if lane.end > 0:
                needed.append(oldest)
            continue
        offset, note = lane.committed
        notes.append(events_position(note))
        if offset < lane.end:
            needed.append(notes[-1])
    start = min([*needed, max(notes, default=oldest)])
    return max(start, oldest)


def restore(parts: Parts, partitions: Sequence[int]) -> dict[Position, tuple[int, bytes]]:
    """Bring the engine to where the last owner of these partitions stopped; what is committed for
    one lane of each, which may be committed again as a sign of life.
    """
    starts, committed = _starts(parts, partitions)
    replayed = _replay_events(parts, starts)
    waiting = _load_deferrals(parts, partitions)
    in_doubt = parts.engine.restored(is_shared=isinstance(parts.queue, Shared))
    log.info(
        "restored",
        partitions=len(partitions),
        events=replayed,
        deferred=waiting,
        in_doubt=in_doubt,
    )
    return committed


def _starts(
    parts: Parts, partitions: Sequence[int]
) -> tuple[dict[int, tuple[int, int]], dict[Position, tuple[int, bytes]]]:
    """Per partition from where to where its events are replayed, and what is committed for a lane
    of it; tells the engine of its lanes.
    """
    queue = parts.queue
    lanes = queue.consumer(WORKER_GROUP, SEND_TOPICS)
    try:
        committed = lanes.committed()
    finally:
        lanes.close()
    ends = {topic: queue.offsets(topic) for topic in SEND_TOPICS}
    events = queue.offsets(EVENTS)
    starts, signs = {}, {}
    for partition in partitions:
        states = {
            topic: LaneState(*ends[topic][partition], committed.get((topic, partition)))
            for topic in SEND_TOPICS
        }
        parts.engine.assigned(
            partition, {topic: lane.unread_to() for topic, lane in states.items()}
        )
        oldest, end = events[partition]
        starts[partition] = (min(replay_from(states.values(), oldest), end), end)
        first = states[SEND_TOPICS[0]]
        # To have committed where everything begins is to have committed nothing.
        signs[SEND_TOPICS[0], partition] = first.committed or (first.oldest, note_of(oldest))
    return starts, signs


def _replay_events(parts: Parts, starts: dict[int, tuple[int, int]]) -> int:
    queue = parts.queue
    missing: dict[int, int] = {}
    reader = queue.consumer("", [EVENTS])
    try:
        reader.pause([(EVENTS, other) for other in range(queue.partitions) if other not in starts])
        for partition, (start, end) in starts.items():
            reader.seek(EVENTS, partition, offset=start)
            if start < end:
                missing[partition] = end
        replayed = 0
        while missing:
            batch = reader.poll(MAX_RECORDS, MAX_BYTES, WAIT_MS)
            parts.engine.restore_events(batch)
            replayed += len(batch)
            for (_, partition), offset in batch.next_offsets().items():
                if offset >= missing.get(partition, offset + 1):
                    del missing[partition]
            if not len(batch) and not any(reader.lag().values()):
                break
        return replayed
    finally:
        reader.close()


def _load_deferrals(parts: Parts, partitions: Sequence[int]) -> int:
    waiting = 0
    for partition in partitions:
        after: bytes | None = None
        while pairs := parts.queue.compacted(DEFERRED, partition, after, PAGE):
            mended = parts.engine.restore_deferred(partition, pairs)
            if mended:
                parts.queue.append(mended)
            tombstones = sum(value is None for *_, value in mended)
            waiting += len(pairs) - tombstones
            after = pairs[-1][0]
            if len(pairs) < PAGE:
                break
    return waiting
