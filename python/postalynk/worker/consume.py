"""Step 1, consume: records of the lanes into the engine, as fast as it has room for them.

**Model.** One consumer reads all lanes. The engine says how much room there is; a backlog in a
low lane must not take the room a high one needs, so normal mail leaves the last tenth and bulk
mail the last quarter to what is more urgent: their partitions are paused, and polled no further,
until there is room again.
A partition is also left for a while when its organization holds half of the engine's room, and
until an operator resumes it when too many of its records cannot be processed (`halt`).
**Invariant.** The ends of ``email.events`` are read before the poll: nothing about its records
stands before them, so the engine may note them with a commit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from postalynk.errors import QueueError
from postalynk.queue.protocol import Shared
from postalynk.queue.topics import EVENTS, SEND_TOPICS
from postalynk.worker.dead import Dead, bury

if TYPE_CHECKING:
    from postalynk.queue.protocol import Consumer, Position
    from postalynk.worker.parts import Parts

# Records have one delivery per recipient, so a poll may overshoot the room; not by much.
MAX_RECORDS = 500
# A poll of large messages: at most as much again is in memory twice.
MAX_BYTES = 8_388_608
# Asking brokers costs a round trip; a replay that begins a second earlier costs less.
ENDS_S = 0.5
# How long a step waits before it looks whether it should stop; a deferral may be as late.
WAIT_MS = 100

# Share of the engine's room that lanes below this one must leave free, by topic.
_RESERVED = dict(zip(SEND_TOPICS, (0.0, 0.1, 0.25), strict=True))


class Consume:
    """Moves records from the lanes' topics into the engine."""

    def __init__(self, parts: Parts, consumer: Consumer) -> None:
        self._parts = parts
        self._consumer = consumer
        self._paused: set[Position] = set()
        self._ends: dict[int, int] = {}
        self._ends_until_s = 0.0

    def once(self, room: int) -> int:
        """Admit up to ``room`` records; how many there were."""
        self._bury(self._parts.halts.released())
        self._pause(room)
        self._look_at_events()
        # Without room everything is paused and nothing to be waited for.
        wait_ms = WAIT_MS if room else 0
        batch = self._consumer.poll(min(max(room, 1), MAX_RECORDS), MAX_BYTES, wait_ms)
        if not len(batch):
            return 0
        dead = [Dead(*entry) for entry in self._parts.engine.admit(batch, self._ends)]
        self._bury(self._parts.halts.judge(dead, batch.next_offsets()))
        self._parts.metrics.batch_size.labels(step="consume").observe(len(batch))
        return len(batch)

    def _bury(self, dead: list[Dead]) -> None:
        if dead:
            bury(self._parts, dead)
            self._parts.engine.discarded([(d.topic, d.partition, d.offset) for d in dead])

    def _look_at_events(self) -> None:
        """Where events end now or did a moment ago: an older answer only lengthens a replay."""
        now_s = time.monotonic()
        if now_s < self._ends_until_s:
            return
        try:
            offsets = self._parts.queue.offsets(EVENTS)
        except QueueError:
            if not isinstance(self._parts.queue, Shared):
                raise
            return  # no broker answers; the poll waits for one, and before all events is safe
        self._ends = {partition: end for partition, (_, end) in enumerate(offsets)}
        self._ends_until_s = now_s + ENDS_S

    def _pause(self, room: int) -> None:
        """Leave what is not to be read now, and go on with what was left."""
        partitions = range(self._parts.queue.partitions)
        most = self._parts.options.max_in_flight
        wanted = {
            (topic, partition)
            for topic, reserved in _RESERVED.items()
            if room <= reserved * most
            for partition in partitions
        }
        left = {*self._parts.engine.crowded(), *(h.partition for h in self._parts.halts.halted())}
        wanted |= {(topic, partition) for topic in SEND_TOPICS for partition in left}
        if newly := wanted - self._paused:
            self._consumer.pause(sorted(newly))
        if freed := self._paused - wanted:
            self._consumer.resume(sorted(freed))
        self._paused = wanted
