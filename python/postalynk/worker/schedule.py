"""Scheduled messages whose time has come, into their lanes; from there on they are as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.worker.dead import Dead, bury
from postalynk.worker.parts import SCHEDULED

if TYPE_CHECKING:
    from postalynk.worker.parts import Parts

# How late a message may be that nothing else delays.
PACE_S = 0.1


class ScheduleStep:
    """Moves due entries of ``email.scheduled`` into the lanes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def restore(self) -> int:
        """Load the times of all partitions; how many messages wait."""
        schedule = self._parts.schedule
        return sum(schedule.restore(number) for number in range(self._parts.queue.partitions))

    def once(self) -> int:
        """Move one batch; how many entries were due."""
        moved, bad = self._parts.schedule.once()
        if bad:
            dead = [
                Dead(SCHEDULED, entry.partition, 0, "it cannot be decoded", entry.value, entry.key)
                for entry in bad
            ]
            gone = [(SCHEDULED, entry.partition, entry.key, None) for entry in bad]
            bury(self._parts, dead, gone)
        return moved
