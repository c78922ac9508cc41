"""Step 5, commit: low-water offsets into the queue, and the fence for when that fails.

**Model.** All below a low-water mark is done and recorded. It is committed at least once a
second. A commit that fails is tried again with what has moved since. After `fence_after_s`
without one, others may own our partitions, so nothing more is started until a commit succeeds
(self-fence).
**Lease.** On a shared queue every commit also says that we still own what we own: the engine sends
only for `LEASE` of a session timeout from the beginning of the last one that succeeded. When
nothing has moved, the last position is committed again, at first the one that was found.
**Thread.** There the thread that polls commits too, while it runs: a commit from another one is not
answered while partitions are being revoked (librdkafka), and a revoke must commit.
**Invariant.** A position handed out by the engine is committed or kept for the next try.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from postalynk.errors import QueueError
from postalynk.observability import get_logger
from postalynk.queue.protocol import Shared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postalynk.queue.protocol import Consumer, Position
    from postalynk.worker.parts import Parts

log = get_logger(__name__)


# The session's end is counted from the last heartbeat, which may be older than the last commit by
# its interval: a ninth of Kafka's default session, a sixth of the shortest we are tested with.
LEASE = 5 / 6


class Fence:
    """Down while the worker may no longer own its partitions."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._until_s: float | None = None
        self._open = threading.Event()
        self._open.set()

    def wait_open(self, timeout_s: float) -> bool:
        """Whether deliveries may be started; waits for it until the time is over."""
        return self._open.wait(timeout_s)

    def renew(self, since_s: float) -> float:
        """Ownership was confirmed by an answer to what was asked then; how long that lasts."""
        self._until_s = since_s + LEASE * self._after_s
        return self._until_s - time.monotonic()

    def is_valid(self, for_s: float = 0.0) -> bool:
        """Whether the partitions are ours for certain, and will be for so long; always, where
        nobody else wants them.
        """
        return self._until_s is None or time.monotonic() + for_s < self._until_s

    @property
    def half_s(self) -> float:
        """What begins while `is_valid` for so long, and takes no longer, ends in time."""
        return self._after_s / 2

    def judge(self, waiting_s: float) -> bool:
        """Close after ``waiting_s`` without a commit, open at 0; True when it has just closed."""
        if waiting_s < self._after_s:
            if waiting_s == 0:
                self._open.set()
            return False
        is_news = self._open.is_set()
        self._open.clear()
        return is_news


class Commit:
    """Commits what the engine says is done."""

    def __init__(self, parts: Parts, consumer: Consumer, fence: Fence) -> None:
        self._parts = parts
        self._consumer = consumer
        self._fence = fence
        self._is_shared = isinstance(parts.queue, Shared)
        self._due_s = 0.0
        self._lock = threading.Lock()
        self._pending: dict[Position, tuple[int, bytes]] = {}
        self._last: dict[Position, tuple[int, bytes]] = {}
        self._waiting_since_s: float | None = None

    def if_due(self) -> None:
        """Commit, if that was long enough ago."""
        if time.monotonic() >= self._due_s:
            self.once()

    def once(self) -> bool:
        """Commit what has moved; False when the queue would not take it."""
        with self._lock:
            self._pending.update(self._parts.engine.commits())
            positions = self._pending or self._proof()
            if not positions:
                return True
            began_s = time.monotonic()
            self._due_s = began_s + self._parts.options.commit_every_s
            if self._waiting_since_s is None:
                self._waiting_since_s = began_s
            try:
                self._consumer.commit(positions)
            except QueueError as error:
                self._failed(error)
                return False
            self._last.update(positions)
            self._pending = {}
            self._waiting_since_s = None
            if self._is_shared:
                self._parts.engine.lease(self._fence.renew(began_s))
            self._fence.judge(0)
            return True

    def own(self, committed: Mapping[Position, tuple[int, bytes]]) -> None:
        """Partitions came, and this is what is committed for them: the sign of life of a worker
        none of whose partitions has moved yet.
        """
        with self._lock:
            self._last.update(committed)

    def drop(self, partitions: Sequence[int]) -> None:
        """Commit nothing of these any more."""
        with self._lock:
            for positions in (self._pending, self._last):
                for position in [known for known in positions if known[1] in partitions]:
                    del positions[position]

    def _proof(self) -> dict[Position, tuple[int, bytes]]:
        """One position again, where a commit is also a sign of life."""
        last = next(iter(self._last.items()), None) if self._is_shared else None
        return {} if last is None else {last[0]: last[1]}

    def _failed(self, error: QueueError) -> None:
        assert self._waiting_since_s is not None
        waiting_s = time.monotonic() - self._waiting_since_s
        self._parts.metrics.commit_failures.inc()
        log.warning("cannot commit", waiting_s=round(waiting_s, 1), **{"error.message": str(error)})
        if self._fence.judge(waiting_s):
            self._parts.metrics.fenced.inc()
            log.error("fenced: no commit for a session timeout, starting no more deliveries")
