"""What a worker is made of: its collaborators, and the numbers it goes by."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from postalynk.control.schedule import Schedule
from postalynk.errors import QueueError
from postalynk.observability import Metrics, get_logger
from postalynk.queue.protocol import Shared
from postalynk.routing.budget import MEMORY_BYTES
from postalynk.worker.halt import Halts

if TYPE_CHECKING:
    from collections.abc import Callable

    from postalynk.engine import Engine
    from postalynk.policy import Policies, Pools
    from postalynk.queue.protocol import Queue
    from postalynk.settings import Settings

log = get_logger(__name__)

T = TypeVar("T")

# How soon a queue is asked again that did not answer.
AGAIN_S = 1.0

"""The lanes' topics, the most urgent first."""


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of one worker."""

    max_in_flight: int = 10_000
    """Deliveries in the engine at a time, as the engine was told."""
    budget_s: float = 0.005
    """Time a hook may take per delivery, averaged over a batch."""
    memory_bytes: int = MEMORY_BYTES
    """Memory the hooks of a batch may hold; 0: no limit."""
    explain_one_in: int = 1_000
    """Of so many decisions one is explained and stored; 0: none."""
    explain_organizations: frozenset[str] = frozenset()
    """Organizations whose every decision is."""
    fallback_pool: str = "default"
    """Where deliveries go whose policy failed (G4)."""
    commit_every_s: float = 1.0
    """Offsets lag by as much, and so does what a crash makes the next start read again."""
    dead_run: int = 100
    """So many records in a row that cannot be processed halt their partition; 0: never."""
    dead_ratio: float = 0.1
    """As such a share of the records lately read does."""
    fence_after_s: float = 45.0
    """Kafka's session timeout: after as long without a commit, others may own our partitions."""

    @classmethod
    def of(cls, settings: Settings) -> WorkerOptions:
        """The operator's numbers, the reasons beside the rest."""
        return cls(
            max_in_flight=settings.delivery.max_in_flight,
            budget_s=settings.policy.budget_ms / 1_000,
            memory_bytes=settings.policy.memory_bytes,
            fence_after_s=settings.queue.session_timeout_s,
            explain_one_in=settings.policy.explain_one_in,
            explain_organizations=frozenset(settings.policy.explain_organizations),
            dead_run=settings.dead_letters.max_run,
            dead_ratio=settings.dead_letters.max_ratio,
        )


def patiently(parts: Parts, ask: Callable[[], T]) -> T:
    """The answer of a shared queue, however long no broker has one: what was taken in hand cannot
    be put back. A queue of this process does not recover, so there an error is one.
    """
    while True:
        try:
            return ask()
        except QueueError as error:
            if not isinstance(parts.queue, Shared) or parts.ending.is_set():
                raise
            log.warning("the queue does not answer", **{"error.message": str(error)})
            parts.ending.wait(AGAIN_S)


def wall_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


@dataclass(kw_only=True)
class Parts:
    """The collaborators of all steps. `policies` and `pools` may be replaced while it runs."""

    queue: Queue
    engine: Engine
    policies: Policies
    pools: Pools
    options: WorkerOptions = field(default_factory=WorkerOptions)
    metrics: Metrics = field(default_factory=Metrics)
    faults: Counter[str] = field(default_factory=Counter)
    """Version → how often its hooks but `route` failed, since a canary's trial began."""
    clock: Callable[[], int] = wall_us
    """Now, in microseconds since the Unix epoch."""
    schedule: Schedule = field(init=False)
    """Messages that wait for a time of their own; shared with whoever accepts, moves, cancels."""
    ending: threading.Event = field(default_factory=threading.Event)
    """Set when the worker lets go: nobody waits for the queue any longer."""
    on_failure: Callable[[BaseException], None] = lambda _error: None
    """Called once, from the thread that failed; the owner then ends the process."""

    halts: Halts = field(init=False)
    """Partitions that stand still because too many of their records cannot be processed."""

    def __post_init__(self) -> None:
        self.halts = Halts(self.options.dead_run, self.options.dead_ratio)
        self.schedule = Schedule(self.queue, self.clock)
