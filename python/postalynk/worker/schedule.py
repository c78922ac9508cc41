"""Scheduled messages whose time has come, into their lanes; from there on they are as any other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from postalynk.queue.protocol import Shared
from postalynk.queue.topics import SCHEDULED
from postalynk.worker.dead import Dead, bury

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postalynk.worker.parts import Parts

# How late a message may be that nothing else delays.
PACE_S = 0.1
# On a shared queue others accept what we are to send; so late may their times be known here.
LOOK_EVERY_S = 5.0


class ScheduleStep:
    """Moves due entries of ``email.scheduled`` into the lanes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._is_shared = isinstance(parts.queue, Shared)
        self._owned: frozenset[int] = frozenset()
        self._looked_s = 0.0

    def own(self, partitions: Iterable[int]) -> int:
        """Load the times of these partitions; how many messages wait."""
        new = frozenset(partitions)
        waiting = sum(self._parts.schedule.restore(number) for number in new)
        self._owned |= new
        return waiting

    def disown(self, partitions: Iterable[int]) -> None:
        """Others look after these."""
        gone = frozenset(partitions)
        self._owned -= gone
        for number in gone:
            self._parts.schedule.forget(number)

    def once(self) -> int:
        """Move one batch; how many entries were due."""
        if self._is_shared and time.monotonic() > self._looked_s + LOOK_EVERY_S:
            # What other processes have accepted meanwhile.
            self._looked_s = time.monotonic()
            for number in self._owned:
                self._parts.schedule.restore(number)
        moved, bad = self._parts.schedule.once()
        if bad:
            dead = [
                Dead(SCHEDULED, entry.partition, 0, "it cannot be decoded", entry.value, entry.key)
                for entry in bad
            ]
            gone = [(SCHEDULED, entry.partition, entry.key, None) for entry in bad]
            bury(self._parts, dead, gone)
        return moved
