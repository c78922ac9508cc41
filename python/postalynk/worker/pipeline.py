"""The worker's sentence: consume → route → send → record → commit.

**Problem.** Take what was accepted, bring it to its receivers, and account for every delivery, at
thousands a second and over any crash.
**Model.** A step a file, a thread a step; each hands batches on through the engine and blocks
there without the GIL. Sending itself is the engine's.

    consume   lanes' records → engine        (`consume`, `defer` for what is due again, and
              `schedule` for what waits for a time of its own)
    route     deliveries → policy → engine   (`route`; `budget` interrupts a policy that loops)
    send      the engine, in Rust
    record    outcomes → events, deferrals   (`record`)
    commit    low-water offsets → queue      (`commit`, with the fence)

Beside them `limits` answers the engine what the policy allows a path, and `doubts` tells what
became of attempts that were open when this worker's last process died.

Before the first record of a partition, `restore` brings the engine to where its last owner stopped;
what happens when partitions come and go is in `ownership`.
**Invariants.** Events are durable before deferrals, both before the engine is told, that before
an offset moves. A step that raises ends the worker: `on_failure` is called once, nothing more is
started, and no thread is ever silently dead.
**Not here.** Which partitions are ours (`postalynk.queue`), webhooks, projections.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, cast

from postalynk.errors import PostalynkError
from postalynk.observability import get_logger
from postalynk.queue import join
from postalynk.queue.protocol import Shared
from postalynk.queue.topics import SEND_TOPICS, WORKER_GROUP
from postalynk.routing.budget import Budget
from postalynk.worker.commit import Commit, Fence
from postalynk.worker.consume import WAIT_MS, Consume
from postalynk.worker.defer import Defer
from postalynk.worker.doubts import DoubtStep
from postalynk.worker.limits import Limits, ShapeStep
from postalynk.worker.ownership import Copies, Ownership
from postalynk.worker.parts import patiently
from postalynk.worker.record import Record
from postalynk.worker.route import RouteStep
from postalynk.worker.schedule import PACE_S, ScheduleStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from postalynk.queue.protocol import Consumer
    from postalynk.worker.halt import Halts
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

WATCH_EVERY_S = 0.05
# A step looks at its flag every WAIT_MS; longer than this means it hangs in a call.
JOIN_S = 30.0


class PolicyStuck(PostalynkError):
    """A hook neither returned nor could be interrupted."""


class Worker:
    """One worker of the partitions that fall to it; `start` it once, then `drain` and `stop`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._consumer: Consumer | None = None
        self._is_shared = isinstance(parts.queue, Shared)
        copies = parts.queue if self._is_shared else None
        self._schedule = ScheduleStep(parts)
        self._ownership = Ownership(parts, self._schedule, cast("Copies | None", copies))
        self._fence = Fence(parts.options.fence_after_s)
        # One a thread that runs hooks.
        options = parts.options
        self._budgets = tuple(
            Budget(options.budget_s, memory_bytes=options.memory_bytes) for _ in range(3)
        )
        self._defer = Defer(parts)
        limits = Limits(parts, self._budgets[0])
        self._route = RouteStep(parts, self._budgets[0], self._fence, limits.refresh)
        self._shape = ShapeStep(parts, self._budgets[2])
        self._doubts = DoubtStep(parts)
        self._record = Record(parts, self._budgets[1], self._fence)
        # Set: the first two steps start nothing more; the last two end once nothing is left.
        self._starting_ends = threading.Event()
        self._recording_ends = threading.Event()
        self._closing = threading.Event()
        self._failing = threading.Lock()
        self._failure: BaseException | None = None
        self._threads: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Restore, then start the steps. Raises what the queue or the engine raises.

        On a shared queue partitions come, and are restored, a little later.
        """
        parts = self._parts
        self._consumer = join(parts.queue, WORKER_GROUP, SEND_TOPICS, self._ownership)
        self._consume = Consume(parts, self._consumer)
        self._commit = self._ownership.commit = Commit(parts, self._consumer, self._fence)
        self._spawn("consume", self._consume_loop)
        self._spawn("schedule", self._schedule_loop)
        self._spawn("route", self._route_loop)
        self._spawn("shape", self._shape_loop)
        self._spawn("record", self._record_loop)
        self._spawn("commit", self._commit_loop)
        self._spawn("watch", self._watch_loop)
        if self._is_shared:
            self._spawn("doubts", self._doubts_loop)

    @property
    def failure(self) -> BaseException | None:
        """What the first step that failed raised."""
        return self._failure

    @property
    def halts(self) -> Halts:
        """Partitions that stand still."""
        return self._parts.halts

    def alive(self) -> bool:
        """Whether every step is running."""
        return (
            bool(self._threads)
            and self._failure is None
            # Once no attempt is in doubt any more, that step has nothing to do.
            and all(t.is_alive() for name, t in self._threads.items() if name != "doubts")
        )

    def drain(self, timeout_s: float) -> bool:
        """Stop consuming, finish open transactions, record and commit what they came to.

        True when all that was started is recorded and committed; the rest stays in the queue.
        """
        deadline_s = time.monotonic() + timeout_s
        self._starting_ends.set()
        steps = ("consume", "schedule", "route", "shape", "doubts")
        is_stopped = self._join(*steps, until_s=deadline_s)
        left_ms = max(0, round((deadline_s - time.monotonic()) * 1_000))
        is_drained = self._parts.engine.drain(left_ms)
        self._recording_ends.set()
        # Not bounded by the deadline: an outcome that is not recorded would be sent again.
        is_recorded = self._join("record", until_s=time.monotonic() + JOIN_S)
        self._closing.set()
        self._join("commit", "watch", until_s=time.monotonic() + JOIN_S)
        is_committed = self._failure is None and self._commit.once()
        return is_stopped and is_drained and is_recorded and is_committed

    def stop(self) -> None:
        """Let go of everything at once; what is in flight is found in doubt at the next start."""
        events = (self._starting_ends, self._recording_ends, self._closing, self._parts.ending)
        for event in events:
            event.set()
        self._parts.engine.stop()
        self._join(*self._threads, until_s=time.monotonic() + JOIN_S)
        if self._consumer is not None:
            self._consumer.close()

    def _consume_loop(self) -> None:
        while not self._starting_ends.is_set():
            room = self._parts.engine.room(WAIT_MS)
            if room:
                room -= self._defer.once(room)
            # Without room too: a member that polls no more is taken for dead.
            self._consume.once(max(room, 0))
            if self._is_shared:
                self._commit.if_due()

    def _schedule_loop(self) -> None:
        while not self._starting_ends.wait(PACE_S):
            while patiently(self._parts, self._schedule.once):
                if self._starting_ends.is_set():
                    break

    def _doubts_loop(self) -> None:
        try:
            while not self._starting_ends.is_set() and patiently(self._parts, self._doubts.once):
                pass
        finally:
            self._doubts.close()

    def _route_loop(self) -> None:
        while not self._starting_ends.is_set():
            self._route.once()

    def _shape_loop(self) -> None:
        while not self._starting_ends.is_set():
            self._shape.once()

    def _record_loop(self) -> None:
        while True:
            # Asked before the outcomes are: what came while draining is among them.
            is_ending = self._recording_ends.is_set()
            if not self._record.once() and is_ending:
                return

    def _commit_loop(self) -> None:
        while not self._closing.wait(self._parts.options.commit_every_s):
            # On a shared queue the thread that polls does it, while there is one.
            if not (self._is_shared and self._threads["consume"].is_alive()):
                self._commit.once()

    def _watch_loop(self) -> None:
        while not self._closing.wait(WATCH_EVERY_S):
            now_s = time.monotonic()
            stuck = [budget for budget in self._budgets if budget.check(now_s)]
            if stuck:
                raise PolicyStuck(
                    "a policy hook does not end and cannot be interrupted",
                    fix="hooks do no I/O, call no slow C code and never catch BaseException",
                )

    def _spawn(self, name: str, loop: Callable[[], None]) -> None:
        def run() -> None:
            try:
                loop()
            except BaseException as error:  # noqa: BLE001  handed to the owner, never swallowed
                self._fail(name, error)

        thread = threading.Thread(target=run, name=f"postalynk-{name}", daemon=True)
        self._threads[name] = thread
        thread.start()

    def _fail(self, step: str, error: BaseException) -> None:
        with self._failing:
            is_first = self._failure is None
            if is_first:
                self._failure = error
        log.critical("a step of the worker failed", step=step, exc_info=error)
        if not is_first:
            return
        self._starting_ends.set()
        try:
            # Outcomes may no longer be recorded, so nothing more may be started.
            self._parts.engine.drain(0)
        finally:
            self._parts.on_failure(error)

    def _join(self, *names: str, until_s: float) -> bool:
        is_ended = True
        for name in names:
            thread = self._threads.get(name)
            if thread is not None and thread is not threading.current_thread():
                thread.join(max(0.0, until_s - time.monotonic()))
                is_ended = is_ended and not thread.is_alive()
        return is_ended
