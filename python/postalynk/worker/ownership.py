"""Owning partitions: what happens when they come, go, and are lost.

**Model.** One process owns all partitions of the embedded queue from its start to its end. On a
shared queue the brokers hand them out, and the hand-over decides about loss and duplicates:

    assigned  restore deferrals and the done-set, then fetch            (`restore`)
    revoked   start nothing, let open transactions end, record, commit, let go
    lost      let go at once: another worker may have begun

**Invariant.** What is let go and had not begun is above the low-water mark: the next owner has it.
What had begun and ends later than `DRAIN_S` is written as in doubt, never as ours.
**Lease.** Beside this the engine sends only for as long as the last commit is younger than the
session timeout (`commit`), so a worker that was stopped or cut off starts nothing when it wakes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from postalynk.observability import get_logger
from postalynk.queue.topics import DEFERRED, SCHEDULED
from postalynk.worker.parts import patiently
from postalynk.worker.restore import restore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postalynk.worker.commit import Commit
    from postalynk.worker.parts import Parts
    from postalynk.worker.schedule import ScheduleStep

log = get_logger(__name__)

# Longer than receivers take to answer a message; who is slower is found in doubt.
DRAIN_S = 30.0
SLICE_MS = 200


class Copies(Protocol):
    """A queue that keeps local copies of compacted topics."""

    def forget(self, topic: str, partitions: Sequence[int]) -> None:
        """Keep no copy of these any longer."""
        ...


class Ownership:
    """The worker's `Owner`; called from the thread that polls."""

    def __init__(self, parts: Parts, schedule: ScheduleStep, copies: Copies | None) -> None:
        self._parts = parts
        self._schedule = schedule
        self._copies = copies
        self.commit: Commit | None = None
        """Set before the first revoke."""

    def assigned(self, partitions: Sequence[int]) -> None:
        """Bring the engine to where the last owner stopped."""
        if self.commit is not None:
            self.commit.once()
        # Brokers that are away come back, and reading all this a second time changes nothing.
        committed = patiently(self._parts, lambda: restore(self._parts, partitions))
        patiently(self._parts, lambda: self._schedule.own(partitions))
        if self.commit is not None:
            self.commit.own(committed)

    def revoked(self, partitions: Sequence[int]) -> None:
        """Finish, commit and let go."""
        is_drained = self._drain(partitions)
        is_committed = self.commit is None or self.commit.once()
        self._let_go(partitions)
        log.info(
            "partitions released",
            partitions=list(partitions),
            drained=is_drained,
            committed=is_committed,
        )

    def _drain(self, partitions: Sequence[int]) -> bool:
        # While the process ends it has drained already: what is left has no time any more.
        until_s = time.monotonic() + (0.0 if self._parts.ending.is_set() else DRAIN_S)
        while not self._parts.engine.release(partitions, SLICE_MS):
            if time.monotonic() >= until_s:
                return False
            if self.commit is not None:
                # Nobody else does while this thread is here, and the lease must be renewed.
                self.commit.if_due()
        return True

    def lost(self, partitions: Sequence[int]) -> None:
        """Let go: nothing we could commit would be taken."""
        self._parts.engine.release(partitions, 0)
        self._let_go(partitions)
        log.warning("partitions lost", partitions=list(partitions))

    def _let_go(self, partitions: Sequence[int]) -> None:
        self._schedule.disown(partitions)
        self._parts.engine.forget(partitions)
        if self.commit is not None:
            self.commit.drop(partitions)
        if self._copies is not None:
            self._copies.forget(DEFERRED, partitions)
            self._copies.forget(SCHEDULED, partitions)
