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
from postalynk.worker.parts import DEFERRED, EVENTS, LANES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postalynk.queue.protocol import Consumer
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


def events_position(note: bytes) -> int:
    """The position in ``email.events`` that a commit noted; 0, all of it, for a strange note.

    A format byte of 1, then eight bytes, big-endian: what `Engine.commits` writes.
    """
    if len(note) != 9 or note[0] != NOTE_FORMAT:
        return 0
    return int.from_bytes(note[1:], "big")


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


def restore(parts: Parts, consumer: Consumer) -> None:
    """Bring the engine to where the last worker stopped; ``consumer`` is the one of the lanes."""
    replayed = _replay_events(parts, consumer)
    waiting = _load_deferrals(parts)
    in_doubt = parts.engine.restored()
    log.info("restored", events=replayed, deferred=waiting, in_doubt=in_doubt)


def _replay_events(parts: Parts, lanes: Consumer) -> int:
    queue = parts.queue
    committed = lanes.committed()
    ends = {topic: queue.offsets(topic) for topic in LANES}
    missing: dict[int, int] = {}
    reader = queue.consumer("", [EVENTS])
    try:
        for partition, (oldest, end) in enumerate(queue.offsets(EVENTS)):
            states = [
                LaneState(*ends[topic][partition], committed.get((topic, partition)))
                for topic in LANES
            ]
            start = min(replay_from(states, oldest), end)
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


def _load_deferrals(parts: Parts) -> int:
    waiting = 0
    for partition in range(parts.queue.partitions):
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
