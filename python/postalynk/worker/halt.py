"""Halting a partition whose records cannot be processed, instead of burying all of them (G7).

**Problem.** One bad record is put aside. A bad deploy, or a foreign writer, makes every record bad:
to put them all aside would empty the topic into ``email.dlq`` before anybody looks.
**Model.** Per partition: how many consecutive offsets of a lane were dead, and what share of the
records lately read. Beyond either limit the partition is halted: its lanes are paused, what is dead
in it is held back, and its low-water mark stays, so a restart reads it again. Other partitions go
on. An operator, having looked, resumes it; what was held becomes dead letters then.
**Source.** The limits of Arroyo's dead-letter queue (`max_invalid_ratio`, `max_consecutive_count`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from postalynk.observability import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postalynk.queue.protocol import Position
    from postalynk.worker.dead import Dead

log = get_logger(__name__)

# Records the ratio is taken over, and the fewest it is taken of.
LATELY = 1_000
FEWEST = 200


class Halted(NamedTuple):
    """A halted partition, for whoever shows it."""

    partition: int
    why: str
    held: int
    """Records that wait to become dead letters."""


@dataclass
class _Partition:
    seen: float = 0.0
    dead: float = 0.0
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Lane → (last dead offset, how many in a row)."""
    why: str = ""
    held: list[Dead] = field(default_factory=list)


class Halts:
    """Which partitions are halted; `judge` belongs to the consuming thread, the rest to any."""

    def __init__(self, max_run: int, max_ratio: float) -> None:
        """``max_run`` 0: no such limit; ``max_ratio`` 1: none."""
        self._max_run = max_run
        self._max_ratio = max_ratio
        self._partitions: dict[int, _Partition] = {}
        self._next: dict[Position, int] = {}
        self._resumed: set[int] = set()
        self._lock = threading.Lock()

    def judge(self, dead: Sequence[Dead], following: Mapping[Position, int]) -> list[Dead]:
        """Which of a batch's dead records to bury; the rest is held. ``following``: its ends."""
        with self._lock:
            self._count(following)
            buried = []
            for record in dead:
                state = self._partitions.setdefault(record.partition, _Partition())
                if not state.why:
                    self._note(state, record)
                if state.why:
                    state.held.append(record)
                else:
                    buried.append(record)
            return buried

    def halted(self) -> list[Halted]:
        """What stands still, and why."""
        with self._lock:
            return [
                Halted(number, state.why, len(state.held))
                for number, state in sorted(self._partitions.items())
                if state.why
            ]

    def resume(self, partition: int | None = None) -> list[int]:
        """Ask for a partition, or all, to go on; which ones will."""
        with self._lock:
            chosen = [
                number
                for number, state in sorted(self._partitions.items())
                if state.why and partition in {None, number}
            ]
            self._resumed.update(chosen)
            return chosen

    def released(self) -> list[Dead]:
        """What was held by partitions that go on now, to be buried."""
        with self._lock:
            released: list[Dead] = []
            for number in self._resumed:
                released += self._partitions.pop(number, _Partition()).held
            self._resumed.clear()
            return released

    def _count(self, following: Mapping[Position, int]) -> None:
        for place, offset in following.items():
            # The first batch of a place says nothing about how many it had.
            before = self._next.get(place, offset - 1)
            self._next[place] = offset
            state = self._partitions.setdefault(place[1], _Partition())
            state.seen += max(0, offset - before)
            if state.seen > 2 * LATELY:
                state.seen, state.dead = state.seen / 2, state.dead / 2

    def _note(self, state: _Partition, record: Dead) -> None:
        last, run = state.runs.get(record.topic, (-2, 0))
        run = run + 1 if record.offset == last + 1 else 1
        state.runs[record.topic] = (record.offset, run)
        state.dead += 1
        ratio = state.dead / max(state.seen, 1.0)
        if self._max_run and run > self._max_run:
            state.why = f"{run} records in a row cannot be processed"
        elif state.seen >= FEWEST and ratio > self._max_ratio:
            state.why = f"{ratio:.0%} of its records cannot be processed"
        if state.why:
            state.why += f", the last because {record.detail}"
            log.error(
                "partition halted",
                partition=record.partition,
                reason=state.why,
                fix="nothing is lost; look at `postalynk dlq ls`, then `postalynk dlq resume`",
            )
