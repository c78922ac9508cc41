"""One line for a queue that does not answer, not one for every request that is refused.

**Model.** While no broker takes anything, each request fails for the same reason, which the
operator needs once: the first is told at once, those that follow every `TELL_EVERY_S` with their
count, and the end when an append succeeds again.
**Not here.** Errors nobody expects: these keep their traces.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from postalynk.observability import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from postalynk.errors import QueueError

log = get_logger(__name__)

TELL_EVERY_S = 10.0


class Outage:
    """Tells the log; any thread may call it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds that only grow."""
        self._clock = clock
        self._lock = threading.Lock()
        self._since_s: float | None = None
        self._told_s = 0.0
        self._failures = 0

    def failed(self, error: QueueError) -> None:
        """The queue did not answer, or would not say whether it has stored something."""
        with self._lock:
            now_s = self._clock()
            self._failures += 1
            if self._since_s is None:
                self._since_s = now_s
            elif now_s < self._told_s + TELL_EVERY_S:
                return
            self._told_s = now_s
            for_s, failures = round(now_s - self._since_s, 1), self._failures
        log.error(
            "the queue does not answer: callers are told to send again (503)",
            for_s=for_s,
            failures=failures,
            **{"error.message": str(error)},
        )

    def over(self) -> None:
        """The queue has stored something."""
        if self._since_s is None:
            return
        with self._lock:
            since_s, self._since_s = self._since_s, None
            failures, self._failures = self._failures, 0
        if since_s is not None:
            for_s = round(self._clock() - since_s, 1)
            log.info("the queue answers again", for_s=for_s, failures=failures)
