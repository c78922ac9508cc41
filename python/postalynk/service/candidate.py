"""Running somebody's candidate in a process that has mail to deliver: within its time, or not.

**Problem.** A replay asks a policy nobody has deployed, inside the process that owns the queue. A
candidate that loops would keep a processor, and the GIL, from the worker for ever.
**Model.** The worker's own `Budget`, with a watchdog that lives as long as the work.
**Not here.** Hooks that cannot be interrupted: after `Budget`'s grace the process goes
on without the answer, and the thread stays.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from postalynk.errors import ControlError
from postalynk.policy import load_bundle
from postalynk.routing import Interrupted
from postalynk.routing.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from postalynk.policy import Bundle, Policies

T = TypeVar("T")

# As `policy.budget_ms` is by default; a page is allowed the floor in any case.
PER_DELIVERY_S = 0.005
FLOOR_S = 10.0
_WATCH_EVERY_S = 0.05


class Limit:
    """Runs pieces of work within their time; made by `limited`."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def load(self, bundle: Bundle) -> Policies:
        """The loaded bundle; raises PolicyError, and ControlError when it takes too long."""
        return self._answer(self._budget.run(1, lambda: load_bundle(bundle), is_loading=True))

    def run(self, count: int, work: Callable[[], T]) -> T:
        """What ``work`` answers about ``count`` deliveries; ControlError when it takes too long."""
        return self._answer(self._budget.run(count, work))

    def _answer(self, answer: T | Interrupted) -> T:
        if isinstance(answer, Interrupted):
            raise ControlError(
                "the policy is over its time budget", fix="try it with postalynk policy test"
            )
        return answer


@contextmanager
def limited(floor_s: float = FLOOR_S) -> Generator[Limit]:
    """A `Limit` and its watchdog."""
    budget = Budget(PER_DELIVERY_S, floor_s)
    ends = threading.Event()

    def watch() -> None:
        while not ends.wait(_WATCH_EVERY_S):
            budget.check(time.monotonic())

    watchdog = threading.Thread(target=watch, name="postalynk-candidate", daemon=True)
    watchdog.start()
    try:
        yield Limit(budget)
    finally:
        ends.set()
        watchdog.join()
