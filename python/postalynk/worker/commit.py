"""Step 5, commit: low-water offsets into the queue, and the fence for when that fails.

**Model.** All below a low-water mark is done and recorded. It is committed at least once a
second. A commit that fails is tried again with what has moved since. After `fence_after_s`
without one, others may own our partitions, so nothing more is started until a commit succeeds
(self-fence).
**Invariant.** A position handed out by the engine is committed or kept for the next try.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from postalynk.errors import QueueError
from postalynk.observability import get_logger

if TYPE_CHECKING:
    from postalynk.queue.protocol import Consumer, Position
    from postalynk.worker.parts import Parts

log = get_logger(__name__)


class Fence:
    """Down while the worker may no longer own its partitions."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._open = threading.Event()
        self._open.set()

    def wait_open(self, timeout_s: float) -> bool:
        """Whether deliveries may be started; waits for it until the time is over."""
        return self._open.wait(timeout_s)

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
        self._pending: dict[Position, tuple[int, bytes]] = {}
        self._waiting_since_s: float | None = None

    def once(self) -> bool:
        """Commit what has moved; False when the queue would not take it."""
        self._pending.update(self._parts.engine.commits())
        if not self._pending:
            return True
        if self._waiting_since_s is None:
            self._waiting_since_s = time.monotonic()
        try:
            self._consumer.commit(self._pending)
        except QueueError as error:
            self._failed(error)
            return False
        self._pending = {}
        self._waiting_since_s = None
        self._fence.judge(0)
        return True

    def _failed(self, error: QueueError) -> None:
        assert self._waiting_since_s is not None
        waiting_s = time.monotonic() - self._waiting_since_s
        self._parts.metrics.commit_failures.inc()
        log.warning("cannot commit", waiting_s=round(waiting_s, 1), **{"error.message": str(error)})
        if self._fence.judge(waiting_s):
            self._parts.metrics.fenced.inc()
            log.error("fenced: no commit for a session timeout, starting no more deliveries")
